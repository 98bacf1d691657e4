#include "output.h"

enum { MIN_RECORDS = 64 };

/* Bytes that one call may produce. Its caller limits the events of a call. */
static const size_t MAX_OUTPUT = (size_t)1 << 30;

static const char separator[] = ",\n"; /* gateway.model.EVENT_SEPARATOR */

enum { SEPARATOR = sizeof(separator) - 1 };

void output_init(output *output) {
    memset(output, 0, sizeof(*output));
    buffer_init(&output->events, MAX_OUTPUT);
}

void output_free(output *output) {
    buffer_free(&output->events);
    PyMem_Free(output->runs);
    PyMem_Free(output->records);
}

/* Makes space for one more element. False with an exception set. */
static bool reserve(void **array, uint32_t count, uint32_t *capacity, size_t size) {
    if (count < *capacity) {
        return true;
    }
    uint32_t larger = *capacity > 0 ? 2 * *capacity : MIN_RECORDS;
    void *grown = PyMem_Realloc(*array, larger * size);
    if (grown == NULL) {
        PyErr_NoMemory();
        return false;
    }
    *array = grown;
    *capacity = larger;
    return true;
}

static bool is_run_of(const run *run, uint16_t target, text_view tag, uint32_t hash) {
    return run->target == target && run->tag_hash == hash && (run->tag.bytes == NULL) == (tag.bytes == NULL)
           && text_equals(run->tag, tag);
}

/* The run of a lane, which may be new. NULL with an exception set. */
static run *run_of(output *output, uint16_t target, text_view tag) {
    uint32_t hash = tag.bytes != NULL ? json_hash(tag.bytes, tag.length) : 0;
    for (uint32_t i = output->run_count; i-- > 0;) {
        if (is_run_of(&output->runs[i], target, tag, hash)) {
            return &output->runs[i];
        }
    }
    void *runs = output->runs;
    if (!reserve(&runs, output->run_count, &output->run_capacity, sizeof(run))) {
        return NULL;
    }
    output->runs = runs;
    run *added = &output->runs[output->run_count++];
    *added = (run){target, tag, hash, 0, INT64_MAX, 0, NO_RECORD, NO_RECORD};
    return added;
}

/* Adds an event, which is already in the output, to a lane. */
static bool add_record(output *output, uint16_t target, const mapping *mapping, size_t start) {
    run *run = run_of(output, target, mapping->tag);
    void *records = output->records;
    if (run == NULL || !reserve(&records, output->record_count, &output->record_capacity, sizeof(record))) {
        return false;
    }
    output->records = records;
    size_t length = output->events.length - start;
    uint32_t number = output->record_count++;
    output->records[number] = (record){start, (uint32_t)length, NO_RECORD};
    if (run->first == NO_RECORD) {
        run->first = number;
    } else {
        output->records[run->last].next = number;
    }
    run->last = number;
    int64_t expires_at = mapping->at + mapping->window;
    run->count++;
    run->size += length;
    run->expires_at = expires_at < run->expires_at ? expires_at : run->expires_at;
    return true;
}

/* The content type for a route; `bytes` is NULL when none is sent. */
static text_view content_type_of(const mapping *mapping, const plan_route *route) {
    const plan *plan = mapping->plan;
    if (mapping->content_type.bytes != NULL || (plan->flags & PLAN_CRM) != 0) {
        return mapping->content_type;
    }
    bool is_group = (route->flags & ROUTE_GROUP) != 0 && !mapping->has_products && !mapping->has_contents;
    return plan->content_types[plan->category_count + (is_group ? 1 : 0)];
}

static const char content_type_name[] = ",\"content_type\":";

/* Bytes of an event as one route sends it, see `put_event`. */
static size_t size_of_event(const mapping *mapping, const plan_route *route) {
    text_view content_type = content_type_of(mapping, route);
    size_t member = content_type.bytes != NULL ? sizeof(content_type_name) - 1 + content_type.length : 0;
    size_t brackets = (mapping->plan->flags & PLAN_CONVERSIONS) != 0 ? 2 : 1;
    return mapping->text.length + route->standard.length + member + brackets;
}

