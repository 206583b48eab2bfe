/**
 * Questions and answers as bytes (proto/weir/v1/query.proto), between a console and an aggregator's question endpoint.
 *
 *     console -> aggregator   [Question]
 *     aggregator -> console   [AnswerHeader][AnswerBody]  repeated while header.more; or [AnswerHeader] with a code
 *
 * Chunks stay below WEIR_CHUNK_BYTES_MOST. Each is an answer of its own, so the reader merges them as they come. A chunk
 * carries the number of the question; answers to a question that was given up are dropped by it.
 *
 * Decoding is safe for whatever a stranger sends.
 */
#ifndef WEIR_COMMON_WIRE_QUESTION_H
#define WEIR_COMMON_WIRE_QUESTION_H

#include "common/base/buf.h"
#include "common/cluster/msg.h"
#include "common/flow/answer.h"

enum {
    WEIR_CHUNK_BYTES_MOST = 256 * 1024,
    WEIR_QUESTION_BYTES_MOST = 1 << 20, /* a filter of 64 KiB and 10,000 picked groups */
};

struct weir_answer_header {
    uint64_t id;    /* of the question */
    uint32_t index; /* of the chunk, from 0 */
    bool more;
    int code; /* 0, or the WEIR_E that ended the question; then @text says why and there is no body */
    char node[WEIR_NAME_BYTES];
    char text[WEIR_REASON_BYTES];
};

/** Append the question. WEIR_ENOMEM (and @out has failed). */
int weir_question_encode(const struct weir_question *question, struct weir_buf *out);

/** Append the wish to hear no more of question @id. WEIR_ENOMEM. */
int weir_cancel_encode(uint64_t id, struct weir_buf *out);

/**
 * Decode a question and check it (weir_question_check). Returns 0 with @out to be given to weir_question_fini; or 1 for
 * a cancellation, with only out->id set; or
 *   WEIR_EFORMAT, WEIR_EVERSION, WEIR_ELIMIT (too large)   @out->id is set where it could be read, else 0
 *   WEIR_EPARAM    one that cannot be answered
 *   WEIR_ENOMEM
 * @why may be NULL.
 */
int weir_question_decode(struct weir_view frame, struct weir_question *out, struct weir_why *why);

/** Append a header. WEIR_ENOMEM. */
int weir_answer_header_encode(const struct weir_answer_header *header, struct weir_buf *out);

/** WEIR_EFORMAT, WEIR_EVERSION, WEIR_ELIMIT. Control characters in texts become '?'. */
int weir_answer_header_decode(struct weir_view frame, struct weir_answer_header *out);

/** Send or keep one chunk: both views are borrowed for the call. A negative return ends the encoding with it. */
typedef int weir_answer_chunk_fn(void *ctx, struct weir_view header, struct weir_view body);

/**
 * Encode a ranked answer as chunks, at least one. @node: who answers. Totals, coverage and sources are in the last.
 * WEIR_ENOMEM, or what @chunk returned.
 */
int weir_answer_encode(const struct weir_answer *answer, uint64_t id, const char *node, weir_answer_chunk_fn *chunk,
                       void *ctx);

/**
 * Merge the body of a chunk into @into, an answer to the same question.
 *
 *   WEIR_EFORMAT   not a body, or one of another question
 *   WEIR_ELIMIT    more parts than a chunk of ours can have
 *   WEIR_ENOMEM
 * On failure @into may have taken a part of it: give the answer up.
 */
int weir_answer_decode(struct weir_view body, struct weir_answer *into);

#endif
