#include "common/base/mem.h"
#include "console/token/token.h"

#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* BLAKE2b-256 of "weir_viewer_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", by Python's hashlib. */
#define KNOWN_TOKEN "weir_viewer_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define KNOWN_HASH  "2474a869580a15c53266af7c63a8c319e503b2d6cb75eb05b58f1b1acb13cad4"

static void a_token_that_was_made_is_let_in_by_its_line(void **state)
{
    (void)state;
    char token[CONSOLE_TOKEN_TEXT];
    char other[CONSOLE_TOKEN_TEXT];
    char line[CONSOLE_TOKEN_LINE];
    char unused[CONSOLE_TOKEN_LINE];
    assert_int_equal(console_token_make("soc", CONSOLE_ANALYST, "fra1,nyc2", token, line, NULL), 0);
    assert_int_equal(console_token_make("soc", CONSOLE_ANALYST, "fra1,nyc2", other, unused, NULL), 0);
    assert_int_equal(strncmp(token, "weir_analyst_", 13), 0);
    assert_int_equal(strlen(token), 13 + 32);
    assert_string_not_equal(token, other);
    assert_null(strstr(line, token + 13));

    struct console_tokens *tokens = NULL;
    assert_int_equal(console_tokens_parse(line, "tokens", &tokens, NULL), 0);
    const struct console_token *found = console_tokens_find(tokens, token);
    assert_non_null(found);
    assert_string_equal(found->name, "soc");
    assert_int_equal(found->role, CONSOLE_ANALYST);
    assert_true(console_token_sees(found, "fra1"));
    assert_true(console_token_sees(found, "nyc2"));
    assert_false(console_token_sees(found, "nyc"));
    assert_false(console_token_sees(found, ""));
    assert_null(console_tokens_find(tokens, other));
    assert_null(console_tokens_find(tokens, ""));
    console_tokens_destroy(tokens);
}

static void the_hash_is_blake2b_256_of_the_whole_token(void **state)
{
    (void)state;
    struct console_tokens *tokens = NULL;
    const char *text = "# comment\n\n  a\tviewer * " KNOWN_HASH "\r\n";
    assert_int_equal(console_tokens_parse(text, "tokens", &tokens, NULL), 0);
    assert_int_equal(console_tokens_count(tokens), 1);
    const struct console_token *found = console_tokens_find(tokens, KNOWN_TOKEN);
    assert_non_null(found);
    assert_true(console_token_sees(found, "anywhere"));
    console_tokens_destroy(tokens);
}

static void a_line_that_is_wrong_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } rows[] = {
        {"a viewer *\n", "tokens:1: a line is"},
        {"a viewer * " KNOWN_HASH " more\n", "tokens:1: a line is"},
        {"\na/b viewer * " KNOWN_HASH "\n", "tokens:2: a name is"},
        {"a root * " KNOWN_HASH "\n", "tokens:1: a role is"},
        {"a viewer fra1, " KNOWN_HASH "\n", "tokens:1: sites are"},
        {"a viewer * 00ff\n", "tokens:1: a hash is"},
        {"a viewer * x" KNOWN_HASH "\n", "tokens:1: a hash is"},
        {"a viewer * " KNOWN_HASH "00\n", "tokens:1: a hash is"},
        {"a viewer * " KNOWN_HASH "\nb viewer * " KNOWN_HASH, "tokens:2: the hash is there"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct console_tokens *tokens = NULL;
        struct weir_why why = {""};
        assert_int_equal(console_tokens_parse(rows[i].text, "tokens", &tokens, &why), WEIR_EFORMAT);
        if (strstr(why.text, rows[i].says) == NULL) fail_msg("%s: %s", rows[i].text, why.text);
        assert_null(tokens);
    }
}

static void names_and_sites_are_checked_before_a_token_is_made(void **state)
{
    (void)state;
    char token[CONSOLE_TOKEN_TEXT] = "untouched";
    char line[CONSOLE_TOKEN_LINE];
    struct weir_why why;
    assert_int_equal(console_token_make("a b", CONSOLE_VIEWER, "*", token, line, &why), WEIR_EPARAM);
    assert_int_equal(console_token_make("", CONSOLE_VIEWER, "*", token, line, &why), WEIR_EPARAM);
    assert_int_equal(console_token_make("a", CONSOLE_VIEWER, "", token, line, &why), WEIR_EPARAM);
    assert_int_equal(console_token_make("a", CONSOLE_VIEWER, "x y", token, line, &why), WEIR_EPARAM);
    assert_string_equal(token, "untouched");
}

static void more_tokens_than_the_limit_are_refused(void **state)
{
    (void)state;
    size_t size = (size_t)(CONSOLE_TOKENS_MOST + 1) * 96;
    char *text = calloc(1, size);
    char *at = text;
    for (int i = 0; i <= CONSOLE_TOKENS_MOST; i++)
        at += sprintf(at, "t%d viewer * %064x\n", i, i);
    struct console_tokens *tokens = NULL;
    assert_int_equal(console_tokens_parse(text, "tokens", &tokens, NULL), WEIR_ELIMIT);
    free(text);
}

static void every_failed_allocation_is_survived(void **state)
{
    (void)state;
    for (int64_t successes = 0; successes < 2; successes++) {
        struct console_tokens *tokens = NULL;
        weir_mem_fail_after(successes);
        assert_int_equal(console_tokens_parse("a viewer * " KNOWN_HASH, "tokens", &tokens, NULL), WEIR_ENOMEM);
        assert_true(weir_mem_failed());
        weir_mem_fail_after(-1);
        assert_null(tokens);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_that_was_made_is_let_in_by_its_line),
        cmocka_unit_test(the_hash_is_blake2b_256_of_the_whole_token),
        cmocka_unit_test(a_line_that_is_wrong_is_named),
        cmocka_unit_test(names_and_sites_are_checked_before_a_token_is_made),
        cmocka_unit_test(more_tokens_than_the_limit_are_refused),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
