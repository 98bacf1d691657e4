#include "document.h"

#include "buffer.h"
#include "module.h"
#include "text.h"

enum { KEY_BYTES = 12, MAX_KEY_SOURCE = JSON_MAX_SOURCE + 65536 };

static bool is_text(const json_value *value, const char *text) {
    size_t length = strlen(text);
    return value->type == JSON_STRING && value->length == length && memcmp(value->as.text, text, length) == 0;
}

static uint8_t type_of(const json_value *value) {
    static const char *const ignored[] = {"identify", "page", "screen", "group", "alias"};
    if (is_text(value, "track")) {
        return EVENT_TRACK;
    }
    for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++) {
        if (is_text(value, ignored[i])) {
            return EVENT_IGNORED;
        }
    }
    return EVENT_UNKNOWN;
}

static document_event read_event(const json_document *json, uint32_t index) {
    const json_value *values = json->values;
    document_event event = {index, 0, EVENT_NOT_AN_OBJECT};
    if (values[index].type != JSON_OBJECT) {
        return event;
    }
    event.type = EVENT_UNKNOWN;
    for (uint32_t name = index + 1; name < values[index].next; name = values[name + 1].next) {
        const json_value *value = &values[name + 1];
        if (is_text(&values[name], "type")) {
            event.type = type_of(value);
        } else if (is_text(&values[name], "messageId") && value->type == JSON_STRING && value->length > 0) {
            event.message_id = name + 1;
        }
    }
    return event;
}

/* Reads what the body says beside its events; returns the index of its list of events, 0 without one. */
static uint32_t read_envelope(document *document) {
    const json_value *values = document->json.values;
    uint32_t batch = 0;
    for (uint32_t name = 1; name < values[0].next; name = values[name + 1].next) {
        const json_value *value = &values[name + 1];
        if (is_text(&values[name], "batch") && value->type == JSON_ARRAY) {
            batch = name + 1;
        } else if (is_text(&values[name], "writeKey") && value->type == JSON_STRING) {
            document->write_key = name + 1;
        } else if (is_text(&values[name], "context") || is_text(&values[name], "integrations")) {
            document->has_shared_context = true;
        }
    }
    return batch;
}

/* Finds the events. False without memory. */
static bool read_events(document *document) {
    const json_value *values = document->json.values;
    uint32_t batch = read_envelope(document);
    document->is_batch = batch > 0;
    document->event_count = batch > 0 ? values[batch].length : 1;
    document->events = PyMem_Malloc(sizeof(document_event) * (document->event_count > 0 ? document->event_count : 1));
    if (document->events == NULL) {
        return false;
    }
    uint32_t index = batch > 0 ? batch + 1 : 0;
    for (uint32_t i = 0; i < document->event_count; i++) {
        document->events[i] = read_event(&document->json, index);
        index = values[index].next;
    }
    return true;
}

static PyObject *read_body(PyObject *module, PyObject *arguments) {
    PyObject *body;
    unsigned max_values, max_depth;
    if (!PyArg_ParseTuple(arguments, "SII:read", &body, &max_values, &max_depth)) {
        return NULL;
    }
    char *text;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(body, &text, &length) < 0) {
        return NULL;
    }
    module_state *state = PyModule_GetState(module);
    document *document = (struct document *)PyType_GenericAlloc((PyTypeObject *)state->document_type, 0);
    if (document == NULL) {
        return NULL;
    }
    json_limits limits = {max_values, max_depth};
    enum json_status status = json_read((const uint8_t *)text, (size_t)length, &limits, &document->json);
    if (status == JSON_UNSUPPORTED || (status == JSON_OK && document->json.values[0].type != JSON_OBJECT)) {
        Py_DECREF((PyObject *)document);
        Py_RETURN_NONE;
    }
    if (status == JSON_NO_MEMORY || !read_events(document)) {
        Py_DECREF((PyObject *)document);
        return PyErr_NoMemory();
    }
    Py_INCREF(body);
    document->body = body;
    return (PyObject *)document;
}

