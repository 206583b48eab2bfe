#include "console/cli/pcap.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/cmocka.h"

/** A seed of the fuzz target; the caller frees. */
static uint8_t *seed(const char *name, size_t *size)
{
    char path[256];
    snprintf(path, sizeof path, "tests/fuzz/seeds/fuzz_pcap/%s", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *data = malloc(65536);
    *size = fread(data, 1, 65536, file);
    fclose(file);
    return data;
}

static void every_link_type_and_byte_order_gives_its_payloads(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *payloads[6];
    } cases[] = {
        {"pcap_little_ethernet", {"hello", "vlan", "six", "ext"}},
        {"pcap_big_nanoseconds_raw", {"raw", "raw6"}},
        {"pcap_sll", {"sll"}},
        {"pcapng_little", {"hello", "vlan", "six", "hello"}},
        {"pcapng_big", {"hello", "vlan", "hello"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size;
        uint8_t *data = seed(cases[i].name, &size);
        struct pcap pcap;
        struct pcap_datagram datagram;
        assert_int_equal(pcap_begin(weir_view_of(data, size), &pcap), 0);
        size_t n = 0;
        while (pcap_next(&pcap, &datagram) > 0) {
            assert_non_null(cases[i].payloads[n]);
            assert_true(weir_view_equal(datagram.payload, weir_view_text(cases[i].payloads[n])));
            assert_int_equal(datagram.src_port, 2055);
            n++;
        }
        assert_null(cases[i].payloads[n]);
        free(data);
    }
}

static void what_is_passed_over_is_counted_by_reason(void **state)
{
    (void)state;
    size_t size;
    uint8_t *data = seed("pcap_little_ethernet", &size);
    struct pcap pcap;
    struct pcap_datagram datagram;
    assert_int_equal(pcap_begin(weir_view_of(data, size), &pcap), 0);
    while (pcap_next(&pcap, &datagram) > 0)
        continue;
    assert_int_equal(pcap.counts.packets, 8);
    assert_int_equal(pcap.counts.datagrams, 4);
    assert_int_equal(pcap.counts.not_udp, 2);
    assert_int_equal(pcap.counts.fragments, 1);
    assert_int_equal(pcap.counts.cut, 1);
    free(data);
}

static void a_capture_that_ends_early_says_so_wherever_it_ends(void **state)
{
    (void)state;
    size_t size;
    uint8_t *data = seed("pcapng_little", &size);
    size_t whole = 0;
    for (size_t cut = 0; cut <= size; cut++) {
        uint8_t *exact = malloc(cut == 0 ? 1 : cut); /* so that ASan sees a byte too many */
        memcpy(exact, data, cut);
        struct pcap pcap;
        struct pcap_datagram datagram;
        int rc = pcap_begin(weir_view_of(exact, cut), &pcap);
        while (rc >= 0 && (rc = pcap_next(&pcap, &datagram)) > 0)
            continue;
        whole += rc == 0;
        assert_true(rc == 0 || rc == WEIR_ESHORT || rc == WEIR_EFORMAT);
        free(exact);
    }
    assert_int_equal(whole, 6); /* cut exactly behind one of its six blocks */
    free(data);
}

/* An interface with a clock of its own (if_tsresol), then one packet at tick @ticks. */
static int64_t time_by(uint8_t resolution, uint64_t ticks)
{
    static const uint8_t packet[32] = {0x45, 0,  0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0,  0,
                                       1,    10, 0, 0,  2, 0, 1, 8, 7,  0,  9, 0, 0,  'x'};
    uint8_t file[28 + 32 + 64] = {0};
    uint32_t words[] = {0x0a0d0d0a,
                        28,
                        0x1a2b3c4d,
                        1,
                        0xffffffff,
                        0xffffffff,
                        28,
                        1,
                        32,
                        101,
                        0,
                        0x00010009,
                        0,
                        0,
                        32,
                        6,
                        64,
                        0,
                        (uint32_t)(ticks >> 32),
                        (uint32_t)ticks,
                        29,
                        29};
    words[12] = resolution;
    memcpy(file, words, sizeof words);
    memcpy(file + sizeof words, packet, sizeof packet);
    uint32_t length = 64;
    memcpy(file + sizeof words + sizeof packet, &length, sizeof length);

    struct pcap pcap;
    struct pcap_datagram datagram;
    assert_int_equal(pcap_begin(weir_view_of(file, sizeof words + sizeof packet + sizeof length), &pcap), 0);
    assert_int_equal(pcap_next(&pcap, &datagram), 1);
    assert_int_equal(datagram.payload.size, 1);
    return datagram.time_us;
}

static void each_interface_has_a_clock_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(time_by(6, 1772600000123456), 1772600000123456);
    assert_int_equal(time_by(9, 1772600000123456789), 1772600000123456);
    assert_int_equal(time_by(3, 1772600000123), 1772600000123000);
    assert_int_equal(time_by(0x80 | 10, UINT64_C(1772600000) * 1024 + 512), 1772600000500000);
    assert_int_equal(time_by(19, 5), 0); /* finer than 64 bits can say */
    assert_int_equal(time_by(0xff, 5), 0);
    assert_int_equal(time_by(0, UINT64_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_link_type_and_byte_order_gives_its_payloads),
        cmocka_unit_test(what_is_passed_over_is_counted_by_reason),
        cmocka_unit_test(each_interface_has_a_clock_of_its_own),
        cmocka_unit_test(a_capture_that_ends_early_says_so_wherever_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
