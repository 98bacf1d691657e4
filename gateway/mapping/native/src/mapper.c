/* The Python type `Mapper`: maps the events of a document for one destination. */
#include "mapper.h"

#include "counters.h"
#include "document.h"
#include "mapping.h"
#include "module.h"
#include "output.h"

enum { TEXT_SLACK = 65536 /* bytes that an event may have beyond the limit while it is mapped */ };

typedef struct mapper {
    PyObject_HEAD
    destination destination;
    counters counters;
} mapper;

/* Adds an index to the list of events that Python maps. */
static bool add_fall_back(PyObject *fall_backs, uint32_t index) {
    PyObject *number = PyLong_FromUnsignedLong(index);
    bool is_added = number != NULL && PyList_Append(fall_backs, number) == 0;
    Py_XDECREF(number);
    return is_added;
}

/* Gives an event with which a function of Python has failed to the Python path, which meets the same error and reports
 * it. Lack of memory, and requests to end the process, are not errors of an event. */
static void forgive_error(mapping *mapping) {
    if (mapping->has_failed && PyErr_ExceptionMatches(PyExc_Exception) && !PyErr_ExceptionMatches(PyExc_MemoryError)) {
        PyErr_Clear();
        mapping->has_failed = false;
    }
}

/* Maps an event and adds it to the output. False as a step of a mapping. */
static bool map_one(mapper *mapper, mapping *mapping, uint32_t event, output *output) {
    bool has_purchase;
    if (!map_event(mapping, event) || is_too_large(mapping)) {
        forgive_error(mapping);
        return false;
    }
    bool is_added = output_add(output, mapping, &has_purchase) && count_event(&mapper->counters, mapping, has_purchase);
    return is_added || fail(mapping);
}

/* Maps the selected events. False with an exception set. */
static bool map_events(mapper *mapper, mapping *mapping, const document *document, const char *selected,
                       uint32_t first, uint32_t count, output *output, PyObject *fall_backs) {
    for (uint32_t i = 0; i < count; i++) {
        if (selected[i] == 0) {
            continue;
        }
        if (map_one(mapper, mapping, document->events[first + i].value, output)) {
            continue;
        }
        if (mapping->has_failed || !add_fall_back(fall_backs, first + i)) {
            return false;
        }
    }
    return true;
}

static PyObject *map_document(mapper *mapper, document *document, const char *selected, uint32_t first,
                              uint32_t count, int64_t now) {
    PyObject *fall_backs = PyList_New(0), *runs = NULL;
    if (fall_backs == NULL) {
        return NULL;
    }
    mapping mapping;
    output output;
    memset(&mapping, 0, sizeof(mapping));
    output_init(&output);
    mapping.destination = &mapper->destination;
    mapping.plan = &mapper->destination.plan;
    mapping.document = &document->json;
    mapping.now = now;
    buffer_init(&mapping.text, mapping.plan->max_event_bytes + TEXT_SLACK);
    if (map_events(mapper, &mapping, document, selected, first, count, &output, fall_backs)) {
        runs = output_runs(&output, &mapper->destination);
    }
    Py_CLEAR(mapping.left_out);
    buffer_free(&mapping.text);
    output_free(&output);
    PyObject *result = runs != NULL ? PyTuple_Pack(2, runs, fall_backs) : NULL;
    Py_XDECREF(runs);
    Py_DECREF(fall_backs);
    return result;
}

static PyObject *mapper_map(PyObject *self, PyObject *arguments) {
    mapper *mapper = (struct mapper *)self;
    PyObject *given;
    const char *selected;
    Py_ssize_t count, first = 0;
    long long now;
    if (!PyArg_ParseTuple(arguments, "Oy#L|n:map", &given, &selected, &count, &now, &first)) {
        return NULL;
    }
    module_state *state = state_of_type(Py_TYPE(self));
    document *document = state != NULL ? document_of(given, state->document_type) : NULL;
    if (document == NULL) {
        return NULL;
    }
    if (first < 0 || first > (Py_ssize_t)document->event_count || count > (Py_ssize_t)document->event_count - first) {
        PyErr_SetString(PyExc_IndexError, "the document has no such events");
        return NULL;
    }
    return map_document(mapper, document, selected, (uint32_t)first, (uint32_t)count, now);
}

static PyObject *mapper_take_counters(PyObject *self, PyObject *unused) {
    (void)unused;
    return take_counters(&((mapper *)self)->counters);
}

