/* Python's stable ABI, included before everything else. */
#ifndef GATEWAY_PYTHON_H
#define GATEWAY_PYTHON_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>

#include <stdint.h>

/* A function in a PyType_Slot or PyModuleDef_Slot, which have object pointers. */
#define FUNCTION_SLOT(function) ((void *)(uintptr_t)(function))

#endif
