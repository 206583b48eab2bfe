/** Deliveries of Amazon Data Firehose, and gzip that is whole. Base64 and gzip were made with coreutils and gzip. */
#include "agent/feed/firehose.h"
#include "agent/feed/gzip.h"

#include <stdio.h>

#include "tests/support/cmocka.h"

#define ID    "ed4acda5-034f-9f42-bba1-f29aea6d7d8f"
#define LINE1 "2 123456789012 eni-0a1b 10.0.0.1 10.0.0.2 1024 443 6 10 840 1700000000 1700000060 ACCEPT OK\n"
#define LINE2 "2 123456789012 eni-0a1b 10.0.0.3 10.0.0.4 1025 53 17 1 60 1700000000 1700000060 REJECT OK\n"
/* The first without, the second with its line end. */
#define DATA1                                                                                                        \
    "MiAxMjM0NTY3ODkwMTIgZW5pLTBhMWIgMTAuMC4wLjEgMTAuMC4wLjIgMTAyNCA0NDMgNiAxMCA4NDAgMTcwMDAwMDAwMCAxNzAwMDAwMDYwIE" \
    "FDQ0VQVCBPSw=="
#define DATA2                                                                                                        \
    "MiAxMjM0NTY3ODkwMTIgZW5pLTBhMWIgMTAuMC4wLjMgMTAuMC4wLjQgMTAyNSA1MyAxNyAxIDYwIDE3MDAwMDAwMDAgMTcwMDAwMDA2MCBSRU" \
    "pFQ1QgT0sK"
/* {"message": LINE1}{"message": LINE2} */
#define MESSAGES                                                                                                     \
    "eyJtZXNzYWdlIjogIjIgMTIzNDU2Nzg5MDEyIGVuaS0wYTFiIDEwLjAuMC4xIDEwLjAuMC4yIDEwMjQgNDQzIDYgMTAgODQwIDE3MDAwMDAwMD" \
    "AgMTcwMDAwMDA2MCBBQ0NFUFQgT0sifXsibWVzc2FnZSI6ICIyIDEyMzQ1Njc4OTAxMiBlbmktMGExYiAxMC4wLjAuMyAxMC4wLjAuNCAxMDI1" \
    "IDUzIDE3IDEgNjAgMTcwMDAwMDAwMCAxNzAwMDAwMDYwIFJFSkVDVCBPSyJ9"
/* gzip of CloudWatch's DATA_MESSAGE with both lines, and of a CONTROL_MESSAGE */
#define CLOUDWATCH                                                                                                     \
    "H4sIAAAAAAACA6WOXUvDMBSG/8rhXE/JadN2ele6OHCIw/ZOhnSalcD6QZJNZOy/L8e14o1XJjdv3uec8Jyw1c7Vja6+Bo33gIu8yt+eVFnmS4"   \
    "UzwP6z05YBRbFM0mx+JyhisO+bpe0PA7NmLEpvdd1y47hxh617t2bwpu8ezN5r6wJ7xR1urvPqqDv/3Z3QfPCe4D1vgpSvW/6bwntUZB7Bbw/Qnb" \
    "kRNW2BxC1fmkKYE5EEKWNIQ4S5FECZGM9PTAXkRaHWFTyv8DyDSYP+pxFPQbJGAkkoMiBI/5J4UY+quEpszhdH2AhXlAEAAA=="
#define CONTROL                                                                                                      \
    "H4sIAAAAAAACAy2Oyw6CMBBFf4XM2gXFtztjKhuVxLIzxCCOpAnQplN8hPDvMspyzrl3cjuokSgvMf1YhE0Au+SUnpPD9SiV2sYSJgGYV4OOnY" \
    "ims/liuVqHImJRmTJ2prXsyhEo7zCvmRATam9UOG29Ns1eVx4dDe4CD8j+efnExv9YB/rOvZB7Xg+7fF7zbzHc40r2b+iz/guN6oyJuAAAAA=="

