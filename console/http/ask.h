/**
 * Asking, seen from the API: a function that answers one question from all aggregators, and what is made of it. Tests
 * bring a function of their own.
 */
#ifndef WEIR_CONSOLE_HTTP_ASK_H
#define WEIR_CONSOLE_HTTP_ASK_H

#include "common/flow/answer.h"

/**
 * Answer @question within its deadline into @answer, initialised for it, not ranked. Who did not answer is a source of
 * the answer that is not ok. Any thread; blocks.
 *   WEIR_ECLOSED  we are leaving     WEIR_ENOMEM
 */
typedef int console_ask_fn(void *ctx, const struct weir_question *question, struct weir_answer *answer);

struct console_asker {
    console_ask_fn *ask;
    void *ctx;
};

/**
 * Ask and rank. A series of groups takes two questions: which are the groups (a table), and how those went; @answer
 * carries the first one's error bound. @answer is initialised here, and to be given to weir_answer_fini on success.
 */
int console_ask(const struct console_asker *asker, const struct weir_question *question, struct weir_answer *answer);

#endif
