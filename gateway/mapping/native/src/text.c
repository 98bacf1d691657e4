#include "text.h"

text_view text_from(const void *bytes, size_t length) {
    text_view text = {bytes, length, true, true};
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = text.bytes[i];
        text.is_ascii = text.is_ascii && byte < 0x80;
        text.is_verbatim = text.is_verbatim && byte >= 0x20 && byte != '"' && byte != '\\';
    }
    return text;
}

bool text_of_value(const json_document *document, const json_value *value, text_view *text) {
    if (value->type == JSON_STRING) {
        *text = text_of_string(value);
        return true;
    }
    if (value->type != JSON_INTEGER) {
        return false;
    }
    const uint8_t *digits = document->source + value->start;
    *text = (text_view){digits, value->end - value->start, true, true};
    return value->as.integer != 0 || text->length == 1; /* not `-0`, which Python reads as 0 */
}

/* Bytes of the white space character at the beginning; 0 when there is none. `length` is at least 1. */
static size_t space_at(const uint8_t *bytes, size_t length) {
    uint8_t first = bytes[0];
    if (first < 0x80) {
        return is_space(first) ? 1 : 0;
    }
    if (first == 0xC2) { /* U+0085 and U+00A0 */
        return length > 1 && (bytes[1] == 0x85 || bytes[1] == 0xA0) ? 2 : 0;
    }
    if (length < 3) {
        return 0;
    }
    uint8_t second = bytes[1], third = bytes[2];
    bool is_white = (first == 0xE1 && second == 0x9A && third == 0x80)                      /* U+1680 */
                    || (first == 0xE2 && second == 0x80
                        && (third <= 0x8A || third == 0xA8 || third == 0xA9 || third == 0xAF)) /* U+2000 to U+202F */
                    || (first == 0xE2 && second == 0x81 && third == 0x9F)                   /* U+205F */
                    || (first == 0xE3 && second == 0x80 && third == 0x80);                  /* U+3000 */
    return is_white ? 3 : 0;
}

text_view text_strip(text_view text) {
    while (text.length > 0) {
        size_t space = space_at(text.bytes, text.length);
        if (space == 0) {
            break;
        }
        text.bytes += space;
        text.length -= space;
    }
    while (text.length > 0) {
        size_t last = text.length - 1; /* the first byte of the last character */
        while (last > 0 && (text.bytes[last] & 0xC0) == 0x80) {
            last--;
        }
        if (space_at(text.bytes + last, text.length - last) == 0) {
            break;
        }
        text.length = last;
    }
    return text;
}

bool text_next_word(text_view *rest, text_view *word) {
    size_t space = 0;
    while (rest->length > 0 && (space = space_at(rest->bytes, rest->length)) > 0) {
        rest->bytes += space;
        rest->length -= space;
    }
    size_t end = 0;
    while (end < rest->length && space_at(rest->bytes + end, rest->length - end) == 0) {
        end++;
    }
    *word = *rest;
    word->length = end;
    rest->bytes += end;
    rest->length -= end;
    return end > 0;
}

bool text_has(text_view text, char character) { return memchr(text.bytes, character, text.length) != NULL; }

bool text_contains(text_view text, const char *part) {
    size_t length = strlen(part);
    const uint8_t *at = text.bytes, *end = text.bytes + text.length;
    while (at < end && (at = memchr(at, part[0], (size_t)(end - at))) != NULL) {
        if ((size_t)(end - at) < length) {
            return false;
        }
        if (memcmp(at, part, length) == 0) {
            return true;
        }
        at++;
    }
    return false;
}
