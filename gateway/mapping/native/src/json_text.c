#include "json_text.h"

#include <string.h>

enum { UNICODE_ESCAPE = 6 /* characters of \uXXXX */ };

static inline bool is_between(uint8_t byte, uint8_t first, uint8_t last)
{
    return byte >= first && byte <= last;
}

size_t json_sequence_length(const uint8_t *text, const uint8_t *end)
{
    const uint8_t lead = text[0];
    uint8_t first = 0x80, last = 0xBF; /* of the second byte */
    size_t length = 2;
    if (is_between(lead, 0xE0, 0xEF)) {
        length = 3;
        first = lead == 0xE0 ? 0xA0 : first; /* no overlong forms */
        last = lead == 0xED ? 0x9F : last;   /* no surrogates */
    } else if (is_between(lead, 0xF0, 0xF4)) {
        length = 4;
        first = lead == 0xF0 ? 0x90 : first;
        last = lead == 0xF4 ? 0x8F : last; /* nothing above U+10FFFF */
    } else if (!is_between(lead, 0xC2, 0xDF)) {
        return 0;
    }
    if ((size_t)(end - text) < length || !is_between(text[1], first, last)) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if (!is_between(text[i], 0x80, 0xBF)) {
            return 0;
        }
    }
    return length;
}

/* The UTF-16 code unit of the escape \uXXXX at `text`, or -1. */
static int32_t code_unit(const uint8_t *text, const uint8_t *end)
{
    int32_t unit = 0;
    if (end - text < UNICODE_ESCAPE || text[0] != '\\' || text[1] != 'u') {
        return -1;
    }
    for (int i = 2; i < UNICODE_ESCAPE; i++) {
        const uint8_t lower = text[i] | 0x20;
        if (is_between(text[i], '0', '9')) {
            unit = unit * 16 + (text[i] - '0');
        } else if (is_between(lower, 'a', 'f')) {
            unit = unit * 16 + (lower - 'a' + 10);
        } else {
            return -1;
        }
    }
    return unit;
}

static uint8_t *write_utf8(uint8_t *out, uint32_t character)
{
    if (character < 0x80) {
        *out++ = (uint8_t)character;
        return out;
    }
    if (character < 0x800) {
        *out++ = (uint8_t)(0xC0 | character >> 6);
    } else if (character < 0x10000) {
        *out++ = (uint8_t)(0xE0 | character >> 12);
        *out++ = (uint8_t)(0x80 | (character >> 6 & 0x3F));
    } else {
        *out++ = (uint8_t)(0xF0 | character >> 18);
        *out++ = (uint8_t)(0x80 | (character >> 12 & 0x3F));
        *out++ = (uint8_t)(0x80 | (character >> 6 & 0x3F));
    }
    *out++ = (uint8_t)(0x80 | (character & 0x3F));
    return out;
}

static const uint8_t *decode_unicode(const uint8_t *text, const uint8_t *end, uint8_t **out, bool *ascii)
{
    const int32_t unit = code_unit(text, end);
    if (unit < 0) {
        return NULL;
    }
    text += UNICODE_ESCAPE;
    uint32_t character = (uint32_t)unit;
    if (unit >= 0xD800 && unit <= 0xDFFF) {
        const int32_t low = code_unit(text, end);
        if (unit > 0xDBFF || low < 0xDC00 || low > 0xDFFF) {
            return NULL;
        }
        character = 0x10000 + (character - 0xD800) * 0x400 + (uint32_t)(low - 0xDC00);
        text += UNICODE_ESCAPE;
    }
    *ascii = *ascii && character < 0x80;
    *out = write_utf8(*out, character);
    return text;
}

const uint8_t *json_decode_escape(const uint8_t *text, const uint8_t *end, uint8_t **out, bool *ascii)
{
    static const char letters[] = "\"\\/bfnrt", decoded[] = "\"\\/\b\f\n\r\t";
    if (end - text < 2) {
        return NULL;
    }
    if (text[1] == 'u') {
        return decode_unicode(text, end, out, ascii);
    }
    const char *letter = memchr(letters, text[1], sizeof letters - 1);
    if (letter == NULL) {
        return NULL;
    }
    *(*out)++ = (uint8_t)decoded[letter - letters];
    return text + 2;
}
