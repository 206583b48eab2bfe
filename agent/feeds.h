/**
 * Folders of flow logs: a thread that watches them, takes what is new of each file (agent/feed) and hands it to the
 * ship thread, exactly once whatever happens.
 *
 * A take is up to about a megabyte of one file. Before its batches go to the spool, where the take ends and which marks
 * its batches have is written down (feed/state.h); when all of it is synced, the next take begins. After a crash the
 * take is made again, and the spool refuses the batches that it has. A file is known by its device and inode as long as
 * its content goes on, and by its content otherwise: a copy, a compressed copy or a later download of the same log goes
 * on where it was left.
 *
 * A feed without a folder takes what is in the inbox (agent/inbox.h). Such a log is whole, is known by its id alone, and
 * is removed when it was taken.
 *
 * The disk is waited for: when the spool is half full, files wait; nothing is dropped.
 */
#ifndef WEIR_AGENT_FEEDS_H
#define WEIR_AGENT_FEEDS_H

#include "agent/conf.h"
#include "agent/inbox.h"
#include "agent/ship.h"

struct agent_feeds;

/**
 * Read the state in @folder; the thread begins with agent_feeds_start. @conf, @metrics (rows of agent/counters.def) and
 * @inbox, which has the feeds without a path in their order (NULL: there are none), must outlive it. WEIR_EIO (a folder cannot be read), WEIR_ECORRUPT (the state), WEIR_ENOMEM; @why says more.
 */
int agent_feeds_create(const struct agent_feed_conf *conf, size_t count, const char *folder, bool durable,
                       struct agent_ship *ship, struct agent_inbox *inbox, struct weir_metrics *metrics,
                       struct agent_feeds **ret, struct weir_why *why);

/** WEIR_EIO. */
int agent_feeds_start(struct agent_feeds *feeds, struct weir_why *why);

/** Join the thread; a take that is not done is done at the next start. Idempotent. */
void agent_feeds_stop(struct agent_feeds *feeds);

/** Stops first. NULL is allowed. */
void agent_feeds_destroy(struct agent_feeds *feeds);

#endif
