#include "mapping.h"

enum { MAX_UNSPLIT_NAME = 31 /* bytes of the longest word that cannot be a hash */ };

/* The word of the whole name that is a first or last name, if there is one. */
static bool word_of_name(mapping *mapping, bool is_first, text_view *word) {
    const json_value *whole = input_value(mapping, INPUT_whole_name);
    word->bytes = NULL;
    if (whole == NULL) {
        return true;
    }
    if (whole->type != JSON_STRING || whole->length > MAX_TEXT) {
        return false;
    }
    text_view rest = text_of_string(whole), next;
    size_t words = 0;
    while (text_next_word(&rest, &next)) {
        if (words == 0 || !is_first) {
            *word = next;
        }
        words++;
    }
    if (words == 1 && word->length > MAX_UNSPLIT_NAME) {
        return false; /* it may be a hash */
    }
    if (words == 1 && !is_first) {
        word->bytes = NULL;
    }
    return words > 0;
}

/* The text of a field; `bytes` is NULL without one. */
static bool text_of_field(mapping *mapping, const plan_field *field, text_view *text) {
    const json_value *value = input_value(mapping, field->input);
    text->bytes = NULL;
    if (value != NULL) {
        return (value->type == JSON_STRING || (field->flags & FIELD_INTEGER) != 0)
               && text_of_value(mapping->document, value, text);
    }
    if ((field->flags & (FIELD_FIRST_WORD | FIELD_LAST_WORD)) != 0) {
        return word_of_name(mapping, (field->flags & FIELD_FIRST_WORD) != 0, text);
    }
    return true;
}

static void put_hashes(mapping *mapping, const plan_field *field, char hashes[][HEX_HASH], unsigned count) {
    buffer *text = &mapping->text;
    bool is_list = field->name_count == 1 && (count > 1 || (field->flags & FIELD_LISTED) != 0);
    for (unsigned i = 0; i < count; i++) {
        if (i == 0 || field->name_count > 1) {
            buffer_put_name(text, field->names[i]);
        } else {
            buffer_put_byte(text, ',');
        }
        if (is_list && i == 0) {
            buffer_put_byte(text, '[');
        }
        buffer_put_byte(text, '"');
        buffer_put(text, hashes[i], HEX_HASH);
        buffer_put_byte(text, '"');
    }
    if (is_list) {
        buffer_put_byte(text, ']');
    }
}

/* Begins the member of a field with a value that is not hashed. */
static void put_field_name(mapping *mapping, const plan_field *field) {
    buffer_put_name(&mapping->text, field->names[0]);
    if ((field->flags & FIELD_LISTED) != 0) {
        buffer_put_byte(&mapping->text, '[');
    }
}

static void end_field(mapping *mapping, const plan_field *field) {
    if ((field->flags & FIELD_LISTED) != 0) {
        buffer_put_byte(&mapping->text, ']');
    }
}

static void put_plain(mapping *mapping, const plan_field *field, text_view text) {
    put_field_name(mapping, field);
    buffer_put_string(&mapping->text, text);
    end_field(mapping, field);
}

/* A phone number that begins with `+` and is complete. */
static bool normalise_complete_phone(mapping *mapping, text_view text, normal_forms *normal) {
    bool is_complete;
    return normalise_phone(text, normal) && ask_is_complete(mapping, &normal->forms[0], &is_complete) && is_complete;
}

/* The normal forms of a text. False for one that Python has to normalise. */
static bool normalise(mapping *mapping, const plan_field *field, text_view text, normal_forms *normal) {
    bool american = country_is(mapping->country, "US");
    bool month_first = (mapping->plan->flags & PLAN_MONTH_FIRST) != 0;
    switch (field->kind) {
        case KIND_email:
            return normalise_email(text, normal);
        case KIND_phone:
            return normalise_complete_phone(mapping, text, normal);
        case KIND_name:
            return normalise_name(text, (field->flags & FIELD_VARIANTS) != 0, normal);
        case KIND_city:
            return normalise_city(text, normal);
        case KIND_zip:
            return normalise_zip(text, mapping->country, normal);
        case KIND_birthday:
            return normalise_birthday(text, month_first, american, field->name_count > 1, normal);
        case KIND_trimmed:
        case KIND_lower:
            return normalise_trimmed(text, field->kind == KIND_lower, normal);
        case KIND_madid:
            return normalise_madid(text, normal);
        default:
            return false;
    }
}

