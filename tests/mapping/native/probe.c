/* An extension module for the tests: the JSON reader and SHA-256 by themselves. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "json.h"
#include "sha256.h"

#include <string.h>

static PyObject *object_of(const json_document *document, uint32_t index);

static PyObject *text_of(const json_value *value)
{
    uint8_t beyond_ascii = 0;
    for (uint32_t i = 0; i < value->length; i++) {
        beyond_ascii |= value->as.text[i] & 0x80;
    }
    if ((beyond_ascii == 0) != ((value->flags & JSON_ASCII) != 0)) {
        PyErr_SetString(PyExc_AssertionError, "a string's flag JSON_ASCII differs from its text");
        return NULL;
    }
    return PyUnicode_DecodeUTF8((const char *)value->as.text, value->length, "strict");
}

/* (source text,): the reader did not compute the value. */
static PyObject *unread_number(const json_document *document, const json_value *value)
{
    return Py_BuildValue("(s#)", document->source + value->start, (Py_ssize_t)(value->end - value->start));
}

static PyObject *array_of(const json_document *document, uint32_t index)
{
    const json_value *array = &document->values[index];
    PyObject *list = PyList_New(0);
    uint32_t item = index + 1;
    for (uint32_t i = 0; list != NULL && i < array->length; i++) {
        PyObject *object = object_of(document, item);
        if (object == NULL || PyList_Append(list, object) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(object);
        item = document->values[item].next;
    }
    if (list != NULL && item != array->next) {
        Py_CLEAR(list);
        PyErr_SetString(PyExc_AssertionError, "the elements of an array do not end where it ends");
    }
    return list;
}

static PyObject *members_of(const json_document *document, uint32_t index)
{
    const json_value *object = &document->values[index];
    PyObject *dict = PyDict_New();
    uint32_t item = index + 1;
    for (uint32_t i = 0; dict != NULL && i < object->length; i++) {
        const json_value *key = &document->values[item];
        PyObject *name = text_of(key), *value = name == NULL ? NULL : object_of(document, item + 1);
        if (value == NULL || PyDict_SetItem(dict, name, value) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(name);
        Py_XDECREF(value);
        if (dict != NULL && (key->type != JSON_STRING || key->hash != json_hash(key->as.text, key->length))) {
            Py_CLEAR(dict);
            PyErr_SetString(PyExc_AssertionError, "a key has another hash than its text");
        }
        item = document->values[item + 1].next;
    }
    if (dict != NULL && (item != object->next || PyDict_Size(dict) != (Py_ssize_t)object->length)) {
        Py_CLEAR(dict);
        PyErr_SetString(PyExc_AssertionError, "an object has other members than it says, or a key twice");
    }
    return dict;
}

static PyObject *object_of(const json_document *document, uint32_t index)
{
    const json_value *value = &document->values[index];
    switch (value->type) {
    case JSON_NULL:
        Py_RETURN_NONE;
    case JSON_FALSE:
        Py_RETURN_FALSE;
    case JSON_TRUE:
        Py_RETURN_TRUE;
    case JSON_INTEGER:
        return PyLong_FromLongLong(value->as.integer);
    case JSON_REAL:
        return PyFloat_FromDouble(value->as.real);
    case JSON_NUMBER:
        return unread_number(document, value);
    case JSON_STRING:
        return text_of(value);
    case JSON_ARRAY:
        return array_of(document, index);
    default:
        return members_of(document, index);
    }
}

/* [(type, flags, source text)] of all values and keys, in the order of the document. */
static PyObject *layout_of(const json_document *document)
{
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < document->count; i++) {
        const json_value *value = &document->values[i];
        PyObject *entry = Py_BuildValue("(iiy#)", value->type, value->flags, document->source + value->start,
                                        (Py_ssize_t)(value->end - value->start));
        if (entry == NULL || PyList_Append(list, entry) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(entry);
    }
    return list;
}

/* Reads `source` and converts the document. Raises NotImplementedError where the reader gives up. */
static PyObject *read_with(PyObject *arguments, PyObject *(*convert)(const json_document *))
{
    const char *source;
    Py_ssize_t length;
    unsigned int max_values, max_depth;
    json_document document;
    if (!PyArg_ParseTuple(arguments, "y#II", &source, &length, &max_values, &max_depth)) {
        return NULL;
    }
    const json_limits limits = {max_values, max_depth};
    /* A copy of exactly the length, so that AddressSanitizer reports each access behind the text. */
    uint8_t *copy = PyMem_Malloc((size_t)length);
    if (copy == NULL) {
        return PyErr_NoMemory();
    }
    memcpy(copy, source, (size_t)length);
    enum json_status status = json_read(copy, (size_t)length, &limits, &document);
    PyObject *result = NULL;
    if (status == JSON_OK) {
        result = convert(&document);
        json_free(&document);
    } else if (status == JSON_NO_MEMORY) {
        PyErr_NoMemory();
    } else {
        PyErr_SetString(PyExc_NotImplementedError, "not supported");
    }
    PyMem_Free(copy);
    return result;
}

static PyObject *root_of(const json_document *document)
{
    return object_of(document, 0);
}

static PyObject *probe_read(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return read_with(arguments, root_of);
}

static PyObject *probe_layout(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return read_with(arguments, layout_of);
}

static PyObject *probe_sha256(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    const char *data;
    Py_ssize_t length;
    int portable;
    char hex[SHA256_HEX];
    if (!PyArg_ParseTuple(arguments, "y#p", &data, &length, &portable)) {
        return NULL;
    }
    const sha256_engine *engine = portable ? sha256_portable_engine() : sha256_best_engine();
    sha256_hex(engine, (const uint8_t *)data, (size_t)length, hex);
    return PyUnicode_FromStringAndSize(hex, SHA256_HEX);
}

static PyObject *probe_engine(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    return PyUnicode_FromString(sha256_best_engine()->name);
}

static PyMethodDef methods[] = {
    {"read", probe_read, METH_VARARGS, "read(source, max_values, max_depth): the value"},
    {"layout", probe_layout, METH_VARARGS, "layout(source, max_values, max_depth): (type, flags, source text) of each value and key"},
    {"sha256", probe_sha256, METH_VARARGS, "sha256(data, portable): the digest in hexadecimal"},
    {"engine", probe_engine, METH_NOARGS, "engine(): the name of the fastest engine of this processor"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "probe", .m_size = 0, .m_methods = methods};

PyMODINIT_FUNC PyInit_probe(void)
{
    return PyModuleDef_Init(&definition);
}
