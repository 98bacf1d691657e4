#include "plan.h"

#include <string.h>

/* Beyond these a destination is mapped by Python. They keep indices small; usual settings are far below. */
enum { MAX_NODES = 256, MAX_KEYS = 4096, MAX_EVENTS = 4096, MAX_ROUTES = 4096, MAX_TARGETS = 4096, MAX_PLAN_TEXT = 65536 };

/* A tuple with its length, which is at most `most`. False with an exception set. */
static bool is_tuple(PyObject *given, Py_ssize_t most, Py_ssize_t *count) {
    if (!PyTuple_Check(given)) {
        PyErr_SetString(PyExc_TypeError, "the plan has another type where it needs a tuple");
        return false;
    }
    *count = PyTuple_Size(given);
    if (*count > most) {
        PyErr_SetString(PyExc_OverflowError, "the plan is too large for native mapping");
        return false;
    }
    return true;
}

/* The text that a bytes object is; the plan keeps the object. */
static bool read_text(PyObject *given, text_view *text) {
    char *bytes;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(given, &bytes, &length) < 0) {
        return false;
    }
    if (length > MAX_PLAN_TEXT) {
        PyErr_SetString(PyExc_OverflowError, "a text of the plan is too long for native mapping");
        return false;
    }
    *text = text_from(bytes, (size_t)length);
    return true;
}

/* A table of texts, numbered in their order. */
static bool read_table(PyObject *given, table *table, size_t *count) {
    Py_ssize_t length;
    if (!is_tuple(given, MAX_KEYS, &length)) {
        return false;
    }
    if (!table_init(table, (size_t)length)) {
        PyErr_NoMemory();
        return false;
    }
    for (Py_ssize_t i = 0; i < length; i++) {
        text_view text;
        if (!read_text(PyTuple_GetItem(given, i), &text)) {
            return false;
        }
        table_add(table, text, (uint32_t)i);
    }
    *count = (size_t)length;
    return true;
}

/* Zeroed memory for `count` things, which is never NULL with success. */
static void *allocate(Py_ssize_t count, size_t size) {
    void *memory = PyMem_Calloc(count > 0 ? (size_t)count : 1, size);
    if (memory == NULL) {
        PyErr_NoMemory();
    }
    return memory;
}

static bool read_settings(plan *plan, PyObject *given) {
    PyObject *currency, *value, *crm, *source, *fixed, *physical, *website, *app, *tag;
    const char *country;
    Py_ssize_t country_length, max_event_bytes;
    long long tolerance, long_window, short_window;
    if (!PyArg_ParseTuple(given, "Iny#O!O!O!O!O!O!O!O!O!LLLI", &plan->flags, &max_event_bytes, &country, &country_length,
                          &PyBytes_Type, &currency, &PyBytes_Type, &value, &PyBytes_Type, &crm, &PyBytes_Type, &source,
                          &PyBytes_Type, &fixed, &PyBytes_Type, &physical, &PyBytes_Type, &website, &PyBytes_Type,
                          &app, &PyBytes_Type, &tag, &tolerance, &long_window, &short_window, &plan->user_agent_field)) {
        return false;
    }
    plan->max_event_bytes = (size_t)max_event_bytes;
    if (country_length == 2) {
        memcpy(plan->default_country.letters, country, 2);
    }
    plan->future_tolerance = tolerance;
    plan->long_window = long_window;
    plan->short_window = short_window;
    return read_text(currency, &plan->default_currency) && read_text(value, &plan->default_value)
           && read_text(crm, &plan->crm_members) && read_text(source, &plan->default_source)
           && read_text(fixed, &plan->fixed_source) && read_text(physical, &plan->physical_source)
           && read_text(website, &plan->website_source) && read_text(app, &plan->app_source)
           && read_text(tag, &plan->default_tag);
}

