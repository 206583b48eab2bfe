/** Links of circular lists with a head, inside of what they link: adding, removing and moving need no memory. */
#ifndef WEIR_AGENT_DECODE_LINK_H
#define WEIR_AGENT_DECODE_LINK_H

#include <stdbool.h>
#include <stddef.h>

struct agent_link {
    struct agent_link *prev;
    struct agent_link *next;
};

/** The struct that holds @link as its @member. */
#define AGENT_LINKED(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/** An empty list. */
static inline void agent_link_init(struct agent_link *head)
{
    head->prev = head->next = head;
}

static inline bool agent_link_empty(const struct agent_link *head)
{
    return head->next == head;
}

static inline void agent_link_append(struct agent_link *head, struct agent_link *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static inline void agent_link_remove(struct agent_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
}

/** Make @link the last of its list. */
static inline void agent_link_to_end(struct agent_link *head, struct agent_link *link)
{
    if (head->prev == link) return;
    agent_link_remove(link);
    agent_link_append(head, link);
}

#endif
