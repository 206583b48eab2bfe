/**
 * The inbox: flow logs that were handed to the agent whole (HTTP push, standard input) wait here until they are taken.
 * Each is a file <state>/push/<feed>/<id in hex>.
 *
 * A log that was put is durable under its name, so that its sender may forget it. Its id is known by that name, and when
 * it was taken, by the file <state>/pushed, which is written before the name goes: at no moment, whoever is killed, is
 * one put twice that comes again with its id. AGENT_INBOX_IDS_MOST ids are remembered at least, the newest.
 */
#ifndef WEIR_AGENT_INBOX_H
#define WEIR_AGENT_INBOX_H

#include "common/base/bytes.h"
#include "common/base/err.h"

enum {
    AGENT_INBOX_IDS_MOST = 65536,
    AGENT_INBOX_NAME_BYTES = 33,  /* 32 hex digits */
    AGENT_INBOX_FILE_BYTES = 4096 /* a file counts as so much at least */
};

/** Who a log is: the same for a request that comes again. */
struct agent_inbox_id {
    uint8_t bytes[16];
};

/** The id of the request @key to a feed: of what its sender calls it, which is the same for each attempt. */
struct agent_inbox_id agent_inbox_id_of(const char *feed, const char *key);

/** The id of a request that has no name: its sender cannot ask for it to be taken once only. */
struct agent_inbox_id agent_inbox_id_random(void);

struct agent_inbox;

/**
 * Open the inbox in the folder @state for the feeds @names, which must outlive it; what was left half-written is
 * removed. At most @bytes_most wait. WEIR_EIO, WEIR_EDENIED, WEIR_ENOSPACE, WEIR_ENOMEM; @why says more.
 */
int agent_inbox_create(const char *state, const char *const *names, size_t count, uint64_t bytes_most, bool durable,
                       struct agent_inbox **ret, struct weir_why *why);
void agent_inbox_destroy(struct agent_inbox *inbox);

/**
 * Put a log of the feed @feed (an index into the names). Any thread.
 *   WEIR_EEXIST   it is known: it waits, or was taken
 *   WEIR_EFULL    too much waits
 *   WEIR_ENOSPACE, WEIR_EIO, WEIR_EDENIED
 */
int agent_inbox_put(struct agent_inbox *inbox, size_t feed, const struct agent_inbox_id *id, struct weir_view log);

/** Bytes that wait. Any thread. */
uint64_t agent_inbox_bytes(const struct agent_inbox *inbox);

/** Is there no room for a log, however small? Any thread. */
bool agent_inbox_is_full(const struct agent_inbox *inbox);

/** The folder of a feed. Borrowed. */
const char *agent_inbox_folder(const struct agent_inbox *inbox, size_t feed);

/** The ids of the logs of a feed that wait, in the order of their names; *ret is the caller's. WEIR_EIO, WEIR_ENOMEM. */
int agent_inbox_list(struct agent_inbox *inbox, size_t feed, struct agent_inbox_id **ret, size_t *ret_count);

/** Was it taken, and only its file is still there? */
bool agent_inbox_was_taken(struct agent_inbox *inbox, const struct agent_inbox_id *id);

/** Remember that these were taken: durable when this returns. WEIR_EIO, WEIR_ENOSPACE, WEIR_ENOMEM. */
int agent_inbox_take(struct agent_inbox *inbox, const struct agent_inbox_id *ids, size_t count);

/** Remove the file of one that was taken; or, when it is @damaged, put it aside as <name>.damaged. */
void agent_inbox_drop(struct agent_inbox *inbox, size_t feed, const struct agent_inbox_id *id, bool damaged);

void agent_inbox_name(const struct agent_inbox_id *id, char ret[AGENT_INBOX_NAME_BYTES]);

/**
 * Put what @fd yields, to its end, as one log, from another process than the agent's, which takes it as it takes all.
 * Its id is made from its content. WEIR_ENOTFOUND: the agent never ran with such a feed; WEIR_EEXIST: the same waits;
 * WEIR_EFULL, WEIR_ENOSPACE, WEIR_EIO, WEIR_EDENIED, WEIR_ENOMEM; @why says more. *ret_bytes: how many there were.
 */
int agent_inbox_put_stream(const char *state, const char *feed, uint64_t bytes_most, int fd, uint64_t *ret_bytes,
                           struct weir_why *why);

#endif
