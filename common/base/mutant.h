/**
 * Rules of delivery that can be left out on purpose, to see that the simulator of tests/cluster notices.
 *
 * Only the program cluster.mutants is compiled with WEIR_MUTANTS, and one of them at a time is on there. Everywhere else
 * MUTANT(x) is the constant false.
 */
#ifndef WEIR_COMMON_BASE_MUTANT_H
#define WEIR_COMMON_BASE_MUTANT_H

#include <stdbool.h>

#ifdef WEIR_MUTANTS

/** Name, where it is, and what is done instead of the rule. */
#define WEIR_MUTANT_RULES(X)                                                                                     \
    X(no_dedup, "aggregator", "a batch that is committed is taken again")                                        \
    X(gap_accepted, "aggregator", "a batch is taken before an earlier one of its lane")                          \
    X(ack_before_sync, "aggregator", "a batch is acknowledged when it is taken, before the write")               \
    X(repeat_acked_early, "aggregator", "a repetition is acknowledged while the first copy is still in a write") \
    X(failed_write_kept, "aggregator", "a lane goes on as if a failed write had been done")                      \
    X(mark_not_atomic, "aggregator", "batch and mark are two writes")                                            \
    X(no_epoch_check, "aggregator", "a batch that was routed by an older map is taken")                          \
    X(checksum_ignored, "aggregator", "a damaged batch is taken")                                                \
    X(loss_taken_for_one, "aggregator", "a LOSS record moves the mark by one")                                   \
    X(loss_not_counted, "aggregator", "what a LOSS record says is lost is not written")                          \
    X(loss_overlap_ignored, "aggregator", "a LOSS record that begins at the mark and goes on is a repetition")   \
    X(first_owner_suffices, "broker", "a batch is acknowledged when one owner has it")                           \
    X(joining_not_awaited, "broker", "a batch is acknowledged though who is joining does not have it")           \
    X(epochs_add_up, "broker", "acknowledgements of different epochs are added up")                              \
    X(loss_acked_by_its_first, "broker", "the first number of a LOSS record stands for all of it")               \
    X(budget_ignored, "broker", "batches are taken in without end")                                              \
    X(resend_forgotten, "agent", "what brings no answer is not sent again")                                      \
    X(credit_ignored, "agent", "batches are sent beyond the credit")                                             \
    X(claims_older_gone, "agent", "a batch is sent as the oldest one in the spool")                              \
    X(found_forgotten, "agent", "what was in the spool at the start is not reckoned with")                       \
    X(first_not_alone, "agent", "what a spool that may be set back holds is sent before the first answer")       \
    X(renewed_unsettled, "agent", "a new incarnation begins while batches of the old one are in flight")         \
    X(sent_before_sync, "agent", "a batch is sent before the spool is synced")                                   \
    X(released_when_sent, "agent", "a batch leaves the spool when it is sent")                                   \
    X(joined_without_marks, "aggregator", "who joins keeps what comes before it knows a member's marks")         \
    X(given_before_epoch, "aggregator", "a member gives marks and past away before it knows the joiner's epoch") \
    X(replaced_directly, "aggregator", "an aggregator takes another one's place without joining")                \
    X(left_unconfirmed, "aggregator", "a member leaves though no other one said that it lacks nothing")          \
    X(no_regress_check, "aggregator", "a member that lost acknowledged data goes on")                            \
    X(no_verify, "aggregator", "a member goes on after a crash as if it lacked nothing")                         \
    X(no_touch, "aggregator", "what a member said before a crash counts after it")

enum weir_mutant {
    WEIR_MUTANT_NONE,
#define WEIR_MUTANT_ENUM(name, place, what) WEIR_MUTANT_##name,
    WEIR_MUTANT_RULES(WEIR_MUTANT_ENUM)
#undef WEIR_MUTANT_ENUM
        WEIR_MUTANTS_COUNT
};

extern enum weir_mutant weir_mutant;

#define MUTANT(name) (weir_mutant == WEIR_MUTANT_##name)

#else

#define MUTANT(name) false

#endif

#endif
