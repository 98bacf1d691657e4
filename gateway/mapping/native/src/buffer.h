/* A growing buffer with a limit, for JSON text.
 *
 * Its functions do not report failure one by one: after the first one, `state` says what happened and everything that
 * is put afterwards may be missing. Whoever uses the content looks at the state first.
 */
#ifndef GATEWAY_BUFFER_H
#define GATEWAY_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "text.h"

enum buffer_state { BUFFER_OK, BUFFER_FULL, BUFFER_NO_MEMORY };

typedef struct {
    uint8_t *bytes;
    size_t length;
    size_t capacity;
    size_t limit; /* bytes that it never exceeds */
    enum buffer_state state;
} buffer;

void buffer_init(buffer *buffer, size_t limit);
void buffer_free(buffer *buffer);

/* Makes it empty, and usable again after it was full. */
void buffer_clear(buffer *buffer);

/* Grows the buffer for `more` bytes. False when it cannot. Use `buffer_has_space`. */
bool buffer_grow(buffer *buffer, size_t more);

/* Whether `more` bytes can be written behind the content. */
static inline bool buffer_has_space(buffer *buffer, size_t more) {
    return more <= buffer->capacity - buffer->length || buffer_grow(buffer, more);
}

static inline void buffer_put(buffer *buffer, const void *bytes, size_t length) {
    if (length > 0 && buffer_has_space(buffer, length)) {
        memcpy(buffer->bytes + buffer->length, bytes, length);
        buffer->length += length;
    }
}

/* Puts a string literal. */
#define buffer_put_literal(buffer, literal) buffer_put(buffer, literal, sizeof(literal) - 1)

static inline void buffer_put_byte(buffer *buffer, char byte) { buffer_put(buffer, &byte, 1); }

static inline void buffer_put_text(buffer *buffer, text_view text) { buffer_put(buffer, text.bytes, text.length); }

/* Removes everything behind `length`, which was the buffer's length before. */
static inline void buffer_truncate(buffer *buffer, size_t length) {
    if (buffer->length > length) {
        buffer->length = length;
    }
}

static inline bool buffer_ends_with(const buffer *buffer, char byte) {
    return buffer->length > 0 && buffer->bytes[buffer->length - 1] == (uint8_t)byte;
}

/* Puts the comma between two members or elements, unless an opening bracket is the last byte. */
static inline void buffer_put_comma(buffer *buffer) {
    if (!buffer_ends_with(buffer, '{') && !buffer_ends_with(buffer, '[')) {
        buffer_put_byte(buffer, ',');
    }
}

/* Puts the name of a member, with the comma before it. `name` is `"name":`. */
static inline void buffer_put_name(buffer *buffer, text_view name) {
    buffer_put_comma(buffer);
    buffer_put_text(buffer, name);
}

/* Puts a JSON string as orjson writes it. */
void buffer_put_string(buffer *buffer, text_view text);

void buffer_put_integer(buffer *buffer, int64_t integer);

/* Puts a number as orjson writes it after it has read it. False for a number that only orjson can write. */
bool buffer_put_number(buffer *buffer, const json_document *document, const json_value *value);

/* Puts the number that a text contains. False for a text in another form than digits with or without decimals. */
bool buffer_put_number_of_text(buffer *buffer, text_view text);

#endif