static int unpack(enum feed_format format, const char *records, size_t most, char ret[1024])
{
    struct weir_buf body = WEIR_BUF_INIT;
    struct weir_buf out = WEIR_BUF_INIT;
    struct weir_why why = {""};
    weir_buf_printf(&body, "{\"requestId\":\"" ID "\",\"timestamp\":1578090901599,\"records\":%s}", records);
    int rc = feed_firehose_unpack(weir_buf_view(&body), ID, format, most, &out, &why);
    snprintf(ret, 1024, "%s", rc < 0 ? why.text : weir_buf_cstr(&out));
    weir_buf_fini(&body);
    weir_buf_fini(&out);
    return rc;
}

static void records_become_lines_whatever_they_are_wrapped_in(void **state)
{
    (void)state;
    static const struct {
        enum feed_format format;
        const char *records;
        const char *log;
    } cases[] = {
        {FEED_AWS, "[]", ""},
        {FEED_AWS, "[{\"data\":\"\"}]", ""},
        {FEED_AWS, "[{\"data\":\"" DATA1 "\"},{\"data\":\"" DATA2 "\"}]", LINE1 LINE2},
        {FEED_AWS, "[{\"data\":\"" MESSAGES "\"},{\"data\":\"" DATA1 "\"}]", LINE1 LINE2 LINE1},
        {FEED_AWS, "[{\"data\":\"" CLOUDWATCH "\"},{\"data\":\"" CONTROL "\"}]", LINE1 LINE2},
        {FEED_AWS, "[{\"data\":\"eyJtZXNzYWdlIjoxfQ==\"}]", "{\"message\":1}\n"}, /* for the parser to say */
        {FEED_AWS, "[{\"data\":\"ey4uLgo=\"}]", "{...\n"},
        {FEED_GCP, "[{\"data\":\"eyJtZXNzYWdlIjoiYSJ9\"}]", "{\"message\":\"a\"}\n"}, /* no wrapping there */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char log[1024];
        int rc = unpack(cases[i].format, cases[i].records, 1 << 20, log);
        if (rc < 0) fail_msg("case %zu: %s", i, log);
        assert_string_equal(log, cases[i].log);
    }
}

static void what_is_no_delivery_is_refused_whole_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *records;
        const char *why;
    } cases[] = {
        {"[", "byte "},
        {"{}", "records is no array"},
        {"[{\"data\":\"" DATA2 "\"},{}]", "records[1]"},
        {"[{\"data\":1}]", "records[0]"},
        {"[1]", "records[0]"},
        {"[{\"data\":\"abc\"}]", "records[0]"},  /* no whole group */
        {"[{\"data\":\"a*bc\"}]", "records[0]"}, /* no digit */
        {"[{\"data\":\"ab=c\"}]", "records[0]"},
        {"[{\"data\":\"a===\"}]", "records[0]"},
        {"[{\"data\":\"H4sIAAAA\"}]", "records[0]"}, /* gzip that is cut off */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[1024];
        assert_int_equal(unpack(FEED_AWS, cases[i].records, 1 << 20, why), WEIR_EFORMAT);
        if (strstr(why, cases[i].why) == NULL) fail_msg("case %zu: %s", i, why);
    }
    struct weir_buf out = WEIR_BUF_INIT;
    const struct weir_view other = weir_view_text("{\"requestId\":\"1\",\"records\":[]}");
    assert_int_equal(feed_firehose_unpack(other, "2", FEED_AWS, 10, &out, NULL), WEIR_EFORMAT);
    assert_int_equal(feed_firehose_unpack(other, "1", FEED_AWS, 10, &out, NULL), 0);
}

