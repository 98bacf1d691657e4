#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "json.h"
#include "json_number.h"
#include "json_text.h"

#include <stdbool.h>
#include <string.h>

_Static_assert(sizeof(json_value) == 32, "a value takes half a cache line");

#define NO_CONTAINER UINT32_MAX

enum {
    MIN_CAPACITY = 16,          /* values */
    SOURCE_BYTES_PER_VALUE = 8, /* of usual events; with fewer the array grows */
    FEW_KEYS = 16,                /* for which one word of the filter is enough */
    KEY_FILTER_WORDS = 16,        /* a power of two */
    FREE_KEY_COMPARISONS = 65536, /* comparisons of keys in a text, beside those that each key adds */
    KEY_COMPARISONS = 16
};

/* Functions that return false, or NULL for a value, give up. */
typedef struct {
    const uint8_t *at; /* the next byte to read */
    const uint8_t *end;
    json_document *document;
    json_limits limits;
    uint32_t container; /* the innermost open array or object; its `next` is the container around it */
    uint32_t depth;
    int64_t key_comparisons; /* that are left */
    bool out_of_memory;      /* why it gave up */
} reader;

/* ---- bytes ---- */

/* Eight bytes as a number, the first byte lowest. */
static inline uint64_t load_8(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline uint32_t load_4(const uint8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ (hash >> 32);
}

uint32_t json_hash(const uint8_t *text, size_t length)
{
    uint64_t hash = mix(UINT64_C(0x243F6A8885A308D3), length), last = 0;
    if (length >= 8) {
        for (size_t i = 0; i + 8 < length; i += 8) {
            hash = mix(hash, load_8(text + i));
        }
        last = load_8(text + length - 8); /* may overlap the word before */
    } else if (length >= 4) {
        last = load_4(text) | (uint64_t)load_4(text + length - 4) << 32;
    } else if (length > 0) {
        last = text[0] | (uint64_t)text[length / 2] << 8 | (uint64_t)text[length - 1] << 16;
    }
    return (uint32_t)mix(hash, last);
}

static inline void skip_space(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')) {
        r->at++;
    }
}

/* Takes `byte` if it is next. */
static inline bool take(reader *r, uint8_t byte)
{
    if (r->at == r->end || *r->at != byte) {
        return false;
    }
    r->at++;
    return true;
}

/* ---- the array of values ---- */

static bool grow(reader *r)
{
    json_document *document = r->document;
    if (document->count >= r->limits.max_values) {
        return false;
    }
    /* A source has at most JSON_MAX_SOURCE bytes and no more values, so that twice the capacity cannot overflow. */
    uint32_t capacity = document->capacity * 2;
    capacity = capacity < r->limits.max_values ? capacity : r->limits.max_values;
    json_value *values = PyMem_Realloc(document->values, capacity * sizeof *values);
    if (values == NULL) {
        r->out_of_memory = true;
        return false;
    }
    document->values = values;
    document->capacity = capacity;
    return true;
}

/* Appends a value that starts at the next byte and ends before `end`, which becomes the next byte. The pointer is valid
 * until the next value is appended.
 */
static inline json_value *append(reader *r, enum json_type type, const uint8_t *end)
{
    json_document *document = r->document;
    if (document->count == document->capacity && !grow(r)) {
        return NULL;
    }
    json_value *value = &document->values[document->count++];
    memset(value, 0, sizeof *value);
    value->type = (uint8_t)type;
    value->next = document->count;
    value->start = (uint32_t)(r->at - document->source);
    value->end = (uint32_t)(end - document->source);
    r->at = end;
    return value;
}

/* ---- strings ---- */

/* The end of a run of plain ASCII: a quote, a backslash, a control character, a byte beyond ASCII, or `end`. */
static inline const uint8_t *skip_plain(const uint8_t *text, const uint8_t *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    while (end - text >= 8) {
        /* A byte's highest bit is set where it stops the run. A borrow may set bits above the first such byte too. */
        uint64_t word = load_8(text), quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
        uint64_t stops = ((quote - ones) | (backslash - ones) | (word - ones * 0x20) | word) & (ones * 0x80);
        if (stops != 0) {
            return text + __builtin_ctzll(stops) / 8;
        }
        text += 8;
    }
    while (text < end && *text >= 0x20 && *text < 0x80 && *text != '"' && *text != '\\') {
        text++;
    }
    return text;
}

