/* The grammar of filters. The lexer is filter_lex.c, by hand; the actions are in filter_read.c. */

%define api.prefix {weir_filter_yy}
%define api.pure full
%define api.location.type {struct filter_span}
%define parse.error custom
%define parse.lac full
%locations
%lex-param {struct filter_reader *reader}
%parse-param {struct filter_reader *reader}

%code requires {
#include "common/flow/filter_read.h"
}

%code {
#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdio.h>

#define YYMALLOC weir_malloc
#define YYFREE weir_free
#define YYLLOC_DEFAULT(now, rhs, count)                                                            \
    ((now).from = (count) ? YYRHSLOC(rhs, 1).from : YYRHSLOC(rhs, 0).to,                           \
     (now).to = (count) ? YYRHSLOC(rhs, count).to : YYRHSLOC(rhs, 0).to)
#define KEEP(result, made)                     \
    do {                                       \
        (result) = (made);                     \
        if ((result) == NULL) {                \
            if (reader->rc == 0) reader->rc = WEIR_ENOMEM; \
            YYABORT;                           \
        }                                      \
    } while (0)

int weir_filter_yylex(union WEIR_FILTER_YYSTYPE *value, struct filter_span *span, struct filter_reader *reader);
static void weir_filter_yyerror(const struct filter_span *span, struct filter_reader *reader, const char *message);
static struct filter_match match_of(enum filter_compare compare, struct filter_item *items);
}

%union {
    struct filter_node *node;
    struct filter_item *item;
    struct filter_match match;
    enum filter_compare compare;
    enum filter_side side;
    enum filter_metric metric;
    enum filter_sided sided;
    int dim;
}

%token END 0 "the end"
%token IP "ip" HOST "host" NET "net" PORT "port" AS "as" VLAN "vlan" MAC "mac"
%token SRC "src" DST "dst" CLIENT "client" SERVER "server"
%token PROTO "proto" ICMP "icmp" FLAGS "flags" TOS "tos" SERVICE "service"
%token EXPORTER "exporter" SITE "site" DOMAIN "domain" ROUTER "router" ACTION "action"
%token <metric> METRIC "bytes"
%token IN "in" OUT "out" IF "if" TYPE "type" CODE "code"
%token IPV4 "ipv4" IPV6 "ipv6" ANY "any"
%token AND "and" OR "or" NOT "not"
%token <compare> COMPARE "="
%token <item> VALUE "a value"
%token <item> PROTO_NAME "a protocol"
%token <dim> FIELD "a field"

%left OR
%left AND
%precedence NOT

%type <node> expr test
%type <item> value values range
%type <match> match net_match
%type <side> side
%type <sided> sided

%%

filter:
    %empty              { KEEP(reader->filter->root, filter_node_create(reader->filter, FILTER_ANY)); }
  | expr                { reader->filter->root = $1; }
  ;

expr:
    expr OR expr        { KEEP($$, filter_join(reader->filter, FILTER_OR, $1, $3)); }
  | expr AND expr       { KEEP($$, filter_join(reader->filter, FILTER_AND, $1, $3)); }
  | NOT expr            { KEEP($$, filter_negate(reader->filter, $2)); }
  | '(' expr ')'        { $$ = $2; }
  | test
  ;

