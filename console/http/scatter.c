#include "console/http/scatter.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/net/socket.h"
#include "common/wire/question.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>

enum {
    TICK_MS = 20,
    CONNECTING_MS = 3000, /* a socket this young may still be connecting: it is asked all the same */
    RECREATE_MS = 5000,   /* a refused socket stays dead: try a new one this often */
    MESSAGE_BYTES_MOST = 1 << 20
};

/** What one aggregator is asked for one question, and what it said. */
struct part {
    bool pending;
    bool ended; /* its last chunk is there */
    uint64_t shards[WEIR_SHARDS / 64];
    uint32_t shard_count;
    bool was_live;        /* the peer had a connection when it was asked */
    uint64_t disconnects; /* of the peer, until then */
    uint32_t chunks;
    struct weir_buf bodies; /* each behind its size, four bytes */
    uint32_t elapsed_ms;
    char reason[WEIR_REASON_BYTES]; /* why not ok; "" while it is */
};

/** A question under way. Lives in the asking thread's frame until @finished. */
struct asking {
    struct asking *next;
    const struct weir_question *question;
    uint64_t id;
    int64_t started_mono_ms;
    int64_t deadline_mono_ms;
    uint32_t pending;
    uint32_t ownerless; /* shards that nobody owns */
    bool finished;      /* under the scatter's mutex */
    bool closed;
    struct part parts[WEIR_NODES_MOST];
};

struct peer {
    const struct weir_node *node;
    struct weir_socket *socket; /* NULL while it cannot be made */
    int64_t made_mono_ms;
    atomic_bool connected;
};

struct console_scatter {
    struct weir_loop *loop;
    const struct weir_map *map;            /* its nodes */
    struct weir_shard shards[WEIR_SHARDS]; /* of the loop's thread */
    struct weir_keys keys;
    struct weir_metrics *metrics;
    _Atomic uint64_t *answer_most;
    struct weir_net *net;
    struct peer peers[WEIR_NODES_MOST];
    struct asking *active; /* of the loop's thread */

    pthread_mutex_t mutex;
    pthread_cond_t finished;
    struct asking *submitted;
    uint32_t count; /* submitted and active */
    bool closed;
};

/* ---- peers ---- */

static void on_readable(void *ctx);

static void peer_drop(struct console_scatter *scatter, struct peer *peer)
{
    if (peer->socket == NULL) return;
    weir_loop_remove_fd(scatter->loop, weir_socket_fd(peer->socket));
    weir_socket_destroy(peer->socket);
    peer->socket = NULL;
    atomic_store(&peer->connected, false);
}

static int peer_connect(struct console_scatter *scatter, struct peer *peer, struct weir_why *why)
{
    struct weir_client_conf conf = {.endpoint = peer->node->ask_endpoint,
                                    .server_key = peer->node->key,
                                    .keys = &scatter->keys,
                                    .max_bytes = MESSAGE_BYTES_MOST};
    peer->made_mono_ms = weir_mono_ms();
    int rc = weir_client_create(scatter->net, &conf, &peer->socket, why);
    if (rc < 0) return weir_why_prefix(why, rc, "aggregator %s", peer->node->name);
    rc = weir_loop_add_fd(scatter->loop, weir_socket_fd(peer->socket), on_readable, scatter);
    if (rc < 0) {
        weir_socket_destroy(peer->socket);
        peer->socket = NULL;
        return weir_why_set(why, rc, "aggregator %s: %s", peer->node->name, weir_err_text(rc));
    }
    return 0;
}

/** Is there a connection? A handshake that fails ends as a connection too, without ever having begun as one. */
static bool is_live(const struct weir_socket_stats *stats)
{
    uint64_t begun = stats->connected + stats->refused + stats->handshake_failed;
    return stats->connected > 0 && begun > stats->disconnected;
}

