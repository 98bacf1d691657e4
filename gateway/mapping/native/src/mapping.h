/* The mapping of one event for one destination: its state, and the steps. */
#ifndef GATEWAY_MAPPING_H
#define GATEWAY_MAPPING_H

#include "python.h"

#include "buffer.h"
#include "json.h"
#include "memo.h"
#include "plan.h"
#include "sha256.h"

/* What Python is asked: functions of gateway/mapping/native/plan.py. */
typedef struct {
    PyObject *value;       /* (field, text, country) to the value to send, see `ask_value` */
    PyObject *is_complete; /* (first four digits, length) to whether such a phone number is complete */
    PyObject *name;        /* name of a property to its verdict */
    PyObject *screen;      /* text to the text to pass on, or None */
    PyObject *address;     /* text to the web address to send, or None */
    PyObject *left_out;    /* counts a list of names of properties */
    PyObject *seen;        /* counts an event by the mask of its match keys */
    PyObject *lane;        /* (target, upload tag) to a lane */
    PyObject *run;         /* gateway.model.MappedRun */
} questions;

/* What does not change while a destination is mapped, but for the memos. Used with the GIL. */
typedef struct {
    plan plan;
    questions ask;
    value_memo *values;
    name_memo *names;
    const sha256_engine *sha256;
} destination;

enum { MAX_CONSUMED = MAX_INPUTS };

enum note { NOTE_DEFAULT_VALUE, NOTE_DEFAULT_CURRENCY, NOTE_PURCHASE_WITHOUT_VALUE, NOTES };

typedef struct {
    uint8_t field;
    uint8_t cause;
} dropped_value;

/* One event while it is mapped. A step returns false when the event cannot be mapped here: with an exception set when
 * `has_failed`, else Python maps the event.
 */
typedef struct {
    destination *destination;
    const plan *plan;
    const json_document *document;
    int64_t now;
    bool has_failed;

    uint32_t found[MAX_INPUTS]; /* index of the value of each input; 0: none */
    uint8_t ranks[MAX_INPUTS];  /* of the paths at which they were found */
    uint32_t consumed[MAX_CONSUMED]; /* values that are not passed on, because a field has them */
    unsigned consumed_count;

    const plan_event *event;
    int64_t at;     /* unix seconds */
    int64_t window; /* seconds for which Meta accepts the event */
    text_view source;
    text_view tag; /* the upload tag; `bytes` is NULL without one, and for the default */
    country_code country;
    answer sent_country;
    uint32_t identity; /* mask of the fields that are sent */
    bool has_value, has_currency;
    text_view content_type; /* a JSON string; `bytes` is NULL where the route decides */
    bool has_products, has_contents, is_single_product;

    /* Counted once the event is mapped. */
    dropped_value dropped[MAX_FIELDS];
    unsigned dropped_count;
    PyObject *left_out; /* a list of names, or NULL */

    buffer text;  /* the mapped event but for the name of the standard event and the content type */
    size_t split; /* where the name of the standard event belongs */
} mapping;

static inline const json_value *value_at(const mapping *mapping, uint32_t index) {
    return &mapping->document->values[index];
}

/* The value of an input, or NULL. */
static inline const json_value *input_value(const mapping *mapping, unsigned input) {
    uint32_t index = mapping->found[input];
    return index > 0 ? value_at(mapping, index) : NULL;
}

/* Notes that a field has the value of an input, which therefore is not passed on. */
void consume(mapping *mapping, unsigned input);

/* Ends the mapping with the exception that is set. Always false. */
bool fail(mapping *mapping);

/* reading.c: finds the values of all inputs in the event that begins at an index. */
bool read_inputs(mapping *mapping, uint32_t event);

/* routing.c: consent, the routes, the time and the action source. */
bool read_routing(mapping *mapping);

/* identity.c: puts the match keys, as the members of an object. */
bool put_identity(mapping *mapping);

/* Puts the country's letters in `mapping->country`, with which other fields are normalised. */
bool read_country(mapping *mapping);

/* screening.c: whether a text certainly does not look personal. False: Python has to look at it. */
bool is_plain_text(text_view text);

/* Whether an address needs no cleaning and is absolute. */
bool is_plain_address(text_view text);

/* properties.c: puts the properties that are passed on, as members of an object. */
bool put_properties(mapping *mapping);

/* products.c: finds out which products the event has, and what the content type is. Before `put_properties`. */
void read_products(mapping *mapping);

/* Puts `contents`. */
bool put_contents(mapping *mapping);

/* event.c: maps the event that begins at an index. The result is in `text` and `split`. */
bool map_event(mapping *mapping, uint32_t event);

/* ask.c: what Python says. */

enum verdict {
    VERDICT_ACTION = 3,  /* the bits with one of the following four */
    VERDICT_PASSED = 0,  /* the property is passed on */
    VERDICT_REPLACED = 1, /* it is not, because a field replaces it or because it is an identity */
    VERDICT_LEFT_OUT = 2, /* it is not, and this is counted */
    VERDICT_FALL_BACK = 3,
    VERDICT_UNSCREENED = 4,       /* its texts are passed on whatever they look like */
    VERDICT_SINGLE_PRODUCT = 8,   /* it describes the product of an event without a list of products */
    VERDICT_INNER_LEFT_OUT = 16,  /* inside another property, it is left out and counted */
    VERDICT_TEXTS = 32,           /* a list has to be one of texts */
    VERDICT_TYPES = 64            /* bit of JSON_NULL; the other types follow: those that are passed on */
};

/* The value to send for a text. With ANSWER_TEXT, `text` is a new reference to a str. */
bool ask_value(mapping *mapping, unsigned field, text_view text, country_code country, answer *answer,
               PyObject **sent);

/* Whether the digits are certainly a complete phone number with its calling code. */
bool ask_is_complete(mapping *mapping, const normal_text *digits, bool *is_complete);

/* The verdict on a property's name, see `enum verdict`. */
bool ask_verdict(mapping *mapping, const json_value *name, uint32_t *verdict);

/* The text to pass on, as a new reference to a str; NULL for one that looks personal. */
bool ask_screened(mapping *mapping, text_view text, PyObject **kept);

/* The web address to send for a text, as a new reference to a str. */
bool ask_address(mapping *mapping, text_view text, PyObject **address);

/* Adds a name to `left_out`. */
bool leave_out(mapping *mapping, text_view name);

/* Puts a str as a JSON string. */
bool put_object_text(mapping *mapping, PyObject *object);

#endif
