/**
 * docs/CONFIG.md, docs/METRICS.md and docs/ELEMENTS.md, written from the tables that the programs themselves read.
 *
 *     cmake --build --preset dev --target docs
 */
#include "agent/agent.h"
#include "agent/decode/element.h"
#include "aggregator/aggregator.h"
#include "broker/broker.h"
#include "common/daemon/cluster_file.h"
#include "common/daemon/program.h"
#include "console/http/console.h"

#include <stdio.h>
#include <stdlib.h>

static const struct weir_program *const programs[] = {&agent_program, &broker_program, &aggregator_program,
                                                      &console_program};
enum { PROGRAMS = sizeof programs / sizeof programs[0] };

/** Text in a cell of a table. */
static void cell(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|' || *text == '<') putchar('\\');
        putchar(*text);
    }
}

static void option_type(const struct weir_option *option)
{
    switch (option->type) {
    case WEIR_OPTION_STRING: printf("text"); return;
    case WEIR_OPTION_INT: printf("number, %s to %s", option->least, option->most); return;
    case WEIR_OPTION_BOOL: printf("true or false"); return;
    case WEIR_OPTION_SIZE: printf("size, %s to %s", option->least, option->most); return;
    case WEIR_OPTION_DURATION: printf("duration, %s to %s", option->least, option->most); return;
    case WEIR_OPTION_CHOICE:
        for (const char *at = option->words; *at != '\0'; at++)
            printf(*at == '|' ? ", " : "%c", *at);
        return;
    case WEIR_OPTION_STRINGS: printf("list of texts, at most %s", option->most); return;
    case WEIR_OPTION_GROUPS: printf("list of groups, at most %s", option->most); return;
    }
}

static void option_preset(const struct weir_option *option)
{
    bool is_list = option->type == WEIR_OPTION_STRINGS || option->type == WEIR_OPTION_GROUPS;
    bool is_bare = option->type == WEIR_OPTION_INT || option->type == WEIR_OPTION_BOOL;
    if (option->preset == NULL) {
        printf("must be set");
    } else if (is_list) {
        printf("`()`");
    } else {
        printf(is_bare ? "`%s`" : "`\"%s\"`", option->preset);
    }
}

static void option_rows(const struct weir_schema *schema, const char *inside)
{
    for (size_t i = 0; i < schema->count; i++) {
        const struct weir_option *option = &schema->options[i];
        printf("| `%s%s` | ", inside, option->name);
        option_type(option);
        printf(" | ");
        option_preset(option);
        printf(" | %s | ", option->reloadable ? "reload" : "restart");
        cell(option->help);
        printf(" |\n");
        if (option->type != WEIR_OPTION_GROUPS) continue;
        char deeper[128];
        snprintf(deeper, sizeof deeper, "%s%s[].", inside, option->name);
        option_rows(option->group, deeper);
    }
}

static void option_table(const char *file, const char *about, const struct weir_schema *schema)
{
    printf("\n## %s\n%s\n\n", file, about);
    printf("| option | type | default | a change needs | meaning |\n|---|---|---|---|---|\n");
    option_rows(schema, "");
}

static void print_config(void)
{
    printf(
        "# Configuration\n\n"
        "<!-- Made from the option tables by tools/gendocs.c: cmake --build --preset dev --target docs -->\n\n"
        "Files are in libconfig's syntax, by default in `/etc/weir`: `name = value;`, lists in `( , )`, groups in\n"
        "`{ }`, `#` begins a comment. Sizes and durations are texts with a unit: `\"64MiB\"` (B, KiB, MiB, GiB, TiB, "
        "kB,\n"
        "MB, GB, TB), `\"200ms\"`, `\"1h30m\"` (ms, s, m, h, d, w). A mistake is named with file, line, option and "
        "what is\n"
        "allowed, and nothing starts. `weir-agent --check-config` says whether a file is sound, `--print-config` "
        "prints\n"
        "every option with its value. SIGHUP (`systemctl reload`) takes over changes of the options marked *reload*;\n"
        "where others have changed too, it is refused as a whole and the program goes on as it was.\n");
    for (size_t i = 0; i < PROGRAMS; i++) {
        char file[64];
        snprintf(file, sizeof file, "%s.conf", programs[i]->name + strlen("weir-"));
        option_table(file, programs[i]->summary, programs[i]->schema);
    }
    option_table("cluster.conf", "The members of a cluster; the same file on every host.", &weir_cluster_conf_schema);
    option_table("allow.conf", "Who may connect to this host's programs.", &weir_allow_file_schema);
}