test:
    ANY                 { KEEP($$, filter_node_create(reader->filter, FILTER_ANY)); }
  | IPV4                { KEEP($$, filter_test_family(reader, 4)); }
  | IPV6                { KEEP($$, filter_test_family(reader, 6)); }
  | side sided match    { KEEP($$, filter_test_sided(reader, $1, $2, &$3, @1)); }
  | side NET net_match  { KEEP($$, filter_test_sided(reader, $1, FILTER_SIDED_IP, &$3, @1)); }
  | PROTO match         { KEEP($$, filter_test(reader, WEIR_DIM_proto, FILTER_NO_DIM, &$2)); }
  | PROTO_NAME          { KEEP($$, filter_test_proto(reader, $1)); }
  | ICMP                { struct filter_item *item;
                          KEEP(item, filter_item_create(reader, @1));
                          KEEP($$, filter_test_proto(reader, item)); }
  | ICMP COMPARE value  { struct filter_match match = match_of($2, $3);
                          KEEP($$, filter_test(reader, WEIR_DIM_icmp, FILTER_NO_DIM, &match)); }
  | ICMP IN '[' values ']'
                        { struct filter_match match = match_of(FILTER_EQ, $4);
                          KEEP($$, filter_test(reader, WEIR_DIM_icmp, FILTER_NO_DIM, &match)); }
  | ICMP TYPE match     { KEEP($$, filter_test_icmp(reader, FILTER_ICMP_TYPE, &$3)); }
  | ICMP CODE match     { KEEP($$, filter_test_icmp(reader, FILTER_ICMP_CODE, &$3)); }
  | FLAGS value         { KEEP($$, filter_test_flags(reader, $2)); }
  | FLAGS AS            { struct filter_item *item; /* ACK and SYN */
                          KEEP(item, filter_item_create(reader, @2));
                          KEEP($$, filter_test_flags(reader, item)); }
  | METRIC match        { KEEP($$, filter_test_metric(reader, $1, &$2)); }
  | TOS match           { KEEP($$, filter_test(reader, WEIR_DIM_tos, FILTER_NO_DIM, &$2)); }
  | IF match            { KEEP($$, filter_test(reader, WEIR_DIM_if_in, WEIR_DIM_if_out, &$2)); }
  | IN IF match         { KEEP($$, filter_test(reader, WEIR_DIM_if_in, FILTER_NO_DIM, &$3)); }
  | OUT IF match        { KEEP($$, filter_test(reader, WEIR_DIM_if_out, FILTER_NO_DIM, &$3)); }
  | EXPORTER match      { KEEP($$, filter_test(reader, WEIR_DIM_exporter, FILTER_NO_DIM, &$2)); }
  | ROUTER IP match     { KEEP($$, filter_test(reader, WEIR_DIM_exporter, FILTER_NO_DIM, &$3)); }
  | SITE match          { KEEP($$, filter_test(reader, WEIR_DIM_site, FILTER_NO_DIM, &$2)); }
  | DOMAIN match        { KEEP($$, filter_test(reader, WEIR_DIM_domain, FILTER_NO_DIM, &$2)); }
  | SERVICE match       { KEEP($$, filter_test(reader, WEIR_DIM_service, FILTER_NO_DIM, &$2)); }
  | ACTION match        { KEEP($$, filter_test(reader, WEIR_DIM_action, FILTER_NO_DIM, &$2)); }
  | FIELD match         { KEEP($$, filter_test(reader, $1, FILTER_NO_DIM, &$2)); }
  ;

side:
    %empty              { $$ = FILTER_SIDE_EITHER; }
  | SRC                 { $$ = FILTER_SIDE_SRC; }
  | DST                 { $$ = FILTER_SIDE_DST; }
  | SRC OR DST          { $$ = FILTER_SIDE_EITHER; }
  | DST OR SRC          { $$ = FILTER_SIDE_EITHER; }
  | SRC AND DST         { $$ = FILTER_SIDE_BOTH; }
  | DST AND SRC         { $$ = FILTER_SIDE_BOTH; }
  | CLIENT              { $$ = FILTER_SIDE_CLIENT; }
  | SERVER              { $$ = FILTER_SIDE_SERVER; }
  ;

sided:
    IP                  { $$ = FILTER_SIDED_IP; }
  | HOST                { $$ = FILTER_SIDED_IP; }
  | PORT                { $$ = FILTER_SIDED_PORT; }
  | AS                  { $$ = FILTER_SIDED_AS; }
  | VLAN                { $$ = FILTER_SIDED_VLAN; }
  | MAC                 { $$ = FILTER_SIDED_MAC; }
  ;

match:
    range               { $$ = match_of(FILTER_EQ, $1); }
  | COMPARE value       { $$ = match_of($1, $2); }
  | IN '[' values ']'   { $$ = match_of(FILTER_EQ, $3); }
  ;

