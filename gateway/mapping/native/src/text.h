/* Views of UTF-8 text, and the questions that the mapping asks about it. Nothing here allocates. */
#ifndef GATEWAY_TEXT_H
#define GATEWAY_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "json.h"

/* A text that someone else owns. */
typedef struct {
    const uint8_t *bytes;
    size_t length;
    bool is_ascii;
    bool is_verbatim; /* it has no character that JSON has to escape */
} text_view;

text_view text_from(const void *bytes, size_t length);

/* The text of a JSON_STRING. */
static inline text_view text_of_string(const json_value *value) {
    return (text_view){value->as.text, value->length, (value->flags & JSON_ASCII) != 0,
                       (value->flags & JSON_ESCAPED) == 0};
}

/* The text of a string, or the digits of an integer. False for other values. */
bool text_of_value(const json_document *document, const json_value *value, text_view *text);

/* The text without the white space around it, as str.strip() of Python gives it. */
text_view text_strip(text_view text);

/* Takes the first word off `rest`, as str.split() of Python separates words. False when there is none left. */
bool text_next_word(text_view *rest, text_view *word);

static inline bool text_equals(text_view text, text_view other) {
    return text.length == other.length
           && (text.length == 0 || memcmp(text.bytes, other.bytes, text.length) == 0); /* `bytes` may be NULL */
}

bool text_has(text_view text, char character);
bool text_contains(text_view text, const char *part);

static inline bool is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

static inline bool is_letter(uint8_t byte) { return (uint8_t)((byte | 0x20) - 'a') < 26; }

static inline bool is_hex_digit(uint8_t byte) { return is_digit(byte) || (uint8_t)((byte | 0x20) - 'a') < 6; }

/* ASCII white space as Python's str methods see it. */
static inline bool is_space(uint8_t byte) {
    return byte == ' ' || (byte >= 9 && byte <= 13) || (byte >= 28 && byte <= 31);
}

static inline uint8_t lower_case(uint8_t byte) {
    return (uint8_t)(byte - 'A') < 26 ? (uint8_t)(byte | 0x20) : byte;
}

#endif
