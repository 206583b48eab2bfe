/**
 * A rule of delivery that is left out must be noticed (common/base/mutant.h): the checks have teeth.
 *
 *   test.cluster.mutants              each mutant must be caught by a seed, and by none where no rule is left out
 *   test.cluster.mutants table SEEDS  how many of so many seeds catch each, as rows of Markdown
 *   test.cluster.mutants NAME SEED    what one seed says of one mutant
 */
#include "common/base/mutant.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/support/river/river.h"

enum { SEEDS_SOUND = 100, SEEDS_MOST = 5000 };

enum weir_mutant weir_mutant = WEIR_MUTANT_NONE;

static const struct {
    const char *name;
    const char *place;
    const char *what;
} rules[WEIR_MUTANTS_COUNT] = {{"none", "nowhere", "nothing: the protocol as it is"},
#define RULE(name, place, what) {#name, place, what},
                               WEIR_MUTANT_RULES(RULE)
#undef RULE
};

struct score {
    uint64_t caught;
    uint64_t first; /* seed that caught it */
    char complaint[200];
};

/** Seeds up to @seeds, or to the one that makes @enough catches. */
static struct score try_mutant(int mutant, uint64_t seeds, uint64_t enough)
{
    struct score score = {0};
    struct river_report report;
    weir_mutant = (enum weir_mutant)mutant;
    for (uint64_t seed = 1; seed <= seeds && score.caught < enough; seed++) {
        river_run(seed, &report);
        if (report.sound || score.caught++ > 0) continue;
        score.first = seed;
        memcpy(score.complaint, report.complaint, sizeof score.complaint);
    }
    weir_mutant = WEIR_MUTANT_NONE;
    return score;
}

static void a_rule_that_is_left_out_is_noticed(void **state)
{
    (void)state;
    uint32_t missed = 0;
    for (int mutant = 1; mutant < WEIR_MUTANTS_COUNT; mutant++) {
        struct score score = try_mutant(mutant, SEEDS_MOST, 1);
        print_message("%s: seed %" PRIu64 ": %s\n", rules[mutant].name, score.first, score.complaint);
        missed += score.caught == 0;
    }
    assert_int_equal(missed, 0);
}

static void nothing_is_noticed_where_nothing_is_left_out(void **state)
{
    (void)state;
    assert_int_equal(try_mutant(WEIR_MUTANT_NONE, SEEDS_SOUND, 1).caught, 0);
}

static void print_table(uint64_t seeds)
{
    printf("| where | what is done wrong | name | seeds of %" PRIu64 " that caught it |\n|---|---|---|---:|\n", seeds);
    for (int mutant = 0; mutant < WEIR_MUTANTS_COUNT; mutant++) {
        printf("| %s | %s | `%s` | %" PRIu64 " |\n", rules[mutant].place, rules[mutant].what, rules[mutant].name,
               try_mutant(mutant, seeds, UINT64_MAX).caught);
        fflush(stdout);
    }
}

static int show(const char *name, uint64_t seed)
{
    struct river_report report;
    int mutant = 0;
    while (mutant < WEIR_MUTANTS_COUNT && strcmp(rules[mutant].name, name) != 0)
        mutant++;
    if (mutant == WEIR_MUTANTS_COUNT) {
        fprintf(stderr, "no mutant is named %s\n", name);
        return 2;
    }
    weir_mutant = (enum weir_mutant)mutant;
    river_run(seed, &report);
    printf("%s\n", report.sound ? "sound" : report.complaint);
    return report.sound ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_that_is_left_out_is_noticed),
        cmocka_unit_test(nothing_is_noticed_where_nothing_is_left_out),
    };
    if (argc < 3) return cmocka_run_group_tests(tests, NULL, NULL);
    uint64_t number = strtoull(argv[2], NULL, 10);
    if (strcmp(argv[1], "table") != 0) return show(argv[1], number);
    print_table(number);
    return 0;
}
