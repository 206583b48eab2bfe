#include "agent/spool.h"
#include "agent/spool_record.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/wire/batch.h"
#include "tests/support/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

enum { LANE = 7, INC = 4711 };

static char root[256];
static struct agent_spool_conf conf;

static int set_up(void **state)
{
    (void)state;
    /* In memory where there is such a folder: thousands of small files are made and cut here. */
    snprintf(root, sizeof root, "%s/weir-spool-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(root) == NULL) return -1;
    static char dir[300];
    snprintf(dir, sizeof dir, "%s/spool", root);
    conf = (struct agent_spool_conf){.dir = dir, .bytes_most = 64 << 20, .segment_bytes = 1 << 20};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(root);
    return 0;
}

static struct agent_spool *open_spool(void)
{
    struct agent_spool *spool = NULL;
    struct weir_why why = {{0}};
    int rc = agent_spool_open(&conf, INC, &spool, &why);
    if (rc < 0) fail_msg("%s: %s", weir_err_name(rc), why.text);
    return spool;
}

/** Append batch number @n: n flows, 2n packets, 3n bytes, a body of @size bytes that tells n. */
static int append_marked(struct agent_spool *spool, uint32_t n, uint32_t size, uint64_t mark)
{
    struct weir_buf head = WEIR_BUF_INIT;
    uint8_t *body = weir_malloc(size);
    struct weir_batch_header header = {.kind = WEIR_RECORD_DATA,
                                       .schema = WEIR_SCHEMA,
                                       .source.domain = 5,
                                       .totals = {.flows = n, .packets = 2ull * n, .bytes = 3ull * n},
                                       .first_received_ms = 1000 + n,
                                       .last_received_ms = 1000 + n,
                                       .loss.sequence_lost = 1,
                                       .raw_bytes = size};
    memset(body, (int)n, size);
    assert_int_equal(weir_batch_header_encode(&header, &head), 0);
    struct weir_view view = weir_view_of(body, size);
    struct agent_spool_place place = {0};
    int rc = agent_spool_append(spool, LANE, &header, weir_buf_view(&head), view,
                                weir_batch_crc(weir_buf_view(&head), view), mark, &place);
    assert_true(rc < 0 || place.seq >= agent_spool_lane(spool, LANE).next);
    weir_buf_fini(&head);
    weir_free(body);
    return rc;
}

static int append(struct agent_spool *spool, uint32_t n, uint32_t size)
{
    return append_marked(spool, n, size, 0);
}

static void note_synced(void *ctx, uint32_t shard, uint64_t next)
{
    assert_int_equal(shard, LANE);
    if (ctx != NULL) *(uint64_t *)ctx = next;
}

static void note_any_synced(void *ctx, uint32_t shard, uint64_t next)
{
    if (shard == LANE) note_synced(ctx, shard, next);
}

static uint64_t sync_spool(struct agent_spool *spool)
{
    uint64_t next = 0;
    assert_int_equal(agent_spool_sync(spool, note_synced, &next), 0);
    return next;
}

struct walk {
    uint64_t data; /* records */
    uint64_t losses;
    uint64_t data_flows;
    uint64_t lost_flows;
    uint64_t sequence_lost;
    uint64_t next;
};

/** Read the whole lane: numbers without gaps, sums that add up, headers and bodies that are what was appended. */
static struct walk walk_lane(struct agent_spool *spool, uint64_t cum_before)
{
    struct walk walk = {0};
    struct agent_spool_lane lane = agent_spool_lane(spool, LANE);
    uint64_t seq = lane.first_avail;
    uint64_t flows = cum_before;
    while (seq < lane.next) {
        struct agent_spool_record record;
        struct weir_batch_header header;
        uint64_t first;
        uint64_t last;
        int rc = agent_spool_read(spool, LANE, seq, &record);
        if (rc < 0) fail_msg("reading %llu: %s", (unsigned long long)seq, weir_err_name(rc));
        assert_int_equal(agent_spool_span(spool, LANE, seq, &first, &last), record.kind);
        assert_int_equal(record.first, seq);
        assert_int_equal(first, record.first);
        assert_int_equal(last, record.last);
        assert_int_equal(record.crc, weir_batch_crc(record.header, record.body));
        assert_int_equal(weir_batch_header_decode(record.header, &header), 0);
        assert_int_equal(header.kind, record.kind);
        walk.sequence_lost += header.loss.sequence_lost;
        flows += header.totals.flows;
        assert_int_equal(record.cum.flows, flows);
        assert_int_equal(record.cum.packets, 2 * flows);
        assert_int_equal(record.cum.bytes, 3 * flows);
        if (record.kind == WEIR_RECORD_LOSS) {
            assert_int_equal(record.body.size, 0);
            assert_int_equal(header.lost_to_seq, record.last);
            walk.losses++;
            walk.lost_flows += header.totals.flows;
        } else {
            assert_int_equal(record.last, record.first);
            assert_int_equal(record.body.size, header.raw_bytes);
            for (size_t i = 0; i < record.body.size; i++)
                assert_int_equal(record.body.data[i], (uint8_t)header.totals.flows);
            walk.data++;
            walk.data_flows += header.totals.flows;
        }
        seq = record.last + 1;
    }
    walk.next = lane.next;
    const struct agent_spool_stats *stats = agent_spool_stats(spool);
    assert_int_equal(stats->waiting.flows, walk.data_flows);
    assert_int_equal(stats->batches, walk.data);
    return walk;
}

/** found + taken = acked + waiting + everything lost */
static void assert_ledger_even(struct agent_spool *spool)
{
    const struct agent_spool_stats *s = agent_spool_stats(spool);
    assert_int_equal(s->found.flows + s->taken.flows, s->acked.flows + s->waiting.flows + s->lost_full.flows +
                                                          s->lost_error.flows + s->lost_damaged.flows +
                                                          s->lost_poison.flows);
}

/* ---- files, from behind ---- */

static void segment_path(uint64_t first, char out[4096])
{
    snprintf(out, 4096, "%s/lane-%03d/%020llu.seg", conf.dir, LANE, (unsigned long long)first);
}

static struct weir_buf load(const char *path)
{
    struct weir_buf buf = WEIR_BUF_INIT;
    assert_int_equal(weir_file_load(path, 64 << 20, &buf), 0);
    return buf;
}

static void store(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static int count_files(const char *folder, const char *ending)
{
    int count = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL) return 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        size_t length = strlen(entry->d_name);
        if (length > strlen(ending) && strcmp(entry->d_name + length - strlen(ending), ending) == 0) count++;
    }
    closedir(dir);
    return count;
}

