/**
 * How far a node is from a shard in rendezvous hashing (highest random weight; Thaler and Ravishankar 1998): the nearest
 * after dividing by weight is the first choice, and who comes or goes changes nobody else's distance.
 */
#ifndef WEIR_COMMON_CLUSTER_RENDEZVOUS_H
#define WEIR_COMMON_CLUSTER_RENDEZVOUS_H

#include <stdint.h>

/** -log2 of a uniform number in (0, 1], in 1/2^24: 1 to 65 * 2^24. The same on every machine. */
uint64_t weir_rendezvous(const char *node, uint32_t shard);

#endif
