/* The rows and the schema of an option table; see option.h. No include guard: it is included once per table. */
#include <stddef.h>

#define WEIR_ROWS_PASTE(tag, end) tag##end
#define WEIR_ROWS_JOIN(tag, end)  WEIR_ROWS_PASTE(tag, end)
#define WEIR_ROWS                 WEIR_ROWS_JOIN(WEIR_OPTIONS_STRUCT, _rows)
#define RELOAD                    true
#define FIXED                     false
#define REQUIRED                  NULL
#define AT(field)                 offsetof(struct WEIR_OPTIONS_STRUCT, field)
#define STRING(id, def, reload, text) \
    {.name = #id, .type = WEIR_OPTION_STRING, .preset = def, .reloadable = reload, .help = text, .at = AT(id)},
#define INT(id, def, low, high, reload, text) \
    {.name = #id,                             \
     .type = WEIR_OPTION_INT,                 \
     .preset = #def,                          \
     .least = #low,                           \
     .most = #high,                           \
     .reloadable = reload,                    \
     .help = text,                            \
     .at = AT(id)},
#define BOOL(id, def, reload, text) \
    {.name = #id, .type = WEIR_OPTION_BOOL, .preset = #def, .reloadable = reload, .help = text, .at = AT(id)},
#define SIZE(id, def, low, high, reload, text) \
    {.name = #id,                              \
     .type = WEIR_OPTION_SIZE,                 \
     .preset = def,                            \
     .least = low,                             \
     .most = high,                             \
     .reloadable = reload,                     \
     .help = text,                             \
     .at = AT(id##_bytes)},
#define DURATION(id, def, low, high, reload, text) \
    {.name = #id,                                  \
     .type = WEIR_OPTION_DURATION,                 \
     .preset = def,                                \
     .least = low,                                 \
     .most = high,                                 \
     .reloadable = reload,                         \
     .help = text,                                 \
     .at = AT(id##_ms)},
#define CHOICE(id, def, list, reload, text) \
    {.name = #id,                           \
     .type = WEIR_OPTION_CHOICE,            \
     .preset = def,                         \
     .words = list,                         \
     .reloadable = reload,                  \
     .help = text,                          \
     .at = AT(id)},
#define STRINGS(id, high, reload, text) \
    {.name = #id,                       \
     .type = WEIR_OPTION_STRINGS,       \
     .preset = "",                      \
     .most = #high,                     \
     .reloadable = reload,              \
     .help = text,                      \
     .at = AT(id),                      \
     .count_at = AT(id##_count)},
#define GROUPS(id, tag, high, reload, text) \
    {.name = #id,                           \
     .type = WEIR_OPTION_GROUPS,            \
     .preset = "",                          \
     .most = #high,                         \
     .group = &tag##_schema,                \
     .reloadable = reload,                  \
     .help = text,                          \
     .at = AT(id),                          \
     .count_at = AT(id##_count)},
static const struct weir_option WEIR_ROWS[] = {
#include WEIR_OPTIONS
};
const struct weir_schema WEIR_ROWS_JOIN(WEIR_OPTIONS_STRUCT, _schema) = {
    .options = WEIR_ROWS,
    .count = sizeof WEIR_ROWS / sizeof WEIR_ROWS[0],
    .size = sizeof(struct WEIR_OPTIONS_STRUCT),
};
#undef STRING
#undef INT
#undef BOOL
#undef SIZE
#undef DURATION
#undef CHOICE
#undef STRINGS
#undef GROUPS
#undef AT
#undef RELOAD
#undef FIXED
#undef REQUIRED
#undef WEIR_ROWS
#undef WEIR_ROWS_JOIN
#undef WEIR_ROWS_PASTE
#undef WEIR_OPTIONS
#undef WEIR_OPTIONS_STRUCT
