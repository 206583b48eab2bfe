/** Any bytes are a chunk of an answer, of one shape or another, or an error; what was taken can be ranked and sent on. */
#include "common/wire/question.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int drop(void *ctx, struct weir_view header, struct weir_view body)
{
    (void)ctx;
    struct weir_answer_header decoded;
    assert(weir_answer_header_decode(header, &decoded) == 0);
    assert(body.size <= WEIR_CHUNK_BYTES_MOST);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_answer_header header;
    weir_answer_header_decode(weir_view_of(data, size), &header);
    for (int shape = WEIR_SHAPE_TABLE; shape <= WEIR_SHAPE_NODES; shape++) {
        struct weir_question question;
        weir_question_init(&question);
        question.shape = (enum weir_shape)shape;
        if (shape <= WEIR_SHAPE_SERIES) {
            question.dim_count = 2;
            question.dims[0] = WEIR_DIM_site;
            question.dims[1] = WEIR_DIM_src_ip;
        }
        struct weir_answer answer;
        if (weir_answer_init(&answer, &question) < 0) continue;
        if (weir_answer_decode(weir_view_of(data, size), &answer) == 0) {
            assert(weir_answer_rank(&answer, 5, true) == 0);
            weir_answer_encode(&answer, 1, "fuzz", drop, NULL);
        }
        weir_answer_fini(&answer);
    }
    return 0;
}
