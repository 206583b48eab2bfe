/** Time ranges: whatever is typed, a range that is accepted lies in order and not in the future. */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/flow/timerange.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int32_t zone_offset(void *ctx, int64_t utc_s)
{
    (void)ctx;
    return utc_s >= 1774746000 && utc_s < 1792890000 ? 7200 : 3600;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t now_ms = INT64_C(1774800000123);
    const struct weir_zone zone = {.offset = zone_offset};
    char *text = weir_strndup((const char *)data, size);
    if (text == NULL) return 0;

    struct weir_timerange range;
    struct weir_time_error error = {0};
    int rc = weir_timerange_parse(text, now_ms, &zone, &range, &error);
    if (rc == 0) {
        assert(range.from_ms >= 0 && range.from_ms < range.to_ms && range.to_ms <= now_ms);
    } else {
        assert(rc == WEIR_EFORMAT || rc == WEIR_EPARAM);
        assert(error.column >= 1 && error.column <= strlen(text) + 1 && error.message[0] != '\0');
    }
    int64_t ms;
    if (weir_timepoint_parse(text, now_ms, &zone, &ms, &error) == 0) assert(ms >= -86400000);
    if (weir_duration_parse(text, &ms, &error) == 0) assert(ms >= 0);
    weir_free(text);
    return 0;
}
