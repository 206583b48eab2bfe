#include "console/http/fleet.h"

static bool has_node(const struct weir_answer *answer, const char *role, const char *name)
{
    for (size_t i = 0; i < answer->node_count; i++) {
        if (strcmp(weir_answer_name_at(answer, answer->nodes[i].role), role) == 0 &&
            strcmp(weir_answer_name_at(answer, answer->nodes[i].name), name) == 0) {
            return true;
        }
    }
    return false;
}

static int add_node(struct weir_answer *answer, const char *role, const char *name, const char *version,
                    const char *state, int64_t heard_ms)
{
    if (has_node(answer, role, name)) return 0;
    int64_t names[4] = {weir_answer_name(answer, role), weir_answer_name(answer, name),
                        weir_answer_name(answer, version), weir_answer_name(answer, state)};
    for (int i = 0; i < 4; i++) {
        if (names[i] < 0) return (int)names[i];
    }
    struct weir_answer_node node = {.role = (uint32_t)names[0],
                                    .name = (uint32_t)names[1],
                                    .version = (uint32_t)names[2],
                                    .state = (uint32_t)names[3],
                                    .up = heard_ms != 0,
                                    .last_heard_ms = heard_ms};
    return weir_answer_add_node(answer, &node);
}

int console_fleet_complete(struct weir_answer *answer, const struct weir_map *map, const char *console, int64_t now_ms)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < answer->source_count; i++) {
        const struct weir_answer_source *source = &answer->sources[i];
        const char *state = source->ok ? "ok" : weir_answer_name_at(answer, source->reason);
        rc = add_node(answer, "aggregator", weir_answer_name_at(answer, source->name), "", state,
                      source->ok ? now_ms : 0);
    }
    for (uint32_t i = 0; rc == 0 && i < map->broker_count; i++)
        rc = add_node(answer, "broker", map->brokers[i].name, "", "no aggregator reports it", 0);
    return rc < 0 ? rc : add_node(answer, "console", console, WEIR_VERSION, "ok", now_ms);
}

void console_fleet_restrict(struct weir_answer *answer, const struct console_token *token)
{
    size_t kept = 0;
    for (size_t i = 0; i < answer->node_count; i++) {
        bool agent = strcmp(weir_answer_name_at(answer, answer->nodes[i].role), "agent") == 0;
        if (agent && !console_token_sees(token, weir_answer_name_at(answer, answer->nodes[i].site))) continue;
        answer->nodes[kept++] = answer->nodes[i];
    }
    answer->node_count = kept;
    kept = 0;
    for (size_t i = 0; i < answer->exporter_count; i++) {
        if (!console_token_sees(token, weir_answer_name_at(answer, answer->exporters[i].site))) continue;
        answer->exporters[kept++] = answer->exporters[i];
    }
    answer->exporter_count = kept;
    kept = 0;
    for (size_t i = 0; i < answer->drop_count; i++) {
        if (!console_token_sees(token, weir_answer_name_at(answer, answer->drops[i].site))) continue;
        answer->drops[kept++] = answer->drops[i];
    }
    answer->drop_count = kept;
}
