/** Any bytes are a question, a cancellation or an error; a question survives being sent on. */
#include "common/wire/question.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_question question;
    struct weir_why why;
    int rc = weir_question_decode(weir_view_of(data, size), &question, &why);
    if (rc == 0) {
        struct weir_buf bytes = WEIR_BUF_INIT;
        struct weir_question again;
        struct weir_answer answer;
        assert(weir_question_encode(&question, &bytes) == 0);
        assert(weir_question_decode(weir_buf_view(&bytes), &again, &why) == 0);
        assert(again.id == question.id && again.pick_count == question.pick_count);
        weir_question_fini(&again);
        weir_buf_fini(&bytes);
        if (weir_answer_init(&answer, &question) == 0) weir_answer_fini(&answer);
    }
    weir_question_fini(&question);
    return 0;
}
