#include "aggregator/asker.h"

#include "aggregator/peer.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"
#include "common/wire/question.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { TICK_MS = 100, RESEND_MS = 5, THREADS_MOST = 32, LOG_PER_SECOND = 2, ANSWER_BYTES_MOST = 50 << 20 };

enum job_state { JOB_FREE, JOB_WAITING, JOB_RUNNING, JOB_SENDING };

/** A chunk of an answer: header and body, or a header alone. */
struct chunk {
    struct weir_buf header;
    struct weir_buf body;
};

/** A question on its way. Its state is under the mutex; the rest belongs to whom the state says. */
struct job {
    enum job_state state;
    uint64_t order; /* first come, first answered */
    uint32_t peer;
    struct weir_question question;
    int64_t deadline_mono_ms;
    _Atomic bool cancelled;
    struct chunk *chunks;
    size_t chunk_count;
    size_t chunk_capacity;
    size_t chunk_bytes;
    size_t sent;
};

struct agg_asker {
    struct agg_asker_conf conf;
    pthread_t thread;
    bool thread_started;
    pthread_t workers[THREADS_MOST];
    uint32_t worker_count;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    pthread_cond_t bound;
    bool is_bound;
    int bind_rc;
    struct weir_why bind_why;
    bool stopping;
    uint64_t next_order;
    struct job jobs[AGG_QUESTIONS_MOST];
    struct weir_allow *allow_next;
    char *endpoint;
    int wake_fd;

    /* the socket thread's own */
    struct weir_socket *socket;
    struct weir_allow *allow;
    struct weir_log_limit log_limit;
};

static void wake(struct agg_asker *asker)
{
    uint64_t one = 1;
    (void)!write(asker->wake_fd, &one, sizeof one);
}

/* --- answering --- */

static void free_chunks(struct job *job)
{
    for (size_t i = 0; i < job->chunk_count; i++) {
        weir_buf_fini(&job->chunks[i].header);
        weir_buf_fini(&job->chunks[i].body);
    }
    weir_free(job->chunks);
    job->chunks = NULL;
    job->chunk_count = job->chunk_capacity = job->chunk_bytes = job->sent = 0;
}

static struct chunk *add_chunk(struct job *job)
{
    if (job->chunk_count == job->chunk_capacity) {
        size_t capacity = job->chunk_capacity == 0 ? 4 : job->chunk_capacity * 2;
        struct chunk *chunks = weir_realloc(job->chunks, capacity * sizeof *chunks);
        if (chunks == NULL) return NULL;
        job->chunks = chunks;
        job->chunk_capacity = capacity;
    }
    struct chunk *chunk = &job->chunks[job->chunk_count++];
    *chunk = (struct chunk){0};
    return chunk;
}

static int keep_chunk(void *ctx, struct weir_view header, struct weir_view body)
{
    struct job *job = ctx;
    struct chunk *chunk = add_chunk(job);
    if (chunk == NULL) return WEIR_ENOMEM;
    job->chunk_bytes += header.size + body.size;
    if (job->chunk_bytes > ANSWER_BYTES_MOST) return WEIR_ELIMIT;
    weir_buf_append(&chunk->header, header.data, header.size);
    weir_buf_append(&chunk->body, body.data, body.size);
    return chunk->header.failed || chunk->body.failed ? WEIR_ENOMEM : 0;
}

/** Put a refusal in the place of an answer. */
static void refuse_job(struct agg_asker *asker, struct job *job, int rc, const char *text)
{
    free_chunks(job);
    struct chunk *chunk = add_chunk(job);
    if (chunk == NULL) return; /* who asked runs into the deadline */
    struct weir_answer_header header = {.id = job->question.id, .code = rc};
    snprintf(header.node, sizeof header.node, "%s", asker->conf.answerer->node);
    snprintf(header.text, sizeof header.text, "%s", text);
    if (weir_answer_header_encode(&header, &chunk->header) < 0) free_chunks(job);
    weir_metrics_add(asker->conf.metrics, AGG_COUNT_questions_refused, 1);
}

