/* What a mapper counts, until Python takes it. */
#ifndef GATEWAY_COUNTERS_H
#define GATEWAY_COUNTERS_H

#include "python.h"

#include <stdbool.h>

#include "mapping.h"

enum {
    SHAPES = 256,    /* slots for combinations of match keys */
    MAX_SHAPES = 192 /* used ones, until the counters are taken; Python counts events with other combinations */
};

typedef struct {
    uint32_t identity; /* mask of fields; 0 in a free slot */
    uint64_t events;
} shape;

typedef struct counters {
    uint64_t notes[NOTES];
    uint64_t dropped[MAX_FIELDS][MAX_CAUSES];
    shape shapes[SHAPES];
    unsigned shape_count;
} counters;

/* Counts an event that was mapped. False with an exception set. */
bool count_event(counters *counters, const mapping *mapping, bool has_purchase);

/* Three lists: the notes, dropped values as (field, cause, count), and events as (mask of fields, count). The counters
 * are zero afterwards, also without memory for the lists. */
PyObject *take_counters(counters *counters);

#endif
