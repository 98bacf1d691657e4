#include "python.h"

#include "table.h"

bool table_init(table *table, size_t count) {
    size_t slots = 4;
    while (slots < 2 * count) {
        slots *= 2;
    }
    table->slots = PyMem_Calloc(slots, sizeof(table_slot));
    table->mask = (uint32_t)(slots - 1);
    return table->slots != NULL;
}

void table_free(table *table) {
    PyMem_Free(table->slots);
    table->slots = NULL;
}

void table_add(table *table, text_view text, uint32_t number) {
    uint32_t hash = json_hash(text.bytes, text.length), at = hash & table->mask;
    while (table->slots[at].text.bytes != NULL) {
        at = (at + 1) & table->mask;
    }
    table->slots[at] = (table_slot){text, hash, number};
}
