#include "common/cluster/allow.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/table.h"

#include <stdatomic.h>

struct weir_allow {
    _Atomic uint32_t shares;
    struct weir_allow_entry *entries;
    size_t count;
    size_t capacity;
    struct weir_table by_key;  /* key text -> uint32_t index */
    struct weir_table by_name; /* name, zero-padded -> index of its first entry */
};

static const char *const role_name[WEIR_ROLES] = {"none", "agent", "broker", "aggregator", "console"};

const char *weir_role_name(enum weir_role role)
{
    return role < WEIR_ROLES ? role_name[role] : "unknown";
}

int weir_role_of(const char *name)
{
    for (int role = WEIR_ROLE_AGENT; role < WEIR_ROLES; role++) {
        if (strcmp(role_name[role], name) == 0) return role;
    }
    return WEIR_ENOTFOUND;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool weir_name_is_valid(const char *text)
{
    size_t size = strnlen(text, WEIR_NAME_BYTES);
    if (size == 0 || size == WEIR_NAME_BYTES || !is_alnum(text[0])) return false;
    for (size_t i = 1; i < size; i++) {
        if (!is_alnum(text[i]) && strchr(".-_", text[i]) == NULL) return false;
    }
    return true;
}

bool weir_key_is_valid(const char *text)
{
    static const char alphabet[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    if (strnlen(text, WEIR_KEY_TEXT) != WEIR_KEY_TEXT - 1) return false;
    uint64_t group = 0;
    for (size_t i = 0; i < WEIR_KEY_TEXT - 1; i++) {
        const char *at = strchr(alphabet, text[i]);
        if (at == NULL) return false;
        group = group * 85 + (uint64_t)(at - alphabet);
        if (i % 5 != 4) continue;
        if (group > UINT32_MAX) return false;
        group = 0;
    }
    return true;
}

int weir_allow_create(struct weir_allow **ret)
{
    struct weir_allow *allow = weir_calloc(1, sizeof *allow);
    if (allow == NULL) return WEIR_ENOMEM;
    allow->shares = 1;
    weir_table_init(&allow->by_key, WEIR_KEY_TEXT, sizeof(uint32_t));
    weir_table_init(&allow->by_name, WEIR_NAME_BYTES, sizeof(uint32_t));
    *ret = allow;
    return 0;
}

void weir_allow_destroy(struct weir_allow *allow)
{
    if (allow == NULL || atomic_fetch_sub(&allow->shares, 1) > 1) return;
    weir_table_fini(&allow->by_key);
    weir_table_fini(&allow->by_name);
    weir_free(allow->entries);
    weir_free(allow);
}

struct weir_allow *weir_allow_share(struct weir_allow *allow)
{
    atomic_fetch_add(&allow->shares, 1);
    return allow;
}

/** Both texts in a field of their own size, so that every byte of a table's key is defined. */
static void pad(char *out, size_t size, const char *text)
{
    memset(out, 0, size);
    memcpy(out, text, strnlen(text, size - 1));
}

static const struct weir_allow_entry *find(const struct weir_allow *allow, const struct weir_table *table,
                                           const char *padded)
{
    const uint32_t *index = weir_table_find(table, padded, weir_hash64(padded, table->key_size, 0));
    return index == NULL ? NULL : &allow->entries[*index];
}

const struct weir_allow_entry *weir_allow_find_key(const struct weir_allow *allow, const char *key)
{
    char padded[WEIR_KEY_TEXT];
    pad(padded, sizeof padded, key);
    return find(allow, &allow->by_key, padded);
}

const struct weir_allow_entry *weir_allow_find_name(const struct weir_allow *allow, const char *name)
{
    char padded[WEIR_NAME_BYTES];
    if (strnlen(name, sizeof padded) == sizeof padded) return NULL;
    pad(padded, sizeof padded, name);
    return find(allow, &allow->by_name, padded);
}

/** Does the entry itself say something that can be allowed? */
static int check_entry(const struct weir_allow_entry *entry, struct weir_why *why)
{
    if (!weir_name_is_valid(entry->name)) {
        return weir_why_set(why, WEIR_EPARAM,
                            "the name \"%.63s\" is not allowed: begin with a letter or digit, then letters, digits, "
                            "'.', '-', '_', at most 63",
                            entry->name);
    }
    if (entry->role <= WEIR_ROLE_NONE || entry->role >= WEIR_ROLES)
        return weir_why_set(why, WEIR_EPARAM, "%s has no role", entry->name);
    if (!weir_key_is_valid(entry->key)) {
        return weir_why_set(why, WEIR_EPARAM, "the key of %s is not a public key (40 characters of Z85)", entry->name);
    }
    if (entry->site[0] != '\0' && !weir_name_is_valid(entry->site))
        return weir_why_set(why, WEIR_EPARAM, "the site \"%.63s\" of %s is not allowed", entry->site, entry->name);
    bool needs_tenant = entry->role == WEIR_ROLE_AGENT;
    if ((needs_tenant || entry->tenant[0] != '\0') && !weir_name_is_valid(entry->tenant))
        return weir_why_set(why, WEIR_EPARAM, "the tenant \"%.63s\" of %s is not allowed", entry->tenant, entry->name);
    return 0;
}

/** Does it agree with what is in the list? */
static int check_against(const struct weir_allow *allow, const struct weir_allow_entry *entry, struct weir_why *why)
{
    const struct weir_allow_entry *same_key = weir_allow_find_key(allow, entry->key);
    if (same_key != NULL) {
        return weir_why_set(why, WEIR_EEXIST, "%s and %s have the same key %.8s...; each needs its own", same_key->name,
                            entry->name, entry->key);
    }
    const struct weir_allow_entry *same_name = weir_allow_find_name(allow, entry->name);
    if (same_name == NULL) return 0;
    if (same_name->role != entry->role || strcmp(same_name->site, entry->site) != 0 ||
        strcmp(same_name->tenant, entry->tenant) != 0) {
        return weir_why_set(why, WEIR_EEXIST, "%s is there twice, with another role, site or tenant", entry->name);
    }
    return 0;
}

static int index_put(struct weir_table *table, const char *padded, uint32_t index)
{
    bool added;
    uint32_t *value = weir_table_add(table, padded, weir_hash64(padded, table->key_size, 0), &added);
    if (value == NULL) return WEIR_ENOMEM;
    if (added) *value = index;
    return 0;
}

int weir_allow_add(struct weir_allow *allow, const struct weir_allow_entry *entry, struct weir_why *why)
{
    int rc = check_entry(entry, why);
    if (rc < 0) return rc;
    rc = check_against(allow, entry, why);
    if (rc < 0) return rc;
    if (allow->count == WEIR_ALLOW_MOST)
        return weir_why_set(why, WEIR_ELIMIT, "more than %d entries in the allow-list", WEIR_ALLOW_MOST);
    if (allow->count == allow->capacity) {
        size_t capacity = allow->capacity == 0 ? 16 : allow->capacity * 2;
        struct weir_allow_entry *entries = weir_realloc(allow->entries, capacity * sizeof *entries);
        if (entries == NULL) return WEIR_ENOMEM;
        allow->entries = entries;
        allow->capacity = capacity;
    }
    if (weir_table_reserve(&allow->by_key, allow->count + 1) < 0) return WEIR_ENOMEM;
    if (weir_table_reserve(&allow->by_name, allow->count + 1) < 0) return WEIR_ENOMEM;

    struct weir_allow_entry *copy = &allow->entries[allow->count];
    *copy = (struct weir_allow_entry){.role = entry->role};
    pad(copy->name, sizeof copy->name, entry->name);
    pad(copy->site, sizeof copy->site, entry->site);
    pad(copy->tenant, sizeof copy->tenant, entry->tenant);
    pad(copy->key, sizeof copy->key, entry->key);
    weir_agent_id(copy->name, copy->agent);
    if (index_put(&allow->by_key, copy->key, (uint32_t)allow->count) < 0) return WEIR_ENOMEM;
    if (index_put(&allow->by_name, copy->name, (uint32_t)allow->count) < 0) return WEIR_ENOMEM;
    allow->count++;
    return 0;
}

size_t weir_allow_count(const struct weir_allow *allow)
{
    return allow->count;
}

const struct weir_allow_entry *weir_allow_at(const struct weir_allow *allow, size_t index)
{
    return &allow->entries[index];
}
