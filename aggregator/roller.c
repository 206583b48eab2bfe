#include "aggregator/roller.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"
#include "common/wire/batch.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum {
    RING = 32,         /* batches handed over and not rolled up yet */
    BULK_LEAST = 4096, /* rows: fewer are merged one by one, more are written as a file */
    RETRY_MS = 1000,   /* after writing failed */
    LOG_PER_SECOND = 2
};

static const enum agg_family family_of[AGG_TIERS] = {AGG_FAMILY_ROLLUP_1M, AGG_FAMILY_ROLLUP_1H};
static const char *const tier_names[AGG_TIERS] = {"1m", "1h"};

struct item {
    struct agg_rolled_batch of;
    uint64_t number; /* of the offer */
    bool has_body;
    struct weir_batch *batch;
};

struct agg_roller {
    struct agg_roller_conf conf;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    pthread_cond_t done;

    /* under the mutex */
    struct item ring[RING];
    uint32_t ring_at;
    uint32_t ring_count;
    bool overflow; /* something was offered that is not in the ring: read it from the store */
    bool stopping;
    struct agg_place heads[WEIR_SHARDS];
    uint64_t offered;
    uint64_t wanted[AGG_TIERS];  /* an offer that a question waits for */
    uint64_t covered[AGG_TIERS]; /* every offer up to this is in stored rows */
    uint64_t failures;
    int failure;

    /* the thread's own */
    struct agg_roll *roll;
    struct weir_batch_decoder *decoder;
    struct weir_batch *scratch;
    struct agg_write *write;
    uint64_t rolled_offers;                          /* every offer up to this is in the tables */
    struct agg_place rolled[AGG_TIERS][WEIR_SHARDS]; /* what the tables hold, beyond what is stored */
    struct agg_place reread[WEIR_SHARDS];            /* recovering hours: what the minutes hold for them */
    bool overdue; /* writing the minutes failed: they take no more until it does not */
    int64_t written_mono_ms[AGG_TIERS];
    struct agg_roll_counts counted;
    struct weir_log_limit log_limit;
};

/* Hours stay in memory longer than minutes, and gain more by it: every writing repeats their rows. */
static size_t hours_most(const struct agg_roller *roller)
{
    return roller->conf.memory_bytes / 2;
}

static size_t minutes_most(const struct agg_roller *roller)
{
    return roller->conf.memory_bytes / 4;
}

/** Of minutes that were written, for the next ones. */
static size_t kept_most(const struct agg_roller *roller)
{
    return roller->conf.memory_bytes / 4;
}

/* --- writing rows --- */

struct out {
    struct agg_roller *roller;
    enum agg_tier tier;
    struct agg_bulk *bulk; /* or NULL: into the write */
    uint64_t rows;
};

static int put(struct out *out, struct weir_view key, struct weir_view value)
{
    if (out->bulk != NULL) return agg_bulk_put(out->bulk, key, value);
    agg_write_put(out->roller->write, out->roller->conf.store, family_of[out->tier], key, value);
    return 0;
}

static int put_shard(void *ctx, uint32_t shard, uint64_t *upto)
{
    struct out *out = ctx;
    const struct agg_place *rolled = &out->roller->rolled[out->tier][shard];
    struct agg_key key = agg_key_rolled(shard);
    uint8_t value[AGG_ROLLED_BYTES];
    agg_rolled_encode(rolled, value);
    *upto = rolled->number;
    return put(out, agg_key_view(&key), weir_view_of(value, sizeof value));
}

static int put_source(void *ctx, struct weir_view key, struct weir_view value)
{
    struct out *out = ctx;
    out->rows++;
    if (out->bulk != NULL) return agg_bulk_merge(out->bulk, key, value);
    agg_write_merge(out->roller->write, out->roller->conf.store, family_of[out->tier], key, value);
    return 0;
}

static int put_chunk(void *ctx, struct weir_view key, struct weir_view value, uint32_t rows)
{
    struct out *out = ctx;
    out->rows += rows;
    return put(out, key, value);
}

