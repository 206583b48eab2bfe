/**
 * What the broker tells of itself: counters and per-peer samples for the status thread, copied out by the main thread,
 * so that the core needs no lock.
 */
#ifndef WEIR_BROKER_REPORT_H
#define WEIR_BROKER_REPORT_H

#include "broker/route_core.h"
#include "common/base/metric.h"
#include "common/net/zap.h"

struct broker_report;

/** WEIR_ENOMEM. */
int broker_report_create(struct broker_report **ret);
void broker_report_destroy(struct broker_report *report);

/** Take the state of things now. Main thread. */
void broker_report_update(struct broker_report *report, struct weir_metrics *metrics, const struct route_core *core,
                          const struct weir_map *map, struct weir_socket *server, const struct weir_zap *zap);

/** Samples of row @row. Status thread. */
void broker_report_each(struct broker_report *report, size_t row, struct weir_buf *out);

/** Is somebody there to forward to? Writes the reason when not. Status thread. */
bool broker_report_ready(struct broker_report *report, struct weir_buf *reason);

#endif
