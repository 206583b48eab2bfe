/**
 * Answering questions about our shards: a plan (which stored form, which table), a scan of one snapshot, and how good
 * the answer is. The scans are in scan_rows.c and scan_raw.c.
 *
 * Any number of threads may answer at a time; each call is one question.
 */
#ifndef WEIR_AGGREGATOR_ANSWER_H
#define WEIR_AGGREGATOR_ANSWER_H

#include "aggregator/heard.h"
#include "aggregator/retain.h"
#include "aggregator/roller.h"
#include "common/flow/filter.h"

#include <stdatomic.h>

/** What answers are made from. */
struct agg_answerer {
    struct agg_store *store;
    struct agg_roller *roller;
    struct agg_heard *heard;
    struct agg_retain *retain; /* may be NULL: everything is kept */
    const char *node;          /* our name */
    const _Atomic uint64_t
        *members; /* bits of the shards that we are a member of, WEIR_SHARDS / 64 words; NULL: of all */

    /** Add the rows of a NODES answer. */
    int (*nodes)(void *ctx, struct weir_answer *answer);
    void *ctx;
};

/**
 * Answer @question about the shards that we are a member of; others that it asks for are not answered, and the answer says
 * so: what is here of them is old, or not all. @question is one that weir_question_check allows. @ret is initialised, ranked, and the caller's to finish, on success
 * only. @scanned (may be NULL): rows and flows looked at, also on failure.
 *
 *   WEIR_EFORMAT       the filter is none
 *   WEIR_EUNSUPPORTED  the asked-for form cannot answer this
 *   WEIR_ETIMEOUT      the deadline passed
 *   WEIR_ECANCELLED    *cancelled (may be NULL) became true
 *   WEIR_ECORRUPT, WEIR_EIO, WEIR_ENOMEM, WEIR_ELIMIT
 */
int agg_answer(const struct agg_answerer *by, const struct weir_question *question, int64_t deadline_mono_ms,
               const _Atomic bool *cancelled, struct weir_answer *ret, uint64_t *scanned, struct weir_why *why);

#endif
