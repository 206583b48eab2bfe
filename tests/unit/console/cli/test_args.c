#include "console/cli/cli.h"

#include <string.h>

#include "tests/support/cmocka.h"

static const struct cli_verb *verb(const char *name)
{
    for (const struct cli_verb *at = cli_verbs; at->name != NULL; at++) {
        if (strcmp(at->name, name) == 0) return at;
    }
    return NULL;
}

/** Parse a line of words without quotes; @line is cut up and must outlive @args. */
static int parse(char *line, struct cli_args *args, struct weir_why *why)
{
    static char *argv[16];
    int argc = 0;
    for (char *word = strtok(line, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    return cli_args_parse(verb(argv[0]), argc, argv, args, why);
}

static void options_stand_anywhere_and_the_rest_are_words(void **state)
{
    (void)state;
    char line[] = "top src -n 5 ip --time=24h 10.0.0.1 -N";
    struct cli_args args;
    struct weir_why why = {""};
    if (parse(line, &args, &why) < 0) fail_msg("%s", why.text);
    assert_string_equal(args.values[CLI_OPTION_limit], "5");
    assert_string_equal(args.values[CLI_OPTION_time], "24h");
    assert_non_null(args.values[CLI_OPTION_plain]);
    assert_null(args.values[CLI_OPTION_quiet]);
    assert_int_equal(args.word_count, 3);
    assert_string_equal(args.words[0], "src");
    assert_string_equal(args.words[2], "10.0.0.1");
}

static void a_mistake_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *why;
    } cases[] = {
        {"top -X", "unknown option \"-X\"; see weir top -h"},
        {"top --nonsense", "unknown option \"--nonsense\"; see weir top -h"},
        {"top -n", "--limit wants an argument: N"},
        {"top --sum", "weir top does not take --sum"},
        {"status -t 1h", "weir status does not take --time"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[64];
        strcpy(line, cases[i].line);
        struct cli_args args;
        struct weir_why why = {""};
        assert_int_equal(parse(line, &args, &why), WEIR_EPARAM);
        assert_string_equal(why.text, cases[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_anywhere_and_the_rest_are_words),
        cmocka_unit_test(a_mistake_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
