/* The Python type `Document`: the body of a request that was read, and its events. */
#ifndef GATEWAY_DOCUMENT_H
#define GATEWAY_DOCUMENT_H

#include "python.h"

#include <stdbool.h>

#include "json.h"

/* What an event is, by its `type`. The values are attributes of the module. */
enum event_type { EVENT_TRACK, EVENT_IGNORED, EVENT_UNKNOWN, EVENT_NOT_AN_OBJECT };

typedef struct {
    uint32_t value;      /* index of the event */
    uint32_t message_id; /* index of its ID; 0 without a usable one */
    uint8_t type;
} document_event;

/* Immutable, so that several threads may use it. */
typedef struct document {
    PyObject_HEAD
    PyObject *body; /* the bytes object that has the text */
    json_document json;
    document_event *events;
    uint32_t event_count;
    uint32_t write_key; /* index of the value; 0 without one */
    bool is_batch;
    bool has_shared_context;
} document;

/* Adds the type and the function `read` to the module. */
int document_exec(PyObject *module);

/* The document that an object is; NULL with an exception set. */
document *document_of(PyObject *object, PyObject *type);

#endif