static void labels(const struct weir_metric_row *row)
{
    const char *sep = row->labels[0] != '\0' && row->each != NULL ? "," : "";
    if (row->labels[0] == '\0' && row->each == NULL) return;
    printf("`%s%s%s%s`", row->labels, sep, row->each == NULL ? "" : row->each, row->each == NULL ? "" : "=...");
}

static void metric_table(const char *of, const struct weir_metric_row *rows, size_t count)
{
    static const char *const kinds[] = {[WEIR_METRIC_COUNTER] = "counter", [WEIR_METRIC_GAUGE] = "gauge"};
    printf("\n## %s\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n", of);
    for (size_t i = 0; i < count;) {
        const struct weir_metric_row *row = &rows[i];
        printf("| `%s` | %s | ", row->name, kinds[row->kind]);
        size_t next = i;
        for (; next < count && strcmp(rows[next].name, row->name) == 0; next++) {
            if (next > i) printf("<br>");
            labels(&rows[next]);
        }
        printf(" | ");
        cell(row->help);
        printf(" |\n");
        i = next;
    }
}

static void print_metrics(void)
{
    printf("# Metrics\n\n"
           "<!-- Made from the counter tables by tools/gendocs.c: cmake --build --preset dev --target docs -->\n\n"
           "Every program serves `/metrics` in Prometheus' text format at the address of its option `status`, beside\n"
           "`/livez` (is it running?) and `/readyz` (may clients be sent there? if not, why). Counters begin at zero "
           "with the\n"
           "process. At each stage *received = passed + dropped, by reason*. Every program also says\n"
           "`weir_build_info{program,version} 1`.\n");
    metric_table("every program", weir_daemon_counter_rows, WEIR_DAEMON_COUNTERS);
    for (size_t i = 0; i < PROGRAMS; i++)
        metric_table(programs[i]->name, programs[i]->metric_rows, programs[i]->metric_count);
}

static void print_elements(void)
{
    printf(
        "# Information elements\n\n"
        "<!-- Made from agent/decode/elements.def by tools/gendocs.c: cmake --build --preset dev --target docs -->\n\n"
        "IANA's IPFIX information elements and what Weir does with each. NetFlow v9 has the same numbers. An element "
        "that\n"
        "is skipped costs its value only: it is stepped over by its length, counted in\n"
        "`weir_agent_elements_skipped_total`, and the rest of the record is read; the agent's option `extra` keeps any "
        "of\n"
        "them under a name (`extra.NAME`). Elements with an enterprise number are skipped alike, but for the reverse "
        "ones\n"
        "of RFC 5103 (29305), which are columns of a flow in the other direction. The numbers 40001 to 40005 of v9 "
        "are\n"
        "read as 225, 226, 227, 228 and 233. Of what is read as a packet the flow has what no element of its own "
        "says,\n"
        "and of a list (RFC 6313) the first value of each element: of a basicList, and of the records of a "
        "subTemplateList\n"
        "or subTemplateMultiList. All other values in lists are counted as skipped.\n\n"
        "| number | name | type | becomes |\n|---|---|---|---|\n");
    size_t count = 0;
    const struct agent_element *elements = agent_elements(&count);
    for (size_t i = 0; i < count; i++) {
        const struct agent_element *element = &elements[i];
        printf("| %u | %s | %s | ", element->number, element->name, element->type);
        const char *name = element->field == WEIR_FIELD_COUNT ? "" : weir_fields[element->field].name;
        switch (element->use) {
        case AGENT_ELEMENT_COLUMN: printf("`%s` |\n", name); break;
        case AGENT_ELEMENT_REVERSE: printf("`%s` of the other direction |\n", name); break;
        case AGENT_ELEMENT_PACKET: printf("read as a packet |\n"); break;
        case AGENT_ELEMENT_LIST: printf("its first values |\n"); break;
        case AGENT_ELEMENT_OPTIONS: printf("read from options |\n"); break;
        default: printf("skipped |\n"); break;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "config") == 0) {
        print_config();
    } else if (argc == 2 && strcmp(argv[1], "metrics") == 0) {
        print_metrics();
    } else if (argc == 2 && strcmp(argv[1], "elements") == 0) {
        print_elements();
    } else {
        fprintf(stderr, "usage: gendocs config|metrics|elements\n");
        return EXIT_FAILURE;
    }
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