static void peer_note(struct console_scatter *scatter, struct peer *peer)
{
    bool connected = is_live(weir_socket_stats(peer->socket));
    if (connected == atomic_load(&peer->connected)) return;
    atomic_store(&peer->connected, connected);
    weir_metrics_set(scatter->metrics, CONSOLE_aggregators_connected, console_scatter_connected(scatter));
    weir_log(connected ? WEIR_LOG_INFO : WEIR_LOG_WARN, connected ? "aggregator.connected" : "aggregator.lost",
             "name=%s endpoint=%s", peer->node->name, peer->node->ask_endpoint);
}

/** Why the peer cannot be asked now, or NULL. */
static const char *peer_trouble(struct peer *peer, int64_t now_mono_ms)
{
    if (peer->socket == NULL) return "no socket could be made";
    const struct weir_socket_stats *stats = weir_socket_stats(peer->socket);
    if (is_live(stats)) return NULL;
    if (stats->refused > 0) return "it refuses our key: this console is not in its allow-list";
    if (stats->handshake_failed > 0) return "it does not have the key that cluster.conf says";
    return now_mono_ms - peer->made_mono_ms < CONNECTING_MS ? NULL : "not connected";
}

/* ---- questions ---- */

static void part_end(struct asking *asking, struct part *part, const char *reason)
{
    if (!part->pending) return;
    part->pending = false;
    part->elapsed_ms = (uint32_t)(weir_mono_ms() - asking->started_mono_ms);
    snprintf(part->reason, sizeof part->reason, "%s", reason);
    asking->pending--;
}

/** Each shard to its first owner that can be asked, else to its first. */
static void assign_shards(struct console_scatter *scatter, struct asking *asking, int64_t now_mono_ms)
{
    bool troubled[WEIR_NODES_MOST];
    for (uint32_t i = 0; i < scatter->map->aggregator_count; i++)
        troubled[i] = peer_trouble(&scatter->peers[i], now_mono_ms) != NULL;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        if (!weir_question_wants_shard(asking->question, shard)) continue;
        const struct weir_shard *owned = &scatter->shards[shard];
        if (owned->member_count == 0) {
            asking->ownerless++;
            continue;
        }
        uint8_t owner = owned->members[0];
        for (uint8_t i = 0; i < owned->member_count; i++) {
            if (troubled[owned->members[i]]) continue;
            owner = owned->members[i];
            break;
        }
        asking->parts[owner].shards[shard / 64] |= 1ull << shard % 64;
        asking->parts[owner].shard_count++;
    }
}

static int send_question(struct peer *peer, const struct weir_question *question)
{
    struct weir_buf bytes = WEIR_BUF_INIT;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    int rc = weir_question_encode(question, &bytes);
    if (rc == 0) rc = weir_frames_add(&frames, weir_buf_view(&bytes));
    if (rc == 0) rc = weir_socket_send(peer->socket, 0, &frames);
    weir_frames_clear(&frames);
    weir_buf_fini(&bytes);
    return rc;
}

static void send_cancel(struct peer *peer, uint64_t id)
{
    struct weir_buf bytes = WEIR_BUF_INIT;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    if (weir_cancel_encode(id, &bytes) == 0 && weir_frames_add(&frames, weir_buf_view(&bytes)) == 0) {
        weir_socket_send(peer->socket, 0, &frames); /* a courtesy: what comes all the same is dropped */
    }
    weir_frames_clear(&frames);
    weir_buf_fini(&bytes);
}

static void ask_peer(struct console_scatter *scatter, struct asking *asking, uint32_t index, int64_t now_mono_ms)
{
    struct peer *peer = &scatter->peers[index];
    struct part *part = &asking->parts[index];
    part->pending = true;
    asking->pending++;
    const char *trouble = peer_trouble(peer, now_mono_ms);
    if (trouble != NULL) {
        part_end(asking, part, trouble);
        return;
    }
    struct weir_question question = *asking->question; /* borrows its memory */
    int64_t left = asking->deadline_mono_ms - now_mono_ms;
    question.id = asking->id;
    question.deadline_ms = left < 2 ? 1 : (uint32_t)(left - left / 10); /* the way back takes time too */
    memcpy(question.shards, part->shards, sizeof question.shards);
    int rc = send_question(peer, &question);
    if (rc < 0) {
        part_end(asking, part, rc == WEIR_EAGAIN ? "too many questions wait for it" : weir_err_text(rc));
        return;
    }
    part->was_live = is_live(weir_socket_stats(peer->socket));
    part->disconnects = weir_socket_stats(peer->socket)->disconnected;
    weir_metrics_add(scatter->metrics, CONSOLE_asked, 1);
}