/** Write all rows of a tier with the marks that they cover, at once. They stay. */
static int write_rows(struct agg_roller *roller, enum agg_tier tier)
{
    struct agg_store *store = roller->conf.store;
    size_t rows = agg_roll_rows(roller->roll, tier);
    if (rows == 0) return 0;
    int64_t begin_us = weir_mono_us();
    struct weir_why why = {0};
    struct out out = {.roller = roller, .tier = tier};
    struct agg_roll_sink sink = {.ctx = &out, .shard = put_shard, .source = put_source, .chunk = put_chunk};
    int rc = rows < BULK_LEAST ? 0 : agg_bulk_create(store, family_of[tier], &out.bulk, &why);
    agg_write_clear(roller->write);
    if (rc == 0) rc = agg_roll_emit(roller->roll, tier, &sink);
    if (rc == 0)
        rc = out.bulk != NULL ? agg_bulk_commit(out.bulk, &why)
                              : agg_store_write(store, roller->write, AGG_LOGGED, &why);
    agg_bulk_destroy(out.bulk);
    agg_write_clear(roller->write);
    roller->written_mono_ms[tier] = weir_mono_ms();
    if (rc < 0) {
        weir_metrics_add(roller->conf.metrics, AGG_COUNT_rollup_errors, 1);
        if (weir_log_allowed(&roller->log_limit, weir_mono_ms(), LOG_PER_SECOND, NULL))
            weir_log(WEIR_LOG_ERROR, "rollup.write_failed", "tier=%s reason=\"%s\"", tier_names[tier],
                     why.text[0] != '\0' ? why.text : weir_err_text(rc));
        return rc;
    }
    weir_metrics_add(roller->conf.metrics, AGG_COUNT_rollup_flushes, 1);
    weir_metrics_add(roller->conf.metrics, AGG_COUNT_rollup_rows, out.rows);
    weir_metrics_add(roller->conf.metrics, AGG_COUNT_rollup_micros, (uint64_t)(weir_mono_us() - begin_us));
    return 0;
}

/** Write the hours, and forget them. */
static int write_hours(struct agg_roller *roller)
{
    int rc = write_rows(roller, AGG_TIER_1H);
    if (rc == 0) agg_roll_clear(roller->roll, AGG_TIER_1H);
    return rc;
}

/** Have the memory to fold. Hours make room when it is short. */
static int prepare_fold(struct agg_roller *roller)
{
    int rc = agg_roll_prepare_fold(roller->roll);
    if (rc != WEIR_ENOMEM) return rc;
    rc = write_hours(roller);
    return rc < 0 ? rc : agg_roll_prepare_fold(roller->roll);
}

/** Make hours of the minutes; the hours reach up to @upto then. */
static void fold(struct agg_roller *roller, const struct agg_place upto[WEIR_SHARDS])
{
    agg_roll_fold(roller->roll);
    memcpy(roller->rolled[AGG_TIER_1H], upto, sizeof roller->rolled[AGG_TIER_1H]);
}

/** Does a tier take so much memory that it has to be written? What adding up makes small enough does not. */
static bool is_full(struct agg_roller *roller, enum agg_tier tier, size_t most)
{
    if (agg_roll_bytes(roller->roll, tier) <= most) return false;
    (void)agg_roll_compact(roller->roll, tier);
    return agg_roll_bytes(roller->roll, tier) > most / 2;
}

/** Write the hours if they take much memory. Failing is no reason to stop: they stay, and are tried again. */
static void relieve_hours(struct agg_roller *roller)
{
    if (is_full(roller, AGG_TIER_1H, hours_most(roller))) (void)write_hours(roller);
}

/** Write the minutes, which become hours. Those are never stored further: what is between is read back for them alone. */
static int write_minutes(struct agg_roller *roller)
{
    if (agg_roll_rows(roller->roll, AGG_TIER_1M) == 0) return 0;
    int rc = prepare_fold(roller);
    if (rc == 0) rc = write_rows(roller, AGG_TIER_1M);
    roller->overdue = rc < 0;
    if (rc < 0) return rc;
    fold(roller, roller->rolled[AGG_TIER_1M]);
    relieve_hours(roller);
    return 0;
}

/* --- taking batches --- */

static void count_flows(struct agg_roller *roller)
{
    const struct agg_roll_counts *now = agg_roll_counts(roller->roll);
    struct agg_roll_counts *before = &roller->counted;
    weir_metrics_add(roller->conf.metrics, AGG_COUNT_flows_rolled, now->flows - before->flows);
    weir_metrics_add(roller->conf.metrics, AGG_COUNT_flows_clamped, now->clamped - before->clamped);
    weir_metrics_add(roller->conf.metrics, AGG_COUNT_flows_late, now->late - before->late);
    weir_metrics_add(roller->conf.metrics, AGG_COUNT_flows_spread, now->spread - before->spread);
    *before = *now;
}