/* Puts normal forms: their hashes, or the first one as it is. */
static void put_forms(mapping *mapping, const plan_field *field, const normal_forms *normal) {
    if ((field->flags & FIELD_HASHED) == 0) {
        put_plain(mapping, field, text_from(normal->forms[0].bytes, normal->forms[0].length));
        return;
    }
    char hashes[MAX_FORMS][HEX_HASH];
    for (unsigned i = 0; i < normal->count; i++) {
        sha256_hex(mapping->destination->sha256, normal->forms[i].bytes, normal->forms[i].length, hashes[i]);
    }
    put_hashes(mapping, field, hashes, normal->count);
}

/* Puts a text that is not changed, but for white space around it. */
static bool put_verbatim(mapping *mapping, const plan_field *field, text_view text, bool *is_put) {
    *is_put = false;
    if (field->kind == KIND_verbatim) {
        if (text.length >= field->max_length || (text = text_strip(text)).length == 0) {
            return false;
        }
        *is_put = true;
    } else if (field->kind == KIND_ip) {
        text = text_strip(text);
        *is_put = is_ipv4(text);
    }
    if (*is_put) {
        put_plain(mapping, field, text);
    }
    return true;
}

static void drop(mapping *mapping, unsigned number, const answer *answer) {
    mapping->dropped[mapping->dropped_count++] = (dropped_value){(uint8_t)number, answer->cause};
}

/* Puts what Python answers for a text. */
static bool put_answer(mapping *mapping, unsigned number, text_view text, bool *is_sent) {
    const plan_field *field = &mapping->plan->fields[number];
    country_code country = {{0, 0}};
    answer answer;
    PyObject *sent;
    if ((field->flags & FIELD_BY_COUNTRY) != 0) {
        country = mapping->country;
    }
    if (!ask_value(mapping, number, text, country, &answer, &sent)) {
        return false;
    }
    *is_sent = answer.kind == ANSWER_HASHES || answer.kind == ANSWER_TEXT;
    if (answer.kind == ANSWER_HASHES) {
        if (field->name_count > 1 && answer.count != field->name_count) {
            return false;
        }
        put_hashes(mapping, field, answer.hashes, answer.count);
    } else if (answer.kind == ANSWER_TEXT) {
        put_field_name(mapping, field);
        bool is_put = put_object_text(mapping, sent);
        Py_DECREF(sent);
        end_field(mapping, field);
        return is_put;
    } else if (answer.kind == ANSWER_DROPPED) {
        drop(mapping, number, &answer);
    }
    return true;
}

/* Puts the value of a field for its text. */
static bool put_value(mapping *mapping, unsigned number, text_view text, bool *is_sent) {
    const plan_field *field = &mapping->plan->fields[number];
    normal_forms normal;
    char hash[1][HEX_HASH];
    if (!put_verbatim(mapping, field, text, is_sent)) {
        return false;
    }
    if (*is_sent) {
        return true;
    }
    *is_sent = true;
    if (normalise(mapping, field, text, &normal)) {
        put_forms(mapping, field, &normal);
        return true;
    }
    if ((field->flags & FIELD_MAY_BE_HASH) != 0 && field->name_count == 1 && read_hash(text, hash[0])) {
        put_hashes(mapping, field, hash, 1);
        return true;
    }
    return !mapping->has_failed && put_answer(mapping, number, text, is_sent);
}

/* The value of `fbclid` in the query of a URL; empty without one. */
static text_view click_id_in(text_view url) {
    text_view none = {url.bytes, 0, true, true};
    const uint8_t *at = memchr(url.bytes, '?', url.length), *end = url.bytes + url.length;
    if (at == NULL) {
        return none;
    }
    at++;
    const uint8_t *fragment = memchr(at, '#', (size_t)(end - at));
    end = fragment != NULL ? fragment : end;
    while (at < end) {
        const uint8_t *next = memchr(at, '&', (size_t)(end - at));
        next = next != NULL ? next : end;
        if (next - at > 7 && memcmp(at, "fbclid=", 7) == 0) {
            return (text_view){at + 7, (size_t)(next - at) - 7, url.is_ascii, url.is_verbatim};
        }
        at = next < end ? next + 1 : end;
    }
    return none;
}