static void answer_job(struct agg_asker *asker, struct job *job)
{
    int64_t begin_us = weir_mono_us();
    uint64_t scanned = 0;
    struct weir_answer answer;
    struct weir_why why = {0};
    int rc = agg_answer(asker->conf.answerer, &job->question, job->deadline_mono_ms, &job->cancelled, &answer, &scanned,
                        &why);
    if (rc == 0) {
        rc = weir_answer_encode(&answer, job->question.id, asker->conf.answerer->node, keep_chunk, job);
        if (rc == WEIR_ELIMIT)
            weir_why_set(&why, rc, "the answer is larger than %d MiB", ANSWER_BYTES_MOST >> 20);
        else if (rc < 0)
            weir_why_set(&why, rc, "%s", weir_err_text(rc));
        weir_answer_fini(&answer);
    }
    if (rc < 0)
        refuse_job(asker, job, rc, why.text);
    else
        weir_metrics_add(asker->conf.metrics, AGG_COUNT_questions, 1);
    weir_metrics_add(asker->conf.metrics, AGG_COUNT_rows_scanned, scanned);
    weir_metrics_add(asker->conf.metrics, AGG_COUNT_question_micros, (uint64_t)(weir_mono_us() - begin_us));
}

static struct job *oldest_waiting(struct agg_asker *asker)
{
    struct job *oldest = NULL;
    for (int i = 0; i < AGG_QUESTIONS_MOST; i++) {
        struct job *job = &asker->jobs[i];
        if (job->state == JOB_WAITING && (oldest == NULL || job->order < oldest->order)) oldest = job;
    }
    return oldest;
}

static void *work(void *ctx)
{
    struct agg_asker *asker = ctx;
    pthread_mutex_lock(&asker->mutex);
    while (!asker->stopping) {
        struct job *job = oldest_waiting(asker);
        if (job == NULL) {
            pthread_cond_wait(&asker->work, &asker->mutex);
            continue;
        }
        job->state = JOB_RUNNING;
        pthread_mutex_unlock(&asker->mutex);
        answer_job(asker, job);
        wake(asker);
        pthread_mutex_lock(&asker->mutex);
        job->state = JOB_SENDING;
    }
    pthread_mutex_unlock(&asker->mutex);
    return NULL;
}

/* --- the socket --- */

static void free_job(struct agg_asker *asker, struct job *job)
{
    free_chunks(job);
    weir_question_fini(&job->question);
    pthread_mutex_lock(&asker->mutex);
    job->state = JOB_FREE;
    pthread_mutex_unlock(&asker->mutex);
}

/** Send what can be sent. True when some of it has to wait. */
static bool send_answers(struct agg_asker *asker)
{
    bool waits = false;
    for (int i = 0; i < AGG_QUESTIONS_MOST; i++) {
        struct job *job = &asker->jobs[i];
        pthread_mutex_lock(&asker->mutex);
        bool sending = job->state == JOB_SENDING;
        pthread_mutex_unlock(&asker->mutex);
        if (!sending) continue;
        int rc = atomic_load(&job->cancelled) ? WEIR_ECANCELLED : 0;
        while (rc == 0 && job->sent < job->chunk_count) {
            const struct chunk *chunk = &job->chunks[job->sent];
            struct weir_frames frames = WEIR_FRAMES_INIT;
            rc = weir_frames_add(&frames, weir_buf_view(&chunk->header));
            if (rc == 0 && chunk->body.size > 0) rc = weir_frames_add(&frames, weir_buf_view(&chunk->body));
            if (rc == 0) rc = weir_socket_send(asker->socket, job->peer, &frames);
            weir_frames_clear(&frames);
            if (rc == 0) job->sent++;
        }
        if (rc == WEIR_EAGAIN && weir_mono_ms() < job->deadline_mono_ms)
            waits = true;
        else
            free_job(asker, job);
    }
    return waits;
}

static struct job *find_job(struct agg_asker *asker, enum job_state state)
{
    for (int i = 0; i < AGG_QUESTIONS_MOST; i++) {
        if (asker->jobs[i].state == state) return &asker->jobs[i];
    }
    return NULL;
}

