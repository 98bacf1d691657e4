/* The state of the extension module. */
#ifndef GATEWAY_MODULE_H
#define GATEWAY_MODULE_H

#include "python.h"

#include "sha256.h"

typedef struct {
    PyObject *document_type;
    PyObject *mapper_type;
    const sha256_engine *sha256;
} module_state;

extern struct PyModuleDef native_module;

/* The state of the module that defines a type; NULL with an exception set. */
static inline module_state *state_of_type(PyTypeObject *type) { return PyType_GetModuleState(type); }

#endif
