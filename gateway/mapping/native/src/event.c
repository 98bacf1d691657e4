#include "mapping.h"

/* Puts a member with the number of an integer. */
static void put_integer_member(mapping *mapping, const char *name, int64_t integer) {
    buffer_put(&mapping->text, name, strlen(name));
    buffer_put_integer(&mapping->text, integer);
}

/* Puts the texts of the event, or those of the sale. */
static bool put_texts(mapping *mapping, bool of_sale) {
    for (unsigned i = 0; i < mapping->plan->text_count; i++) {
        const plan_text *field = &mapping->plan->texts[i];
        const json_value *value = input_value(mapping, field->input);
        if (((field->flags & TEXT_CUSTOM) != 0) != of_sale || value == NULL) {
            continue;
        }
        text_view text;
        if (!text_of_value(mapping->document, value, &text) || text.length > field->max_length
            || ((field->flags & TEXT_SCREENED) != 0 && !is_plain_text(text))) {
            return false;
        }
        text = text_strip(text);
        if (text.length == 0) {
            return false;
        }
        buffer_put_name(&mapping->text, field->name);
        buffer_put_string(&mapping->text, text);
    }
    return true;
}

/* Notes the properties whose values the texts are. */
static void consume_texts(mapping *mapping) {
    for (unsigned i = 0; i < mapping->plan->text_count; i++) {
        consume(mapping, mapping->plan->texts[i].input);
    }
}

/* Puts the page's URL, if there is one. */
static bool put_page_url(mapping *mapping) {
    const json_value *value = input_value(mapping, INPUT_event_source_url);
    if (value == NULL) {
        return true;
    }
    if (value->type != JSON_STRING || value->length >= MAX_LONG_TEXT) {
        return false;
    }
    text_view text = text_of_string(value);
    buffer_put_literal(&mapping->text, ",\"event_source_url\":");
    if (is_plain_address(text)) {
        buffer_put_string(&mapping->text, text_strip(text));
        return true;
    }
    PyObject *address;
    if (!ask_address(mapping, text, &address)) {
        return false;
    }
    bool is_put = put_object_text(mapping, address);
    Py_DECREF(address);
    return is_put;
}

/* Puts the options of limited data use, if the event has any: `[["LDU"], country, state]` or one of its lists. */
static bool put_options(mapping *mapping) {
    const json_value *values = mapping->document->values;
    uint32_t given = mapping->found[INPUT_processing_options];
    if ((mapping->plan->flags & PLAN_LIMITED_DATA) == 0 || given == 0) {
        return true;
    }
    if (values[given].type != JSON_ARRAY) {
        return false;
    }
    int64_t country = 0, state = 0;
    uint32_t options = given;
    if (values[given].length == 3) {
        options = given + 1;
        uint32_t numbers = values[options].next;
        if (values[options].type != JSON_ARRAY || values[numbers].type != JSON_INTEGER
            || values[numbers + 1].type != JSON_INTEGER) {
            return false;
        }
        country = values[numbers].as.integer;
        state = values[numbers + 1].as.integer;
    }
    bool is_empty = values[options].length == 0;
    bool is_limited = values[options].length == 1 && values[options + 1].type == JSON_STRING
                      && text_equals(text_of_string(&values[options + 1]), text_from("LDU", 3));
    if (!is_empty && !is_limited) {
        return false;
    }
    buffer_put_literal(&mapping->text, ",\"data_processing_options\":");
    if (is_empty) {
        buffer_put_literal(&mapping->text, "[]");
    } else {
        buffer_put_literal(&mapping->text, "[\"LDU\"]");
    }
    put_integer_member(mapping, ",\"data_processing_options_country\":", country);
    put_integer_member(mapping, ",\"data_processing_options_state\":", state);
    return true;
}

/* Puts the value of the sale: the event's or the default. */
static bool put_value(mapping *mapping) {
    const json_value *value = input_value(mapping, INPUT_value);
    if (value == NULL) {
        if ((mapping->plan->flags & PLAN_CRM) == 0) {
            buffer_put_name(&mapping->text, text_from("\"value\":", 8));
            buffer_put_text(&mapping->text, mapping->plan->default_value);
        }
        return true;
    }
    buffer_put_name(&mapping->text, text_from("\"value\":", 8));
    if (value->type == JSON_STRING) {
        return value->length <= 64 && buffer_put_number_of_text(&mapping->text, text_of_string(value));
    }
    return (value->type == JSON_INTEGER || value->type == JSON_REAL || value->type == JSON_NUMBER)
           && buffer_put_number(&mapping->text, mapping->document, value);
}

/* Puts the currency: three letters, or the default. */
static bool put_currency(mapping *mapping) {
    const plan *plan = mapping->plan;
    const json_value *value = input_value(mapping, INPUT_currency);
    bool has_one_path = (plan->flags & PLAN_CURRENCY_PATHS) == 0;
    mapping->has_currency = false;
    text_view text = {NULL, 0, true, true};
    if (value != NULL && value->type == JSON_STRING) {
        text = text_of_string(value);
        if (!text.is_ascii) {
            return false;
        }
        text = text_strip(text);
        mapping->has_currency = text.length == 3 && is_letter(text.bytes[0]) && is_letter(text.bytes[1])
                                && is_letter(text.bytes[2]);
    }
    if (value != NULL && !has_one_path && !mapping->has_currency) {
        return false; /* another path may have one */
    }
    if (mapping->has_currency) {
        char code[5] = {'"', (char)(text.bytes[0] & ~0x20), (char)(text.bytes[1] & ~0x20),
                        (char)(text.bytes[2] & ~0x20), '"'};
        buffer_put_name(&mapping->text, text_from("\"currency\":", 11));
        buffer_put(&mapping->text, code, sizeof(code));
    } else if ((plan->flags & PLAN_CRM) == 0) {
        buffer_put_name(&mapping->text, text_from("\"currency\":", 11));
        buffer_put_text(&mapping->text, plan->default_currency);
    }
    return true;
}

