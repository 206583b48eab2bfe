/** The ring of captures, read with the reader of `weir replay`. That tshark reads it, too: tests/integration/test_input.py. */
#include "agent/ring.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "console/cli/pcap.h"
#include "tests/support/folder.h"

#include "tests/support/cmocka.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MOST = 1 << 20 };

static char folder[FOLDER_BYTES];
static uint8_t file[FILE_MOST];

static int set_up(void **state)
{
    (void)state;
    weir_log_set_level(WEIR_LOG_ERROR);
    make_folder(folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

static struct agent_ring *ring_of(size_t bytes_most)
{
    struct agent_ring *ring = NULL;
    struct weir_why why = {""};
    assert_int_equal(agent_ring_create(folder, bytes_most, &ring, &why), 0);
    return ring;
}

static struct agent_ring_note note_of(const char *from, const char *to)
{
    struct agent_ring_note note = {.from_port = 4000, .to_port = 2055, .received_ms = 1700000000123};
    assert_int_equal(weir_ip_parse(from, &note.from), 0);
    assert_int_equal(weir_ip_parse(to, &note.to), 0);
    return note;
}

/** The bytes of a file of the ring; empty when there is none. */
static struct weir_view read_file(const char *name)
{
    char path[FOLDER_BYTES + 32];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *from = fopen(path, "rb");
    size_t size = from == NULL ? 0 : fread(file, 1, sizeof file, from);
    if (from != NULL) fclose(from);
    return weir_view_of(file, size);
}

/** Offer until it is kept: as many a second are as are allowed. */
static void keep(struct agent_ring *ring, const struct agent_ring_note *note, struct weir_view datagram)
{
    for (int tries = 0; !agent_ring_offer(ring, note, datagram); tries++) {
        assert_true(tries < 1000);
        poll(NULL, 0, 10);
    }
    agent_ring_settle(ring);
}

static void what_is_kept_can_be_read_with_its_addresses_and_time(void **state)
{
    (void)state;
    static uint8_t longest[65535];
    struct agent_ring *ring = ring_of(1 << 20);
    struct agent_ring_note four = note_of("192.0.2.1", "198.51.100.2");
    struct agent_ring_note six = note_of("2001:db8::1", "2001:db8::2");
    memset(longest, 0xab, sizeof longest);
    keep(ring, &four, weir_view_text("odd"));
    keep(ring, &six, weir_view_text("garbage!"));
    keep(ring, &four, weir_view_of(NULL, 0));
    keep(ring, &six, weir_view_of(longest, sizeof longest)); /* of TCP; no UDP datagram is as long */

    struct pcap pcap;
    struct pcap_datagram got;
    char text[WEIR_IP_TEXT];
    assert_int_equal(pcap_begin(read_file("undecodable.pcap"), &pcap), 0);
    assert_int_equal(pcap_next(&pcap, &got), 1);
    assert_string_equal(weir_ip_format(&got.src, text), "192.0.2.1");
    assert_string_equal(weir_ip_format(&got.dst, text), "198.51.100.2");
    assert_int_equal(got.src_port, 4000);
    assert_int_equal(got.dst_port, 2055);
    assert_int_equal(got.time_us, 1700000000123000);
    assert_true(weir_view_equal(got.payload, weir_view_text("odd")));
    assert_int_equal(pcap_next(&pcap, &got), 1);
    assert_string_equal(weir_ip_format(&got.src, text), "2001:db8::1");
    assert_true(weir_view_equal(got.payload, weir_view_text("garbage!")));
    assert_int_equal(pcap_next(&pcap, &got), 1);
    assert_int_equal(got.payload.size, 0);
    assert_int_equal(pcap_next(&pcap, &got), 1);
    assert_int_equal(got.payload.size, 65507);
    assert_int_equal(pcap_next(&pcap, &got), 0);
    agent_ring_destroy(ring);
}

static void the_newest_are_there_in_bounded_files(void **state)
{
    (void)state;
    enum { COUNT = 60, BYTES = 4000 };
    struct agent_ring *ring = ring_of(AGENT_RING_LEAST_BYTES);
    struct agent_ring_note note = note_of("192.0.2.1", "198.51.100.2");
    static uint8_t datagram[BYTES];
    for (uint8_t n = 1; n <= COUNT; n++) {
        datagram[0] = n;
        keep(ring, &note, weir_view_of(datagram, sizeof datagram));
    }
    agent_ring_destroy(ring);

    uint8_t expected = COUNT;
    size_t records = 0;
    static const char *const names[] = {"undecodable.pcap", "undecodable.old.pcap"};
    for (int i = 0; i < 2; i++) {
        struct pcap pcap;
        struct pcap_datagram got;
        struct weir_view bytes = read_file(names[i]);
        assert_true(bytes.size <= AGENT_RING_LEAST_BYTES / 2);
        assert_int_equal(pcap_begin(bytes, &pcap), 0);
        uint8_t first = 0;
        uint8_t last = 0;
        for (; pcap_next(&pcap, &got) == 1; records++) {
            if (first == 0) first = got.payload.data[0];
            last = got.payload.data[0];
        }
        assert_int_equal(last, expected); /* nothing is missing between the files */
        expected = (uint8_t)(first - 1);
    }
    assert_true(records >= AGENT_RING_LEAST_BYTES / 2 / (BYTES + 100));
}

static void a_flood_is_held_to_a_few_a_second(void **state)
{
    (void)state;
    struct agent_ring *ring = ring_of(1 << 20);
    struct agent_ring_note note = note_of("192.0.2.1", "198.51.100.2");
    int kept = 0;
    for (int n = 0; n < 1000; n++)
        kept += agent_ring_offer(ring, &note, weir_view_text("garbage"));
    assert_true(kept >= 1 && kept <= 2 * AGENT_RING_PER_SECOND); /* the clock may have gone to the next second */
    agent_ring_destroy(ring);
}

static void a_ring_begins_anew_beside_that_of_before(void **state)
{
    (void)state;
    struct agent_ring_note note = note_of("192.0.2.1", "198.51.100.2");
    for (int run = 0; run < 2; run++) {
        struct agent_ring *ring = ring_of(1 << 20);
        keep(ring, &note, weir_view_text(run == 0 ? "first" : "second"));
        agent_ring_destroy(ring);
    }
    agent_ring_destroy(ring_of(1 << 20)); /* without a datagram it leaves the files alone */
    struct pcap pcap;
    struct pcap_datagram got;
    assert_int_equal(pcap_begin(read_file("undecodable.pcap"), &pcap), 0);
    assert_int_equal(pcap_next(&pcap, &got), 1);
    assert_true(weir_view_equal(got.payload, weir_view_text("second")));
    assert_int_equal(pcap_begin(read_file("undecodable.old.pcap"), &pcap), 0);
    assert_int_equal(pcap_next(&pcap, &got), 1);
    assert_true(weir_view_equal(got.payload, weir_view_text("first")));
}

static void a_folder_that_cannot_be_written_costs_only_the_capture(void **state)
{
    (void)state;
    struct agent_ring *ring = NULL;
    struct agent_ring_note note = note_of("192.0.2.1", "198.51.100.2");
    assert_int_equal(agent_ring_create("/dev/null/nowhere", 1 << 20, &ring, NULL), 0);
    keep(ring, &note, weir_view_text("garbage"));
    agent_ring_destroy(ring);
}

static void without_memory_there_is_no_ring(void **state)
{
    (void)state;
    for (int64_t n = 0;; n++) {
        struct agent_ring *ring = NULL;
        weir_mem_fail_after(n);
        int rc = agent_ring_create(folder, 1 << 20, &ring, NULL);
        bool failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        agent_ring_destroy(ring);
        if (!failed) break;
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_kept_can_be_read_with_its_addresses_and_time),
        TEST(the_newest_are_there_in_bounded_files),
        TEST(a_flood_is_held_to_a_few_a_second),
        TEST(a_ring_begins_anew_beside_that_of_before),
        TEST(a_folder_that_cannot_be_written_costs_only_the_capture),
        TEST(without_memory_there_is_no_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