static bool is_stopping(struct agg_roller *roller)
{
    pthread_mutex_lock(&roller->mutex);
    bool stopping = roller->stopping;
    pthread_mutex_unlock(&roller->mutex);
    return stopping;
}

static void rest(int64_t ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/**
 * Add a block to the minutes. While memory or the disk is short this waits, since leaving a block out is not an option;
 * a program that is told to stop meanwhile leaves the rest to its next start: negative.
 */
static int add_block(struct agg_roller *roller, const struct agg_rolled_batch *of, const struct weir_batch *batch)
{
    struct agg_roll_batch roll = {.shard = of->place.shard,
                                  .commit_ms = of->commit_ms,
                                  .site = of->site,
                                  .agent = of->agent,
                                  .header = &of->header,
                                  .batch = batch};
    for (;;) {
        int rc = roller->overdue ? write_minutes(roller) : 0;
        if (rc == 0) rc = agg_roll_add(roller->roll, &roll);
        /* Both tiers go, so that ids of addresses begin anew: it may be those that ran out. */
        if (rc == WEIR_ENOMEM && write_minutes(roller) == 0 && write_hours(roller) == 0)
            rc = agg_roll_add(roller->roll, &roll);
        if (rc == 0) break;
        if (is_stopping(roller)) return rc;
        rest(RETRY_MS);
    }
    count_flows(roller);
    return 0;
}

/** Read back a block and add it. A damaged one is counted and passed over. */
static int add_stored(struct agg_roller *roller, const struct agg_place *place, struct weir_view entry)
{
    struct agg_block block;
    struct agg_rolled_batch of = {.place = *place};
    struct agg_lease body = {0};
    int rc = agg_block_decode(entry, &block);
    if (rc == 0) rc = weir_batch_header_decode(block.header, &of.header);
    if (rc == 0 && block.body_bytes > 0) {
        struct agg_key key = agg_key_block(place);
        rc = agg_store_lend(roller->conf.store, NULL, AGG_FAMILY_FLOWS, agg_key_view(&key), &body);
        if (rc == 0) rc = weir_batch_decode(roller->decoder, &of.header, body.value, agg_roll_columns, roller->scratch);
        agg_lease_return(&body);
    }
    weir_metrics_add(roller->conf.metrics, AGG_COUNT_blocks_reread, 1);
    if (rc < 0) {
        weir_metrics_add(roller->conf.metrics, AGG_COUNT_blocks_damaged, 1);
        if (weir_log_allowed(&roller->log_limit, weir_mono_ms(), LOG_PER_SECOND, NULL))
            weir_log(WEIR_LOG_ERROR, "rollup.block_damaged", "shard=%u block=%llu reason=\"%s\"", place->shard,
                     (unsigned long long)place->number, weir_err_text(rc));
        return 0;
    }
    of.commit_ms = block.commit_ms;
    memcpy(of.site, block.site.data, block.site.size);
    memcpy(of.agent, block.name.data, block.name.size);
    return add_block(roller, &of, block.body_bytes > 0 ? roller->scratch : NULL);
}

/** Called after each block that was read back: @place is in the minutes now. */
typedef int after_block_fn(struct agg_roller *roller, const struct agg_place *place);

/** Read back and add the blocks of a shard after @after, up to number @upto. */
static int read_back(struct agg_roller *roller, const struct agg_place *after, uint64_t upto, after_block_fn *then)
{
    struct agg_place first = {.shard = after->shard, .hour = after->hour, .number = after->number + 1};
    struct agg_key lower = agg_key_block(&first), upper = agg_key_shard(after->shard + 1);
    struct agg_iter *iter = NULL;
    int rc = agg_iter_create(roller->conf.store, NULL, AGG_FAMILY_BLOCK, agg_key_view(&lower), agg_key_view(&upper),
                             AGG_ITER_SCAN, &iter);
    for (; rc == 0 && agg_iter_valid(iter); agg_iter_next(iter)) {
        struct agg_place place;
        rc = agg_key_read_block(agg_iter_key(iter), &place);
        if (rc < 0 || place.number > upto) break;
        rc = add_stored(roller, &place, agg_iter_value(iter));
        if (rc == 0) rc = then(roller, &place);
    }
    if (rc == 0) rc = agg_iter_error(iter, NULL);
    agg_iter_destroy(iter);
    return rc;
}

static int after_block(struct agg_roller *roller, const struct agg_place *place)
{
    roller->rolled[AGG_TIER_1M][place->shard] = *place;
    weir_metrics_set(roller->conf.metrics, AGG_COUNT_rollup_bytes,
                     agg_roll_bytes(roller->roll, AGG_TIER_1M) + agg_roll_bytes(roller->roll, AGG_TIER_1H));
    if (is_full(roller, AGG_TIER_1M, minutes_most(roller)))
        (void)write_minutes(roller); /* add_block waits when it failed */
    return 0;
}

/** Bring a shard's minutes up to block @upto from the store. */
static int catch_up_shard(struct agg_roller *roller, const struct agg_place *upto)
{
    struct agg_place *rolled = &roller->rolled[AGG_TIER_1M][upto->shard];
    if (rolled->number >= upto->number) return 0;
    int rc = read_back(roller, rolled, upto->number, after_block);
    if (rc == 0 && rolled->number < upto->number) *rolled = *upto; /* retention was faster */
    return rc;
}

/** After a crash hours may lie further back than minutes: blocks between the marks go to the hours alone. */
static int after_hour_block(struct agg_roller *roller, const struct agg_place *place)
{
    roller->reread[place->shard] = *place;
    if (!is_full(roller, AGG_TIER_1M, minutes_most(roller))) return 0;
    int rc = prepare_fold(roller);
    if (rc < 0) return rc;
    fold(roller, roller->reread);
    relieve_hours(roller);
    return 0;
}

static int recover_hours(struct agg_roller *roller)
{
    int rc = 0;
    memcpy(roller->reread, roller->rolled[AGG_TIER_1H], sizeof roller->reread);
    for (uint32_t shard = 0; rc == 0 && shard < WEIR_SHARDS; shard++) {
        uint64_t upto = roller->rolled[AGG_TIER_1M][shard].number;
        struct agg_place from = roller->rolled[AGG_TIER_1H][shard];
        if (from.number >= upto) continue;
        rc = read_back(roller, &from, upto, after_hour_block);
        roller->reread[shard] = roller->rolled[AGG_TIER_1M][shard];
    }
    if (rc == 0) rc = prepare_fold(roller);
    if (rc == 0) fold(roller, roller->reread);
    return rc;
}

static int roll_item(struct agg_roller *roller, const struct item *item)
{
    const struct agg_place *place = &item->of.place;
    struct agg_place *rolled = &roller->rolled[AGG_TIER_1M][place->shard];
    if (place->number <= rolled->number) return 0;
    struct agg_place before = {.shard = place->shard, .hour = place->hour, .number = place->number - 1};
    int rc = catch_up_shard(roller, &before);
    if (rc == 0) rc = add_block(roller, &item->of, item->has_body ? item->batch : NULL);
    return rc < 0 ? rc : after_block(roller, place);
}

/* --- the thread --- */

static bool is_due(const struct agg_roller *roller, enum agg_tier tier, int64_t now_ms)
{
    int64_t since_ms = now_ms - roller->written_mono_ms[tier];
    int64_t period_ms = tier == AGG_TIER_1M ? roller->conf.minutes_ms : roller->conf.hours_ms;
    bool asked = roller->wanted[tier] > roller->covered[tier] && roller->rolled_offers >= roller->wanted[tier];
    if (asked && since_ms >= roller->conf.pause_ms) return true;
    return since_ms >= period_ms && agg_roll_rows(roller->roll, tier) > 0;
}

/** Write what is due, with the mutex released meanwhile. */
static void write_due(struct agg_roller *roller, bool hours)
{
    uint64_t upto = roller->rolled_offers;
    pthread_mutex_unlock(&roller->mutex);
    int rc = write_minutes(roller); /* hours are made of minutes: they go first */
    if (rc == 0 && hours) rc = write_hours(roller);
    int64_t now_ms = weir_mono_ms();
    roller->written_mono_ms[AGG_TIER_1M] = now_ms;
    if (hours) roller->written_mono_ms[AGG_TIER_1H] = now_ms;
    pthread_mutex_lock(&roller->mutex);
    if (rc == 0) {
        roller->covered[AGG_TIER_1M] = upto;
        if (hours) roller->covered[AGG_TIER_1H] = upto;
    } else {
        roller->failures++;
        roller->failure = rc;
    }
    pthread_cond_broadcast(&roller->done);
}

static void catch_up_all(struct agg_roller *roller)
{
    struct agg_place heads[WEIR_SHARDS];
    memcpy(heads, roller->heads, sizeof heads);
    uint64_t offered = roller->offered;
    roller->overflow = false;
    pthread_mutex_unlock(&roller->mutex);
    int rc = 0;
    for (uint32_t shard = 0; rc == 0 && shard < WEIR_SHARDS; shard++)
        rc = catch_up_shard(roller, &heads[shard]);
    if (rc < 0 && !is_stopping(roller)) rest(RETRY_MS);
    pthread_mutex_lock(&roller->mutex);
    if (rc == 0)
        roller->rolled_offers = offered;
    else
        roller->overflow = true;
}

static void wait_for_work(struct agg_roller *roller, int64_t now_ms)
{
    int64_t wait_ms = roller->conf.pause_ms;
    for (int tier = 0; tier < AGG_TIERS; tier++) {
        int64_t period_ms = tier == AGG_TIER_1M ? roller->conf.minutes_ms : roller->conf.hours_ms;
        int64_t left_ms = roller->written_mono_ms[tier] + period_ms - now_ms;
        bool asked = roller->wanted[tier] > roller->covered[tier];
        if (asked) left_ms = roller->written_mono_ms[tier] + roller->conf.pause_ms - now_ms;
        if (left_ms < wait_ms) wait_ms = left_ms;
    }
    if (wait_ms < 1) wait_ms = 1;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&roller->work, &roller->mutex, &until);
}