static void document_dealloc(PyObject *self) {
    document *document = (struct document *)self;
    PyTypeObject *type = Py_TYPE(self);
    json_free(&document->json);
    PyMem_Free(document->events);
    Py_XDECREF(document->body);
    PyObject_Free(self);
    Py_DECREF((PyObject *)type);
}

/* The range of events that two indices are; false with an exception set. */
static bool read_range(document *document, Py_ssize_t first, Py_ssize_t last) {
    if (first < 0 || last < first || last > (Py_ssize_t)document->event_count) {
        PyErr_SetString(PyExc_IndexError, "the document has no such events");
        return false;
    }
    return true;
}

static PyObject *document_types(PyObject *self, PyObject *arguments) {
    document *document = (struct document *)self;
    Py_ssize_t first, last;
    if (!PyArg_ParseTuple(arguments, "nn:types", &first, &last) || !read_range(document, first, last)) {
        return NULL;
    }
    PyObject *types = PyBytes_FromStringAndSize(NULL, last - first);
    if (types != NULL) {
        char *bytes = PyBytes_AsString(types);
        for (Py_ssize_t i = first; i < last; i++) {
            bytes[i - first] = (char)document->events[i].type;
        }
    }
    return types;
}

static uint8_t hex_digit(char digit) { return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10); }

/* The key of an event in the deduplication window: the first bytes of the hash of source, zero byte and message ID. */
static PyObject *key_of(const document *document, const document_event *event, const sha256_engine *sha256,
                        buffer *buffer, size_t source_length) {
    if (event->message_id == 0) {
        Py_RETURN_NONE;
    }
    const json_value *id = &document->json.values[event->message_id];
    char hex[SHA256_HEX], key[KEY_BYTES];
    buffer_truncate(buffer, source_length);
    buffer_put(buffer, id->as.text, id->length);
    if (buffer->state != BUFFER_OK) {
        return PyErr_NoMemory();
    }
    sha256_hex(sha256, buffer->bytes, buffer->length, hex);
    for (size_t i = 0; i < KEY_BYTES; i++) {
        key[i] = (char)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
    }
    return PyBytes_FromStringAndSize(key, KEY_BYTES);
}

static PyObject *document_keys(PyObject *self, PyObject *arguments) {
    document *document = (struct document *)self;
    const char *source;
    Py_ssize_t source_length, first, last;
    if (!PyArg_ParseTuple(arguments, "s#nn:keys", &source, &source_length, &first, &last)
        || !read_range(document, first, last)) {
        return NULL;
    }
    const sha256_engine *sha256 = state_of_type(Py_TYPE(self))->sha256;
    PyObject *keys = PyList_New(last - first);
    buffer buffer;
    buffer_init(&buffer, MAX_KEY_SOURCE);
    buffer_put(&buffer, source, (size_t)source_length);
    buffer_put_byte(&buffer, '\0');
    size_t prefix = buffer.length;
    for (Py_ssize_t i = first; keys != NULL && i < last; i++) {
        PyObject *key = key_of(document, &document->events[i], sha256, &buffer, prefix);
        if (key == NULL || PyList_SetItem(keys, i - first, key) < 0) {
            Py_CLEAR(keys);
        }
    }
    buffer_free(&buffer);
    return keys;
}

static PyObject *document_event_text(PyObject *self, PyObject *argument) {
    document *document = (struct document *)self;
    Py_ssize_t index = PyLong_AsSsize_t(argument);
    if (PyErr_Occurred() || index == PY_SSIZE_T_MAX || !read_range(document, index, index + 1)) {
        return NULL;
    }
    const json_value *value = &document->json.values[document->events[index].value];
    return PyBytes_FromStringAndSize((const char *)document->json.source + value->start, value->end - value->start);
}

