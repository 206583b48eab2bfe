/** weir keys: key pairs, lines for allow.conf, bearer tokens. */
#include "common/net/keys.h"
#include "common/base/buf.h"
#include "console/cli/cli.h"
#include "console/token/token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum cli_exit make(const struct cli_args *args)
{
    const char *name = args->words[1];
    const char *dir = cli_value(args, CLI_OPTION_dir, ".");
    struct weir_keys keys;
    struct weir_why why = {""};
    int rc = weir_keys_make(&keys, &why);
    if (rc == 0) rc = weir_keys_write(&keys, dir, name, args->values[CLI_OPTION_overwrite] != NULL, &why);
    if (rc == 0) printf("%s\n", keys.public_key);
    weir_keys_wipe(&keys);
    if (rc < 0) return cli_fail(rc == WEIR_EEXIST || rc == WEIR_EPARAM ? CLI_USAGE : CLI_INTERNAL, "%s", why.text);
    fprintf(stderr, "wrote %s/%s.key (keep it on its host) and %s/%s.pub\n", dir, name, dir, name);
    return CLI_OK;
}

/** The public key of a .pub or a .key file. */
static int read_public(const char *path, char ret[WEIR_KEY_TEXT], struct weir_why *why)
{
    size_t size = strlen(path);
    if (size < 4 || strcmp(path + size - 4, ".key") != 0) return weir_keys_read_public(path, ret, why);
    struct weir_keys keys;
    int rc = weir_keys_read(path, &keys, why);
    if (rc < 0) return rc;
    memcpy(ret, keys.public_key, WEIR_KEY_TEXT);
    weir_keys_wipe(&keys);
    return 0;
}

static enum cli_exit show(const struct cli_args *args)
{
    for (int i = 1; i < args->word_count; i++) {
        char key[WEIR_KEY_TEXT];
        struct weir_why why = {""};
        if (read_public(args->words[i], key, &why) < 0) return cli_fail(CLI_USAGE, "%s", why.text);
        printf("%s\n", key);
    }
    return CLI_OK;
}

/** One entry: @name's public key as an agent, a broker ... */
static enum cli_exit allow_one(const struct cli_args *args, const char *name, const char *comma, struct weir_buf *out)
{
    char path[4096];
    char key[WEIR_KEY_TEXT];
    struct weir_why why = {""};
    if (!weir_name_is_valid(name)) return cli_fail(CLI_USAGE, "\"%s\" is not a name", name);
    snprintf(path, sizeof path, "%s/%s.pub", cli_value(args, CLI_OPTION_dir, "."), name);
    if (read_public(path, key, &why) < 0) return cli_fail(CLI_USAGE, "%s", why.text);
    weir_buf_printf(out, "    { name = \"%s\"; role = \"%s\"; site = \"%s\"; tenant = \"%s\"; key = \"%s\"; }%s\n",
                    name, args->values[CLI_OPTION_role], cli_value(args, CLI_OPTION_site, ""),
                    cli_value(args, CLI_OPTION_tenant, "default"), key, comma);
    return CLI_OK;
}

/** Entries of allow.conf for names whose .pub files are in --dir: a whole file for one role, or lines to put into one. */
static enum cli_exit allow(const struct cli_args *args)
{
    const char *role = cli_value(args, CLI_OPTION_role, NULL);
    if (role == NULL || weir_role_of(role) <= 0) {
        return cli_fail(CLI_USAGE, "--role must be agent, broker, aggregator or console");
    }
    const char *tenant = cli_value(args, CLI_OPTION_tenant, "default");
    const char *site = cli_value(args, CLI_OPTION_site, "");
    if (!weir_name_is_valid(tenant)) return cli_fail(CLI_USAGE, "--tenant: \"%s\" is not a name", tenant);
    if (site[0] != '\0' && !weir_name_is_valid(site)) return cli_fail(CLI_USAGE, "--site: \"%s\" is not a name", site);
    struct weir_buf out = WEIR_BUF_INIT;
    enum cli_exit status = CLI_OK;
    weir_buf_text(&out, "allow = (\n");
    for (int i = 1; i < args->word_count && status == CLI_OK; i++)
        status = allow_one(args, args->words[i], i + 1 < args->word_count ? "," : "", &out);
    weir_buf_text(&out, ");\n");
    if (status == CLI_OK && out.failed) status = cli_fail(CLI_INTERNAL, "out of memory");
    if (status == CLI_OK) fwrite(out.data, 1, out.size, stdout);
    weir_buf_fini(&out);
    return status;
}

/** Append a line to the console's token file, made with 0640 when it is not there. */
static enum cli_exit append(const char *path, const char *line)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) return cli_fail(CLI_INTERNAL, "%s: %s", path, strerror(errno));
    int rc = dprintf(fd, "%s\n", line) < 0 || fsync(fd) < 0 ? -1 : 0;
    if (close(fd) < 0) rc = -1;
    return rc < 0 ? cli_fail(CLI_INTERNAL, "%s: %s", path, strerror(errno)) : CLI_OK;
}

static enum cli_exit token(const struct cli_args *args)
{
    const char *role_name = cli_value(args, CLI_OPTION_role, "viewer");
    int role = console_role_of(role_name);
    if (role < 0) return cli_fail(CLI_USAGE, "--role must be viewer, analyst or admin, not \"%s\"", role_name);

    char sites[CONSOLE_TOKEN_SITES] = "";
    size_t used = 0;
    for (int i = 0; i < args->site_count && used < sizeof sites; i++)
        used += (size_t)snprintf(sites + used, sizeof sites - used, "%s%s", i == 0 ? "" : ",", args->sites[i]);
    if (used >= sizeof sites) return cli_fail(CLI_USAGE, "--site: the sites are longer than a token can have");

    char text[CONSOLE_TOKEN_TEXT];
    char line[CONSOLE_TOKEN_LINE];
    struct weir_why why = {""};
    int rc = console_token_make(args->words[1], (enum console_role)role, used == 0 ? "*" : sites, text, line, &why);
    if (rc < 0) return cli_fail(CLI_USAGE, "%s", why.text);

    enum cli_exit status = CLI_OK;
    const char *file = cli_value(args, CLI_OPTION_file, NULL);
    if (file != NULL) {
        status = append(file, line);
    } else {
        fprintf(stderr, "add this line to the console's token file:\n%s\n", line);
    }
    if (status == CLI_OK) printf("%s\n", text);
    explicit_bzero(text, sizeof text);
    return status;
}

enum cli_exit cli_keys(const struct cli_args *args)
{
    static const struct {
        const char *name;
        int most; /* words after it; at least one */
        enum cli_exit (*run)(const struct cli_args *args);
    } subjects[] = {{"make", 1, make}, {"show", 1000, show}, {"allow", 1000, allow}, {"token", 1, token}};

    const char *word = args->word_count == 0 ? "" : args->words[0];
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
        if (strcmp(subjects[i].name, word) != 0) continue;
        if (args->word_count < 2 || args->word_count - 1 > subjects[i].most) break;
        return subjects[i].run(args);
    }
    return cli_fail(CLI_USAGE, "usage: weir keys %s", args->verb->words);
}
