/*
 * sc_list.h -- intrusive doubly linked list.
 *
 * A list is an sc_link whose neighbours are its members; an empty list and an
 * unlinked member point at themselves, so that removing twice is harmless.
 * Everything is O(1).  Owned by one thread.
 */
#ifndef SC_LIST_H
#define SC_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct sc_link {
    struct sc_link *prev, *next;
} sc_link;

/* The object that holds `link` as its member. */
#define SC_OWNER(link, type, member) ((type *)(void *)((char *)(link) - offsetof(type, member)))

static inline void sc_list_init(sc_link *l)
{
    l->prev = l->next = l;
}

static inline bool sc_list_empty(const sc_link *list)
{
    return list->next == list;
}

static inline void sc_list_remove(sc_link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    sc_list_init(l);
}

/* At the end; l must not be a member of any list. */
static inline void sc_list_append(sc_link *list, sc_link *l)
{
    l->prev = list->prev;
    l->next = list;
    list->prev->next = l;
    list->prev = l;
}

static inline void sc_list_prepend(sc_link *list, sc_link *l)
{
    sc_list_append(list->next, l);
}

#endif /* SC_LIST_H */