static void *run(void *ctx)
{
    struct agg_roller *roller = ctx;
    while (recover_hours(roller) < 0) {
        if (is_stopping(roller)) return NULL; /* the marks stand where they stood */
        rest(RETRY_MS);
        agg_roll_clear(roller->roll, AGG_TIER_1M);
    }
    pthread_mutex_lock(&roller->mutex);
    for (;;) {
        int64_t now_ms = weir_mono_ms();
        bool hours_due = is_due(roller, AGG_TIER_1H, now_ms);
        if (hours_due || is_due(roller, AGG_TIER_1M, now_ms)) {
            write_due(roller, hours_due);
        } else if (roller->overflow) {
            if (roller->stopping) break; /* the next start reads it back */
            catch_up_all(roller);
        } else if (roller->ring_count > 0) {
            const struct item *item = &roller->ring[roller->ring_at];
            pthread_mutex_unlock(&roller->mutex);
            int rc = roll_item(roller, item);
            pthread_mutex_lock(&roller->mutex);
            if (rc < 0) roller->overflow = true;
            if (!roller->overflow && item->number > roller->rolled_offers) roller->rolled_offers = item->number;
            roller->ring_at = (roller->ring_at + 1) % RING;
            roller->ring_count--;
        } else if (roller->stopping) {
            break;
        } else {
            wait_for_work(roller, now_ms);
        }
    }
    pthread_mutex_unlock(&roller->mutex);
    if (write_minutes(roller) == 0) (void)write_hours(roller);
    return NULL;
}

