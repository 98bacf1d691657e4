#include "mapping.h"

#include "dates.h"

/* Whether a list names, but for white space around it, a category that the destination needs. */
static bool names_category(const mapping *mapping, uint32_t list) {
    const json_value *values = mapping->document->values;
    for (uint32_t entry = list + 1; entry < values[list].next; entry = values[entry].next) {
        if (values[entry].type == JSON_STRING
            && table_find(&mapping->plan->consent_categories, text_strip(text_of_string(&values[entry])))
                   != NOT_FOUND) {
            return true;
        }
    }
    return false;
}

static uint32_t member_of(const mapping *mapping, uint32_t object, const char *name) {
    const json_value *values = mapping->document->values;
    for (uint32_t key = object + 1; key < values[object].next; key = values[key + 1].next) {
        if (values[key].length == strlen(name) && memcmp(values[key].as.text, name, values[key].length) == 0) {
            return values[key + 1].type == JSON_NULL ? 0 : key + 1;
        }
    }
    return 0;
}

/* Whether RudderStack's consent data certainly deny nothing: no category that is needed is in the list of those that
 * are denied. */
static bool is_consent_management_given(const mapping *mapping, uint32_t management) {
    uint32_t denied = member_of(mapping, management, "deniedConsentIds");
    return denied > 0 && value_at(mapping, denied)->type == JSON_ARRAY && !names_category(mapping, denied);
}

/* Whether Segment's consent data certainly deny nothing: no category that is needed has another value than true. */
static bool are_preferences_given(const mapping *mapping, uint32_t consent) {
    const json_value *values = mapping->document->values;
    uint32_t preferences = member_of(mapping, consent, "categoryPreferences");
    if (preferences == 0 || values[preferences].type != JSON_OBJECT) {
        return false;
    }
    for (uint32_t name = preferences + 1; name < values[preferences].next; name = values[name + 1].next) {
        if (values[name + 1].type != JSON_TRUE
            && table_find(&mapping->plan->consent_categories, text_of_string(&values[name])) != NOT_FOUND) {
            return false;
        }
    }
    return true;
}

/* Whether the event certainly does not deny its consent. Whether it does otherwise, Python decides. */
static bool is_consent_given(const mapping *mapping) {
    uint32_t management = mapping->found[INPUT_consent_management], consent = mapping->found[INPUT_consent];
    if ((mapping->plan->flags & PLAN_CONSENT) == 0) {
        return true;
    }
    if (management > 0
        && (value_at(mapping, management)->type != JSON_OBJECT || !is_consent_management_given(mapping, management))) {
        return false;
    }
    return consent == 0
           || (value_at(mapping, consent)->type == JSON_OBJECT && are_preferences_given(mapping, consent));
}

static bool read_event_name(mapping *mapping) {
    const json_value *name = input_value(mapping, INPUT_event_name);
    if (name == NULL || name->type != JSON_STRING || name->length > MAX_LONG_TEXT) {
        return false;
    }
    text_view text = text_of_string(name);
    uint32_t number = table_find(&mapping->plan->events, text);
    if (number == NOT_FOUND) {
        if (text_strip(text).length == 0) {
            return false;
        }
        number = 0; /* all other names */
    }
    mapping->event = &mapping->plan->event_routes[number];
    return mapping->event->routes > 0;
}

/* Whether `integrations` excludes no destination. */
static bool is_included(const mapping *mapping) {
    const json_value *all = input_value(mapping, INPUT_all_switch);
    return mapping->found[INPUT_switch] > 0 || all == NULL || all->type != JSON_FALSE;
}

static bool read_event_time(mapping *mapping) {
    const json_value *time = input_value(mapping, INPUT_event_time);
    mapping->at = mapping->now;
    if (time == NULL) {
        return true;
    }
    if (!read_time(time, &mapping->at)) {
        return false;
    }
    if (mapping->at > mapping->now) {
        if (mapping->at - mapping->now > mapping->plan->future_tolerance) {
            return false;
        }
        mapping->at = mapping->now;
    }
    consume(mapping, INPUT_event_time);
    return true;
}

static bool read_source(mapping *mapping) {
    const plan *plan = mapping->plan;
    const json_value *given = input_value(mapping, INPUT_action_source);
    mapping->source = plan->default_source;
    if (given != NULL) {
        if (given->type != JSON_STRING
            || table_find(&plan->action_sources, text_of_string(given)) == NOT_FOUND) {
            return false;
        }
        mapping->source = text_of_string(given);
        consume(mapping, INPUT_action_source);
    }
    if (plan->fixed_source.length > 0) {
        mapping->source = plan->fixed_source;
    }
    return true;
}

static bool read_window(mapping *mapping) {
    const plan *plan = mapping->plan;
    bool is_long = (plan->flags & PLAN_CONVERSIONS) == 0 || text_equals(mapping->source, plan->physical_source);
    mapping->window = is_long ? plan->long_window : plan->short_window;
    return mapping->now - mapping->at <= mapping->window;
}

static bool read_tag(mapping *mapping) {
    const json_value *tag = input_value(mapping, INPUT_upload_tag);
    mapping->tag = (text_view){NULL, 0, true, true};
    if (tag == NULL) {
        return true;
    }
    if (tag->type != JSON_STRING) {
        return false;
    }
    text_view text = text_strip(text_of_string(tag));
    consume(mapping, INPUT_upload_tag);
    if (!text_equals(text, mapping->plan->default_tag)) {
        mapping->tag = text;
    }
    return text.length > 0 && text.length <= MAX_TAG;
}

bool read_routing(mapping *mapping) {
    return is_consent_given(mapping) && read_event_name(mapping) && is_included(mapping) && read_event_time(mapping)
           && read_source(mapping) && read_window(mapping) && read_tag(mapping);
}