/* Puts an event as one route sends it. */
static void put_event(buffer *events, const mapping *mapping, const plan_route *route) {
    const buffer *text = &mapping->text;
    text_view content_type = content_type_of(mapping, route);
    buffer_put(events, text->bytes, mapping->split);
    buffer_put_text(events, route->standard);
    buffer_put(events, text->bytes + mapping->split, text->length - mapping->split);
    if (content_type.bytes != NULL) {
        buffer_put_literal(events, content_type_name);
        buffer_put_text(events, content_type);
    }
    if ((mapping->plan->flags & PLAN_CONVERSIONS) != 0) {
        buffer_put_byte(events, '}'); /* of `custom_data` */
    }
    buffer_put_byte(events, '}');
}

bool is_too_large(const mapping *mapping) {
    const plan *plan = mapping->plan;
    for (uint16_t i = 0; i < mapping->event->routes; i++) {
        const plan_route *route = &plan->routes[mapping->event->first_route + i];
        if (size_of_event(mapping, route) > plan->max_event_bytes) {
            return true;
        }
    }
    return false;
}

bool output_add(output *output, const mapping *mapping, bool *has_purchase) {
    const plan *plan = mapping->plan;
    *has_purchase = false;
    for (uint16_t i = 0; i < mapping->event->routes; i++) {
        const plan_route *route = &plan->routes[mapping->event->first_route + i];
        size_t start = output->events.length;
        *has_purchase = *has_purchase || (route->flags & ROUTE_PURCHASE) != 0;
        put_event(&output->events, mapping, route);
        if (output->events.state != BUFFER_OK) {
            PyErr_NoMemory();
            return false;
        }
        for (uint16_t j = 0; j < route->targets; j++) {
            if (!add_record(output, plan->targets[route->first_target + j], mapping, start)) {
                return false;
            }
        }
    }
    return true;
}

/* The payload of a run: its events with separators between them. */
static PyObject *payload_of(const output *output, const run *run) {
    PyObject *payload = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(run->size + SEPARATOR * (run->count - 1)));
    if (payload == NULL) {
        return NULL;
    }
    char *start = PyBytes_AsString(payload), *at = start;
    for (uint32_t i = run->first; i != NO_RECORD; i = output->records[i].next) {
        const record *record = &output->records[i];
        if (at != start) {
            memcpy(at, separator, SEPARATOR);
            at += SEPARATOR;
        }
        memcpy(at, output->events.bytes + record->start, record->length);
        at += record->length;
    }
    return payload;
}

static PyObject *lane_of(const destination *destination, const run *run) {
    if (run->tag.bytes == NULL) {
        PyObject *lane = PyTuple_GetItem(destination->plan.lanes, run->target);
        Py_XINCREF(lane);
        return lane;
    }
    return PyObject_CallFunction(destination->ask.lane, "Is#", (unsigned)run->target,
                                 (const char *)run->tag.bytes, (Py_ssize_t)run->tag.length);
}

PyObject *output_runs(const output *output, const destination *destination) {
    PyObject *runs = PyList_New(0);
    for (uint32_t i = 0; runs != NULL && i < output->run_count; i++) {
        const run *run = &output->runs[i];
        PyObject *lane = lane_of(destination, run);
        PyObject *payload = lane != NULL ? payload_of(output, run) : NULL;
        PyObject *object = payload != NULL ? PyObject_CallFunction(destination->ask.run, "OILO", lane,
                                                                   (unsigned)run->count, (long long)run->expires_at,
                                                                   payload)
                                           : NULL;
        Py_XDECREF(lane);
        Py_XDECREF(payload);
        if (object == NULL || PyList_Append(runs, object) < 0) {
            Py_CLEAR(runs);
        }
        Py_XDECREF(object);
    }
    return runs;
}
