/**
 * Bearer tokens of the HTTP API: what `weir keys token` makes and weir-console checks.
 *
 * A token is "weir_<role>_<32 characters of base64url>" (192 random bits) and is shown once. The console's token file
 * keeps only its hash, one token a line; blank lines and lines that begin with '#' are skipped:
 *
 *     # name   role    sites       BLAKE2b-256 of the token, in hexadecimal
 *     grafana  viewer  *           5f7c...
 *     soc      analyst fra1,nyc2   91ab...
 *
 * The file gives no access to who reads it, but who writes it lets anybody in: 0640, root:weir.
 */
#ifndef WEIR_CONSOLE_TOKEN_TOKEN_H
#define WEIR_CONSOLE_TOKEN_TOKEN_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What a token allows; each includes the ones before it. */
enum console_role {
    CONSOLE_VIEWER,  /* ask questions */
    CONSOLE_ANALYST, /* and triage */
    CONSOLE_ADMIN,   /* and configure */
};

enum {
    CONSOLE_TOKEN_TEXT = 64,    /* room for a token, with its NUL */
    CONSOLE_TOKEN_HASH = 32,    /* bytes */
    CONSOLE_TOKEN_NAME = 64,    /* room for a token's name, with its NUL: letters, digits, '.', '-', '_' */
    CONSOLE_TOKEN_SITES = 256,  /* room for its sites, with its NUL */
    CONSOLE_TOKEN_LINE = 512,   /* room for a line of the file, with its NUL and without a newline */
    CONSOLE_TOKENS_MOST = 4096, /* in one file */
};

/** A line of the token file. */
struct console_token {
    char name[CONSOLE_TOKEN_NAME];
    enum console_role role;
    char sites[CONSOLE_TOKEN_SITES]; /* "*": all; else names between commas */
    uint8_t hash[CONSOLE_TOKEN_HASH];
};

/** "viewer", "analyst", "admin". Static memory. */
const char *console_role_name(enum console_role role);

/** The role of a name, or WEIR_ENOTFOUND. */
int console_role_of(const char *name);

/**
 * Make a token for @role and the line that lets it in. Both are wiped by who has shown them. Any thread.
 *
 *   WEIR_EPARAM   the name or the sites are not allowed
 *   WEIR_EUNSUPPORTED   there are no random numbers
 */
int console_token_make(const char *name, enum console_role role, const char *sites, char token[CONSOLE_TOKEN_TEXT],
                       char line[CONSOLE_TOKEN_LINE], struct weir_why *why);

/** The tokens of one file; may be read by several threads. */
struct console_tokens;

/**
 * Read the text of a token file. @name is for messages.
 *
 *   WEIR_EFORMAT   a line that is not as above, or a hash or name that is there twice; @why says "file:line: ..."
 *   WEIR_ELIMIT    CONSOLE_TOKENS_MOST
 *   WEIR_ENOMEM
 */
int console_tokens_parse(const char *text, const char *name, struct console_tokens **ret, struct weir_why *why);
void console_tokens_destroy(struct console_tokens *tokens);
size_t console_tokens_count(const struct console_tokens *tokens);

/** Whose token this is, or NULL. Borrowed while the list lives. Takes as long whatever bytes are wrong. */
const struct console_token *console_tokens_find(const struct console_tokens *tokens, const char *token);

/** May a token see this site? */
bool console_token_sees(const struct console_token *token, const char *site);

#endif