static int count_segments(void)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/lane-%03d", conf.dir, LANE);
    return count_files(folder, ".seg");
}

static int count_quarantine(void)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/quarantine", conf.dir);
    return count_files(folder, ".seg") + count_files(folder, ".rec");
}

/** A spool with the batches 1..count in one file, closed. */
static void make_spool(uint32_t count, uint32_t size)
{
    struct agent_spool *spool = open_spool();
    for (uint32_t n = 1; n <= count; n++)
        assert_int_equal(append(spool, n, size), 0);
    assert_int_equal(sync_spool(spool), count + 1);
    agent_spool_close(spool);
}

/* ---- tests ---- */

static void records_come_back_before_and_after_a_restart(void **state)
{
    (void)state;
    struct agent_spool *spool = open_spool();
    assert_int_equal(agent_spool_inc(spool), INC);
    for (uint32_t n = 1; n <= 50; n++)
        assert_int_equal(append(spool, n, 100 + n), 0);
    assert_int_equal(sync_spool(spool), 51);
    struct walk walk = walk_lane(spool, 0);
    assert_int_equal(walk.data, 50);
    assert_int_equal(walk.data_flows, 50 * 51 / 2);
    agent_spool_close(spool);

    spool = open_spool();
    assert_int_equal(agent_spool_inc(spool), INC);
    walk = walk_lane(spool, 0);
    assert_int_equal(walk.data, 50);
    assert_int_equal(agent_spool_stats(spool)->found.flows, 50 * 51 / 2);
    assert_int_equal(agent_spool_stats(spool)->torn_tails, 0);
    assert_int_equal(append(spool, 51, 10), 0);
    assert_int_equal(sync_spool(spool), 52);
    assert_int_equal(walk_lane(spool, 0).data, 51);
    assert_ledger_even(spool);
    agent_spool_close(spool);
}

static void what_is_not_synced_is_not_there_to_send(void **state)
{
    (void)state;
    struct agent_spool *spool = open_spool();
    struct agent_spool_record record;
    assert_int_equal(append(spool, 1, 10), 0);
    assert_int_equal(agent_spool_lane(spool, LANE).next, 1);
    assert_int_equal(agent_spool_read(spool, LANE, 1, &record), WEIR_ENOTFOUND);
    assert_int_equal(sync_spool(spool), 2);
    assert_int_equal(agent_spool_read(spool, LANE, 1, &record), 0);
    assert_int_equal(sync_spool(spool), 0); /* no news */
    assert_int_equal(agent_spool_read(spool, LANE, 2, &record), WEIR_ENOTFOUND);
    agent_spool_close(spool);
}

static void acknowledged_records_leave_and_stay_away(void **state)
{
    (void)state;
    conf.segment_bytes = 4096;
    struct agent_spool *spool = open_spool();
    for (uint32_t n = 1; n <= 40; n++)
        assert_int_equal(append(spool, n, 800), 0);
    sync_spool(spool);
    assert_int_equal(count_segments(), 10);
    agent_spool_ack(spool, LANE, 22);
    assert_int_equal(agent_spool_lane(spool, LANE).first_avail, 23);
    assert_int_equal(count_segments(), 5);
    assert_int_equal(agent_spool_stats(spool)->acked.flows, 22 * 23 / 2);
    assert_int_equal(agent_spool_stats(spool)->oldest_ms, 1022);
    assert_int_equal(walk_lane(spool, 22 * 23 / 2).data, 18);
    agent_spool_checkpoint(spool);
    agent_spool_close(spool);

    spool = open_spool();
    assert_int_equal(agent_spool_lane(spool, LANE).first_avail, 23);
    assert_int_equal(walk_lane(spool, 22 * 23 / 2).data, 18);
    agent_spool_ack(spool, LANE, 40);
    agent_spool_ack(spool, LANE, 39); /* late news */
    assert_int_equal(agent_spool_stats(spool)->bytes, 0);
    assert_int_equal(agent_spool_stats(spool)->oldest_ms, 0);
    assert_ledger_even(spool);
    agent_spool_close(spool);

    spool = open_spool();
    assert_int_equal(agent_spool_lane(spool, LANE).first_avail, 41);
    assert_int_equal(append(spool, 41, 10), 0);
    assert_int_equal(sync_spool(spool), 42);
    assert_int_equal(walk_lane(spool, 40 * 41 / 2).data, 1); /* numbers and sums go on */
    agent_spool_close(spool);
}