static void no_more_comes_out_than_may(void **state)
{
    (void)state;
    char text[1024];
    const size_t lines = sizeof LINE1 LINE2 - 1;
    const char *records = "[{\"data\":\"" CLOUDWATCH "\"}]";
    assert_int_equal(unpack(FEED_AWS, records, 500, text), 0);
    assert_int_equal(unpack(FEED_AWS, records, 300, text), WEIR_ELIMIT); /* the JSON is longer than the lines */
    records = "[{\"data\":\"" DATA1 "\"},{\"data\":\"" DATA2 "\"}]";
    assert_int_equal(unpack(FEED_AWS, records, lines + 1, text), 0);
    assert_int_equal(unpack(FEED_AWS, records, lines - 1, text), WEIR_ELIMIT);
    assert_non_null(strstr(text, "more than"));
}

static void an_answer_is_as_firehose_reads_it(void **state)
{
    (void)state;
    struct weir_buf out = WEIR_BUF_INIT;
    feed_firehose_answer(ID, 1578090903599, NULL, &out);
    assert_string_equal(weir_buf_cstr(&out), "{\"requestId\":\"" ID "\",\"timestamp\":1578090903599}");
    weir_buf_clear(&out);
    feed_firehose_answer("a\"b", 1, "no \"key\"", &out);
    assert_string_equal(weir_buf_cstr(&out),
                        "{\"requestId\":\"a\\\"b\",\"timestamp\":1,\"errorMessage\":\"no \\\"key\\\"\"}");
    weir_buf_clear(&out);
    feed_firehose_answer("\xff", 1, NULL, &out); /* no UTF-8 */
    assert_string_equal(weir_buf_cstr(&out), "{\"requestId\":\"\",\"timestamp\":1}");
    weir_buf_fini(&out);
}

static const uint8_t gz[] = {0x1f, 0x8b, 0x8,  0x0, 0x0, 0x0,  0x0,  0x0,  0x2,  0x3, 0xcb, 0x48, 0xcd,
                             0xc9, 0xc9, 0xe7, 0x2, 0x0, 0x20, 0x30, 0x3a, 0x36, 0x6, 0x0,  0x0,  0x0,
                             0x1f, 0x8b, 0x8,  0x0, 0x0, 0x0,  0x0,  0x0,  0x2,  0x3, 0x2b, 0xcf, 0x2f,
                             0xca, 0x49, 0xe1, 0x2, 0x0, 0xa8, 0x61, 0x38, 0xdd, 0x6, 0x0,  0x0,  0x0};

static void gzip_is_taken_whole_or_not_at_all(void **state)
{
    (void)state;
    enum { MEMBER = sizeof gz / 2 };
    struct weir_buf out = WEIR_BUF_INIT;
    assert_int_equal(feed_gunzip(weir_view_of(gz, sizeof gz), 12, &out), 0);
    assert_string_equal(weir_buf_cstr(&out), "hello\nworld\n");
    assert_int_equal(feed_gunzip(weir_view_of(gz, sizeof gz), 11, NULL), WEIR_ELIMIT);
    for (size_t size = 0; size <= sizeof gz; size++) {
        int rc = size > 0 && size % MEMBER == 0 ? 0 : WEIR_EFORMAT;
        assert_int_equal(feed_gunzip(weir_view_of(gz, size), 12, NULL), rc);
    }
    uint8_t bytes[sizeof gz + 1] = {0};
    memcpy(bytes, gz, sizeof gz); /* something is behind it */
    assert_int_equal(feed_gunzip(weir_view_of(bytes, sizeof bytes), 12, NULL), WEIR_EFORMAT);
    bytes[18] ^= 1; /* the CRC */
    assert_int_equal(feed_gunzip(weir_view_of(bytes, sizeof gz), 12, NULL), WEIR_EFORMAT);
    assert_int_equal(feed_gunzip(weir_view_text("hello"), 12, NULL), WEIR_EFORMAT);
    weir_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_become_lines_whatever_they_are_wrapped_in),
        cmocka_unit_test(what_is_no_delivery_is_refused_whole_with_its_place),
        cmocka_unit_test(no_more_comes_out_than_may),
        cmocka_unit_test(an_answer_is_as_firehose_reads_it),
        cmocka_unit_test(gzip_is_taken_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
