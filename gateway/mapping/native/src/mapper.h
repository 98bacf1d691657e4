#ifndef GATEWAY_MAPPER_H
#define GATEWAY_MAPPER_H

#include "python.h"

/* Adds the type `Mapper` to the module. */
int mapper_exec(PyObject *module);

#endif