/* Keys and uses of all nodes, counted before they are allocated. */
static bool count_keys(PyObject *nodes, Py_ssize_t node_count, Py_ssize_t *keys, Py_ssize_t *uses) {
    for (Py_ssize_t i = 0; i < node_count; i++) {
        PyObject *node = PyTuple_GetItem(nodes, i);
        Py_ssize_t length;
        if (!is_tuple(node, MAX_KEYS, &length)) {
            return false;
        }
        *keys += length;
        for (Py_ssize_t j = 0; j < length; j++) {
            const char *text;
            Py_ssize_t text_length, used;
            int child;
            PyObject *given;
            if (!PyArg_ParseTuple(PyTuple_GetItem(node, j), "y#iO", &text, &text_length, &child, &given)
                || !is_tuple(given, UINT8_MAX, &used)) {
                return false;
            }
            if (child >= node_count) {
                PyErr_SetString(PyExc_ValueError, "a key of the plan refers to an unknown node");
                return false;
            }
            *uses += used;
        }
    }
    if (*keys > MAX_KEYS || *uses > MAX_KEYS) {
        PyErr_SetString(PyExc_OverflowError, "the plan has too many source paths for native mapping");
        return false;
    }
    return true;
}

static bool read_uses(plan *plan, PyObject *given, uint16_t *count) {
    Py_ssize_t length = PyTuple_Size(given);
    for (Py_ssize_t i = 0; i < length; i++) {
        unsigned char input, rank;
        if (!PyArg_ParseTuple(PyTuple_GetItem(given, i), "bb", &input, &rank)) {
            return false;
        }
        if (input >= MAX_INPUTS) {
            PyErr_SetString(PyExc_OverflowError, "the plan has too many inputs for native mapping");
            return false;
        }
        plan->uses[(*count)++] = (plan_use){input, rank};
    }
    return true;
}

static bool read_nodes(plan *plan, PyObject *given) {
    Py_ssize_t count, keys = 0, uses = 0;
    if (!is_tuple(given, MAX_NODES, &count) || !count_keys(given, count, &keys, &uses)) {
        return false;
    }
    plan->nodes = allocate(count, sizeof(table));
    plan->keys = allocate(keys, sizeof(plan_key));
    plan->uses = allocate(uses, sizeof(plan_use));
    if (plan->nodes == NULL || plan->keys == NULL || plan->uses == NULL) {
        return false;
    }
    uint16_t key = 0, use = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *node = PyTuple_GetItem(given, i);
        Py_ssize_t length = PyTuple_Size(node);
        plan->node_count = (uint16_t)(i + 1);
        if (!table_init(&plan->nodes[i], (size_t)length)) {
            PyErr_NoMemory();
            return false;
        }
        for (Py_ssize_t j = 0; j < length; j++) {
            PyObject *name, *key_uses;
            int child;
            text_view text;
            if (!PyArg_ParseTuple(PyTuple_GetItem(node, j), "SiO", &name, &child, &key_uses)
                || !read_text(name, &text)) {
                return false;
            }
            plan->keys[key].node = child < 0 ? NO_NODE : (uint16_t)child;
            plan->keys[key].first_use = use;
            if (!read_uses(plan, key_uses, &use)) {
                return false;
            }
            plan->keys[key].uses = (uint16_t)(use - plan->keys[key].first_use);
            table_add(&plan->nodes[i], text, key++);
        }
    }
    return true;
}

static bool read_names(PyObject *given, plan_field *field) {
    Py_ssize_t count;
    if (!is_tuple(given, MAX_FORMS, &count)) {
        return false;
    }
    field->name_count = (unsigned)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!read_text(PyTuple_GetItem(given, i), &field->names[i])) {
            return false;
        }
    }
    return true;
}

static bool read_fields(plan *plan, PyObject *given) {
    Py_ssize_t count;
    if (!is_tuple(given, MAX_FIELDS, &count)) {
        return false;
    }
    plan->field_count = (unsigned)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        plan_field *field = &plan->fields[i];
        PyObject *names;
        Py_ssize_t max_length;
        if (!PyArg_ParseTuple(PyTuple_GetItem(given, i), "bbHnO", &field->kind, &field->input, &field->flags,
                              &max_length, &names)
            || !read_names(names, field)) {
            return false;
        }
        if (field->kind >= KINDS || field->input >= MAX_INPUTS || field->name_count == 0) {
            PyErr_SetString(PyExc_ValueError, "a field of the plan is not valid");
            return false;
        }
        field->max_length = (size_t)max_length;
    }
    return true;
}

