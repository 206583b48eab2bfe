/**
 * A whole river in one process: the delivery cores of agents, brokers and aggregators over a network that loses, repeats,
 * delays and reorders, with crashes of everybody, under a hand-set clock. All chance comes from the seed, so a run can be
 * repeated step by step.
 *
 * What is durable is kept over crashes and nothing else: an agent's synced records and its last written position, an
 * aggregator's committed batches and marks; a broker has nothing. Processes stop for a while, links are cut, aggregators
 * join and leave shards, suspect each other rightly and wrongly, and lose their disks or the end of what they wrote;
 * readers of the map read it late. After a stormy phase the sky clears, everything
 * is started again, and the spools must drain. Then each owner must have each accepted batch exactly once.
 */
#ifndef WEIR_TESTS_SUPPORT_RIVER_RIVER_H
#define WEIR_TESTS_SUPPORT_RIVER_RIVER_H

#include <stdbool.h>
#include <stdint.h>

struct river_report {
    bool sound;
    char complaint[200]; /* what was broken, and when */
    uint64_t trace;      /* hash over everything that happened, in order */
    int64_t lasted_ms;   /* of the hand-set clock */
    uint64_t accepted;   /* batches synced by an agent and not dropped by its spool */
    uint64_t dropped;    /* batches that became a LOSS record */
    uint64_t parcels;
    uint64_t parcels_lost;
    uint64_t parcels_repeated;
    uint64_t crashes;
    uint64_t set_back; /* disks of agents that came back older */
    uint64_t pauses;   /* of processes */
    uint64_t cuts;     /* of links */
    uint64_t moves;    /* of shards, that operators asked for */
    uint64_t swaps;    /* changes of the map */
    uint64_t joins;    /* of an aggregator that became a member */
    uint64_t wipes;    /* disks of aggregators that were lost */
    uint64_t tails;    /* disks of aggregators that lost what was acknowledged last */
    uint64_t commits;
    uint64_t repeats; /* batches that an aggregator had already */
    uint64_t resent;  /* records that agents sent again */
};

/** Run one seed to its end, or to the first thing that is not as it must be. */
void river_run(uint64_t seed, struct river_report *out);

#endif
