#include "counters.h"

/* The counter of a combination of match keys; NULL when there are too many. */
static shape *shape_of(counters *counters, uint32_t identity) {
    uint32_t at = identity * 0x9E3779B1u >> 24; /* the highest bits: SHAPES is 256 */
    while (counters->shapes[at].identity != 0 && counters->shapes[at].identity != identity) {
        at = (at + 1) % SHAPES;
    }
    shape *found = &counters->shapes[at];
    if (found->identity == 0) {
        if (counters->shape_count >= MAX_SHAPES) {
            return NULL;
        }
        found->identity = identity;
        counters->shape_count++;
    }
    return found;
}

/* Calls a function for an event that was mapped. */
static bool call(PyObject *function, PyObject *argument) {
    PyObject *done = argument != NULL ? PyObject_CallFunctionObjArgs(function, argument, NULL) : NULL;
    Py_XDECREF(done);
    return done != NULL;
}

/* Counts the match keys of an event. */
static bool count_identity(counters *counters, const mapping *mapping) {
    shape *shape = shape_of(counters, mapping->identity);
    if (shape != NULL) {
        shape->events++;
        return true;
    }
    PyObject *identity = PyLong_FromUnsignedLong(mapping->identity);
    bool is_counted = call(mapping->destination->ask.seen, identity);
    Py_XDECREF(identity);
    return is_counted;
}

bool count_event(counters *counters, const mapping *mapping, bool has_purchase) {
    for (unsigned i = 0; i < mapping->dropped_count; i++) {
        counters->dropped[mapping->dropped[i].field][mapping->dropped[i].cause]++;
    }
    if ((mapping->plan->flags & PLAN_CRM) == 0) {
        counters->notes[NOTE_DEFAULT_VALUE] += !mapping->has_value;
        counters->notes[NOTE_DEFAULT_CURRENCY] += !mapping->has_currency;
        counters->notes[NOTE_PURCHASE_WITHOUT_VALUE] += !mapping->has_value && has_purchase;
    }
    return count_identity(counters, mapping)
           && (mapping->left_out == NULL || call(mapping->destination->ask.left_out, mapping->left_out));
}

/* Appends a tuple to a list. */
static bool append(PyObject *list, PyObject *tuple) {
    bool is_added = tuple != NULL && PyList_Append(list, tuple) == 0;
    Py_XDECREF(tuple);
    return is_added;
}

static bool list_counters(const counters *counters, PyObject *notes, PyObject *dropped, PyObject *seen) {
    for (unsigned i = 0; i < NOTES; i++) {
        if (!append(notes, PyLong_FromUnsignedLongLong(counters->notes[i]))) {
            return false;
        }
    }
    for (unsigned i = 0; i < MAX_FIELDS; i++) {
        for (unsigned j = 0; j < MAX_CAUSES; j++) {
            uint64_t count = counters->dropped[i][j];
            if (count > 0 && !append(dropped, Py_BuildValue("IIK", i, j, (unsigned long long)count))) {
                return false;
            }
        }
    }
    for (unsigned i = 0; i < SHAPES; i++) {
        const shape *shape = &counters->shapes[i];
        if (shape->identity != 0
            && !append(seen, Py_BuildValue("IK", (unsigned)shape->identity, (unsigned long long)shape->events))) {
            return false;
        }
    }
    return true;
}

PyObject *take_counters(counters *counters) {
    const struct counters taken = *counters; /* before anything is allocated: the garbage collector may run Python */
    memset(counters, 0, sizeof(*counters));
    PyObject *notes = PyList_New(0), *dropped = PyList_New(0), *seen = PyList_New(0), *result = NULL;
    if (notes != NULL && dropped != NULL && seen != NULL && list_counters(&taken, notes, dropped, seen)) {
        result = PyTuple_Pack(3, notes, dropped, seen);
    }
    Py_XDECREF(notes);
    Py_XDECREF(dropped);
    Py_XDECREF(seen);
    return result;
}