static void begin(struct console_scatter *scatter, struct asking *asking)
{
    int64_t now_mono_ms = weir_mono_ms();
    asking->next = scatter->active;
    scatter->active = asking;
    assign_shards(scatter, asking, now_mono_ms);
    for (uint32_t i = 0; i < scatter->map->aggregator_count; i++) {
        bool all = asking->question->shape == WEIR_SHAPE_NODES;
        if (asking->parts[i].shard_count > 0 || all) ask_peer(scatter, asking, i, now_mono_ms);
    }
}

/** Tell the threads whose questions have nothing pending any more. */
static void finish_done(struct console_scatter *scatter)
{
    bool any = false;
    pthread_mutex_lock(&scatter->mutex);
    for (struct asking **at = &scatter->active; *at != NULL;) {
        struct asking *asking = *at;
        if (asking->pending > 0) {
            at = &asking->next;
            continue;
        }
        *at = asking->next;
        asking->finished = true;
        scatter->count--;
        any = true;
    }
    if (any) pthread_cond_broadcast(&scatter->finished);
    pthread_mutex_unlock(&scatter->mutex);
}

static void take_chunk(struct console_scatter *scatter, struct asking *asking, struct part *part,
                       const struct weir_answer_header *header, struct weir_view body)
{
    if (header->code != 0) {
        part_end(asking, part, header->text[0] == '\0' ? weir_err_text(header->code) : header->text);
        return;
    }
    if (header->index != part->chunks++) {
        part_end(asking, part, "a part of its answer was lost");
        return;
    }
    if (part->bodies.size + body.size > atomic_load(scatter->answer_most)) {
        part_end(asking, part, "its answer is larger than answer_most");
        return;
    }
    weir_buf_u32be(&part->bodies, (uint32_t)body.size);
    weir_buf_append(&part->bodies, body.data, body.size);
    if (part->bodies.failed) {
        part_end(asking, part, weir_err_text(WEIR_ENOMEM));
    } else if (!header->more) {
        part->ended = true;
        part_end(asking, part, "");
    }
}

static void take_message(struct console_scatter *scatter, uint32_t index, const struct weir_frames *frames)
{
    struct weir_answer_header header;
    weir_metrics_add(scatter->metrics, CONSOLE_chunks, 1);
    if (weir_answer_header_decode(weir_frames_view(frames, 0), &header) < 0 ||
        (frames->count != 2 && header.code == 0)) {
        weir_metrics_add(scatter->metrics, CONSOLE_dropped_malformed, 1);
        return;
    }
    struct weir_view body = frames->count == 2 ? weir_frames_view(frames, 1) : weir_view_of(NULL, 0);
    weir_metrics_add(scatter->metrics, CONSOLE_chunk_bytes, body.size);
    for (struct asking *asking = scatter->active; asking != NULL; asking = asking->next) {
        if (asking->id != header.id || !asking->parts[index].pending) continue;
        take_chunk(scatter, asking, &asking->parts[index], &header, body);
        return;
    }
    weir_metrics_add(scatter->metrics, CONSOLE_dropped_late, 1);
}

/** Receive until nothing is left, as weir_socket_fd wants it; after everything that may have sent. */
static void pump(struct console_scatter *scatter)
{
    bool again = true;
    while (again) {
        again = false;
        for (uint32_t i = 0; i < scatter->map->aggregator_count; i++) {
            struct peer *peer = &scatter->peers[i];
            if (peer->socket == NULL) continue;
            struct weir_frames frames = WEIR_FRAMES_INIT;
            while (weir_socket_recv(peer->socket, &frames, NULL) == 0)
                take_message(scatter, i, &frames);
            weir_frames_clear(&frames);
            peer_note(scatter, peer);
            again = again || weir_socket_pending(peer->socket);
        }
        finish_done(scatter);
    }
}

