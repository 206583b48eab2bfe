/* The fields of an option table's struct; see option.h. No include guard: it is included once per table. */
#define STRING(name, preset, reload, help)                char *name;
#define INT(name, preset, least, most, reload, help)      int64_t name;
#define BOOL(name, preset, reload, help)                  bool name;
#define SIZE(name, preset, least, most, reload, help)     uint64_t name##_bytes;
#define DURATION(name, preset, least, most, reload, help) int64_t name##_ms;
#define CHOICE(name, preset, words, reload, help)         int name;
#define STRINGS(name, most, reload, help) \
    char **name;                          \
    size_t name##_count;
#define GROUPS(name, group, most, reload, help) \
    struct group *name;                         \
    size_t name##_count;
#include WEIR_OPTIONS
#undef STRING
#undef INT
#undef BOOL
#undef SIZE
#undef DURATION
#undef CHOICE
#undef STRINGS
#undef GROUPS
#undef WEIR_OPTIONS