static void a_lost_or_damaged_ack_file_costs_repetition_and_not_the_sums(void **state)
{
    (void)state;
    conf.segment_bytes = 4096;
    char path[4096];
    snprintf(path, sizeof path, "%s/lane-%03d/ack", conf.dir, LANE);
    for (int damage = 0; damage < 3; damage++) {
        struct agent_spool *spool = open_spool();
        for (uint32_t n = 1; n <= 10; n++)
            assert_int_equal(append(spool, n, 800), 0);
        sync_spool(spool);
        agent_spool_ack(spool, LANE, 5);
        agent_spool_checkpoint(spool);
        agent_spool_ack(spool, LANE, 6);
        agent_spool_checkpoint(spool);
        agent_spool_close(spool);

        struct weir_buf ack = load(path);
        assert_true(ack.size > SPOOL_ACK_APART);
        if (damage == 0) unlink(path);
        if (damage == 1) ack.data[16] ^= 1; /* the younger of the two slots: generation 2 */
        if (damage == 2) ack.data[SPOOL_ACK_APART + 16] ^= 1;
        if (damage != 0) store(path, ack.data, ack.size);
        weir_buf_fini(&ack);

        spool = open_spool();
        const uint64_t first[] = {5, 6, 7}; /* the first of the oldest file; the older slot; the younger slot */
        uint64_t got = agent_spool_lane(spool, LANE).first_avail;
        assert_int_equal(got, first[damage]);
        assert_int_equal(walk_lane(spool, (got - 1) * got / 2).data, 11 - got);
        agent_spool_close(spool);
        remove_folder(conf.dir);
    }
}

static void every_truncation_leaves_the_whole_records(void **state)
{
    (void)state;
    char path[4096];
    make_spool(3, 60);
    segment_path(1, path);
    struct weir_buf whole = load(path);
    size_t record = whole.size / 3;
    for (size_t size = 0; size <= whole.size; size++) {
        store(path, whole.data, size);
        struct agent_spool *spool = open_spool();
        uint64_t expected = size / record;
        struct walk walk = walk_lane(spool, 0);
        assert_int_equal(walk.data, expected);
        assert_int_equal(walk.losses, 0);
        assert_int_equal(agent_spool_stats(spool)->torn_tails, size % record == 0 ? 0 : 1);
        assert_int_equal(agent_spool_stats(spool)->quarantined, 0);

        assert_int_equal(append(spool, 9, 30), 0); /* and it goes on from there */
        assert_int_equal(sync_spool(spool), expected + 2);
        assert_int_equal(walk_lane(spool, 0).data, expected + 1);
        agent_spool_close(spool);
        char more[4096];
        segment_path(expected + 1, more);
        unlink(more);
    }
    weir_buf_fini(&whole);
}

static void every_flipped_byte_costs_one_record_and_is_written_down(void **state)
{
    (void)state;
    char path[4096];
    make_spool(3, 60);
    segment_path(1, path);
    struct weir_buf whole = load(path);
    size_t record = whole.size / 3;
    for (size_t at = 0; at < whole.size; at++) {
        remove_folder(conf.dir);
        mkdir(conf.dir, 0700);
        char folder[4096];
        snprintf(folder, sizeof folder, "%s/lane-%03d", conf.dir, LANE);
        mkdir(folder, 0700);
        whole.data[at] ^= 0xff;
        store(path, whole.data, whole.size);
        whole.data[at] ^= 0xff;

        struct weir_batch_header header;
        struct weir_view encoded = weir_view_of(whole.data + SPOOL_HEAD_BYTES, whole.data[16]);
        assert_int_equal(weir_batch_header_decode(encoded, &header), 0);
        bool padding = at % record >= SPOOL_HEAD_BYTES + encoded.size + 60; /* nobody reads it */
        uint64_t hit = at / record + 1;
        for (int again = 0; again < 2; again++) { /* what was repaired stays repaired */
            struct agent_spool *spool = open_spool();
            struct walk walk = walk_lane(spool, 0);
            if (padding) {
                assert_int_equal(walk.data, 3);
            } else if (hit < 3) {
                assert_int_equal(walk.data, 2);
                assert_int_equal(walk.losses, 1);
                assert_int_equal(walk.lost_flows, hit);
                assert_int_equal(walk.next, 4);
                assert_int_equal(agent_spool_stats(spool)->lost_damaged.flows, again == 0 ? hit : 0);
                assert_int_equal(count_quarantine(), 1);
            } else { /* cannot be told from a torn tail */
                assert_int_equal(walk.data, 2);
                assert_int_equal(walk.losses, 0);
                assert_int_equal(walk.next, 3);
                assert_int_equal(agent_spool_stats(spool)->torn_tails, again == 0 ? 1 : 0);
            }
            agent_spool_close(spool);
        }
    }
    weir_buf_fini(&whole);
}