static void cancel(struct agg_asker *asker, uint32_t peer, uint64_t id)
{
    for (int i = 0; i < AGG_QUESTIONS_MOST; i++) {
        struct job *job = &asker->jobs[i];
        pthread_mutex_lock(&asker->mutex);
        if (job->state != JOB_FREE && job->peer == peer && job->question.id == id) atomic_store(&job->cancelled, true);
        pthread_mutex_unlock(&asker->mutex);
    }
}

/** Answer with a refusal at once, without a job. */
static void refuse_now(struct agg_asker *asker, uint32_t peer, uint64_t id, int rc, const char *text)
{
    struct job job = {.question = {.id = id}};
    refuse_job(asker, &job, rc, text);
    struct weir_frames frames = WEIR_FRAMES_INIT;
    if (job.chunk_count == 1 && weir_frames_add(&frames, weir_buf_view(&job.chunks[0].header)) == 0)
        (void)weir_socket_send(asker->socket, peer, &frames);
    weir_frames_clear(&frames);
    free_chunks(&job);
}

static void take_question(struct agg_asker *asker, const struct weir_peer *peer, const struct weir_frames *frames)
{
    struct weir_question question;
    struct weir_why why = {0};
    int rc = frames->count == 1 ? weir_question_decode(weir_frames_view(frames, 0), &question, &why) : WEIR_EFORMAT;
    if (rc == 1) {
        cancel(asker, peer->id, question.id);
        return;
    }
    if (rc < 0) {
        if (frames->count == 1)
            refuse_now(asker, peer->id, question.id, rc, why.text[0] != '\0' ? why.text : weir_err_text(rc));
        return;
    }
    pthread_mutex_lock(&asker->mutex);
    struct job *job = find_job(asker, JOB_FREE);
    if (job != NULL) {
        job->order = asker->next_order++;
        job->peer = peer->id;
        job->question = question;
        job->deadline_mono_ms = weir_mono_ms() + question.deadline_ms;
        atomic_store(&job->cancelled, false);
        job->state = JOB_WAITING;
        pthread_cond_signal(&asker->work);
    }
    pthread_mutex_unlock(&asker->mutex);
    if (job != NULL) return;
    refuse_now(asker, peer->id, question.id, WEIR_ELIMIT, "too many questions at a time: try again");
    weir_question_fini(&question);
}

static void drain(struct agg_asker *asker)
{
    struct weir_frames frames = WEIR_FRAMES_INIT;
    struct weir_peer peer;
    while (weir_socket_recv(asker->socket, &frames, &peer) == 0) {
        if (agg_peer_is_allowed(asker->allow, &peer, WEIR_ROLE_CONSOLE)) {
            take_question(asker, &peer, &frames);
            continue;
        }
        weir_metrics_add(asker->conf.metrics, AGG_COUNT_messages_denied, 1);
        if (weir_log_allowed(&asker->log_limit, weir_mono_ms(), LOG_PER_SECOND, NULL))
            weir_log(WEIR_LOG_WARN, "ask.denied", "peer=%s", peer.name);
    }
    weir_frames_clear(&frames);
}

static int bind_socket(struct agg_asker *asker)
{
    struct weir_server_conf conf = {.endpoint = asker->conf.endpoint,
                                    .domain = "ask",
                                    .keys = asker->conf.keys,
                                    .max_bytes = WEIR_QUESTION_BYTES_MOST};
    int rc = weir_server_create(asker->conf.net, &conf, &asker->socket, &asker->bind_why);
    if (rc < 0) return rc;
    asker->endpoint = weir_strdup(weir_socket_endpoint(asker->socket));
    return asker->endpoint == NULL ? WEIR_ENOMEM : 0;
}

/** Take over what others want; false when it is time to stop. */
static bool take_wishes(struct agg_asker *asker)
{
    pthread_mutex_lock(&asker->mutex);
    struct weir_allow *allow = asker->allow_next;
    asker->allow_next = NULL;
    bool go_on = !asker->stopping;
    pthread_mutex_unlock(&asker->mutex);
    if (allow != NULL) {
        weir_allow_destroy(asker->allow);
        asker->allow = allow;
    }
    return go_on;
}

