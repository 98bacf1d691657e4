/* The result of one call: mapped events, divided into the lanes that receive them. */
#ifndef GATEWAY_OUTPUT_H
#define GATEWAY_OUTPUT_H

#include "python.h"

#include <stdbool.h>

#include "buffer.h"
#include "mapping.h"

/* Mapped events of one lane. */
typedef struct {
    uint16_t target; /* index of the lane of events without an upload tag */
    text_view tag;   /* of the events; `bytes` is NULL without one */
    uint32_t tag_hash;
    uint32_t count;
    int64_t expires_at; /* the earliest of its events */
    size_t size;        /* bytes of its events, without separators */
    uint32_t first, last; /* its records */
} run;

/* A mapped event: where it is in the output. */
typedef struct {
    size_t start;
    uint32_t length;
    uint32_t next; /* the record after it in the same run; NO_RECORD behind the last */
} record;

enum { NO_RECORD = UINT32_MAX };

/* The result of a call, as it grows. */
typedef struct {
    buffer events; /* one after the other */
    run *runs;
    uint32_t run_count, run_capacity;
    record *records;
    uint32_t record_count, record_capacity;
} output;

void output_init(output *output);
void output_free(output *output);

/* Whether the event, as one of its routes sends it, has more bytes than the destination's settings allow. */
bool is_too_large(const mapping *mapping);

/* Adds a mapped event for all of its routes. `has_purchase`: whether one of them is for purchases.
 * False with an exception set. */
bool output_add(output *output, const mapping *mapping, bool *has_purchase);

/* A list of one gateway.model.MappedRun for each lane, or NULL. */
PyObject *output_runs(const output *output, const destination *destination);

#endif