/* Puts the time and, if there is one, the action source. */
static void put_source(mapping *mapping) {
    if (mapping->source.length > 0) {
        buffer_put_literal(&mapping->text, ",\"action_source\":");
        buffer_put_string(&mapping->text, mapping->source);
    }
}

/* Whether the event has what Meta needs for its action source. */
static bool is_complete_for_source(const mapping *mapping) {
    const plan *plan = mapping->plan;
    if (text_equals(mapping->source, plan->website_source)) {
        return mapping->found[INPUT_event_source_url] > 0 && (mapping->identity & plan->user_agent_field) != 0;
    }
    return !text_equals(mapping->source, plan->app_source); /* it needs values that only Python reads */
}

/* The form of `conversions`: the sale is in `custom_data`. */
static bool put_conversions(mapping *mapping) {
    buffer *text = &mapping->text;
    buffer_put_literal(text, "{\"event_name\":");
    mapping->split = text->length;
    put_integer_member(mapping, ",\"event_time\":", mapping->at);
    put_source(mapping);
    if (!put_texts(mapping, false) || !put_page_url(mapping) || !put_options(mapping)) {
        return false;
    }
    buffer_put_literal(text, ",\"user_data\":{");
    if (!put_identity(mapping) || !is_complete_for_source(mapping)) {
        return false;
    }
    buffer_put_literal(text, "},\"custom_data\":{");
    if (!put_properties(mapping) || !put_value(mapping) || !put_currency(mapping)) {
        return false;
    }
    if (mapping->plan->crm_members.length > 0) {
        buffer_put_name(text, mapping->plan->crm_members);
    }
    return put_texts(mapping, true) && put_contents(mapping);
}

/* Puts `custom_data` where it has members. */
static bool put_offline_properties(mapping *mapping) {
    buffer *text = &mapping->text;
    size_t before = text->length;
    buffer_put_literal(text, ",\"custom_data\":{");
    if (!put_properties(mapping)) {
        return false;
    }
    if (buffer_ends_with(text, '{')) {
        buffer_truncate(text, before);
    } else {
        buffer_put_byte(text, '}');
    }
    return true;
}

/* The form of `offline`: the sale is on the event. */
static bool put_offline(mapping *mapping) {
    buffer *text = &mapping->text;
    buffer_put_literal(text, "{\"match_keys\":{");
    if (!put_identity(mapping)) {
        return false;
    }
    buffer_put_literal(text, "},\"event_name\":");
    mapping->split = text->length;
    put_integer_member(mapping, ",\"event_time\":", mapping->at);
    if (!put_value(mapping) || !put_currency(mapping) || !put_texts(mapping, true) || !put_contents(mapping)
        || !put_texts(mapping, false)) {
        return false;
    }
    put_source(mapping);
    return put_page_url(mapping) && put_options(mapping) && put_offline_properties(mapping);
}

/* Whether a purchase without a value has to be rejected. */
static bool needs_value(const mapping *mapping) {
    if (mapping->has_value || (mapping->plan->flags & PLAN_NEEDS_VALUE) == 0) {
        return false;
    }
    for (uint16_t i = 0; i < mapping->event->routes; i++) {
        if ((mapping->plan->routes[mapping->event->first_route + i].flags & ROUTE_PURCHASE) != 0) {
            return true;
        }
    }
    return false;
}

/* Notes which properties are not passed on because a field has their value. */
static void consume_inputs(mapping *mapping) {
    consume(mapping, INPUT_value);
    consume(mapping, INPUT_event_source_url);
    if ((mapping->plan->flags & PLAN_CURRENCY_PATHS) != 0) {
        consume(mapping, INPUT_currency);
    }
    consume_texts(mapping);
}

bool map_event(mapping *mapping, uint32_t event) {
    mapping->consumed_count = mapping->dropped_count = 0;
    buffer_clear(&mapping->text);
    Py_CLEAR(mapping->left_out);
    if (!read_inputs(mapping, event) || !read_routing(mapping) || !read_country(mapping)) {
        return false;
    }
    read_products(mapping);
    mapping->has_value = mapping->found[INPUT_value] > 0;
    if (needs_value(mapping)) {
        return false;
    }
    consume_inputs(mapping);
    bool is_conversions = (mapping->plan->flags & PLAN_CONVERSIONS) != 0;
    bool is_put = is_conversions ? put_conversions(mapping) : put_offline(mapping);
    if (mapping->text.state == BUFFER_NO_MEMORY) {
        PyErr_NoMemory();
        return fail(mapping);
    }
    return is_put && mapping->text.state == BUFFER_OK;
}