static bool read_texts(plan *plan, PyObject *given) {
    Py_ssize_t count;
    if (!is_tuple(given, MAX_TEXTS, &count)) {
        return false;
    }
    plan->text_count = (unsigned)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        plan_text *text = &plan->texts[i];
        PyObject *name;
        Py_ssize_t max_length;
        if (!PyArg_ParseTuple(PyTuple_GetItem(given, i), "bbnS", &text->input, &text->flags, &max_length, &name)
            || !read_text(name, &text->name)) {
            return false;
        }
        if (text->input >= MAX_INPUTS) {
            PyErr_SetString(PyExc_ValueError, "a text of the plan is not valid");
            return false;
        }
        text->max_length = (size_t)max_length;
    }
    return true;
}

static bool read_targets(plan *plan, PyObject *given, uint16_t *next, plan_route *route) {
    Py_ssize_t count;
    if (!is_tuple(given, MAX_TARGETS, &count)) {
        return false;
    }
    route->first_target = *next;
    route->targets = (uint16_t)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        unsigned long lane = PyLong_AsUnsignedLong(PyTuple_GetItem(given, i));
        if (lane >= (unsigned long)PyTuple_Size(plan->lanes)) {
            if (!PyErr_Occurred()) {
                PyErr_SetString(PyExc_ValueError, "a route of the plan refers to an unknown lane");
            }
            return false;
        }
        if (*next >= MAX_TARGETS) {
            PyErr_SetString(PyExc_OverflowError, "the plan has too many event sets for native mapping");
            return false;
        }
        plan->targets[(*next)++] = (uint16_t)lane;
    }
    return true;
}

/* The routes of one event name. */
static bool read_routes(plan *plan, PyObject *given, uint16_t *next, uint16_t *next_target, plan_event *event) {
    Py_ssize_t count;
    if (!is_tuple(given, MAX_ROUTES, &count)) {
        return false;
    }
    event->first_route = *next;
    event->routes = (uint16_t)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *standard, *targets;
        if (*next >= MAX_ROUTES) {
            PyErr_SetString(PyExc_OverflowError, "the plan has too many routes for native mapping");
            return false;
        }
        plan_route *route = &plan->routes[(*next)++];
        if (!PyArg_ParseTuple(PyTuple_GetItem(given, i), "SIO", &standard, &route->flags, &targets)
            || !read_text(standard, &route->standard) || !read_targets(plan, targets, next_target, route)) {
            return false;
        }
    }
    return true;
}

static bool read_events(plan *plan, PyObject *given) {
    Py_ssize_t count;
    if (!is_tuple(given, MAX_EVENTS, &count)) {
        return false;
    }
    plan->event_routes = allocate(count, sizeof(plan_event));
    plan->routes = allocate(MAX_ROUTES, sizeof(plan_route));
    plan->targets = allocate(MAX_TARGETS, sizeof(uint16_t));
    if (plan->event_routes == NULL || plan->routes == NULL || plan->targets == NULL) {
        return false;
    }
    if (!table_init(&plan->events, (size_t)count)) {
        PyErr_NoMemory();
        return false;
    }
    uint16_t next_route = 0, next_target = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name, *routes;
        text_view text;
        if (!PyArg_ParseTuple(PyTuple_GetItem(given, i), "SO", &name, &routes) || !read_text(name, &text)
            || !read_routes(plan, routes, &next_route, &next_target, &plan->event_routes[i])) {
            return false;
        }
        if (text.length > 0) {
            table_add(&plan->events, text, (uint32_t)i);
        }
    }
    return true;
}