static void on_readable(void *ctx)
{
    pump(ctx);
}

static void on_wake(void *ctx)
{
    struct console_scatter *scatter = ctx;
    pthread_mutex_lock(&scatter->mutex);
    struct asking *submitted = scatter->submitted;
    scatter->submitted = NULL;
    pthread_mutex_unlock(&scatter->mutex);
    while (submitted != NULL) {
        struct asking *asking = submitted;
        submitted = asking->next;
        begin(scatter, asking);
    }
    pump(scatter);
}

static void check_parts(struct console_scatter *scatter, struct asking *asking, int64_t now_mono_ms)
{
    bool late = now_mono_ms >= asking->deadline_mono_ms;
    for (uint32_t i = 0; i < scatter->map->aggregator_count; i++) {
        struct part *part = &asking->parts[i];
        struct peer *peer = &scatter->peers[i];
        if (!part->pending) continue;
        if (late) {
            if (peer->socket != NULL) send_cancel(peer, asking->id);
            part_end(asking, part, "it did not answer in time");
            continue;
        }
        const char *trouble = peer_trouble(peer, now_mono_ms);
        if (trouble == NULL && part->was_live && weir_socket_stats(peer->socket)->disconnected != part->disconnects) {
            trouble = "the connection broke";
        }
        if (trouble != NULL) part_end(asking, part, trouble);
    }
}

static void revive_peers(struct console_scatter *scatter, int64_t now_mono_ms)
{
    for (uint32_t i = 0; i < scatter->map->aggregator_count; i++) {
        struct peer *peer = &scatter->peers[i];
        if (now_mono_ms - peer->made_mono_ms < RECREATE_MS) continue;
        if (peer->socket != NULL) {
            const struct weir_socket_stats *stats = weir_socket_stats(peer->socket);
            if (is_live(stats) || stats->refused + stats->handshake_failed == 0) continue;
        }
        struct weir_why why = {""};
        char quoted[600];
        peer_drop(scatter, peer);
        if (peer_connect(scatter, peer, &why) < 0) {
            weir_log(WEIR_LOG_WARN, "aggregator.unreachable", "name=%s reason=%s", peer->node->name,
                     weir_log_quote(why.text, quoted, sizeof quoted));
        }
    }
}

static void on_tick(void *ctx)
{
    struct console_scatter *scatter = ctx;
    int64_t now_mono_ms = weir_mono_ms();
    for (struct asking *asking = scatter->active; asking != NULL; asking = asking->next)
        check_parts(scatter, asking, now_mono_ms);
    revive_peers(scatter, now_mono_ms);
    pump(scatter);
}

/* ---- the asking thread ---- */

/** What the aggregator says of its own coverage. */
static void take_source(const struct weir_answer *answer, struct weir_answer_source *source, struct weir_answer *whole)
{
    source->shards_answered = source->shards_asked;
    if (answer->source_count == 0) return;
    struct weir_shards_covered covered = weir_answer_covered(answer);
    source->scanned = covered.scanned;
    source->asof_ms = covered.asof_ms;
    if (covered.answered < source->shards_asked) source->shards_answered = covered.answered;
    if (answer->sources[0].ok) return;
    int64_t reason = weir_answer_name(whole, weir_answer_name_at(answer, answer->sources[0].reason));
    source->reason = reason < 0 ? 0 : (uint32_t)reason;
    source->ok = false;
}

