/** Any body of a request is a question that may be asked, or a fault with words; what one site may see stays so. */
#include "common/base/mem.h"
#include "console/http/query.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** The filter that goes out lets no flow of another site pass. */
static void check_site(const struct console_query *query)
{
    struct weir_filter *filter = NULL;
    struct weir_filter_error error;
    const char *text = query->question.filter;
    int rc = weir_filter_parse(text, strlen(text), &filter, &error);
    assert(rc == 0);
    struct weir_flow flow = {.proto = 6};
    struct weir_where elsewhere = {.site = "nyc"};
    assert(!weir_filter_flow(filter, &flow, &elsewhere));
    weir_filter_destroy(filter);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct console_token token = {.name = "fuzz", .sites = "fra"};
    const struct console_query_rules rules = {
        .now_ms = 1772600000000, .timeout_ms = 2000, .timeout_most_ms = 5000, .token = &token};
    static const enum weir_shape shapes[] = {(enum weir_shape)0, WEIR_SHAPE_EXPORTERS};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct console_query query;
        struct console_fault fault = {CONSOLE_NO_PROBLEM};
        if (console_query_read_json((const char *)data, size, shapes[i], &rules, &query, &fault)) {
            assert(weir_question_check(&query.question, NULL) == 0);
            check_site(&query);
            console_query_fini(&query);
        } else {
            assert(fault.kind != CONSOLE_NO_PROBLEM && fault.detail[0] != '\0');
        }
    }
    char *text = NULL;
    size_t text_size = 0;
    struct console_fault fault = {CONSOLE_NO_PROBLEM};
    if (console_filter_read(weir_view_of(data, size), &text, &text_size, &fault)) weir_free(text);
    return 0;
}