static void *serve(void *ctx)
{
    struct agg_asker *asker = ctx;
    int rc = bind_socket(asker);
    pthread_mutex_lock(&asker->mutex);
    asker->bind_rc = rc;
    asker->is_bound = true;
    pthread_cond_signal(&asker->bound);
    pthread_mutex_unlock(&asker->mutex);
    while (rc == 0 && take_wishes(asker)) {
        drain(asker);
        bool waits = send_answers(asker);
        if (weir_socket_pending(asker->socket)) continue;
        struct pollfd fds[] = {{.fd = weir_socket_fd(asker->socket), .events = POLLIN},
                               {.fd = asker->wake_fd, .events = POLLIN}};
        if (poll(fds, 2, waits ? RESEND_MS : TICK_MS) > 0 && fds[1].revents != 0) {
            uint64_t wakes;
            (void)!read(asker->wake_fd, &wakes, sizeof wakes);
        }
    }
    weir_socket_destroy(asker->socket);
    return NULL;
}

/* --- from other threads --- */

static int start(struct agg_asker *asker, struct weir_why *why)
{
    if (asker->wake_fd < 0) return weir_why_set(why, WEIR_EIO, "no descriptor for the question endpoint");
    if (weir_thread_start(&asker->thread, "questions", serve, asker) != 0)
        return weir_why_set(why, WEIR_ENOMEM, "no thread for questions");
    asker->thread_started = true;
    pthread_mutex_lock(&asker->mutex);
    while (!asker->is_bound)
        pthread_cond_wait(&asker->bound, &asker->mutex);
    int rc = asker->bind_rc;
    pthread_mutex_unlock(&asker->mutex);
    if (rc < 0) return weir_why_set(why, rc, "%s", asker->bind_why.text);
    for (uint32_t i = 0; i < asker->conf.threads && i < THREADS_MOST; i++) {
        if (weir_thread_start(&asker->workers[i], "answer", work, asker) != 0)
            return weir_why_set(why, WEIR_ENOMEM, "no thread for answers");
        asker->worker_count++;
    }
    return 0;
}

int agg_asker_create(const struct agg_asker_conf *conf, struct agg_asker **ret, struct weir_why *why)
{
    struct agg_asker *asker = weir_calloc(1, sizeof *asker);
    if (asker == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    asker->conf = *conf;
    asker->allow = weir_allow_share(conf->allow);
    pthread_mutex_init(&asker->mutex, NULL);
    pthread_cond_init(&asker->work, NULL);
    pthread_cond_init(&asker->bound, NULL);
    asker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = start(asker, why);
    if (rc < 0) {
        agg_asker_destroy(asker);
        return rc;
    }
    *ret = asker;
    return 0;
}

void agg_asker_destroy(struct agg_asker *asker)
{
    if (asker == NULL) return;
    pthread_mutex_lock(&asker->mutex);
    asker->stopping = true;
    for (int i = 0; i < AGG_QUESTIONS_MOST; i++)
        atomic_store(&asker->jobs[i].cancelled, true);
    pthread_cond_broadcast(&asker->work);
    pthread_mutex_unlock(&asker->mutex);
    if (asker->wake_fd >= 0) wake(asker);
    for (uint32_t i = 0; i < asker->worker_count; i++)
        pthread_join(asker->workers[i], NULL);
    if (asker->thread_started) pthread_join(asker->thread, NULL);
    for (int i = 0; i < AGG_QUESTIONS_MOST; i++) {
        if (asker->jobs[i].state != JOB_FREE) free_job(asker, &asker->jobs[i]);
    }
    weir_allow_destroy(asker->allow);
    weir_allow_destroy(asker->allow_next);
    weir_free(asker->endpoint);
    if (asker->wake_fd >= 0) close(asker->wake_fd);
    pthread_cond_destroy(&asker->bound);
    pthread_cond_destroy(&asker->work);
    pthread_mutex_destroy(&asker->mutex);
    weir_free(asker);
}

const char *agg_asker_endpoint(const struct agg_asker *asker)
{
    return asker->endpoint;
}

void agg_asker_swap_allow(struct agg_asker *asker, struct weir_allow *allow)
{
    pthread_mutex_lock(&asker->mutex);
    weir_allow_destroy(asker->allow_next);
    asker->allow_next = weir_allow_share(allow);
    pthread_mutex_unlock(&asker->mutex);
    wake(asker);
}
