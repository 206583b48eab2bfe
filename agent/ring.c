#include "agent/ring.h"

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum {
    FILE_HEADER_BYTES = 24,
    RECORD_HEADER_BYTES = 16,
    IPV4_BYTES = 20,
    IPV6_BYTES = 40,
    UDP_BYTES = 8,
    HEADERS_MOST = FILE_HEADER_BYTES + RECORD_HEADER_BYTES + IPV6_BYTES + UDP_BYTES,
    PAYLOAD_MOST = UINT16_MAX - IPV4_BYTES - UDP_BYTES,
    LINK_RAW_IP = 101,
    FILE_MODE = 0640,
    QUEUE_MOST = 256 << 10,
};

struct agent_ring {
    char *path;
    char *old_path;
    size_t half_bytes;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct weir_buf queue; /* records of the file, for the thread to write; at most QUEUE_MOST */
    struct weir_log_limit limit;
    bool writing;
    bool stopping;

    int fd; /* the thread's */
    size_t file_bytes;
    struct weir_log_limit failed_log;
};

/* ---- records ---- */

static void append_u32le(struct weir_buf *buf, uint32_t value)
{
    uint8_t bytes[4];
    weir_store_u32le(bytes, value);
    weir_buf_append(buf, bytes, sizeof bytes);
}

static uint32_t sum_words(uint32_t sum, const uint8_t *at, size_t size)
{
    for (size_t i = 0; i + 1 < size; i += 2)
        sum += weir_load_u16be(at + i);
    if (size % 2 != 0) sum += (uint32_t)at[size - 1] << 8;
    return sum;
}

