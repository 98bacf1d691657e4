#include "mapping.h"

enum { MAX_DEPTH = 31 /* levels of a property; Python cuts off what lies deeper */ };

static bool is_consumed(const mapping *mapping, uint32_t index) {
    for (unsigned i = 0; i < mapping->consumed_count; i++) {
        if (mapping->consumed[i] == index) {
            return true;
        }
    }
    return false;
}

/* Puts a text, unless it looks personal. `is_put` says whether it was put. */
static bool put_screened(mapping *mapping, text_view text, text_view name, bool *is_put) {
    PyObject *kept;
    *is_put = true;
    if (is_plain_text(text)) {
        buffer_put_string(&mapping->text, text);
        return true;
    }
    if (!ask_screened(mapping, text, &kept)) {
        return false;
    }
    if (kept == NULL) {
        *is_put = false;
        return leave_out(mapping, name);
    }
    bool is_done = put_object_text(mapping, kept);
    Py_DECREF(kept);
    return is_done;
}

static bool put_value(mapping *mapping, uint32_t index, text_view name, bool is_screened, unsigned depth,
                      bool *is_put);

/* Puts the elements of a list. `name` is that of the property which is counted for a text that is left out. */
static bool put_list(mapping *mapping, uint32_t list, text_view name, bool is_screened, unsigned depth) {
    const json_value *values = mapping->document->values;
    buffer *text = &mapping->text;
    buffer_put_byte(text, '[');
    for (uint32_t entry = list + 1; entry < values[list].next; entry = values[entry].next) {
        size_t before = text->length;
        bool is_put;
        buffer_put_comma(text);
        if (!put_value(mapping, entry, name, is_screened, depth + 1, &is_put)) {
            return false;
        }
        if (!is_put) {
            buffer_truncate(text, before);
        }
    }
    buffer_put_byte(text, ']');
    return true;
}

/* Puts a member, unless it is left out. */
static bool put_member(mapping *mapping, uint32_t name, bool is_screened, unsigned depth) {
    const json_value *values = mapping->document->values;
    buffer *text = &mapping->text;
    text_view key = text_of_string(&values[name]);
    size_t before = text->length;
    bool is_put;
    buffer_put_comma(text);
    buffer_put_string(text, key);
    buffer_put_byte(text, ':');
    if (!put_value(mapping, name + 1, key, is_screened, depth, &is_put)) {
        return false;
    }
    if (!is_put || is_consumed(mapping, name + 1)) {
        buffer_truncate(text, before);
    }
    return true;
}

/* Puts an object inside a property. */
static bool put_object(mapping *mapping, uint32_t object, unsigned depth) {
    const json_value *values = mapping->document->values;
    buffer_put_byte(&mapping->text, '{');
    for (uint32_t name = object + 1; name < values[object].next; name = values[name + 1].next) {
        uint32_t verdict;
        if (!ask_verdict(mapping, &values[name], &verdict)) {
            return false;
        }
        if ((verdict & VERDICT_INNER_LEFT_OUT) != 0) {
            if (!leave_out(mapping, text_of_string(&values[name]))) {
                return false;
            }
        } else if (!put_member(mapping, name, (verdict & VERDICT_UNSCREENED) == 0, depth + 1)) {
            return false;
        }
    }
    buffer_put_byte(&mapping->text, '}');
    return true;
}

static bool put_value(mapping *mapping, uint32_t index, text_view name, bool is_screened, unsigned depth,
                      bool *is_put) {
    const json_value *value = value_at(mapping, index);
    buffer *text = &mapping->text;
    *is_put = true;
    switch (value->type) {
        case JSON_NULL:
            buffer_put_literal(text, "null");
            return true;
        case JSON_TRUE:
            buffer_put_literal(text, "true");
            return true;
        case JSON_FALSE:
            buffer_put_literal(text, "false");
            return true;
        case JSON_STRING:
            if (is_screened) {
                return put_screened(mapping, text_of_string(value), name, is_put);
            }
            buffer_put_string(text, text_of_string(value));
            return true;
        case JSON_ARRAY:
            return depth < MAX_DEPTH && put_list(mapping, index, name, is_screened, depth);
        case JSON_OBJECT:
            return depth < MAX_DEPTH && put_object(mapping, index, depth);
        default:
            return buffer_put_number(text, mapping->document, value);
    }
}

static bool is_list_of_texts(const json_document *document, uint32_t list) {
    const json_value *values = document->values;
    for (uint32_t entry = list + 1; entry < values[list].next; entry = values[entry].next) {
        if (values[entry].type != JSON_STRING) {
            return false;
        }
    }
    return true;
}

/* Whether Meta accepts a value of this type under the property's name. */
static bool is_accepted(const mapping *mapping, uint32_t index, uint32_t verdict) {
    const json_value *value = value_at(mapping, index);
    bool has_type = (verdict & (uint32_t)VERDICT_TYPES << value->type) != 0;
    return has_type
           && ((verdict & VERDICT_TEXTS) == 0 || value->type != JSON_ARRAY
               || is_list_of_texts(mapping->document, index));
}

static bool put_property(mapping *mapping, uint32_t name, uint32_t verdict) {
    size_t before = mapping->text.length;
    switch (verdict & VERDICT_ACTION) {
        case VERDICT_REPLACED:
            return true;
        case VERDICT_LEFT_OUT:
            return leave_out(mapping, text_of_string(value_at(mapping, name)));
        case VERDICT_FALL_BACK:
            return false;
        default:
            break;
    }
    if (!is_accepted(mapping, name + 1, verdict)) {
        return true;
    }
    if (!put_member(mapping, name, (verdict & VERDICT_UNSCREENED) == 0, 0)) {
        return false;
    }
    if (mapping->is_single_product && (verdict & VERDICT_SINGLE_PRODUCT) != 0) {
        buffer_truncate(&mapping->text, before);
    }
    return true;
}

bool put_properties(mapping *mapping) {
    const json_value *values = mapping->document->values;
    uint32_t properties = mapping->found[INPUT_properties];
    if (properties == 0) {
        return true;
    }
    for (uint32_t name = properties + 1; name < values[properties].next; name = values[name + 1].next) {
        uint32_t verdict;
        if (!ask_verdict(mapping, &values[name], &verdict) || !put_property(mapping, name, verdict)) {
            return false;
        }
    }
    return true;
}
