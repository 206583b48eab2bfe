#include "common/conf/option.h"

#include "common/base/mem.h"
#include "common/conf/text_check.h"

#include <errno.h>
#include <inttypes.h>
#include <libconfig.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/** Where a value comes from, for errors. */
struct place {
    const char *file;
    unsigned line; /* 0: the whole file */
    const char *option;
};

static void *field(void *conf, const struct weir_option *option)
{
    return (uint8_t *)conf + option->at;
}

static const void *field_const(const void *conf, const struct weir_option *option)
{
    return (const uint8_t *)conf + option->at;
}

static size_t *field_count(void *conf, const struct weir_option *option)
{
    return (size_t *)(void *)((uint8_t *)conf + option->count_at);
}

static size_t field_count_get(const void *conf, const struct weir_option *option)
{
    size_t count;
    memcpy(&count, (const uint8_t *)conf + option->count_at, sizeof count);
    return count;
}

/** "file:line: option: ..." */
static int refuse(struct weir_why *why, const struct place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(struct weir_why *why, const struct place *place, const char *format, ...)
{
    char text[320];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (place->line == 0) return weir_why_set(why, WEIR_EPARAM, "%s: %s: %s", place->file, place->option, text);
    return weir_why_set(why, WEIR_EPARAM, "%s:%u: %s: %s", place->file, place->line, place->option, text);
}

int weir_choice_index(const char *words, const char *word)
{
    size_t size = strlen(word);
    int index = 0;
    for (const char *at = words; at != NULL; index++) {
        size_t length = strcspn(at, "|");
        if (length == size && memcmp(at, word, size) == 0) return index;
        at = at[length] == '|' ? at + length + 1 : NULL;
    }
    return WEIR_ENOTFOUND;
}

/** Word @index of "a|b|c"; *size receives its length. */
static const char *choice_word(const char *words, int index, size_t *size)
{
    while (index-- > 0)
        words += strcspn(words, "|") + 1;
    *size = strcspn(words, "|");
    return words;
}

/** Levenshtein distance, for short names. */
static size_t distance(const char *a, const char *b)
{
    enum { MOST = 40 };
    size_t la = strlen(a);
    size_t lb = strlen(b);
    if (la >= MOST || lb >= MOST) return MOST;
    size_t row[MOST];
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < least ? change : least;
        }
    }
    return row[lb];
}

static const struct weir_option *option_find(const struct weir_schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->count; i++) {
        if (strcmp(schema->options[i].name, name) == 0) return &schema->options[i];
    }
    return NULL;
}

/** The option whose name is nearest, when it is near. */
static const struct weir_option *option_like(const struct weir_schema *schema, const char *name)
{
    const struct weir_option *best = NULL;
    size_t least = 3;
    for (size_t i = 0; i < schema->count; i++) {
        size_t d = distance(schema->options[i].name, name);
        if (d < least) {
            least = d;
            best = &schema->options[i];
        }
    }
    return best;
}

static int set_int(const struct weir_option *option, void *conf, int64_t value, const struct place *place,
                   struct weir_why *why)
{
    int64_t least = strtoll(option->least, NULL, 10);
    int64_t most = strtoll(option->most, NULL, 10);
    if (value < least || value > most) {
        return refuse(why, place, "%" PRId64 " is not in %s..%s", value, option->least, option->most);
    }
    memcpy(field(conf, option), &value, sizeof value);
    return 0;
}

/** Parse text of a size or a duration as the option says. */
static int quantity(const struct weir_option *option, const char *text, uint64_t *ret)
{
    if (option->type == WEIR_OPTION_SIZE) return weir_conf_size_parse(text, ret);
    int64_t ms;
    int rc = weir_conf_duration_parse(text, &ms);
    if (rc == 0) *ret = (uint64_t)ms;
    return rc;
}

static int set_quantity(const struct weir_option *option, void *conf, const char *text, const struct place *place,
                        struct weir_why *why)
{
    uint64_t value = 0;
    uint64_t least = 0;
    uint64_t most = 0;
    int rc = quantity(option, text, &value);
    if (rc < 0) {
        return refuse(why, place, "\"%s\" is not a %s", text,
                      option->type == WEIR_OPTION_SIZE
                          ? "size: write a number with B, KiB, MiB, GiB, TiB, kB, MB, GB or TB"
                          : "duration: write a number with ms, s, m, h, d or w");
    }
    if (quantity(option, option->least, &least) < 0 || quantity(option, option->most, &most) < 0) {
        return refuse(why, place, "bounds %s..%s of the option table do not parse", option->least, option->most);
    }
    if (value < least || value > most) {
        return refuse(why, place, "\"%s\" is not in %s..%s", text, option->least, option->most);
    }
    memcpy(field(conf, option), &value, sizeof value);
    return 0;
}