static void damage_in_older_files_becomes_losses_with_exact_sums(void **state)
{
    (void)state;
    char path[4096];
    conf.segment_bytes = 4096;
    struct agent_spool *spool = open_spool();
    for (uint32_t n = 1; n <= 20; n++) /* four a file */
        assert_int_equal(append(spool, n, 800), 0);
    sync_spool(spool);
    agent_spool_close(spool);
    segment_path(5, path); /* the header of 6 and of 7 */
    struct weir_buf whole = load(path);
    whole.data[whole.size / 4 + 40] ^= 1;
    whole.data[whole.size / 2 + 40] ^= 1;
    store(path, whole.data, whole.size);
    weir_buf_fini(&whole);
    segment_path(13, path); /* 13..16 are gone altogether */
    unlink(path);

    spool = open_spool();
    struct walk walk = walk_lane(spool, 0);
    assert_int_equal(walk.data, 14);
    assert_int_equal(walk.losses, 2);
    assert_int_equal(walk.lost_flows, 6 + 7 + 13 + 14 + 15 + 16);
    assert_int_equal(walk.next, 21);
    assert_int_equal(agent_spool_stats(spool)->lost_damaged.flows, walk.lost_flows);
    assert_int_equal(count_quarantine(), 1);
    agent_spool_close(spool);
}

static void damage_of_what_was_acknowledged_is_no_loss(void **state)
{
    (void)state;
    char path[4096];
    make_spool(4, 60);
    struct agent_spool *spool = open_spool();
    agent_spool_ack(spool, LANE, 1);
    agent_spool_close(spool);
    segment_path(1, path);
    struct weir_buf whole = load(path);
    whole.data[40] ^= 1; /* 1, acknowledged, and 2, which is not */
    whole.data[whole.size / 4 + 40] ^= 1;
    store(path, whole.data, whole.size);
    weir_buf_fini(&whole);
    spool = open_spool();
    struct walk walk = walk_lane(spool, 1);
    assert_int_equal(walk.lost_flows, 2);
    assert_int_equal(walk.data_flows, 3 + 4);
    assert_int_equal(agent_spool_stats(spool)->lost_damaged.flows, 2);
    agent_spool_close(spool);
}

static void a_repair_that_was_cut_short_is_finished(void **state)
{
    (void)state;
    char path[4096];
    make_spool(3, 60);
    segment_path(1, path);
    struct weir_buf whole = load(path);
    size_t record = whole.size / 3;
    whole.data[record + 40] ^= 1;
    store(path, whole.data, whole.size);
    char copy[4096];
    segment_path(3, copy); /* the copy of what follows the damage was made, and no more */
    store(copy, whole.data + 2 * record, record);
    segment_path(2, copy);
    strcat(copy, ".tmp");
    store(copy, whole.data, 10);
    weir_buf_fini(&whole);

    struct agent_spool *spool = open_spool();
    struct walk walk = walk_lane(spool, 0);
    assert_int_equal(walk.data, 2);
    assert_int_equal(walk.lost_flows, 2);
    assert_int_equal(access(copy, F_OK), -1);
    agent_spool_close(spool);
}

static void a_full_spool_drops_the_oldest_that_was_not_sent(void **state)
{
    (void)state;
    conf.segment_bytes = 4096;
    conf.bytes_most = 32768;
    struct agent_spool *spool = open_spool();
    for (uint32_t n = 1; n <= 8; n++)
        assert_int_equal(append(spool, n, 800), 0);
    sync_spool(spool);
    agent_spool_sent(spool, LANE, 2); /* in flight: 1 and 2, in the first file */
    for (uint32_t n = 9; n <= 200; n++) {
        assert_int_equal(append(spool, n, 800), 0);
        if (n % 5 == 0) sync_spool(spool);
    }
    sync_spool(spool);
    struct walk walk = walk_lane(spool, 0);
    assert_int_equal(walk.next, 201);
    assert_int_equal(walk.losses, 1);
    assert_true(walk.data >= 20 && walk.data <= 32);
    assert_int_equal(walk.data_flows + walk.lost_flows, 200 * 201 / 2);
    assert_int_equal(walk.sequence_lost, 200); /* what the batches carried of the exporters' losses is carried on */
    assert_int_equal(agent_spool_stats(spool)->lost_full.flows, walk.lost_flows);
    assert_true(agent_spool_stats(spool)->disk_bytes <= conf.bytes_most + 4096);
    struct agent_spool_record record;
    assert_int_equal(agent_spool_read(spool, LANE, 2, &record), 0);
    assert_int_equal(record.kind, WEIR_RECORD_DATA);
    assert_int_equal(agent_spool_read(spool, LANE, 3, &record), 0);
    assert_int_equal(record.kind, WEIR_RECORD_LOSS);
    assert_int_equal(record.first, 3);

    /* Once the loss was sent it must not become longer: another one follows it. */
    agent_spool_sent(spool, LANE, record.last);
    for (uint32_t n = 201; n <= 260; n++)
        assert_int_equal(append(spool, n, 800), 0);
    sync_spool(spool);
    walk = walk_lane(spool, 0);
    assert_int_equal(walk.losses, 2);
    assert_int_equal(walk.data_flows + walk.lost_flows, 260 * 261 / 2);
    assert_ledger_even(spool);
    agent_spool_close(spool);

    spool = open_spool();
    struct walk again = walk_lane(spool, 0);
    assert_memory_equal(&again, &walk, sizeof walk);
    agent_spool_close(spool);
}