/* The functions and the type of a run that Python gives, in the order of the struct. */
static bool read_questions(questions *ask, PyObject *given) {
    if (!PyArg_ParseTuple(given, "OOOOOOOOO", &ask->value, &ask->is_complete, &ask->name, &ask->screen, &ask->address,
                          &ask->left_out, &ask->seen, &ask->lane, &ask->run)) {
        memset(ask, 0, sizeof(*ask));
        return false;
    }
    PyObject *const objects[] = {ask->value,    ask->is_complete, ask->name, ask->screen, ask->address,
                                 ask->left_out, ask->seen,        ask->lane, ask->run};
    for (size_t i = 0; i < sizeof(objects) / sizeof(*objects); i++) {
        Py_INCREF(objects[i]);
    }
    return true;
}

static PyObject *mapper_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    PyObject *data, *given;
    if (keywords != NULL && PyDict_Size(keywords) > 0) {
        PyErr_SetString(PyExc_TypeError, "Mapper takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(arguments, "O!O!:Mapper", &PyTuple_Type, &data, &PyTuple_Type, &given)) {
        return NULL;
    }
    module_state *state = state_of_type(type);
    mapper *mapper = state != NULL ? (struct mapper *)PyType_GenericAlloc(type, 0) : NULL;
    if (mapper == NULL) {
        return NULL;
    }
    destination *destination = &mapper->destination;
    destination->sha256 = state->sha256;
    if (!plan_read(&destination->plan, data) || !read_questions(&destination->ask, given)) {
        Py_DECREF((PyObject *)mapper);
        return NULL;
    }
    destination->values = value_memo_new();
    destination->names = name_memo_new();
    if (destination->values == NULL || destination->names == NULL) {
        Py_DECREF((PyObject *)mapper);
        return PyErr_NoMemory();
    }
    return (PyObject *)mapper;
}

static int mapper_traverse(PyObject *self, visitproc visit, void *arg) {
    mapper *mapper = (struct mapper *)self;
    questions *ask = &mapper->destination.ask;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(mapper->destination.plan.data);
    Py_VISIT(ask->value);
    Py_VISIT(ask->is_complete);
    Py_VISIT(ask->name);
    Py_VISIT(ask->screen);
    Py_VISIT(ask->address);
    Py_VISIT(ask->left_out);
    Py_VISIT(ask->seen);
    Py_VISIT(ask->lane);
    Py_VISIT(ask->run);
    return 0;
}

/* Breaks cycles through the functions. Only an unreachable mapper is cleared, so none is called afterwards. */
static int mapper_clear(PyObject *self) {
    questions *ask = &((mapper *)self)->destination.ask;
    Py_CLEAR(ask->value);
    Py_CLEAR(ask->is_complete);
    Py_CLEAR(ask->name);
    Py_CLEAR(ask->screen);
    Py_CLEAR(ask->address);
    Py_CLEAR(ask->left_out);
    Py_CLEAR(ask->seen);
    Py_CLEAR(ask->lane);
    Py_CLEAR(ask->run);
    return 0;
}

static void mapper_dealloc(PyObject *self) {
    mapper *mapper = (struct mapper *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    mapper_clear(self);
    plan_free(&mapper->destination.plan);
    value_memo_free(mapper->destination.values);
    name_memo_free(mapper->destination.names);
    PyObject_GC_Del(self);
    Py_DECREF((PyObject *)type);
}

static PyMethodDef methods[] = {
    {"map", mapper_map, METH_VARARGS,
     "map(document, selected, now, first=0): maps the event first + i where selected[i] is not zero.\n\n"
     "Returns the runs of mapped events, and the indices of the selected events that Python has to map."},
    {"take_counters", mapper_take_counters, METH_NOARGS,
     "take_counters(): notes, dropped values as (field, cause, count) and events as (mask of fields, count), since the "
     "last call."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, FUNCTION_SLOT(mapper_new)},
    {Py_tp_dealloc, FUNCTION_SLOT(mapper_dealloc)},
    {Py_tp_traverse, FUNCTION_SLOT(mapper_traverse)},
    {Py_tp_clear, FUNCTION_SLOT(mapper_clear)},
    {Py_tp_methods, methods},
    {Py_tp_doc, "Mapper(plan, questions): maps the usual events of one destination."},
    {0, NULL},
};

static PyType_Spec specification = {
    "gateway.mapping.native._native.Mapper",
    sizeof(mapper),
    0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    slots,
};

int mapper_exec(PyObject *module) {
    module_state *state = PyModule_GetState(module);
    state->mapper_type = PyType_FromModuleAndSpec(module, &specification, NULL);
    return state->mapper_type != NULL ? PyModule_AddType(module, (PyTypeObject *)state->mapper_type) : -1;
}
