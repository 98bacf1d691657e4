/* A fixed table from texts to small numbers, made once from a plan. */
#ifndef GATEWAY_TABLE_H
#define GATEWAY_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

typedef struct {
    text_view text; /* `bytes` is NULL in an empty slot */
    uint32_t hash;
    uint32_t number;
} table_slot;

typedef struct {
    table_slot *slots; /* a power of two of them, at most half of which are used; NULL in an empty table */
    uint32_t mask;
} table;

enum { NOT_FOUND = UINT32_MAX };

/* Makes an empty table for `count` texts. False without memory. */
bool table_init(table *table, size_t count);
void table_free(table *table);

/* Adds a text, whose bytes have to stay. `number` is below NOT_FOUND. At most `count` times. */
void table_add(table *table, text_view text, uint32_t number);

/* The number of a text of which json_hash is known; NOT_FOUND when it is not in the table. */
static inline uint32_t table_find_hashed(const table *table, text_view text, uint32_t hash) {
    if (table->slots == NULL) {
        return NOT_FOUND;
    }
    for (uint32_t at = hash & table->mask;; at = (at + 1) & table->mask) {
        const table_slot *slot = &table->slots[at];
        if (slot->text.bytes == NULL) {
            return NOT_FOUND;
        }
        if (slot->hash == hash && text_equals(slot->text, text)) {
            return slot->number;
        }
    }
}

static inline uint32_t table_find(const table *table, text_view text) {
    return table_find_hashed(table, text, json_hash(text.bytes, text.length));
}

#endif