static void many_lanes_with_something_in_flight_still_drop_the_oldest(void **state)
{
    (void)state;
    conf.segment_bytes = 65536;
    conf.bytes_most = 131072;
    struct agent_spool *spool = open_spool();
    assert_int_equal(append(spool, 1, 800), 0);
    sync_spool(spool);
    agent_spool_sent(spool, LANE, 1);
    for (uint32_t n = 2; n <= 400; n++) /* both files of the lane have no room beside each other */
        assert_int_equal(append(spool, n, 1800), 0);
    sync_spool(spool);
    struct walk walk = walk_lane(spool, 0);
    assert_int_equal(walk.data_flows + walk.lost_flows, 400 * 401 / 2);
    assert_true(walk.data > 20);
    assert_int_equal(walk.losses, 1);
    struct agent_spool_record record;
    assert_int_equal(agent_spool_read(spool, LANE, 1, &record), 0);
    assert_int_equal(record.kind, WEIR_RECORD_DATA);
    assert_ledger_even(spool);
    agent_spool_close(spool);
    spool = open_spool();
    struct walk again = walk_lane(spool, 0);
    assert_memory_equal(&again, &walk, sizeof walk);
    assert_int_equal(agent_spool_stats(spool)->quarantined, 0);
    agent_spool_close(spool);
}

static void a_cut_segment_that_was_not_shortened_yet_is_recovered(void **state)
{
    (void)state;
    char path[4096];
    conf.segment_bytes = 65536;
    conf.bytes_most = 65536;
    struct agent_spool *spool = open_spool();
    for (uint32_t n = 1; n <= 10; n++)
        assert_int_equal(append(spool, n, 5000), 0);
    sync_spool(spool);
    agent_spool_sent(spool, LANE, 4);
    segment_path(1, path);
    struct weir_buf before = load(path);
    assert_int_equal(append(spool, 11, 15000), 0);
    sync_spool(spool);
    struct walk walk = walk_lane(spool, 0);
    assert_int_equal(walk.lost_flows, 5 + 6 + 7 + 8 + 9 + 10);
    agent_spool_close(spool);
    store(path, before.data, before.size); /* the crash came between the LOSS and the cut */
    weir_buf_fini(&before);

    spool = open_spool();
    struct walk again = walk_lane(spool, 0);
    assert_memory_equal(&again, &walk, sizeof walk);
    agent_spool_close(spool);
}

static void a_full_spool_may_refuse_the_new_instead(void **state)
{
    (void)state;
    conf.segment_bytes = 4096;
    conf.bytes_most = 16384;
    conf.on_full = AGENT_SPOOL_DROP_NEW;
    struct agent_spool *spool = open_spool();
    uint32_t taken = 0;
    uint64_t refused = 0;
    for (uint32_t n = 1; n <= 100; n++) {
        int rc = append(spool, n, 800);
        assert_true(rc == 0 || rc == WEIR_EFULL);
        if (rc == 0) taken = n;
        if (rc < 0) refused += n;
    }
    sync_spool(spool);
    assert_true(taken >= 14 && taken <= 17);
    assert_int_equal(agent_spool_stats(spool)->lost_full.flows, refused);
    assert_int_equal(walk_lane(spool, 0).losses, 0);

    agent_spool_ack(spool, LANE, taken - 2); /* room: what was refused comes first, as one loss */
    assert_int_equal(append(spool, 101, 800), 0);
    sync_spool(spool);
    uint64_t acked = (taken - 2) * (taken - 1) / 2;
    struct walk walk = walk_lane(spool, acked);
    assert_int_equal(walk.losses, 1);
    assert_int_equal(walk.lost_flows, refused);
    assert_int_equal(walk.sequence_lost, 100 - (taken - 2) + 1);
    assert_int_equal(walk.next, taken + 3);
    assert_ledger_even(spool);
    agent_spool_close(spool);
}

static void acknowledged_space_is_given_back_before_anything_is_dropped(void **state)
{
    (void)state;
    conf.segment_bytes = 16384;
    conf.bytes_most = 24576;
    struct agent_spool *spool = open_spool();
    uint64_t acked = 0;
    for (uint32_t n = 1; n <= 300; n++) {
        assert_int_equal(append(spool, n, 1800), 0);
        sync_spool(spool);
        agent_spool_sent(spool, LANE, n);
        agent_spool_ack(spool, LANE, n);
        acked += n;
    }
    assert_int_equal(agent_spool_stats(spool)->acked.flows, acked);
    assert_int_equal(agent_spool_stats(spool)->lost_full.flows, 0);
    assert_true(count_segments() <= 2);
    agent_spool_close(spool);
}

