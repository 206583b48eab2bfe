#include "console/token/token.h"

#include "common/base/mem.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum {
    RANDOM_BYTES = 24,
    HASH_TEXT = 2 * CONSOLE_TOKEN_HASH + 1,
};

static const char *const role_names[] = {"viewer", "analyst", "admin"};
static const char blanks[] = " \t\r";

struct console_tokens {
    size_t count;
    struct console_token entries[];
};

const char *console_role_name(enum console_role role)
{
    return role_names[role];
}

int console_role_of(const char *name)
{
    for (size_t i = 0; i < sizeof role_names / sizeof *role_names; i++)
        if (strcmp(name, role_names[i]) == 0) return (int)i;
    return WEIR_ENOTFOUND;
}

static bool name_is_valid(const char *text, size_t size)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    return size > 0 && size < CONSOLE_TOKEN_NAME && strspn(text, allowed) >= size;
}

static bool sites_are_valid(const char *sites)
{
    if (strcmp(sites, "*") == 0) return true;
    if (strlen(sites) >= CONSOLE_TOKEN_SITES) return false;
    for (;;) {
        size_t size = strcspn(sites, ",");
        if (!name_is_valid(sites, size)) return false;
        if (sites[size] == '\0') return true;
        sites += size + 1;
    }
}

static void hash_of(const char *token, uint8_t hash[CONSOLE_TOKEN_HASH])
{
    crypto_generichash(hash, CONSOLE_TOKEN_HASH, (const unsigned char *)token, strlen(token), NULL, 0);
}

int console_token_make(const char *name, enum console_role role, const char *sites, char token[CONSOLE_TOKEN_TEXT],
                       char line[CONSOLE_TOKEN_LINE], struct weir_why *why)
{
    if (!name_is_valid(name, strlen(name))) {
        return weir_why_set(why, WEIR_EPARAM, "\"%s\" cannot be a name: 1 to %d letters, digits, '.', '-', '_'", name,
                            CONSOLE_TOKEN_NAME - 1);
    }
    if (!sites_are_valid(sites)) {
        return weir_why_set(why, WEIR_EPARAM, "\"%s\" are not sites: \"*\", or names with commas between them", sites);
    }
    if (sodium_init() < 0)
        return weir_why_set(why, WEIR_EUNSUPPORTED, "the system has no random numbers for libsodium");

    uint8_t random[RANDOM_BYTES];
    char secret[sodium_base64_ENCODED_LEN(RANDOM_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
    randombytes_buf(random, sizeof random);
    sodium_bin2base64(secret, sizeof secret, random, sizeof random, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    snprintf(token, CONSOLE_TOKEN_TEXT, "weir_%s_%s", console_role_name(role), secret);

    uint8_t hash[CONSOLE_TOKEN_HASH];
    char text[HASH_TEXT];
    hash_of(token, hash);
    snprintf(line, CONSOLE_TOKEN_LINE, "%s %s %s %s", name, console_role_name(role), sites,
             sodium_bin2hex(text, sizeof text, hash, sizeof hash));
    sodium_memzero(random, sizeof random);
    sodium_memzero(secret, sizeof secret);
    return 0;
}

static const char *parse_line(char *line, struct console_token *ret)
{
    char *rest = NULL;
    const char *name = strtok_r(line, blanks, &rest);
    const char *role = strtok_r(NULL, blanks, &rest);
    const char *sites = strtok_r(NULL, blanks, &rest);
    const char *hash = strtok_r(NULL, blanks, &rest);
    if (hash == NULL || strtok_r(NULL, blanks, &rest) != NULL) return "a line is: name role sites hash";
    if (!name_is_valid(name, strlen(name))) return "a name is 1 to 63 letters, digits, '.', '-', '_'";
    int role_number = console_role_of(role);
    if (role_number < 0) return "a role is viewer, analyst or admin";
    if (!sites_are_valid(sites)) return "sites are \"*\", or names with commas between them";

    size_t size = 0;
    const char *end = NULL;
    if (sodium_hex2bin(ret->hash, sizeof ret->hash, hash, strlen(hash), NULL, &size, &end) != 0 || *end != '\0' ||
        size != sizeof ret->hash) {
        return "a hash is 64 hexadecimal digits, as `weir keys token` prints them";
    }
    snprintf(ret->name, sizeof ret->name, "%s", name);
    snprintf(ret->sites, sizeof ret->sites, "%s", sites);
    ret->role = (enum console_role)role_number;
    return NULL;
}

static const char *add_line(struct console_tokens *tokens, char *line)
{
    struct console_token *token = &tokens->entries[tokens->count];
    const char *wrong = parse_line(line, token);
    if (wrong != NULL) return wrong;
    for (size_t i = 0; i < tokens->count; i++) {
        if (strcmp(tokens->entries[i].name, token->name) == 0) return "the name is there already";
        if (memcmp(tokens->entries[i].hash, token->hash, sizeof token->hash) == 0) return "the hash is there already";
    }
    tokens->count++;
    return NULL;
}

int console_tokens_parse(const char *text, const char *name, struct console_tokens **ret, struct weir_why *why)
{
    int rc = WEIR_ENOMEM;
    size_t lines = 1;
    for (const char *at = text; *at != '\0'; at++)
        lines += *at == '\n';
    size_t room = lines < CONSOLE_TOKENS_MOST ? lines : CONSOLE_TOKENS_MOST;
    struct console_tokens *tokens = weir_calloc(1, sizeof *tokens + room * sizeof *tokens->entries);
    char *copy = weir_strdup(text);
    if (tokens == NULL || copy == NULL) goto fail;

    char *next = copy;
    for (size_t number = 1; next != NULL; number++) {
        char *line = strsep(&next, "\n");
        line += strspn(line, blanks);
        if (*line == '\0' || *line == '#') continue;
        if (tokens->count == room) {
            rc = weir_why_set(why, WEIR_ELIMIT, "%s:%zu: more than %d tokens", name, number, CONSOLE_TOKENS_MOST);
            goto fail;
        }
        const char *wrong = add_line(tokens, line);
        if (wrong != NULL) {
            rc = weir_why_set(why, WEIR_EFORMAT, "%s:%zu: %s", name, number, wrong);
            goto fail;
        }
    }
    weir_free(copy);
    *ret = tokens;
    return 0;

fail:
    weir_free(copy);
    console_tokens_destroy(tokens);
    return rc;
}

void console_tokens_destroy(struct console_tokens *tokens)
{
    weir_free(tokens);
}

size_t console_tokens_count(const struct console_tokens *tokens)
{
    return tokens->count;
}

const struct console_token *console_tokens_find(const struct console_tokens *tokens, const char *token)
{
    uint8_t hash[CONSOLE_TOKEN_HASH];
    hash_of(token, hash);
    for (size_t i = 0; i < tokens->count; i++)
        if (sodium_memcmp(tokens->entries[i].hash, hash, sizeof hash) == 0) return &tokens->entries[i];
    return NULL;
}

bool console_token_sees(const struct console_token *token, const char *site)
{
    const char *sites = token->sites;
    size_t length = strlen(site);
    if (strcmp(sites, "*") == 0) return true;
    for (;;) {
        size_t size = strcspn(sites, ",");
        if (size == length && memcmp(sites, site, size) == 0) return true;
        if (sites[size] == '\0') return false;
        sites += size + 1;
    }
}