net_match:
    value               { $$ = match_of(FILTER_EQ, $1); }
  | value value         { struct filter_item *item;
                          KEEP(item, filter_item_masked(reader, $1, $2));
                          $$ = match_of(FILTER_EQ, item); }
  | IN '[' values ']'   { $$ = match_of(FILTER_EQ, $3); }
  ;

range:
    value
  | value '-' value     { $1->high = $3->text;
                          $1->span.to = $3->span.to;
                          $$ = $1; }
  ;

/* The list is built backwards: a set has no order. */
values:
    range
  | values range        { $2->next = $1; $$ = $2; }
  | values ',' range    { $3->next = $1; $$ = $3; }
  ;

value:
    VALUE
  | PROTO_NAME
  | ICMP                { KEEP($$, filter_item_create(reader, @1)); }
  ;

%%

static struct filter_match match_of(enum filter_compare compare, struct filter_item *items)
{
    return (struct filter_match){.compare = compare, .items = items};
}

/** Only for what is not a syntax error: memory ran out. (The lexer bounds the depth of the stack.) */
static void weir_filter_yyerror(const struct filter_span *span, struct filter_reader *reader, const char *message)
{
    (void)span;
    (void)message;
    if (reader->rc == 0) reader->rc = WEIR_ENOMEM;
}

/** What could stand at the place of an error, as its readers know it. */
static uint32_t list_expected(const yypcontext_t *context, struct weir_filter_error *error)
{
    yysymbol_kind_t kinds[YYNTOKENS];
    int count = yypcontext_expected_tokens(context, kinds, YYNTOKENS);
    for (int i = 0; i < count && error->expected_count < WEIR_FILTER_EXPECTED_MOST; i++) {
        if (kinds[i] == YYSYMBOL_YYEOF) continue;
        error->expected[error->expected_count++] = yysymbol_name(kinds[i]);
    }
    return error->expected_count;
}

/** The word that was probably meant, among all that could stand there. */
static const char *nearest_expected(const yypcontext_t *context, const char *word, size_t size)
{
    yysymbol_kind_t kinds[YYNTOKENS];
    const char *words[YYNTOKENS + FILTER_METRICS + WEIR_DIM_COUNT];
    size_t count = 0;
    int expected = yypcontext_expected_tokens(context, kinds, YYNTOKENS);
    for (int i = 0; i < expected; i++) {
        if (kinds[i] == YYSYMBOL_METRIC) {
            for (int metric = 0; metric < FILTER_METRICS; metric++)
                words[count++] = filter_metric_word((enum filter_metric)metric);
        } else if (kinds[i] == YYSYMBOL_FIELD) {
            for (int dim = 0; dim < WEIR_DIM_COUNT; dim++)
                words[count++] = weir_dims[dim].name;
        } else {
            words[count++] = yysymbol_name(kinds[i]);
        }
    }
    return filter_nearest(word, size, words, count);
}

static int yyreport_syntax_error(const yypcontext_t *context, struct filter_reader *reader)
{
    if (reader->rc != 0) return 0; /* the lexer said it already */
    struct filter_span span = *yypcontext_location(context);
    const char *word = reader->text + span.from;
    int size = (int)(span.to - span.from);
    int shown = size < 60 ? size : 60;
    switch (yypcontext_token(context)) {
    case YYSYMBOL_YYEOF: filter_fail(reader, span, WEIR_EFORMAT, "something is missing"); break;
    case YYSYMBOL_VALUE:
    case YYSYMBOL_PROTO_NAME: filter_fail(reader, span, WEIR_EFORMAT, "unknown word \"%.*s\"", shown, word); break;
    default: filter_fail(reader, span, WEIR_EFORMAT, "unexpected \"%.*s\"", shown, word); break;
    }
    struct weir_filter_error *error = reader->error;
    list_expected(context, error);
    const char *nearest = size > 0 ? nearest_expected(context, word, (size_t)size) : NULL;
    if (nearest != NULL) snprintf(error->suggestion, sizeof error->suggestion, "%s", nearest);
    return 0;
}