/** Read the chunks of a part into an answer of its own, then into the whole: half an answer is none. */
static int merge_part(const struct weir_question *question, const struct part *part, struct weir_answer *whole,
                      struct weir_answer_source *source)
{
    struct weir_answer answer;
    int rc = weir_answer_init(&answer, question);
    if (rc < 0) return rc;
    struct weir_cursor at = weir_cursor_of(weir_buf_view(&part->bodies));
    while (rc == 0 && weir_cursor_left(&at) > 0) {
        uint32_t size = weir_cursor_u32(&at);
        const uint8_t *body = weir_cursor_take(&at, size);
        rc = weir_answer_decode(weir_view_of(body, size), &answer);
    }
    if (rc == 0) {
        take_source(&answer, source, whole);
        answer.source_count = 0; /* who answered is said once, by who asked */
        rc = weir_answer_merge(whole, &answer);
    }
    weir_answer_fini(&answer);
    return rc;
}

static int conclude_part(struct console_scatter *scatter, const struct asking *asking, uint32_t index,
                         struct weir_answer *whole)
{
    const struct part *part = &asking->parts[index];
    struct weir_answer_source source = {
        .ok = part->ended, .shards_asked = part->shard_count, .elapsed_ms = part->elapsed_ms};
    const char *reason = part->reason;
    if (part->ended) {
        int rc = merge_part(asking->question, part, whole, &source);
        if (rc == WEIR_ENOMEM) return rc;
        if (rc < 0) {
            weir_metrics_add(scatter->metrics, CONSOLE_dropped_malformed, 1);
            source.ok = false;
            source.shards_answered = 0;
            reason = "its answer makes no sense to us";
        }
    }
    int64_t name = weir_answer_name(whole, scatter->map->aggregators[index].name);
    int64_t why = source.reason != 0 ? source.reason : weir_answer_name(whole, reason);
    if (name < 0 || why < 0) return WEIR_ENOMEM;
    source.name = (uint32_t)name;
    source.reason = (uint32_t)why;
    return weir_answer_add_source(whole, &source);
}

/** Shards that nobody owns are as little in the answer as those of an aggregator that is gone. */
static int conclude_ownerless(const struct asking *asking, struct weir_answer *whole)
{
    struct weir_answer_source source = {.shards_asked = asking->ownerless};
    int64_t name = weir_answer_name(whole, "(nobody)");
    int64_t why = weir_answer_name(whole, "the map has no members of these shards");
    if (name < 0 || why < 0) return WEIR_ENOMEM;
    source.name = (uint32_t)name;
    source.reason = (uint32_t)why;
    return weir_answer_add_source(whole, &source);
}

int console_scatter_ask(void *ctx, const struct weir_question *question, struct weir_answer *answer)
{
    struct console_scatter *scatter = ctx;
    struct asking *asking = weir_calloc(1, sizeof *asking);
    if (asking == NULL) return WEIR_ENOMEM;
    asking->question = question;
    randombytes_buf(&asking->id, sizeof asking->id);
    asking->started_mono_ms = weir_mono_ms();
    asking->deadline_mono_ms = asking->started_mono_ms + question->deadline_ms;

    pthread_mutex_lock(&scatter->mutex);
    asking->closed = scatter->closed;
    if (!asking->closed) {
        asking->next = scatter->submitted;
        scatter->submitted = asking;
        scatter->count++;
        weir_loop_wake(scatter->loop);
        while (!asking->finished)
            pthread_cond_wait(&scatter->finished, &scatter->mutex);
    }
    pthread_mutex_unlock(&scatter->mutex);

    int rc = asking->closed ? WEIR_ECLOSED : 0;
    for (uint32_t i = 0; i < scatter->map->aggregator_count; i++) {
        bool asked = asking->parts[i].shard_count > 0 || question->shape == WEIR_SHAPE_NODES;
        if (rc == 0 && asked) rc = conclude_part(scatter, asking, i, answer);
        weir_buf_fini(&asking->parts[i].bodies);
    }
    if (rc == 0 && asking->ownerless > 0 && question->shape != WEIR_SHAPE_NODES)
        rc = conclude_ownerless(asking, answer);
    weir_free(asking);
    return rc;
}

uint32_t console_scatter_connected(const struct console_scatter *scatter)
{
    uint32_t connected = 0;
    for (uint32_t i = 0; i < scatter->map->aggregator_count; i++)
        connected += atomic_load(&scatter->peers[i].connected);
    return connected;
}