/** Set one scalar from text: a default, or a string of the file. */
static int set_text(const struct weir_option *option, void *conf, const char *text, const struct place *place,
                    struct weir_why *why)
{
    switch (option->type) {
    case WEIR_OPTION_STRING: {
        char *copy = weir_strdup(text);
        if (copy == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
        char **at = field(conf, option);
        weir_free(*at);
        *at = copy;
        return 0;
    }
    case WEIR_OPTION_INT: return set_int(option, conf, strtoll(text, NULL, 10), place, why);
    case WEIR_OPTION_BOOL: {
        bool value = strcmp(text, "true") == 0;
        memcpy(field(conf, option), &value, sizeof value);
        return 0;
    }
    case WEIR_OPTION_SIZE:
    case WEIR_OPTION_DURATION: return set_quantity(option, conf, text, place, why);
    case WEIR_OPTION_CHOICE: {
        int index = weir_choice_index(option->words, text);
        if (index < 0) return refuse(why, place, "\"%s\" is not one of %s", text, option->words);
        memcpy(field(conf, option), &index, sizeof index);
        return 0;
    }
    case WEIR_OPTION_STRINGS:
    case WEIR_OPTION_GROUPS: break;
    }
    return 0; /* a list is empty by default */
}

static int load_group(const config_setting_t *group, const char *file, const struct weir_schema *schema, void *conf,
                      struct weir_why *why);

/** A list of strings or of groups. What is stored is counted at once, so that weir_conf_free finds it. */
static int set_list(const struct weir_option *option, void *conf, const config_setting_t *setting,
                    const struct place *place, struct weir_why *why)
{
    if (!config_setting_is_list(setting) && !config_setting_is_array(setting)) {
        return refuse(why, place, "write a list: ( ..., ... )");
    }
    int length = config_setting_length(setting);
    if (length > atoi(option->most))
        return refuse(why, place, "has %d entries, at most %s are allowed", length, option->most);
    if (length == 0) return 0;

    size_t entry = option->type == WEIR_OPTION_STRINGS ? sizeof(char *) : option->group->size;
    uint8_t *entries = weir_calloc((size_t)length, entry);
    if (entries == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    memcpy(field(conf, option), &entries, sizeof entries);

    size_t *count = field_count(conf, option);
    for (int i = 0; i < length; i++) {
        const config_setting_t *element = config_setting_get_elem(setting, (unsigned)i);
        (*count)++;
        if (option->type == WEIR_OPTION_GROUPS) {
            if (!config_setting_is_group(element)) {
                return refuse(why, place, "entry %d is not a group: { name = value; ... }", i + 1);
            }
            int rc = load_group(element, place->file, option->group, entries + (size_t)i * entry, why);
            if (rc < 0) return rc;
        } else {
            const char *text = config_setting_get_string(element);
            if (text == NULL) return refuse(why, place, "entry %d is not a string", i + 1);
            char *copy = weir_strdup(text);
            if (copy == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
            memcpy(entries + (size_t)i * entry, &copy, sizeof copy);
        }
    }
    return 0;
}

static int set_setting(const struct weir_option *option, void *conf, const config_setting_t *setting,
                       const struct place *place, struct weir_why *why)
{
    int type = config_setting_type(setting);
    switch (option->type) {
    case WEIR_OPTION_INT:
        if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) return refuse(why, place, "write a whole number");
        return set_int(option, conf, config_setting_get_int64(setting), place, why);
    case WEIR_OPTION_BOOL: {
        if (type != CONFIG_TYPE_BOOL) return refuse(why, place, "write true or false");
        bool value = config_setting_get_bool(setting);
        memcpy(field(conf, option), &value, sizeof value);
        return 0;
    }
    case WEIR_OPTION_STRINGS:
    case WEIR_OPTION_GROUPS: return set_list(option, conf, setting, place, why);
    case WEIR_OPTION_STRING:
    case WEIR_OPTION_SIZE:
    case WEIR_OPTION_DURATION:
    case WEIR_OPTION_CHOICE: break;
    }
    const char *text = type == CONFIG_TYPE_STRING ? config_setting_get_string(setting) : NULL;
    if (text == NULL) {
        return refuse(why, place, "write a string in quotes%s",
                      option->type == WEIR_OPTION_SIZE || option->type == WEIR_OPTION_DURATION ? ", with a unit" : "");
    }
    return set_text(option, conf, text, place, why);
}

static int load_defaults(const struct weir_schema *schema, void *conf, const struct place *at, struct weir_why *why)
{
    for (size_t i = 0; i < schema->count; i++) {
        const struct weir_option *option = &schema->options[i];
        if (option->preset == NULL) continue;
        struct place place = {.file = at->file, .line = at->line, .option = option->name};
        int rc = set_text(option, conf, option->preset, &place, why);
        if (rc < 0) return rc;
    }
    return 0;
}

static int load_group(const config_setting_t *group, const char *file, const struct weir_schema *schema, void *conf,
                      struct weir_why *why)
{
    struct place at = {.file = file, .line = config_setting_source_line(group)};
    int rc = load_defaults(schema, conf, &at, why);
    if (rc < 0) return rc;

    int length = config_setting_length(group);
    for (int i = 0; i < length; i++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        struct place place = {
            .file = file, .line = config_setting_source_line(setting), .option = config_setting_name(setting)};
        const struct weir_option *option = option_find(schema, place.option);
        if (option == NULL) {
            const struct weir_option *like = option_like(schema, place.option);
            return refuse(why, &place, "unknown option%s%s%s", like == NULL ? "" : "; did you mean \"",
                          like == NULL ? "" : like->name, like == NULL ? "" : "\"?");
        }
        rc = set_setting(option, conf, setting, &place, why);
        if (rc < 0) return rc;
    }
    for (size_t i = 0; i < schema->count; i++) {
        const struct weir_option *option = &schema->options[i];
        if (option->preset != NULL || config_setting_get_member(group, option->name) != NULL) continue;
        struct place place = {.file = file, .line = at.line, .option = option->name};
        return refuse(why, &place, "must be set: %s", option->help);
    }
    return 0;
}

/** @text ends with a zero byte, which it does not count. */
static int load_view(struct weir_view text, const char *name, const struct weir_schema *schema, void *conf,
                     struct weir_why *why)
{
    int rc = weir_conf_text_check(text, name, why);
    if (rc < 0) return rc;
    config_t config;
    config_init(&config);
    if (config_read_string(&config, (const char *)text.data) != CONFIG_TRUE) {
        rc = weir_why_set(why, WEIR_EFORMAT, "%s:%d: %s", name, config_error_line(&config), config_error_text(&config));
    } else {
        rc = load_group(config_root_setting(&config), name, schema, conf, why);
    }
    config_destroy(&config);
    if (rc < 0) weir_conf_free(schema, conf);
    return rc;
}

int weir_conf_load_text(const char *text, const char *name, const struct weir_schema *schema, void *conf,
                        struct weir_why *why)
{
    return load_view(weir_view_text(text), name, schema, conf, why);
}

int weir_conf_defaults(const struct weir_schema *schema, void *conf, struct weir_why *why)
{
    struct place at = {.file = "defaults"};
    int rc = load_defaults(schema, conf, &at, why);
    if (rc < 0) weir_conf_free(schema, conf);
    return rc;
}

/** The whole file as text; a configuration file of more than a megabyte is a mistake. */
static int read_file(const char *file, struct weir_buf *out, struct weir_why *why)
{
    enum { MOST = 1 << 20 };
    FILE *stream = fopen(file, "re");
    if (stream == NULL) return weir_why_set(why, WEIR_EIO, "%s: %s", file, strerror(errno));
    int rc = 0;
    for (;;) {
        uint8_t *at = weir_buf_reserve(out, 4096);
        if (at == NULL) {
            rc = weir_why_set(why, WEIR_ENOMEM, "out of memory");
            break;
        }
        size_t got = fread(at, 1, 4096, stream);
        weir_buf_commit(out, got);
        if (out->size > MOST) {
            rc = weir_why_set(why, WEIR_EIO, "%s: larger than 1 MiB", file);
            break;
        }
        if (got == 0) {
            if (ferror(stream)) rc = weir_why_set(why, WEIR_EIO, "%s: %s", file, strerror(errno));
            break;
        }
    }
    fclose(stream);
    return rc;
}

int weir_conf_load(const char *file, const struct weir_schema *schema, void *conf, struct weir_why *why)
{
    struct weir_buf text = WEIR_BUF_INIT;
    int rc = read_file(file, &text, why);
    (void)weir_buf_cstr(&text); /* the zero byte behind it */
    if (rc == 0 && text.failed) rc = weir_why_set(why, WEIR_ENOMEM, "out of memory");
    if (rc == 0) rc = load_view(weir_buf_view(&text), file, schema, conf, why);
    weir_buf_fini(&text);
    return rc;
}

void weir_conf_free(const struct weir_schema *schema, void *conf)
{
    for (size_t i = 0; i < schema->count; i++) {
        const struct weir_option *option = &schema->options[i];
        bool is_list = option->type == WEIR_OPTION_STRINGS || option->type == WEIR_OPTION_GROUPS;
        if (option->type != WEIR_OPTION_STRING && !is_list) continue;

        void *memory;
        memcpy(&memory, field(conf, option), sizeof memory);
        size_t count = is_list ? *field_count(conf, option) : 0;
        for (size_t n = 0; n < count; n++) {
            if (option->type == WEIR_OPTION_STRINGS) weir_free(((char **)memory)[n]);
            if (option->type == WEIR_OPTION_GROUPS)
                weir_conf_free(option->group, (uint8_t *)memory + n * option->group->size);
        }
        weir_free(memory);
    }
    memset(conf, 0, schema->size);
}

static void print_string(const char *text, struct weir_buf *out)
{
    weir_buf_u8(out, '"');
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') weir_buf_u8(out, '\\');
        weir_buf_u8(out, (uint8_t)*at);
    }
    weir_buf_u8(out, '"');
}

static void print_group(const struct weir_schema *schema, const void *conf, bool with_help, int depth,
                        struct weir_buf *out);

static void print_value(const struct weir_option *option, const void *conf, int depth, struct weir_buf *out)
{
    const void *at = field_const(conf, option);
    int64_t number = 0;
    const void *entries = NULL;
    switch (option->type) {
    case WEIR_OPTION_STRING: {
        const char *text;
        memcpy(&text, at, sizeof text);
        print_string(text == NULL ? "" : text, out);
        return;
    }
    case WEIR_OPTION_BOOL: weir_buf_text(out, *(const bool *)at ? "true" : "false"); return;
    case WEIR_OPTION_CHOICE: {
        size_t size;
        const char *word = choice_word(option->words, *(const int *)at, &size);
        weir_buf_printf(out, "\"%.*s\"", (int)size, word);
        return;
    }
    case WEIR_OPTION_INT:
        memcpy(&number, at, sizeof number);
        weir_buf_printf(out, number > INT32_MAX || number < INT32_MIN ? "%" PRId64 "L" : "%" PRId64, number);
        return;
    case WEIR_OPTION_SIZE:
    case WEIR_OPTION_DURATION:
        memcpy(&number, at, sizeof number);
        weir_buf_u8(out, '"');
        if (option->type == WEIR_OPTION_SIZE) weir_conf_size_print((uint64_t)number, out);
        if (option->type == WEIR_OPTION_DURATION) weir_conf_duration_print(number, out);
        weir_buf_u8(out, '"');
        return;
    case WEIR_OPTION_STRINGS:
    case WEIR_OPTION_GROUPS: break;
    }
    memcpy(&entries, at, sizeof entries);
    size_t count = field_count_get(conf, option);
    weir_buf_text(out, "(");
    for (size_t i = 0; i < count; i++) {
        weir_buf_text(out, i == 0 ? "" : ", ");
        if (option->type == WEIR_OPTION_STRINGS) {
            print_string(((char *const *)entries)[i], out);
        } else {
            weir_buf_text(out, "{\n");
            print_group(option->group, (const uint8_t *)entries + i * option->group->size, false, depth + 1, out);
            weir_buf_printf(out, "%*s}", depth * 4, "");
        }
    }
    weir_buf_text(out, ")");
}

static void print_group(const struct weir_schema *schema, const void *conf, bool with_help, int depth,
                        struct weir_buf *out)
{
    for (size_t i = 0; i < schema->count; i++) {
        const struct weir_option *option = &schema->options[i];
        if (with_help) weir_buf_printf(out, "%s# %s\n", i == 0 ? "" : "\n", option->help);
        weir_buf_printf(out, "%*s%s = ", depth * 4, "", option->name);
        print_value(option, conf, depth, out);
        weir_buf_text(out, ";\n");
    }
}

void weir_conf_print(const struct weir_schema *schema, const void *conf, bool with_help, struct weir_buf *out)
{
    print_group(schema, conf, with_help, 0, out);
}

const struct weir_option *weir_conf_fixed_change(const struct weir_schema *schema, const void *a, const void *b)
{
    const struct weir_option *changed = NULL;
    struct weir_buf left = WEIR_BUF_INIT;
    struct weir_buf right = WEIR_BUF_INIT;
    for (size_t i = 0; i < schema->count && changed == NULL; i++) {
        const struct weir_option *option = &schema->options[i];
        if (option->reloadable) continue;
        weir_buf_clear(&left);
        weir_buf_clear(&right);
        print_value(option, a, 0, &left);
        print_value(option, b, 0, &right);
        if (!weir_view_equal(weir_buf_view(&left), weir_buf_view(&right))) changed = option;
    }
    weir_buf_fini(&left);
    weir_buf_fini(&right);
    return changed;
}