/* Puts the click ID of the page's URL: `fb.1.<milliseconds>.<fbclid>`. */
static bool put_click_id(mapping *mapping, const plan_field *field, bool *is_sent) {
    const json_value *url = input_value(mapping, INPUT_context_url);
    url = url != NULL ? url : input_value(mapping, INPUT_property_url);
    *is_sent = false;
    if (url == NULL || url->type != JSON_STRING) {
        return true;
    }
    if (url->length > MAX_LONG_TEXT) {
        return false;
    }
    text_view id = click_id_in(text_of_string(url));
    if (id.length > 0) {
        buffer *text = &mapping->text;
        buffer_put_name(text, field->names[0]);
        buffer_put_literal(text, "\"fb.1.");
        buffer_put_integer(text, 1000 * mapping->at);
        size_t dot = text->length;
        buffer_put_string(text, id);
        if (text->state == BUFFER_OK) {
            text->bytes[dot] = '.'; /* in place of the string's first quote */
        }
        *is_sent = true;
    }
    return true;
}

/* Puts the country that `read_country` has read. */
static void put_country(mapping *mapping, unsigned number, bool *is_sent) {
    const answer *answer = &mapping->sent_country;
    *is_sent = mapping->found[INPUT_country] > 0 && answer->kind == ANSWER_HASHES;
    if (*is_sent) {
        put_hashes(mapping, &mapping->plan->fields[number], mapping->sent_country.hashes, 1);
    } else if (mapping->found[INPUT_country] > 0) {
        drop(mapping, number, answer);
    }
}

static bool put_field(mapping *mapping, unsigned number, bool *is_sent) {
    const plan_field *field = &mapping->plan->fields[number];
    text_view text;
    *is_sent = false;
    if (field->kind == KIND_country) {
        put_country(mapping, number, is_sent);
        return true;
    }
    if (!text_of_field(mapping, field, &text)) {
        return false;
    }
    if (text.bytes != NULL) {
        return put_value(mapping, number, text, is_sent);
    }
    return (field->flags & FIELD_CLICK_ID) == 0 || put_click_id(mapping, field, is_sent);
}

bool read_country(mapping *mapping) {
    const plan *plan = mapping->plan;
    const json_value *value = input_value(mapping, INPUT_country);
    mapping->country = plan->default_country;
    if (value == NULL) {
        return true;
    }
    unsigned number = 0;
    while (number < plan->field_count && plan->fields[number].kind != KIND_country) {
        number++;
    }
    PyObject *sent;
    if (number == plan->field_count || value->type != JSON_STRING
        || !ask_value(mapping, number, text_of_string(value), (country_code){{0, 0}}, &mapping->sent_country, &sent)) {
        return false;
    }
    Py_XDECREF(sent);
    if (mapping->sent_country.country.letters[0] != 0) {
        mapping->country = mapping->sent_country.country;
    }
    return mapping->sent_country.kind == ANSWER_HASHES || mapping->sent_country.kind == ANSWER_DROPPED;
}

/* Whether Meta refuses an identity with only these fields. */
static bool is_refused(const plan *plan, uint32_t identity) {
    for (size_t i = 0; i < plan->refused_count; i++) {
        if ((identity & ~plan->refused_identities[i]) == 0) {
            return true;
        }
    }
    return identity == 0;
}

bool put_identity(mapping *mapping) {
    mapping->identity = 0;
    for (unsigned i = 0; i < mapping->plan->field_count; i++) {
        bool is_sent;
        if (!put_field(mapping, i, &is_sent)) {
            return false;
        }
        mapping->identity |= (uint32_t)is_sent << i;
    }
    return !is_refused(mapping->plan, mapping->identity);
}
