/* The plan of one destination: what gateway/mapping/native/plan.py makes of the settings and the registry of fields.
 *
 * The plan is data. Nothing here knows a source path, a key of an upload or the name of a field.
 */
#ifndef GATEWAY_PLAN_H
#define GATEWAY_PLAN_H

#include "python.h"

#include "memo.h"
#include "normalise.h"
#include "table.h"
#include "text.h"

/* What a value of the source event is for. plan.py reads these names from the module's INPUTS.
 *
 * An input may have several source paths; the value at the first one that has a value counts.
 */
#define FOR_EACH_INPUT(X)                                                                                             \
    X(fall_back)          /* any value but null: Python maps the event */                                             \
    X(switch)             /* a switch of the destination in `integrations` */                                         \
    X(all_switch)         /* the switch of all destinations */                                                        \
    X(event_name)                                                                                                     \
    X(properties)         /* the object of all properties */                                                          \
    X(event_time)                                                                                                     \
    X(action_source)                                                                                                  \
    X(event_source_url)                                                                                               \
    X(context_url)        /* where a click ID is looked for first */                                                  \
    X(property_url)                                                                                                   \
    X(upload_tag)                                                                                                     \
    X(processing_options)                                                                                             \
    X(consent_management) /* RudderStack's form of consent */                                                         \
    X(consent)            /* Segment's form of consent */                                                             \
    X(value)                                                                                                          \
    X(currency)                                                                                                       \
    X(contents)                                                                                                       \
    X(category)                                                                                                       \
    X(product_id)         /* of a single product in the properties, as `sku` */                                       \
    X(sku)                                                                                                            \
    X(country)                                                                                                        \
    X(whole_name)

#define INPUT_CONSTANT(name) INPUT_##name,
enum input { FOR_EACH_INPUT(INPUT_CONSTANT) FIRST_FREE_INPUT };
#undef INPUT_CONSTANT

/* How a match key's text becomes the value to send. plan.py reads these names from the module's KINDS. */
#define FOR_EACH_KIND(X)                                                                                              \
    X(ask)      /* Python normalises it */                                                                            \
    X(country)  /* Python normalises it; the code is used for other fields */                                         \
    X(email)                                                                                                          \
    X(phone)                                                                                                          \
    X(name)                                                                                                           \
    X(city)                                                                                                           \
    X(zip)                                                                                                            \
    X(birthday)                                                                                                       \
    X(trimmed)                                                                                                        \
    X(lower)    /* trimmed, in lower case */                                                                          \
    X(madid)                                                                                                          \
    X(ip)                                                                                                             \
    X(verbatim) /* sent as it is, trimmed */

#define KIND_CONSTANT(name) KIND_##name,
enum kind { FOR_EACH_KIND(KIND_CONSTANT) KINDS };
#undef KIND_CONSTANT

enum field_flag {
    FIELD_HASHED = 1,
    FIELD_LISTED = 2,      /* the value is sent in a list */
    FIELD_INTEGER = 4,     /* the source value may be an integer */
    FIELD_BY_COUNTRY = 8,  /* the result depends on the country */
    FIELD_VARIANTS = 16,   /* two forms are sent */
    FIELD_FIRST_WORD = 32, /* falls back to the first word of the whole name */
    FIELD_LAST_WORD = 64,
    FIELD_CLICK_ID = 128,  /* falls back to the click ID in the page's URL */
    FIELD_MAY_BE_HASH = 256, /* a text that is a SHA-256 is sent as it is, in lower case */
};

enum plan_flag {
    PLAN_CONVERSIONS = 1, /* else the dialect is `offline` */
    PLAN_CRM = 2,
    PLAN_LIMITED_DATA = 4,
    PLAN_CONSENT = 8,
    PLAN_NEEDS_VALUE = 16, /* purchases without a value are rejected */
    PLAN_MONTH_FIRST = 32,
    PLAN_CURRENCY_PATHS = 64, /* the currency has several paths */
};

enum route_flag { ROUTE_PURCHASE = 1, ROUTE_GROUP = 2 };

