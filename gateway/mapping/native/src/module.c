/* The extension module `gateway.mapping.native._native`: its types, and the names that plan.py uses. */
#include "module.h"

#include "document.h"
#include "mapper.h"
#include "mapping.h"

/* Adds a tuple of names, in the order of an enum. */
static int add_names(PyObject *module, const char *attribute, const char *const *names, Py_ssize_t count) {
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple != NULL && i < count; i++) {
        PyObject *name = PyUnicode_FromString(names[i]);
        if (name == NULL || PyTuple_SetItem(tuple, i, name) < 0) {
            Py_CLEAR(tuple);
        }
    }
    int result = tuple != NULL ? PyModule_AddObjectRef(module, attribute, tuple) : -1;
    Py_XDECREF(tuple);
    return result;
}

#define NAME(name) #name,
static const char *const input_names[] = {FOR_EACH_INPUT(NAME)};
static const char *const kind_names[] = {FOR_EACH_KIND(NAME)};
static const char *const part_names[] = {FOR_EACH_PRODUCT_PART(NAME)};
#undef NAME

#define COUNT(array) ((Py_ssize_t)(sizeof(array) / sizeof(*(array))))

typedef struct {
    const char *name;
    long value;
} constant;

static const constant constants[] = {
    {"FIELD_HASHED", FIELD_HASHED},
    {"FIELD_LISTED", FIELD_LISTED},
    {"FIELD_INTEGER", FIELD_INTEGER},
    {"FIELD_BY_COUNTRY", FIELD_BY_COUNTRY},
    {"FIELD_VARIANTS", FIELD_VARIANTS},
    {"FIELD_FIRST_WORD", FIELD_FIRST_WORD},
    {"FIELD_LAST_WORD", FIELD_LAST_WORD},
    {"FIELD_CLICK_ID", FIELD_CLICK_ID},
    {"FIELD_MAY_BE_HASH", FIELD_MAY_BE_HASH},
    {"PLAN_CONVERSIONS", PLAN_CONVERSIONS},
    {"PLAN_CRM", PLAN_CRM},
    {"PLAN_LIMITED_DATA", PLAN_LIMITED_DATA},
    {"PLAN_CONSENT", PLAN_CONSENT},
    {"PLAN_NEEDS_VALUE", PLAN_NEEDS_VALUE},
    {"PLAN_MONTH_FIRST", PLAN_MONTH_FIRST},
    {"PLAN_CURRENCY_PATHS", PLAN_CURRENCY_PATHS},
    {"ROUTE_PURCHASE", ROUTE_PURCHASE},
    {"ROUTE_GROUP", ROUTE_GROUP},
    {"TEXT_SCREENED", TEXT_SCREENED},
    {"TEXT_CUSTOM", TEXT_CUSTOM},
    {"VERDICT_PASSED", VERDICT_PASSED},
    {"VERDICT_REPLACED", VERDICT_REPLACED},
    {"VERDICT_LEFT_OUT", VERDICT_LEFT_OUT},
    {"VERDICT_FALL_BACK", VERDICT_FALL_BACK},
    {"VERDICT_UNSCREENED", VERDICT_UNSCREENED},
    {"VERDICT_SINGLE_PRODUCT", VERDICT_SINGLE_PRODUCT},
    {"VERDICT_INNER_LEFT_OUT", VERDICT_INNER_LEFT_OUT},
    {"VERDICT_TEXTS", VERDICT_TEXTS},
    {"TYPE_TEXT", (long)VERDICT_TYPES << JSON_STRING},
    {"TYPE_LIST", (long)VERDICT_TYPES << JSON_ARRAY},
    {"TYPE_OBJECT", (long)VERDICT_TYPES << JSON_OBJECT},
    {"TYPE_NUMBER", (long)VERDICT_TYPES << JSON_INTEGER | (long)VERDICT_TYPES << JSON_REAL
                        | (long)VERDICT_TYPES << JSON_NUMBER},
    {"TYPE_ANY", (long)VERDICT_TYPES * ((1 << (JSON_OBJECT + 1)) - 1)},
    {"MAX_INPUTS", MAX_INPUTS},
    {"MAX_FIELDS", MAX_FIELDS},
    {"MAX_TEXTS", MAX_TEXTS},
    {"MAX_LEVELS", MAX_LEVELS},
    {"MAX_CAUSES", MAX_CAUSES},
    {"MAX_TEXT", MAX_TEXT},
    {"MAX_LONG_TEXT", MAX_LONG_TEXT},
    {"MAX_TAG", MAX_TAG},
};

static int module_exec(PyObject *module) {
    module_state *state = PyModule_GetState(module);
    state->sha256 = sha256_best_engine();
    for (Py_ssize_t i = 0; i < COUNT(constants); i++) {
        if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value) < 0) {
            return -1;
        }
    }
    if (PyModule_AddStringConstant(module, "SHA256", state->sha256->name) < 0
        || add_names(module, "INPUTS", input_names, COUNT(input_names)) < 0
        || add_names(module, "KINDS", kind_names, COUNT(kind_names)) < 0
        || add_names(module, "PRODUCT_PARTS", part_names, COUNT(part_names)) < 0) {
        return -1;
    }
    return document_exec(module) < 0 || mapper_exec(module) < 0 ? -1 : 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    module_state *state = PyModule_GetState(module);
    Py_VISIT(state->document_type);
    Py_VISIT(state->mapper_type);
    return 0;
}

static int module_clear(PyObject *module) {
    module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->document_type);
    Py_CLEAR(state->mapper_type);
    return 0;
}

static void module_free(void *module) { module_clear(module); }

static PyModuleDef_Slot slots[] = {{Py_mod_exec, FUNCTION_SLOT(module_exec)}, {0, NULL}};

struct PyModuleDef native_module = {
    PyModuleDef_HEAD_INIT,
    "_native",
    "Maps the usual events; see gateway/mapping/native/__init__.py.",
    sizeof(module_state),
    NULL,
    slots,
    module_traverse,
    module_clear,
    module_free,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&native_module); }