/* Bytes of the longest text, and values and names of the largest event. */
static PyObject *document_largest(PyObject *self, PyObject *arguments) {
    document *document = (struct document *)self;
    Py_ssize_t first, last;
    if (!PyArg_ParseTuple(arguments, "nn:largest", &first, &last) || !read_range(document, first, last)) {
        return NULL;
    }
    uint32_t bytes = 0, values = 0;
    for (Py_ssize_t i = first; i < last; i++) {
        uint32_t index = document->events[i].value;
        const json_value *value = &document->json.values[index];
        bytes = value->end - value->start > bytes ? value->end - value->start : bytes;
        values = value->next - index > values ? value->next - index : values;
    }
    return Py_BuildValue("II", bytes, values);
}

static PyObject *get_write_key(PyObject *self, void *closure) {
    (void)closure;
    document *document = (struct document *)self;
    if (document->write_key == 0) {
        Py_RETURN_NONE;
    }
    const json_value *key = &document->json.values[document->write_key];
    return PyUnicode_DecodeUTF8((const char *)key->as.text, key->length, NULL);
}

static PyObject *get_is_batch(PyObject *self, void *closure) {
    (void)closure;
    return PyBool_FromLong(((document *)self)->is_batch);
}

static PyObject *get_has_shared_context(PyObject *self, void *closure) {
    (void)closure;
    return PyBool_FromLong(((document *)self)->has_shared_context);
}

static PyObject *get_events(PyObject *self, void *closure) {
    (void)closure;
    return PyLong_FromUnsignedLong(((document *)self)->event_count);
}

static PyObject *get_values(PyObject *self, void *closure) {
    (void)closure;
    return PyLong_FromUnsignedLong(((document *)self)->json.count);
}

static PyMethodDef methods[] = {
    {"types", document_types, METH_VARARGS, "types(first, last): one byte for each event, see TRACK and the others."},
    {"keys", document_keys, METH_VARARGS, "keys(source, first, last): the deduplication key of each event, or None."},
    {"event", document_event_text, METH_O, "event(index): the JSON text of an event."},
    {"largest", document_largest, METH_VARARGS,
     "largest(first, last): bytes of the longest event, and values and names of the one that has the most."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef getters[] = {
    {"write_key", get_write_key, NULL, "The text of `writeKey`, or None.", NULL},
    {"is_batch", get_is_batch, NULL, "Whether the body has a list of events.", NULL},
    {"has_shared_context", get_has_shared_context, NULL, "Whether the body has `context` or `integrations`.", NULL},
    {"events", get_events, NULL, "Events of the batch; 1 without one.", NULL},
    {"values", get_values, NULL, "Values and names in the text.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, FUNCTION_SLOT(document_dealloc)},
    {Py_tp_methods, methods},
    {Py_tp_getset, getters},
    {Py_tp_doc, "The body of a request that was read."},
    {0, NULL},
};

static PyType_Spec specification = {
    "gateway.mapping.native._native.Document",
    sizeof(document),
    0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    slots,
};

static PyMethodDef functions[] = {
    {"read", read_body, METH_VARARGS,
     "read(body, max_values, max_depth): the Document of a body; None for one that Python has to read."},
    {NULL, NULL, 0, NULL},
};

int document_exec(PyObject *module) {
    module_state *state = PyModule_GetState(module);
    state->document_type = PyType_FromModuleAndSpec(module, &specification, NULL);
    if (state->document_type == NULL || PyModule_AddType(module, (PyTypeObject *)state->document_type) < 0
        || PyModule_AddFunctions(module, functions) < 0) {
        return -1;
    }
    if (PyModule_AddIntConstant(module, "TRACK", EVENT_TRACK) < 0
        || PyModule_AddIntConstant(module, "IGNORED", EVENT_IGNORED) < 0
        || PyModule_AddIntConstant(module, "UNKNOWN", EVENT_UNKNOWN) < 0
        || PyModule_AddIntConstant(module, "NOT_AN_OBJECT", EVENT_NOT_AN_OBJECT) < 0) {
        return -1;
    }
    return 0;
}

document *document_of(PyObject *object, PyObject *type) {
    if (!PyObject_TypeCheck(object, (PyTypeObject *)type)) {
        PyErr_SetString(PyExc_TypeError, "the first argument has to be a Document");
        return NULL;
    }
    return (document *)object;
}
