/**
 * A map store at the end of a pipe, for tests: commands as lines on stdin, answers as lines on stdout, each answer ended
 * by "done NUMBER" or "error CODE REASON".
 *
 *     get PREFIX [stale]        item KEY REVISION VALUE ...; done REVISION
 *     cas KEY REVISION LEASE VALUE
 *     watch PREFIX FROM MS      item ... or gone KEY REVISION; done COUNT
 *     lease SECONDS LEASE       done LEASE
 *
 * weir-mapstore PREFIX USER PASSWORD TIMEOUT_MS ENDPOINT...
 */
#include "common/etcd/etcd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_item(void *ctx, const struct weir_mapstore_item *item)
{
    (void)ctx;
    if (item->gone)
        printf("gone %s %" PRId64 "\n", item->key, item->revision);
    else
        printf("item %s %" PRId64 " %.*s\n", item->key, item->revision, (int)item->value.size,
               (const char *)item->value.data);
}

static void end(int rc, int64_t number, const struct weir_why *why)
{
    if (rc < 0)
        printf("error %s %s\n", weir_err_name(rc), why->text);
    else
        printf("done %" PRId64 "\n", number);
    fflush(stdout);
}

static void run(struct weir_mapstore *store, char *line)
{
    const char *words[5] = {0};
    struct weir_why why = {""};
    int64_t number = 0;
    int rc = WEIR_EPARAM;
    for (int i = 0; i < 5; i++) {
        words[i] = i == 0 ? strtok(line, " ") : strtok(NULL, i == 4 ? "" : " ");
        if (words[i] == NULL) words[i] = "";
    }
    if (strcmp(words[0], "get") == 0) {
        rc = weir_mapstore_get(store, words[1], strcmp(words[2], "stale") == 0, print_item, NULL, &number, &why);
    } else if (strcmp(words[0], "cas") == 0) {
        rc = weir_mapstore_cas(store, words[1], atoll(words[2]), weir_view_text(words[4]), atoll(words[3]), &why);
    } else if (strcmp(words[0], "watch") == 0) {
        rc = weir_mapstore_watch(store, words[1], atoll(words[2]), atoll(words[3]), print_item, NULL, &why);
        number = rc;
    } else if (strcmp(words[0], "lease") == 0) {
        number = atoll(words[2]);
        rc = weir_mapstore_lease(store, atoll(words[1]), &number, &why);
    }
    end(rc, number, &why);
}

int main(int argc, char **argv)
{
    struct weir_mapstore *store = NULL;
    struct weir_why why = {""};
    char line[8192];
    if (argc < 6) return 2;
    struct etcd_conf conf = {.prefix = argv[1],
                             .user = argv[2],
                             .password = argv[3],
                             .ca = "",
                             .timeout_ms = atoll(argv[4]),
                             .endpoints = (const char *const *)argv + 5,
                             .endpoint_count = (size_t)argc - 5};
    int rc = etcd_mapstore_create(&conf, &store, &why);
    end(rc, 0, &why);
    while (rc == 0 && fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        run(store, line);
    }
    weir_mapstore_destroy(store);
    return rc < 0;
}