/** The Internet checksum (RFC 1071) of a sum of at most 65,535 words. */
static uint16_t checksum_of(uint32_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void append_ipv4(struct weir_buf *buf, const struct agent_ring_note *note, size_t udp_bytes)
{
    uint8_t ip[IPV4_BYTES] = {0x45, [8] = 64, [9] = 17};
    weir_store_u16be(ip + 2, (uint16_t)(IPV4_BYTES + udp_bytes));
    memcpy(ip + 12, note->from.bytes + 12, 4);
    memcpy(ip + 16, note->to.bytes + 12, 4);
    weir_store_u16be(ip + 10, checksum_of(sum_words(0, ip, sizeof ip)));
    weir_buf_append(buf, ip, sizeof ip);
}

static void append_ipv6(struct weir_buf *buf, const struct agent_ring_note *note, size_t udp_bytes)
{
    uint8_t ip[IPV6_BYTES] = {0x60, [6] = 17, [7] = 64};
    weir_store_u16be(ip + 4, (uint16_t)udp_bytes);
    memcpy(ip + 8, note->from.bytes, 16);
    memcpy(ip + 24, note->to.bytes, 16);
    weir_buf_append(buf, ip, sizeof ip);
}

/** UDP over IPv6 must have a checksum, and over IPv4 may: both families have the same one here (RFC 8200 8.1). */
static void append_udp(struct weir_buf *buf, const struct agent_ring_note *note, bool v4, struct weir_view payload)
{
    uint8_t udp[UDP_BYTES] = {0};
    size_t bytes = UDP_BYTES + payload.size;
    weir_store_u16be(udp, note->from_port);
    weir_store_u16be(udp + 2, note->to_port);
    weir_store_u16be(udp + 4, (uint16_t)bytes);
    size_t at = v4 ? 12 : 0; /* where an address begins */
    uint32_t sum = sum_words(17 + (uint32_t)bytes, note->from.bytes + at, 16 - at);
    sum = sum_words(sum, note->to.bytes + at, 16 - at);
    sum = sum_words(sum_words(sum, udp, sizeof udp), payload.data, payload.size);
    uint16_t checksum = checksum_of(sum);
    weir_store_u16be(udp + 6, checksum == 0 ? 0xffff : checksum);
    weir_buf_append(buf, udp, sizeof udp);
    weir_buf_append(buf, payload.data, payload.size);
}

static void append_record(struct weir_buf *buf, const struct agent_ring_note *note, struct weir_view payload)
{
    bool v4 = weir_ip_is_v4(&note->from);
    size_t udp_bytes = UDP_BYTES + payload.size;
    uint32_t bytes = (uint32_t)((v4 ? IPV4_BYTES : IPV6_BYTES) + udp_bytes);
    append_u32le(buf, (uint32_t)(note->received_ms / 1000));
    append_u32le(buf, (uint32_t)(note->received_ms % 1000 * 1000));
    append_u32le(buf, bytes);
    append_u32le(buf, bytes);
    if (v4)
        append_ipv4(buf, note, udp_bytes);
    else
        append_ipv6(buf, note, udp_bytes);
    append_udp(buf, note, v4, payload);
}

bool agent_ring_offer(struct agent_ring *ring, const struct agent_ring_note *note, struct weir_view datagram)
{
    size_t most = ring->half_bytes - HEADERS_MOST < PAYLOAD_MOST ? ring->half_bytes - HEADERS_MOST : PAYLOAD_MOST;
    if (datagram.size > most) datagram.size = most;
    if (pthread_mutex_trylock(&ring->lock) != 0) return false;
    size_t before = ring->queue.size;
    bool kept = before + HEADERS_MOST + datagram.size <= QUEUE_MOST &&
                weir_log_allowed(&ring->limit, weir_mono_ms(), AGENT_RING_PER_SECOND, NULL);
    if (kept) {
        append_record(&ring->queue, note, datagram);
        kept = !ring->queue.failed;
        if (!kept) {
            ring->queue.size = before;
            ring->queue.failed = false;
        }
        pthread_cond_broadcast(&ring->changed);
    }
    pthread_mutex_unlock(&ring->lock);
    return kept;
}

/* ---- the thread ---- */

static void say_failed(struct agent_ring *ring, const char *what)
{
    if (!weir_log_allowed(&ring->failed_log, weir_mono_ms(), 1, NULL)) return;
    char quoted[200];
    weir_log(WEIR_LOG_WARN, "undecodable.failed", "file=%s what=%s reason=%s", ring->path, what,
             weir_log_quote(strerror(errno), quoted, sizeof quoted));
}

/** Begin a new file; the one that was there becomes the old one. */
static bool turn(struct agent_ring *ring)
{
    if (ring->fd >= 0) close(ring->fd);
    ring->fd = -1;
    if (rename(ring->path, ring->old_path) < 0 && errno != ENOENT) {
        say_failed(ring, "rename");
        return false;
    }
    ring->fd = open(ring->path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, FILE_MODE);
    if (ring->fd < 0) {
        say_failed(ring, "open");
        return false;
    }
    uint8_t header[FILE_HEADER_BYTES] = {0};
    weir_store_u32le(header, 0xa1b2c3d4); /* microseconds, this host's order */
    header[4] = 2;
    header[6] = 4; /* version 2.4 */
    weir_store_u32le(header + 16, UINT16_MAX);
    weir_store_u32le(header + 20, LINK_RAW_IP);
    if (write(ring->fd, header, sizeof header) != sizeof header) {
        say_failed(ring, "write");
        close(ring->fd);
        ring->fd = -1;
        return false;
    }
    ring->file_bytes = sizeof header;
    return true;
}

/** Write one record whole; a file that took only a part of one is left behind. */
static void write_record(struct agent_ring *ring, struct weir_view record)
{
    if ((ring->fd < 0 || ring->file_bytes + record.size > ring->half_bytes) && !turn(ring)) return;
    ssize_t written = write(ring->fd, record.data, record.size);
    if (written == (ssize_t)record.size) {
        ring->file_bytes += record.size;
        return;
    }
    say_failed(ring, "write");
    if (ftruncate(ring->fd, (off_t)ring->file_bytes) < 0) say_failed(ring, "truncate");
}

static void write_records(struct agent_ring *ring, struct weir_view records)
{
    while (records.size > 0) {
        size_t bytes = RECORD_HEADER_BYTES + weir_load_u32le(records.data + 8);
        write_record(ring, weir_view_of(records.data, bytes));
        records = weir_view_of(records.data + bytes, records.size - bytes);
    }
}

static void *run(void *ctx)
{
    struct agent_ring *ring = ctx;
    pthread_mutex_lock(&ring->lock);
    for (;;) {
        while (ring->queue.size == 0 && !ring->stopping)
            pthread_cond_wait(&ring->changed, &ring->lock);
        if (ring->queue.size == 0) break;
        struct weir_buf full = ring->queue;
        ring->queue = WEIR_BUF_INIT;
        ring->writing = true;
        pthread_mutex_unlock(&ring->lock);
        write_records(ring, weir_buf_view(&full));
        weir_buf_fini(&full); /* datagrams are rare: no memory is kept for them */
        pthread_mutex_lock(&ring->lock);
        ring->writing = false;
        pthread_cond_broadcast(&ring->changed);
    }
    pthread_mutex_unlock(&ring->lock);
    return NULL;
}

void agent_ring_settle(struct agent_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    while (ring->queue.size > 0 || ring->writing)
        pthread_cond_wait(&ring->changed, &ring->lock);
    pthread_mutex_unlock(&ring->lock);
}

/* ---- life ---- */

static char *path_of(const char *dir, const char *name)
{
    size_t size = strlen(dir) + strlen(name) + 2;
    char *path = weir_malloc(size);
    if (path != NULL) snprintf(path, size, "%s/%s", dir, name);
    return path;
}

int agent_ring_create(const char *dir, size_t bytes_most, struct agent_ring **ret, struct weir_why *why)
{
    int rc = WEIR_ENOMEM;
    struct agent_ring *ring = weir_calloc(1, sizeof *ring);
    if (ring == NULL) return weir_why_set(why, rc, "undecodable: out of memory");
    ring->half_bytes = bytes_most / 2;
    ring->fd = -1;
    pthread_mutex_init(&ring->lock, NULL);
    pthread_cond_init(&ring->changed, NULL);
    ring->path = path_of(dir, "undecodable.pcap");
    ring->old_path = path_of(dir, "undecodable.old.pcap");
    if (ring->path == NULL || ring->old_path == NULL) {
        weir_why_set(why, rc, "undecodable: out of memory");
        goto fail;
    }

    int error = weir_thread_start(&ring->thread, "undecodable", run, ring);
    if (error != 0) {
        rc = weir_why_set(why, WEIR_EIO, "undecodable: a thread: %s", strerror(error));
        goto fail;
    }
    ring->started = true;
    *ret = ring;
    return 0;

fail:
    agent_ring_destroy(ring);
    return rc;
}

void agent_ring_destroy(struct agent_ring *ring)
{
    if (ring == NULL) return;
    if (ring->started) {
        pthread_mutex_lock(&ring->lock);
        ring->stopping = true;
        pthread_cond_broadcast(&ring->changed);
        pthread_mutex_unlock(&ring->lock);
        pthread_join(ring->thread, NULL);
    }
    if (ring->fd >= 0) close(ring->fd);
    weir_buf_fini(&ring->queue);
    pthread_cond_destroy(&ring->changed);
    pthread_mutex_destroy(&ring->lock);
    weir_free(ring->path);
    weir_free(ring->old_path);
    weir_free(ring);
}