uint32_t console_scatter_active(struct console_scatter *scatter)
{
    pthread_mutex_lock(&scatter->mutex);
    uint32_t count = scatter->count;
    pthread_mutex_unlock(&scatter->mutex);
    return count;
}

/* ---- life ---- */

int console_scatter_create(const struct console_scatter_conf *conf, struct console_scatter **ret, struct weir_why *why)
{
    struct console_scatter *scatter = weir_calloc(1, sizeof *scatter);
    if (scatter == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    scatter->loop = conf->loop;
    scatter->map = conf->map;
    memcpy(scatter->shards, conf->map->shards, sizeof scatter->shards);
    scatter->keys = *conf->keys;
    scatter->metrics = conf->metrics;
    scatter->answer_most = conf->answer_most;
    pthread_mutex_init(&scatter->mutex, NULL);
    pthread_cond_init(&scatter->finished, NULL);
    for (uint32_t i = 0; i < scatter->map->aggregator_count; i++)
        scatter->peers[i].node = &scatter->map->aggregators[i];

    int rc = weir_net_create(1, &scatter->net);
    if (rc < 0) {
        weir_why_set(why, rc, "sockets: %s", weir_err_text(rc));
        goto fail;
    }
    for (uint32_t i = 0; i < scatter->map->aggregator_count; i++) {
        rc = peer_connect(scatter, &scatter->peers[i], why);
        if (rc < 0) goto fail;
    }
    rc = weir_loop_on_wake(scatter->loop, on_wake, scatter);
    if (rc == 0) rc = weir_loop_every(scatter->loop, TICK_MS, on_tick, scatter);
    if (rc < 0) {
        weir_why_set(why, rc, "main loop: %s", weir_err_text(rc));
        goto fail;
    }
    weir_metrics_set(scatter->metrics, CONSOLE_aggregators, scatter->map->aggregator_count);
    *ret = scatter;
    return 0;

fail:
    console_scatter_destroy(scatter);
    return rc;
}

void console_scatter_set_shards(struct console_scatter *scatter, const struct weir_shard shards[WEIR_SHARDS])
{
    memcpy(scatter->shards, shards, sizeof scatter->shards);
}

void console_scatter_drain(struct console_scatter *scatter)
{
    pthread_mutex_lock(&scatter->mutex);
    scatter->closed = true;
    pthread_mutex_unlock(&scatter->mutex);
    on_wake(scatter); /* what was submitted before */
    for (struct asking *asking = scatter->active; asking != NULL; asking = asking->next) {
        if (asking->question->shape != WEIR_SHAPE_NODES) continue;
        for (uint32_t i = 0; i < scatter->map->aggregator_count; i++)
            part_end(asking, &asking->parts[i], "this console is leaving");
    }
    finish_done(scatter);
}

void console_scatter_close(struct console_scatter *scatter)
{
    pthread_mutex_lock(&scatter->mutex);
    scatter->closed = true;
    struct asking *lists[2] = {scatter->submitted, scatter->active};
    scatter->submitted = NULL;
    scatter->active = NULL;
    for (int i = 0; i < 2; i++) {
        while (lists[i] != NULL) {
            struct asking *asking = lists[i];
            lists[i] = asking->next;
            asking->closed = true;
            asking->finished = true;
            scatter->count--;
        }
    }
    pthread_cond_broadcast(&scatter->finished);
    pthread_mutex_unlock(&scatter->mutex);
}

void console_scatter_destroy(struct console_scatter *scatter)
{
    if (scatter == NULL) return;
    for (uint32_t i = 0; i < scatter->map->aggregator_count; i++)
        peer_drop(scatter, &scatter->peers[i]);
    weir_net_destroy(scatter->net);
    weir_keys_wipe(&scatter->keys);
    pthread_cond_destroy(&scatter->finished);
    pthread_mutex_destroy(&scatter->mutex);
    weir_free(scatter);
}