/* The first byte that is neither plain ASCII nor part of a valid UTF-8 sequence. */
static inline const uint8_t *skip_characters(const uint8_t *text, const uint8_t *end, bool *ascii)
{
    text = skip_plain(text, end);
    while (text < end && *text >= 0x80) {
        size_t length = json_sequence_length(text, end);
        if (length == 0) {
            return text;
        }
        *ascii = false;
        text = skip_plain(text + length, end);
    }
    return text;
}

/* Where the next decoded string goes. No string is longer than its source, so that the source that is left at the first
 * escape bounds all of them.
 */
static uint8_t *scratch(reader *r)
{
    json_document *document = r->document;
    if (document->scratch == NULL) {
        document->scratch = PyMem_Malloc((size_t)(r->end - r->at));
        r->out_of_memory = document->scratch == NULL;
    }
    return document->scratch == NULL ? NULL : document->scratch + document->scratch_size;
}

/* Appends a string that is next in the source and ends before `end`. */
static inline json_value *append_string(reader *r, const uint8_t *end, const uint8_t *text, size_t length, bool ascii)
{
    json_value *value = append(r, JSON_STRING, end);
    if (value != NULL) {
        value->flags = ascii ? JSON_ASCII : 0;
        value->length = (uint32_t)length;
        value->as.text = text;
    }
    return value;
}

/* Reads a string with escapes into the scratch; the first escape is at `escape`. */
static json_value *read_escaped(reader *r, const uint8_t *escape, bool ascii)
{
    uint8_t *start = scratch(r), *out = start;
    if (start == NULL) {
        return NULL;
    }
    const uint8_t *copied = r->at + 1;
    while (escape != r->end && *escape == '\\') {
        memcpy(out, copied, (size_t)(escape - copied));
        out += escape - copied;
        copied = json_decode_escape(escape, r->end, &out, &ascii);
        if (copied == NULL) {
            return NULL;
        }
        escape = skip_characters(copied, r->end, &ascii);
    }
    if (escape == r->end || *escape != '"') {
        return NULL;
    }
    memcpy(out, copied, (size_t)(escape - copied));
    out += escape - copied;
    json_value *value = append_string(r, escape + 1, start, (size_t)(out - start), ascii);
    if (value != NULL) {
        value->flags |= JSON_ESCAPED;
        r->document->scratch_size += value->length;
    }
    return value;
}

/* Reads a string whose opening quote is next. */
static inline json_value *read_string(reader *r)
{
    bool ascii = true;
    const uint8_t *text = r->at + 1, *stop = skip_characters(text, r->end, &ascii);
    if (stop == r->end || (*stop != '"' && *stop != '\\')) {
        return NULL;
    }
    return *stop == '"' ? append_string(r, stop + 1, text, (size_t)(stop - text), ascii) : read_escaped(r, stop, ascii);
}

static bool read_number(reader *r)
{
    json_value number = {0};
    const uint8_t *end;
    const enum json_status status = json_read_number(r->at, r->end, &number, &end);
    r->out_of_memory = status == JSON_NO_MEMORY;
    json_value *value = status == JSON_OK ? append(r, number.type, end) : NULL;
    if (value == NULL) {
        return false;
    }
    value->as = number.as;
    return true;
}

/* ---- arrays and objects ---- */

/* Whether a key of the object before `index` equals the key there, or too many keys of the text were compared. */
static bool may_repeat(reader *r, uint32_t object, uint32_t index)
{
    const json_value *values = r->document->values, *key = &values[index];
    for (uint32_t i = object + 1; i < index; i = values[i + 1].next) {
        const json_value *other = &values[i];
        if (--r->key_comparisons < 0 || (other->hash == key->hash && other->length == key->length &&
                                         memcmp(other->as.text, key->as.text, key->length) == 0)) {
            return true;
        }
    }
    return false;
}

/* Whether all keys of an object differ. Keys are compared only where the filter has their bit already, as few have. */
static bool has_distinct_keys(reader *r, uint32_t object)
{
    uint64_t filter[KEY_FILTER_WORDS];
    const json_value *values = r->document->values;
    const uint32_t words = values[object].length <= FEW_KEYS ? 1 : KEY_FILTER_WORDS;
    for (uint32_t i = 0; i < words; i++) {
        filter[i] = 0;
    }
    for (uint32_t i = object + 1; i < r->document->count; i = values[i + 1].next) {
        uint64_t *word = &filter[values[i].hash / 64 & (words - 1)];
        const uint64_t bit = UINT64_C(1) << (values[i].hash % 64);
        if ((*word & bit) != 0 && may_repeat(r, object, i)) {
            return false;
        }
        *word |= bit;
    }
    return true;
}

