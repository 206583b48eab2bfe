/*
 * Words of the filter language. By hand and not by flex: a scanner of flex's ends the process when memory runs out, and
 * keeps state of its own; this is a page of code, gives exact places and allocates nothing but the values.
 */
#include "common/base/err.h"
#include "common/flow/filter_parse.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

int weir_filter_yylex(union WEIR_FILTER_YYSTYPE *value, struct filter_span *span, struct filter_reader *reader);

static const struct {
    const char *word;
    int token;
    int value; /* of METRIC and COMPARE */
} keywords[] = {
    {"any", ANY, 0},
    {"ipv4", IPV4, 0},
    {"inet", IPV4, 0},
    {"ipv6", IPV6, 0},
    {"inet6", IPV6, 0},
    {"src", SRC, 0},
    {"dst", DST, 0},
    {"client", CLIENT, 0},
    {"server", SERVER, 0},
    {"ip", IP, 0},
    {"host", HOST, 0},
    {"net", NET, 0},
    {"port", PORT, 0},
    {"as", AS, 0},
    {"vlan", VLAN, 0},
    {"mac", MAC, 0},
    {"proto", PROTO, 0},
    {"icmp", ICMP, 0},
    {"type", TYPE, 0},
    {"code", CODE, 0},
    {"flags", FLAGS, 0},
    {"tos", TOS, 0},
    {"in", IN, 0},
    {"out", OUT, 0},
    {"if", IF, 0},
    {"exporter", EXPORTER, 0},
    {"router", ROUTER, 0},
    {"site", SITE, 0},
    {"domain", DOMAIN, 0},
    {"service", SERVICE, 0},
    {"action", ACTION, 0},
    {"and", AND, 0},
    {"or", OR, 0},
    {"not", NOT, 0},
    {"bytes", METRIC, FILTER_BYTES},
    {"packets", METRIC, FILTER_PACKETS},
    {"duration", METRIC, FILTER_DURATION},
    {"bpp", METRIC, FILTER_BPP},
    {"bps", METRIC, FILTER_BPS},
    {"pps", METRIC, FILTER_PPS},
    {"eq", COMPARE, FILTER_EQ},
    {"ne", COMPARE, FILTER_NE},
    {"lt", COMPARE, FILTER_LT},
    {"le", COMPARE, FILTER_LE},
    {"gt", COMPARE, FILTER_GT},
    {"ge", COMPARE, FILTER_GE},
    {"tcp", PROTO_NAME, 0},
    {"udp", PROTO_NAME, 0},
    {"icmp6", PROTO_NAME, 0},
    {"sctp", PROTO_NAME, 0},
    {"gre", PROTO_NAME, 0},
    {"esp", PROTO_NAME, 0},
};

static const struct {
    const char *sign;
    int token;
    int value;
} signs[] = {
    {"&&", AND, 0},
    {"||", OR, 0},
    {"==", COMPARE, FILTER_EQ},
    {"!=", COMPARE, FILTER_NE},
    {"<=", COMPARE, FILTER_LE},
    {">=", COMPARE, FILTER_GE},
    {"=", COMPARE, FILTER_EQ},
    {"<", COMPARE, FILTER_LT},
    {">", COMPARE, FILTER_GT},
    {"!", NOT, 0},
    {"(", '(', 0},
    {")", ')', 0},
    {"[", '[', 0},
    {"]", ']', 0},
    {",", ',', 0},
};

static bool is_word(char c)
{
    return (unsigned char)c > ' ' && c != 0x7f && strchr("()[],=<>!&|#\"'", c) == NULL;
}

static void skip_blanks(struct filter_reader *reader)
{
    while (reader->at < reader->size) {
        char c = reader->text[reader->at];
        if (c == '#') {
            while (reader->at < reader->size && reader->text[reader->at] != '\n')
                reader->at++;
        } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            reader->at++;
        } else {
            return;
        }
    }
}

static bool word_is(const struct filter_reader *reader, struct filter_span span, const char *word)
{
    size_t size = span.to - span.from;
    return strlen(word) == size && strncasecmp(reader->text + span.from, word, size) == 0;
}

