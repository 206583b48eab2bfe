/** Configuration files: whatever loads prints as a file that loads to the same; what does not, says why. */
#include "common/base/mem.h"
#include "common/conf/option.h"

#include <assert.h>

struct sample_listener {
#define WEIR_OPTIONS "tests/unit/common/conf/sample_listen.def"
#include "common/conf/option_fields.h"
};
#define WEIR_OPTIONS        "tests/unit/common/conf/sample_listen.def"
#define WEIR_OPTIONS_STRUCT sample_listener
extern const struct weir_schema sample_listener_schema;
#include "common/conf/option_rows.h"

struct sample {
#define WEIR_OPTIONS "tests/unit/common/conf/sample.def"
#include "common/conf/option_fields.h"
};
#define WEIR_OPTIONS        "tests/unit/common/conf/sample.def"
#define WEIR_OPTIONS_STRUCT sample
extern const struct weir_schema sample_schema;
#include "common/conf/option_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/** libconfig 1.5 forgets the string that it was reading when it meets a syntax error. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig.so\n";
}

static void print_and_load_again(const struct sample *conf)
{
    struct sample again = {0};
    struct weir_why why = {""};
    struct weir_buf text = WEIR_BUF_INIT;
    struct weir_buf reprinted = WEIR_BUF_INIT;
    weir_conf_print(&sample_schema, conf, true, &text);
    int rc = weir_conf_load_text(weir_buf_cstr(&text), "again", &sample_schema, &again, &why);
    assert(rc == 0);
    weir_conf_print(&sample_schema, &again, true, &reprinted);
    assert(weir_view_equal(weir_buf_view(&text), weir_buf_view(&reprinted)));
    weir_conf_free(&sample_schema, &again);
    weir_buf_fini(&text);
    weir_buf_fini(&reprinted);
}

static void read_a_size_and_a_duration(const char *text)
{
    uint64_t bytes = 0;
    int64_t ms = 0;
    uint64_t again = 0;
    struct weir_buf out = WEIR_BUF_INIT;
    if (weir_conf_size_parse(text, &bytes) == 0) {
        weir_conf_size_print(bytes, &out);
        assert(weir_conf_size_parse(weir_buf_cstr(&out), &again) == 0 && again == bytes);
    }
    weir_buf_clear(&out);
    if (weir_conf_duration_parse(text, &ms) == 0) {
        int64_t ms_again = -1;
        assert(ms >= 0);
        weir_conf_duration_print(ms, &out);
        assert(weir_conf_duration_parse(weir_buf_cstr(&out), &ms_again) == 0 && ms_again == ms);
    }
    weir_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = weir_strndup((const char *)data, size);
    if (text == NULL) return 0;
    struct sample conf = {0};
    struct weir_why why = {""};
    int rc = weir_conf_load_text(text, "f", &sample_schema, &conf, &why);
    if (rc == 0) {
        print_and_load_again(&conf);
        weir_conf_free(&sample_schema, &conf);
    } else {
        assert((rc == WEIR_EPARAM || rc == WEIR_EFORMAT) && why.text[0] != '\0' && conf.name == NULL);
    }
    read_a_size_and_a_duration(text);
    weir_free(text);
    return 0;
}