/* --- from other threads --- */

static int read_places(struct agg_roller *roller, struct weir_why *why)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        int rc = agg_block_last(roller->conf.store, shard, &roller->heads[shard]);
        for (int tier = 0; rc == 0 && tier < AGG_TIERS; tier++)
            rc = agg_rolled_read(roller->conf.store, family_of[tier], shard, &roller->rolled[tier][shard]);
        if (rc < 0) return weir_why_set(why, rc, "reading the rolled marks: %s", weir_err_text(rc));
    }
    return 0;
}

int agg_roller_create(const struct agg_roller_conf *conf, struct agg_roller **ret, struct weir_why *why)
{
    struct agg_roller *roller = weir_calloc(1, sizeof *roller);
    if (roller == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    roller->conf = *conf;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&roller->mutex, NULL);
    pthread_cond_init(&roller->work, &monotonic);
    pthread_cond_init(&roller->done, &monotonic);
    pthread_condattr_destroy(&monotonic);

    int rc = agg_roll_create(conf->seed, kept_most(roller), &roller->roll);
    if (rc == 0) rc = weir_batch_decoder_create(&roller->decoder);
    if (rc == 0) rc = weir_batch_create(1, &roller->scratch);
    if (rc == 0) rc = agg_write_create(&roller->write);
    for (int i = 0; rc == 0 && i < RING; i++)
        rc = weir_batch_create(1, &roller->ring[i].batch);
    if (rc < 0) {
        weir_why_set(why, rc, "out of memory");
        goto fail;
    }
    rc = read_places(roller, why);
    if (rc < 0) goto fail;

    /* What the store has past the marks counts as offered, and is read back first. */
    roller->offered = 1;
    roller->overflow = true;
    roller->written_mono_ms[AGG_TIER_1M] = roller->written_mono_ms[AGG_TIER_1H] = weir_mono_ms();
    if (weir_thread_start(&roller->thread, "roll-up", run, roller) != 0) {
        rc = weir_why_set(why, WEIR_ENOMEM, "no thread for rolling up");
        goto fail;
    }
    roller->started = true;
    *ret = roller;
    return 0;

fail:
    agg_roller_destroy(roller);
    return rc;
}