static void a_batch_larger_than_a_segment_is_refused_and_accounted_for(void **state)
{
    (void)state;
    conf.segment_bytes = 4096;
    struct agent_spool *spool = open_spool();
    assert_int_equal(append(spool, 5, 5000), WEIR_EFULL);
    assert_int_equal(append(spool, 6, 50), 0);
    sync_spool(spool);
    struct walk walk = walk_lane(spool, 0);
    assert_int_equal(walk.lost_flows, 5);
    assert_int_equal(walk.data_flows, 6);
    agent_spool_close(spool);
}

static void a_disk_that_refuses_writes_is_accounted_for_and_used_again(void **state)
{
    (void)state;
    struct agent_spool *spool = open_spool();
    struct rlimit before;
    assert_int_equal(append(spool, 1, 100), 0);
    sync_spool(spool);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {.rlim_cur = 70000, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    uint64_t lost = 0;
    uint64_t all = 1;
    for (uint32_t n = 2; n <= 40; n++) {
        int rc = append(spool, n, 4000);
        all += n;
        if (rc < 0) lost += n;
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(lost > 0 && lost < all);
    assert_int_equal(agent_spool_stats(spool)->lost_error.flows, lost);
    assert_int_equal(append(spool, 41, 100), 0);
    sync_spool(spool);
    struct walk walk = walk_lane(spool, 0);
    assert_int_equal(walk.lost_flows, lost);
    assert_int_equal(walk.data_flows, all - lost + 41);
    assert_ledger_even(spool);
    agent_spool_close(spool);
}

static void poison_reads_as_a_loss_and_is_kept_in_quarantine(void **state)
{
    (void)state;
    make_spool(4, 60);
    struct agent_spool *spool = open_spool();
    agent_spool_ack(spool, LANE, 1);
    assert_int_equal(agent_spool_poison(spool, LANE, 1), WEIR_ENOTFOUND);
    assert_int_equal(agent_spool_poison(spool, LANE, 2), 0);
    assert_int_equal(agent_spool_poison(spool, LANE, 2), WEIR_ENOTFOUND);
    assert_int_equal(count_quarantine(), 1);
    for (int again = 0; again < 2; again++) {
        struct walk walk = walk_lane(spool, 1);
        assert_int_equal(walk.data, 2);
        assert_int_equal(walk.losses, 1);
        assert_int_equal(walk.lost_flows, 2);
        assert_int_equal(walk.sequence_lost, 3);
        assert_int_equal(agent_spool_stats(spool)->lost_poison.flows, again == 0 ? 2 : 0);
        assert_ledger_even(spool);
        agent_spool_close(spool);
        spool = open_spool();
    }
    agent_spool_ack(spool, LANE, 4);
    assert_int_equal(agent_spool_stats(spool)->acked.flows, 3 + 4);
    assert_ledger_even(spool);
    agent_spool_close(spool);
}

static void damage_that_is_met_while_reading_is_repaired(void **state)
{
    (void)state;
    char path[4096];
    conf.segment_bytes = 4096;
    for (int where = 0; where < 2; where++) {
        struct agent_spool *spool = open_spool();
        for (uint32_t n = 1; n <= 12; n++)
            assert_int_equal(append(spool, n, 800), 0);
        sync_spool(spool);
        agent_spool_ack(spool, LANE, 1);
        agent_spool_checkpoint(spool);
        agent_spool_ack(spool, LANE, 2); /* which the ack file does not say yet */
        segment_path(5, path);
        struct weir_buf whole = load(path);
        whole.data[whole.size / 4 + (where == 0 ? 40 : 300)] ^= 1; /* the header or the body of 6 */
        store(path, whole.data, whole.size);
        weir_buf_fini(&whole);

        struct agent_spool_record record;
        assert_int_equal(agent_spool_read(spool, LANE, 6, &record), WEIR_ECORRUPT);
        assert_int_equal(agent_spool_poison(spool, LANE, 6), 0);
        struct walk walk = walk_lane(spool, 1 + 2);
        assert_int_equal(walk.data, 9);
        assert_int_equal(walk.lost_flows, 6);
        assert_int_equal(agent_spool_stats(spool)->lost_damaged.flows, 6);
        assert_ledger_even(spool);
        assert_int_equal(append(spool, 13, 800), 0);
        assert_int_equal(sync_spool(spool), 14);
        assert_int_equal(walk_lane(spool, 1 + 2).data, 10);
        agent_spool_close(spool);
        remove_folder(conf.dir);
    }
}

static void a_new_incarnation_counts_what_is_left_from_one(void **state)
{
    (void)state;
    make_spool(5, 60);
    struct agent_spool *spool = open_spool();
    agent_spool_ack(spool, LANE, 3);
    assert_int_equal(agent_spool_renew(spool, 99), 0);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(agent_spool_inc(spool), 99);
        assert_int_equal(agent_spool_lane(spool, LANE).first_avail, 1);
        assert_int_equal(agent_spool_lane(spool, LANE).next, 3);
        struct walk walk = walk_lane(spool, 0);
        assert_int_equal(walk.data_flows, 4 + 5);
        agent_spool_close(spool);
        spool = open_spool();
    }
    assert_int_equal(append(spool, 6, 60), 0);
    assert_int_equal(sync_spool(spool), 4);
    agent_spool_ack(spool, LANE, 1);
    assert_int_equal(walk_lane(spool, 4).data_flows, 5 + 6);
    agent_spool_close(spool);
}

static void a_lost_identity_begins_a_new_incarnation(void **state)
{
    (void)state;
    char path[4096];
    make_spool(2, 60);
    snprintf(path, sizeof path, "%s/identity", conf.dir);
    struct weir_buf identity = load(path);
    identity.data[20] ^= 1;
    store(path, identity.data, identity.size);
    weir_buf_fini(&identity);
    struct agent_spool *spool = NULL;
    assert_int_equal(agent_spool_open(&conf, 12345, &spool, NULL), 0);
    assert_int_equal(agent_spool_inc(spool), 12345);
    assert_int_equal(walk_lane(spool, 0).data, 2);
    agent_spool_close(spool);
}

static void a_spool_has_one_owner(void **state)
{
    (void)state;
    struct agent_spool *spool = open_spool();
    struct agent_spool *second = NULL;
    struct weir_why why;
    assert_int_equal(agent_spool_open(&conf, INC, &second, &why), WEIR_EDENIED);
    assert_non_null(strstr(why.text, "in use"));
    agent_spool_close(spool);
}

static void a_killed_process_loses_nothing_that_was_synced(void **state)
{
    (void)state;
    conf.segment_bytes = 8192;
    conf.bytes_most = 64 << 20; /* more than the child writes until the pipe holds it up: nothing is dropped */
    uint64_t sum = 0;
    uint64_t last = 0;
    for (int round = 0; round < 8; round++) {
        int report[2];
        assert_int_equal(pipe(report), 0);
        pid_t child = fork();
        if (child == 0) {
            struct agent_spool *spool = NULL;
            close(report[0]);
            if (agent_spool_open(&conf, INC, &spool, NULL) < 0) _exit(1);
            for (uint32_t n = 0;; n++) {
                uint64_t next = 0;
                append(spool, 1 + n % 200, 700);
                if (n % 3 == 0 && agent_spool_sync(spool, note_synced, &next) == 0)
                    if (write(report[1], &next, sizeof next) < 0) _exit(1);
            }
        }
        close(report[1]);
        uint64_t synced = 0;
        for (int i = 0; i < 20 + round * 7; i++)
            assert_int_equal(read(report[0], &synced, sizeof synced), sizeof synced);
        kill(child, SIGKILL);
        while (read(report[0], &synced, sizeof synced) == (ssize_t)sizeof synced)
            continue;
        close(report[0]);
        assert_int_equal(waitpid(child, NULL, 0), child);

        struct agent_spool *spool = open_spool();
        struct agent_spool_lane lane = agent_spool_lane(spool, LANE);
        assert_true(lane.next >= synced);
        assert_true(lane.next > last);
        struct walk walk = walk_lane(spool, sum);
        assert_int_equal(walk.losses, 0);
        agent_spool_ack(spool, LANE, lane.next - 4);
        sum += agent_spool_stats(spool)->acked.flows;
        last = lane.next;
        assert_ledger_even(spool);
        agent_spool_close(spool);
    }
}

/** Another lane needs the space of a lane whose records are all acknowledged; then the process is killed. */
static void numbers_and_sums_survive_when_all_records_are_gone(void **state)
{
    (void)state;
    conf.segment_bytes = 65536;
    conf.bytes_most = 131072;
    pid_t child = fork();
    if (child == 0) {
        struct agent_spool *spool = NULL;
        if (agent_spool_open(&conf, INC, &spool, NULL) < 0) _exit(1);
        for (uint32_t n = 1; n <= 10; n++)
            append(spool, n, 2000);
        sync_spool(spool);
        agent_spool_ack(spool, LANE, 10);
        struct weir_batch_header header = {
            .kind = WEIR_RECORD_DATA, .schema = WEIR_SCHEMA, .totals.flows = 1, .first_received_ms = 1};
        struct weir_buf head = WEIR_BUF_INIT;
        struct agent_spool_place place;
        static uint8_t body[4000];
        weir_batch_header_encode(&header, &head);
        for (int n = 0; n < 40; n++)
            agent_spool_append(spool, LANE + 1, &header, weir_buf_view(&head), weir_view_of(body, sizeof body),
                               weir_batch_crc(weir_buf_view(&head), weir_view_of(body, sizeof body)), 0, &place);
        _exit(0);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    struct weir_buf last = WEIR_BUF_INIT;
    char path[4096];
    segment_path(11, path);
    assert_int_equal(weir_file_load(path, 1 << 20, &last), 0);
    assert_int_equal(last.size, 0); /* no record is left that tells the sums */
    weir_buf_fini(&last);

    struct agent_spool *spool = open_spool();
    assert_int_equal(agent_spool_lane(spool, LANE).first_avail, 11);
    assert_int_equal(agent_spool_lane(spool, LANE).next, 11);
    assert_int_equal(append(spool, 11, 100), 0);
    uint64_t next = 0;
    assert_int_equal(agent_spool_sync(spool, note_any_synced, &next), 0);
    struct agent_spool_record record;
    assert_int_equal(agent_spool_read(spool, LANE, 11, &record), 0);
    assert_int_equal(record.cum.flows, 11 * 12 / 2);
    agent_spool_close(spool);
}

static void running_out_of_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    make_spool(3, 60);
    for (int64_t n = 0;; n++) {
        struct agent_spool *spool = NULL;
        weir_mem_fail_after(n);
        int rc = agent_spool_open(&conf, INC, &spool, NULL);
        bool failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        if (rc == 0) {
            assert_int_equal(walk_lane(spool, 0).data, 3);
            agent_spool_close(spool);
        } else {
            assert_int_equal(rc, WEIR_ENOMEM);
        }
        if (!failed) break;
    }
}

static void a_batch_whose_mark_is_there_is_not_taken_again(void **state)
{
    (void)state;
    struct agent_spool *spool = open_spool();
    assert_int_equal(append_marked(spool, 1, 100, 41), 0);
    assert_int_equal(append_marked(spool, 2, 100, 43), 0);
    assert_int_equal(append(spool, 3, 100), 0);
    assert_int_equal(append_marked(spool, 2, 100, 43), WEIR_EEXIST);
    sync_spool(spool);
    agent_spool_close(spool);

    spool = open_spool();
    assert_int_equal(agent_spool_mark(spool), 43);
    assert_int_equal(append_marked(spool, 1, 100, 41), WEIR_EEXIST);
    assert_int_equal(append_marked(spool, 2, 100, 43), WEIR_EEXIST);
    assert_int_equal(agent_spool_stats(spool)->taken.flows, 0);
    assert_int_equal(append_marked(spool, 4, 100, 44), 0);
    assert_int_equal(sync_spool(spool), 5);
    assert_int_equal(walk_lane(spool, 0).data, 4);
    agent_spool_close(spool);
}

static void marks_outlive_the_records_that_had_them(void **state)
{
    (void)state;
    struct agent_spool *spool = open_spool();
    for (uint32_t n = 1; n <= 12; n++) /* several segments */
        assert_int_equal(append_marked(spool, n, 300 << 10, 100 + n), 0);
    uint64_t next = sync_spool(spool);
    agent_spool_ack(spool, LANE, next - 1);
    agent_spool_checkpoint(spool);
    agent_spool_close(spool);

    spool = open_spool();
    assert_int_equal(append_marked(spool, 12, 100, 112), WEIR_EEXIST);
    assert_int_equal(agent_spool_renew(spool, INC + 1), 0);
    agent_spool_close(spool);
    spool = open_spool();
    assert_int_equal(append_marked(spool, 12, 100, 112), WEIR_EEXIST);
    agent_spool_close(spool);
}

static void the_mark_of_what_was_dropped_is_kept_with_its_loss(void **state)
{
    (void)state;
    conf.bytes_most = 4 << 20;
    struct agent_spool *spool = open_spool();
    for (uint32_t n = 1; n <= 40; n++)
        assert_int_equal(append_marked(spool, n, 300 << 10, n), 0);
    assert_int_equal(append_marked(spool, 41, 1 << 20, 41), WEIR_EFULL); /* larger than a segment */
    sync_spool(spool);
    assert_true(agent_spool_stats(spool)->lost_full.flows > 41);
    agent_spool_close(spool); /* writes the loss that was pending */

    spool = open_spool();
    assert_int_equal(append_marked(spool, 3, 100, 3), WEIR_EEXIST);
    assert_int_equal(append_marked(spool, 41, 100, 41), WEIR_EEXIST);
    assert_int_equal(append_marked(spool, 42, 100, 42), 0);
    agent_spool_close(spool);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(records_come_back_before_and_after_a_restart),
        TEST(what_is_not_synced_is_not_there_to_send),
        TEST(acknowledged_records_leave_and_stay_away),
        TEST(a_lost_or_damaged_ack_file_costs_repetition_and_not_the_sums),
        TEST(every_truncation_leaves_the_whole_records),
        TEST(every_flipped_byte_costs_one_record_and_is_written_down),
        TEST(damage_in_older_files_becomes_losses_with_exact_sums),
        TEST(damage_of_what_was_acknowledged_is_no_loss),
        TEST(a_repair_that_was_cut_short_is_finished),
        TEST(a_full_spool_drops_the_oldest_that_was_not_sent),
        TEST(many_lanes_with_something_in_flight_still_drop_the_oldest),
        TEST(a_cut_segment_that_was_not_shortened_yet_is_recovered),
        TEST(a_full_spool_may_refuse_the_new_instead),
        TEST(acknowledged_space_is_given_back_before_anything_is_dropped),
        TEST(a_batch_larger_than_a_segment_is_refused_and_accounted_for),
        TEST(a_disk_that_refuses_writes_is_accounted_for_and_used_again),
        TEST(poison_reads_as_a_loss_and_is_kept_in_quarantine),
        TEST(damage_that_is_met_while_reading_is_repaired),
        TEST(a_new_incarnation_counts_what_is_left_from_one),
        TEST(a_lost_identity_begins_a_new_incarnation),
        TEST(a_spool_has_one_owner),
        TEST(a_killed_process_loses_nothing_that_was_synced),
        TEST(numbers_and_sums_survive_when_all_records_are_gone),
        TEST(a_batch_whose_mark_is_there_is_not_taken_again),
        TEST(marks_outlive_the_records_that_had_them),
        TEST(the_mark_of_what_was_dropped_is_kept_with_its_loss),
        TEST(running_out_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
