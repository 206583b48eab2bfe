#include "console/http/ask.h"

#include "common/base/clock.h"

/** One question, one ranked answer. */
static int ask_once(const struct console_asker *asker, const struct weir_question *question, struct weir_answer *answer)
{
    int rc = weir_answer_init(answer, question);
    if (rc < 0) return rc;
    rc = asker->ask(asker->ctx, question, answer);
    if (rc == 0) rc = weir_answer_rank(answer, question->limit, false);
    if (rc < 0) weir_answer_fini(answer);
    return rc;
}

/** Let @question pick the groups that a table found. */
static int pick_groups(struct weir_question *question, const struct weir_answer *table)
{
    for (size_t i = 0; i < table->row_count; i++) {
        const char *names[WEIR_QUESTION_DIMS_MOST] = {0};
        for (uint32_t d = 0; d < table->dim_count; d++) {
            if (weir_dims[table->dims[d]].type == WEIR_DIM_TYPE_TEXT) {
                names[d] = weir_answer_name_at(table, (uint32_t)table->rows[i].key[d].number);
            }
        }
        int rc = weir_question_pick(question, table->rows[i].key, names);
        if (rc < 0) return rc;
    }
    return 0;
}

static int ask_series(const struct console_asker *asker, const struct weir_question *series, struct weir_answer *answer)
{
    struct weir_question question;
    struct weir_answer table;
    int64_t deadline_mono_ms = weir_mono_ms() + series->deadline_ms;
    int rc = weir_question_copy(&question, series);
    if (rc < 0) return rc;

    question.shape = WEIR_SHAPE_TABLE;
    question.step_ms = 0;
    question.deadline_ms = series->deadline_ms / 2 + 1; /* the other half is for how they went */
    rc = ask_once(asker, &question, &table);
    if (rc < 0) goto done;
    rc = pick_groups(&question, &table);
    if (rc == 0) {
        int64_t left = deadline_mono_ms - weir_mono_ms();
        question.shape = WEIR_SHAPE_SERIES;
        question.step_ms = series->step_ms;
        question.deadline_ms = left < 1 ? 1 : (uint32_t)left;
        rc = ask_once(asker, &question, answer);
        if (rc == 0) answer->error_bound += table.error_bound;
    }
    weir_answer_fini(&table);
done:
    weir_question_fini(&question);
    return rc;
}

int console_ask(const struct console_asker *asker, const struct weir_question *question, struct weir_answer *answer)
{
    bool grouped = question->shape == WEIR_SHAPE_SERIES && question->dim_count > 0;
    return grouped ? ask_series(asker, question, answer) : ask_once(asker, question, answer);
}