void agg_roller_destroy(struct agg_roller *roller)
{
    if (roller == NULL) return;
    if (roller->started) {
        pthread_mutex_lock(&roller->mutex);
        roller->stopping = true;
        pthread_cond_signal(&roller->work);
        pthread_mutex_unlock(&roller->mutex);
        pthread_join(roller->thread, NULL);
    }
    for (int i = 0; i < RING; i++)
        weir_batch_destroy(roller->ring[i].batch);
    agg_write_destroy(roller->write);
    weir_batch_destroy(roller->scratch);
    weir_batch_decoder_destroy(roller->decoder);
    agg_roll_destroy(roller->roll);
    pthread_cond_destroy(&roller->done);
    pthread_cond_destroy(&roller->work);
    pthread_mutex_destroy(&roller->mutex);
    weir_free(roller);
}

void agg_roller_offer(struct agg_roller *roller, const struct agg_rolled_batch *of, struct weir_batch **batch_p)
{
    pthread_mutex_lock(&roller->mutex);
    roller->offered++;
    roller->heads[of->place.shard] = of->place;
    if (roller->ring_count == RING) {
        roller->overflow = true;
    } else {
        struct item *item = &roller->ring[(roller->ring_at + roller->ring_count) % RING];
        item->of = *of;
        item->number = roller->offered;
        item->has_body = batch_p != NULL;
        if (batch_p != NULL) {
            struct weir_batch *spare = item->batch;
            item->batch = *batch_p;
            *batch_p = spare;
        }
        roller->ring_count++;
    }
    pthread_cond_signal(&roller->work);
    pthread_mutex_unlock(&roller->mutex);
}

int agg_roller_catch_up(struct agg_roller *roller, enum agg_tier tier, int64_t deadline_mono_ms)
{
    struct timespec until = {.tv_sec = deadline_mono_ms / 1000, .tv_nsec = deadline_mono_ms % 1000 * 1000000};
    pthread_mutex_lock(&roller->mutex);
    uint64_t wanted = roller->offered, failures = roller->failures;
    int rc = 0;
    if (roller->wanted[tier] < wanted) roller->wanted[tier] = wanted;
    if (roller->covered[tier] < wanted) pthread_cond_signal(&roller->work);
    while (rc == 0 && roller->covered[tier] < wanted) {
        if (pthread_cond_timedwait(&roller->done, &roller->mutex, &until) != 0)
            rc = WEIR_ETIMEOUT;
        else if (roller->failures != failures)
            rc = roller->failure;
    }
    if (roller->covered[tier] >= wanted) rc = 0;
    pthread_mutex_unlock(&roller->mutex);
    return rc;
}

struct agg_place agg_roller_head(struct agg_roller *roller, uint32_t shard)
{
    pthread_mutex_lock(&roller->mutex);
    struct agg_place head = roller->heads[shard];
    pthread_mutex_unlock(&roller->mutex);
    return head;
}
