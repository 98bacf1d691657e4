/* A strict JSON reader: UTF-8 text into an array of values, in one pass and without Python objects.
 *
 * Everything that it accepts means the same to orjson. It gives up on the rest (JSON_UNSUPPORTED), valid or not, and
 * Python decides then. Among others it gives up on duplicate keys, unpaired surrogates and invalid UTF-8.
 */
#ifndef GATEWAY_JSON_H
#define GATEWAY_JSON_H

#include <stddef.h>
#include <stdint.h>

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_INTEGER, /* `integer`: all but the least of 64 bits */
    JSON_REAL,    /* `real`: the double that is nearest to the text */
    JSON_NUMBER,  /* a finite number whose value was not computed: a larger integer, a longer real */
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

enum json_flag {
    JSON_ASCII = 1,  /* a string without characters beyond ASCII */
    JSON_ESCAPED = 2 /* a string with escapes in the source: `text` is the decoded text */
};

/* A value. An array is followed by its elements, an object by its members: a key (JSON_STRING), the key's value with
 * all that this contains, and so on.
 */
typedef struct {
    uint8_t type;
    uint8_t flags;
    uint32_t length; /* of a string: bytes of `text`; of an array: elements; of an object: members */
    uint32_t next;   /* index of the value behind this one and all that it contains */
    uint32_t start;  /* the value is source[start] to source[end - 1], quotes and brackets included */
    uint32_t end;
    uint32_t hash; /* of a key: json_hash(text, length); of other values: 0 */
    union {
        const uint8_t *text; /* UTF-8, not terminated; points into the source or into the document's scratch */
        int64_t integer;
        double real;
    } as;
} json_value;

/* Refers to the source, which the caller keeps as long as the document. values[0] is the whole text's value. */
typedef struct {
    const uint8_t *source;
    json_value *values;
    uint32_t count;
    uint32_t capacity; /* entries of `values` that are allocated */
    uint8_t *scratch;  /* decoded text of strings with escapes, or NULL */
    size_t scratch_size;
} json_document;

enum {
    JSON_MAX_SOURCE = 16 * 1024 * 1024, /* bytes; longer texts are not supported */
    JSON_MAX_DEPTH = 1024               /* levels; orjson refuses more */
};

typedef struct {
    uint32_t max_values; /* entries of the array: values and keys */
    uint32_t max_depth;  /* levels of arrays and objects, at most JSON_MAX_DEPTH; 0 accepts scalars only */
} json_limits;

enum json_status { JSON_OK, JSON_UNSUPPORTED, JSON_NO_MEMORY };

/* Reads `length` bytes of `source`. Only after JSON_OK the document has something to free. Needs the GIL. */
enum json_status json_read(const uint8_t *source, size_t length, const json_limits *limits, json_document *document);

/* Frees what the document owns; a second call has no effect. */
void json_free(json_document *document);

/* The hash of a key. It is the same in all processes on a machine, but may differ between versions. */
uint32_t json_hash(const uint8_t *text, size_t length);

#endif
