/*
 * What is posted: the first byte chooses the format of the feed, and whether it is a delivery of Amazon Data Firehose or
 * gzip; the rest is the body.
 *
 * Beyond memory errors it checks that no more comes out than may, that lines end, and that looking at gzip says what
 * unpacking it says.
 */
#include "agent/feed/firehose.h"
#include "agent/feed/gzip.h"

#include <assert.h>

enum { MOST = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void unzip(struct weir_view body)
{
    struct weir_buf out = WEIR_BUF_INIT;
    int rc = feed_gunzip(body, MOST, &out);
    assert(rc == feed_gunzip(body, MOST, NULL));
    assert(rc < 0 || out.size <= MOST);
    if (rc == 0) assert(feed_gunzip(body, out.size, NULL) == 0);
    if (rc == 0 && out.size > 0) assert(feed_gunzip(body, out.size - 1, NULL) == WEIR_ELIMIT);
    weir_buf_fini(&out);
}

static void unpack(struct weir_view body, enum feed_format format)
{
    struct weir_buf out = WEIR_BUF_INIT;
    struct weir_why why = {""};
    int rc = feed_firehose_unpack(body, "ed4acda5-034f-9f42-bba1-f29aea6d7d8f", format, MOST, &out, &why);
    assert(out.size <= MOST);
    assert(rc == 0 || why.text[0] != '\0');
    assert(out.size == 0 || out.data[out.size - 1] == '\n');
    weir_buf_clear(&out);
    feed_firehose_answer(why.text, 1, why.text, &out);
    assert(out.size > 0);
    weir_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    struct weir_view body = weir_view_of(data + 1, size - 1);
    if ((data[0] & 4) != 0)
        unzip(body);
    else
        unpack(body, (enum feed_format)(data[0] & 3));
    return 0;
}