static int value_token(int token, union WEIR_FILTER_YYSTYPE *value, struct filter_span span,
                       struct filter_reader *reader)
{
    value->item = filter_item_create(reader, span);
    return value->item == NULL ? WEIR_FILTER_YYerror : token;
}

static int word_token(union WEIR_FILTER_YYSTYPE *value, struct filter_span span, struct filter_reader *reader)
{
    if (word_is(reader, span, "-")) return '-';
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        if (!word_is(reader, span, keywords[i].word)) continue;
        if (keywords[i].token == METRIC) value->metric = (enum filter_metric)keywords[i].value;
        if (keywords[i].token == COMPARE) value->compare = (enum filter_compare)keywords[i].value;
        if (keywords[i].token == PROTO_NAME) return value_token(PROTO_NAME, value, span, reader);
        return keywords[i].token;
    }
    for (int dim = 0; dim < WEIR_DIM_COUNT; dim++) {
        if (!word_is(reader, span, weir_dims[dim].name)) continue;
        value->dim = dim;
        return FIELD;
    }
    return value_token(VALUE, value, span, reader);
}

static int string_token(union WEIR_FILTER_YYSTYPE *value, struct filter_span *span, struct filter_reader *reader)
{
    char quote = reader->text[reader->at++];
    while (reader->at < reader->size && reader->text[reader->at] != quote) {
        if (reader->text[reader->at] == '\\' && reader->at + 1 < reader->size) reader->at++;
        reader->at++;
    }
    if (reader->at >= reader->size) {
        filter_fail(reader, (struct filter_span){span->from, span->from + 1}, WEIR_EFORMAT,
                    "the quotation mark is never closed");
        return WEIR_FILTER_YYerror;
    }
    span->to = ++reader->at;
    return value_token(VALUE, value, *span, reader);
}

/** Keep the parser's stack small: count what opens a level. Returns the token, or an error's. */
static int nested(int token, struct filter_span span, struct filter_reader *reader)
{
    if (token == '(') reader->parens++;
    if (token == ')' && reader->parens > 0) reader->parens--;
    if (token == NOT) {
        reader->nots++;
    } else if (token != '(') {
        reader->nots = 0;
    }
    if (reader->parens <= WEIR_FILTER_DEPTH_MOST && reader->nots <= WEIR_FILTER_DEPTH_MOST) return token;
    filter_fail(reader, span, WEIR_ELIMIT, "the filter is nested more than %d deep", WEIR_FILTER_DEPTH_MOST);
    return WEIR_FILTER_YYerror;
}

static int sign_token(union WEIR_FILTER_YYSTYPE *value, struct filter_span *span, struct filter_reader *reader)
{
    const char *at = reader->text + reader->at;
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        size_t size = strlen(signs[i].sign);
        if (reader->size - reader->at < size || memcmp(at, signs[i].sign, size) != 0) continue;
        reader->at += (uint32_t)size;
        span->to = reader->at;
        value->compare = (enum filter_compare)signs[i].value;
        return signs[i].token;
    }
    span->to = ++reader->at;
    if (isprint((unsigned char)*at)) {
        filter_fail(reader, *span, WEIR_EFORMAT, "unexpected \"%c\"", *at);
    } else {
        filter_fail(reader, *span, WEIR_EFORMAT, "unexpected byte 0x%02x", (unsigned char)*at);
    }
    if (*at == '&' || *at == '|') {
        snprintf(reader->error->suggestion, sizeof reader->error->suggestion, "%c%c", *at, *at);
    }
    return WEIR_FILTER_YYerror;
}

int weir_filter_yylex(union WEIR_FILTER_YYSTYPE *value, struct filter_span *span, struct filter_reader *reader)
{
    skip_blanks(reader);
    *span = (struct filter_span){reader->at, reader->at};
    if (reader->at >= reader->size) return END;

    char c = reader->text[reader->at];
    int token;
    if (c == '"' || c == '\'') {
        token = string_token(value, span, reader);
    } else if (is_word(c)) {
        while (reader->at < reader->size && is_word(reader->text[reader->at]))
            reader->at++;
        span->to = reader->at;
        token = word_token(value, *span, reader);
    } else {
        token = sign_token(value, span, reader);
    }
    return nested(token, *span, reader);
}