static bool read_refused(plan *plan, PyObject *given) {
    Py_ssize_t count;
    if (!is_tuple(given, MAX_KEYS, &count) || (plan->refused_identities = allocate(count, sizeof(uint32_t))) == NULL) {
        return false;
    }
    plan->refused_count = (size_t)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        plan->refused_identities[i] = (uint32_t)PyLong_AsUnsignedLong(PyTuple_GetItem(given, i));
    }
    return !PyErr_Occurred();
}

/* The categories of products, and the content type of each; then that of a single product, and of a group. */
static bool read_categories(plan *plan, PyObject *categories, PyObject *content_types) {
    Py_ssize_t count;
    if (!read_table(categories, &plan->categories, &plan->category_count)
        || !is_tuple(content_types, MAX_KEYS + 2, &count)
        || (plan->content_types = allocate(count, sizeof(text_view))) == NULL) {
        return false;
    }
    if ((size_t)count != plan->category_count + 2) {
        PyErr_SetString(PyExc_ValueError, "the plan has another number of content types than it needs");
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!read_text(PyTuple_GetItem(content_types, i), &plan->content_types[i])) {
            return false;
        }
    }
    return true;
}

static bool read_products(plan *plan, PyObject *keys, PyObject *names) {
    Py_ssize_t count;
    size_t parts;
    if (!read_table(keys, &plan->product_keys, &parts) || !is_tuple(names, PRODUCT_PARTS, &count)) {
        return false;
    }
    if (parts != PRODUCT_PARTS || count != PRODUCT_PARTS) {
        PyErr_SetString(PyExc_ValueError, "the plan has other parts of a product than the module");
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!read_text(PyTuple_GetItem(names, i), &plan->product_names[i])) {
            return false;
        }
    }
    return true;
}

bool plan_read(plan *plan, PyObject *data) {
    PyObject *settings, *nodes, *fields, *texts, *events, *lanes, *sources, *refused, *categories, *content_types,
        *product_keys, *product_names, *deliveries, *consent;
    size_t sources_count, deliveries_count;
    memset(plan, 0, sizeof(*plan));
    if (!PyArg_ParseTuple(data, "O!O!O!O!O!O!O!O!O!O!O!O!O!O!", &PyTuple_Type, &settings, &PyTuple_Type, &nodes,
                          &PyTuple_Type, &fields, &PyTuple_Type, &texts, &PyTuple_Type, &events, &PyTuple_Type, &lanes,
                          &PyTuple_Type, &sources, &PyTuple_Type, &refused, &PyTuple_Type, &categories, &PyTuple_Type,
                          &content_types, &PyTuple_Type, &product_keys, &PyTuple_Type, &product_names, &PyTuple_Type,
                          &deliveries, &PyTuple_Type, &consent)) {
        return false;
    }
    Py_INCREF(data);
    plan->data = data;
    plan->lanes = lanes;
    return read_settings(plan, settings) && read_nodes(plan, nodes) && read_fields(plan, fields)
           && read_texts(plan, texts) && read_events(plan, events)
           && read_table(sources, &plan->action_sources, &sources_count) && read_refused(plan, refused)
           && read_categories(plan, categories, content_types) && read_products(plan, product_keys, product_names)
           && read_table(deliveries, &plan->deliveries, &deliveries_count)
           && read_table(consent, &plan->consent_categories, &plan->consent_count);
}

void plan_free(plan *plan) {
    for (uint16_t i = 0; plan->nodes != NULL && i < plan->node_count; i++) {
        table_free(&plan->nodes[i]);
    }
    PyMem_Free(plan->nodes);
    PyMem_Free(plan->keys);
    PyMem_Free(plan->uses);
    PyMem_Free(plan->event_routes);
    PyMem_Free(plan->routes);
    PyMem_Free(plan->targets);
    PyMem_Free(plan->refused_identities);
    PyMem_Free(plan->content_types);
    table_free(&plan->events);
    table_free(&plan->action_sources);
    table_free(&plan->categories);
    table_free(&plan->product_keys);
    table_free(&plan->deliveries);
    table_free(&plan->consent_categories);
    Py_CLEAR(plan->data);
    memset(plan, 0, sizeof(*plan));
}