/* Opens an array or object whose bracket is next. */
static bool open_container(reader *r, enum json_type type)
{
    json_value *container = r->depth < r->limits.max_depth ? append(r, type, r->at + 1) : NULL;
    if (container == NULL) {
        return false;
    }
    container->next = r->container;
    r->container = r->document->count - 1;
    r->depth++;
    return true;
}

/* Closes the innermost container, whose closing bracket has been taken. */
static bool close_container(reader *r)
{
    json_value *container = &r->document->values[r->container];
    if (container->type == JSON_OBJECT && container->length > 1 && !has_distinct_keys(r, r->container)) {
        return false;
    }
    r->container = container->next;
    r->depth--;
    container->next = r->document->count;
    container->end = (uint32_t)(r->at - r->document->source);
    return true;
}

static bool read_word(reader *r, enum json_type type, const char *word)
{
    const size_t length = strlen(word);
    return (size_t)(r->end - r->at) >= length && memcmp(r->at, word, length) == 0 &&
           append(r, type, r->at + length) != NULL;
}

/* Reads a scalar, or opens a container. */
static inline bool read_value(reader *r)
{
    if (r->at == r->end) {
        return false;
    }
    switch (*r->at) {
    case '"':
        return read_string(r) != NULL;
    case '{':
        return open_container(r, JSON_OBJECT);
    case '[':
        return open_container(r, JSON_ARRAY);
    case 't':
        return read_word(r, JSON_TRUE, "true");
    case 'f':
        return read_word(r, JSON_FALSE, "false");
    case 'n':
        return read_word(r, JSON_NULL, "null");
    default:
        return read_number(r);
    }
}

/* Reads a key and the colon behind it. */
static inline bool read_key(reader *r)
{
    json_value *key = r->at < r->end && *r->at == '"' ? read_string(r) : NULL;
    if (key == NULL) {
        return false;
    }
    key->hash = json_hash(key->as.text, key->length);
    r->key_comparisons += KEY_COMPARISONS;
    skip_space(r);
    if (!take(r, ':')) {
        return false;
    }
    skip_space(r);
    return true;
}

/* Reads the next element, or member, of the innermost container, or the value of the whole text. */
static inline bool read_item(reader *r)
{
    skip_space(r);
    if (r->container == NO_CONTAINER) {
        return read_value(r);
    }
    json_value *container = &r->document->values[r->container];
    container->length++;
    return (container->type != JSON_OBJECT || read_key(r)) && read_value(r);
}

/* Closes the containers that end here, and takes the comma before the next item. An open container without items was
 * just opened: no comma is before its first one.
 */
static inline bool take_separator(reader *r)
{
    while (r->container != NO_CONTAINER) {
        const json_value *container = &r->document->values[r->container];
        skip_space(r);
        if (!take(r, container->type == JSON_OBJECT ? '}' : ']')) {
            return container->length == 0 || take(r, ',');
        }
        if (!close_container(r)) {
            return false;
        }
    }
    return true;
}

static bool read_text(reader *r)
{
    do {
        if (!read_item(r) || !take_separator(r)) {
            return false;
        }
    } while (r->container != NO_CONTAINER);
    skip_space(r);
    return r->at == r->end;
}

enum json_status json_read(const uint8_t *source, size_t length, const json_limits *limits, json_document *document)
{
    *document = (json_document){.source = source};
    if (length > JSON_MAX_SOURCE || limits->max_values == 0 || limits->max_depth > JSON_MAX_DEPTH) {
        return JSON_UNSUPPORTED;
    }
    const uint32_t capacity = MIN_CAPACITY + (uint32_t)length / SOURCE_BYTES_PER_VALUE;
    document->capacity = capacity < limits->max_values ? capacity : limits->max_values;
    document->values = PyMem_Malloc(document->capacity * sizeof *document->values);
    if (document->values == NULL) {
        return JSON_NO_MEMORY;
    }
    reader r = {
        .at = source,
        .end = source + length,
        .document = document,
        .limits = *limits,
        .container = NO_CONTAINER,
        .key_comparisons = FREE_KEY_COMPARISONS,
    };
    if (read_text(&r)) {
        return JSON_OK;
    }
    json_free(document);
    return r.out_of_memory ? JSON_NO_MEMORY : JSON_UNSUPPORTED;
}

void json_free(json_document *document)
{
    PyMem_Free(document->values);
    PyMem_Free(document->scratch);
    *document = (json_document){0};
}