enum text_flag { TEXT_SCREENED = 1, TEXT_CUSTOM = 2 /* of the sale, else of the event */ };

/* The parts of a product. plan.py reads these names from the module's PRODUCT_PARTS. */
#define FOR_EACH_PRODUCT_PART(X)                                                                                      \
    X(product_id) X(id) X(sku) X(quantity) X(brand) X(category) X(price) X(delivery_category)

#define PART_CONSTANT(name) PART_##name,
enum product_part { FOR_EACH_PRODUCT_PART(PART_CONSTANT) PRODUCT_PARTS };
#undef PART_CONSTANT

enum {
    MAX_INPUTS = 96,
    MAX_FIELDS = 32, /* match keys; the bits of a mask */
    MAX_TEXTS = 16,
    MAX_LEVELS = 16, /* steps of a source path */
    MAX_CAUSES = 8,
    /* Limits of the Python path, which counts characters where these count bytes: longer texts fall back. The tests
     * compare the numbers. */
    MAX_TEXT = 256,       /* names and IDs */
    MAX_LONG_TEXT = 4096, /* any other text that is read */
    MAX_TAG = 200,        /* upload tags */
    NO_NODE = UINT16_MAX
};

typedef struct {
    uint8_t input;
    uint8_t rank; /* of the path among those of the input; the lowest one wins */
} plan_use;

typedef struct {
    uint16_t node; /* of the object that the value has to be; NO_NODE if none of its members is read */
    uint16_t first_use;
    uint16_t uses;
} plan_key;

typedef struct {
    uint8_t kind;
    uint8_t input;
    uint16_t flags;
    size_t max_length;           /* bytes */
    text_view names[MAX_FORMS];  /* `"key":`; several for a birthday in parts */
    unsigned name_count;
} plan_field;

typedef struct {
    uint8_t input;
    uint8_t flags;
    size_t max_length;
    text_view name;
} plan_text;

typedef struct {
    text_view standard; /* the standard event as a JSON string */
    unsigned flags;
    uint16_t first_target;
    uint16_t targets;
} plan_route;

typedef struct {
    uint16_t first_route;
    uint16_t routes;
} plan_event;

typedef struct {
    PyObject *data; /* the tuple that owns the bytes of every text here */
    unsigned flags;
    size_t max_event_bytes;
    country_code default_country;
    text_view default_currency, default_value; /* JSON */
    text_view crm_members;                     /* JSON: members of `custom_data` */
    text_view default_source, fixed_source;    /* action sources; empty without one. The fixed one overrides all */
    text_view physical_source, website_source, app_source;
    text_view default_tag; /* the upload tag of the lanes for events without one */
    int64_t future_tolerance, long_window, short_window; /* seconds */
    table *nodes; /* keys of the objects on the source paths; the first is the event itself */
    uint16_t node_count;
    plan_key *keys;
    plan_use *uses;
    plan_field fields[MAX_FIELDS];
    unsigned field_count;
    uint32_t user_agent_field; /* the mask of the field that a website's event needs */
    plan_text texts[MAX_TEXTS];
    unsigned text_count;
    table events; /* event names to indices of `event_routes`; index 0 is for all other names */
    plan_event *event_routes;
    plan_route *routes;
    uint16_t *targets; /* indices of lanes */
    uint16_t target_count;
    PyObject *lanes; /* a tuple: the lane of each target for events without an upload tag */
    table action_sources;
    uint32_t *refused_identities; /* masks of fields: an identity with no other field is refused */
    size_t refused_count;
    table categories; /* to indices of `content_types` */
    text_view *content_types; /* JSON strings; two more follow: of a single product, and of a group */
    size_t category_count;
    table product_keys; /* to parts */
    text_view product_names[PRODUCT_PARTS]; /* `"key":` */
    table deliveries; /* the values of `delivery_category` */
    table consent_categories;
    size_t consent_count;
} plan;

/* Reads the tuple that plan.py makes. False with an exception set. `plan_free` is needed in any case. */
bool plan_read(plan *plan, PyObject *data);
void plan_free(plan *plan);

#endif
