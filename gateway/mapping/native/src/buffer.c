#include "python.h"

#include "buffer.h"

enum { FIRST_CAPACITY = 4096, MAX_INTEGER = 20 /* characters of the longest */ };

void buffer_init(buffer *buffer, size_t limit) {
    buffer->bytes = NULL;
    buffer->length = buffer->capacity = 0;
    buffer->limit = limit;
    buffer->state = BUFFER_OK;
}

void buffer_free(buffer *buffer) {
    PyMem_Free(buffer->bytes);
    buffer_init(buffer, 0);
}

void buffer_clear(buffer *buffer) {
    buffer->length = 0;
    buffer->state = BUFFER_OK;
}

bool buffer_grow(buffer *buffer, size_t more) {
    if (more > buffer->limit || buffer->length > buffer->limit - more) {
        buffer->state = BUFFER_FULL;
        return false;
    }
    size_t needed = buffer->length + more;
    size_t capacity = buffer->capacity > 0 ? buffer->capacity : FIRST_CAPACITY;
    while (capacity < needed) {
        capacity *= 2; /* no overflow: `needed` is at most `limit`, which is below SIZE_MAX / 2 */
    }
    uint8_t *bytes = PyMem_Realloc(buffer->bytes, capacity);
    if (bytes == NULL) {
        buffer->state = BUFFER_NO_MEMORY;
        return false;
    }
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return true;
}

/* Writes the escape of a character below 0x20, a quote or a backslash; returns the position behind it. */
static uint8_t *escape(uint8_t *out, uint8_t byte) {
    static const char hexadecimal[] = "0123456789abcdef";
    static const char letters[0x20] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    *out++ = '\\';
    if (byte >= 0x20) {
        *out++ = byte;
    } else if (letters[byte] != 0) {
        *out++ = (uint8_t)letters[byte];
    } else {
        memcpy(out, "u00", 3);
        out[3] = (uint8_t)hexadecimal[byte >> 4];
        out[4] = (uint8_t)hexadecimal[byte & 15];
        out += 5;
    }
    return out;
}

void buffer_put_string(buffer *buffer, text_view text) {
    size_t most = (text.is_verbatim ? text.length : 6 * text.length) + 2; /* an escape has up to 6 bytes */
    if (!buffer_has_space(buffer, most)) {
        return;
    }
    uint8_t *out = buffer->bytes + buffer->length;
    *out++ = '"';
    if (text.is_verbatim) {
        memcpy(out, text.bytes, text.length);
        out += text.length;
    } else {
        for (size_t i = 0; i < text.length; i++) {
            uint8_t byte = text.bytes[i];
            if (byte >= 0x20 && byte != '"' && byte != '\\') {
                *out++ = byte;
            } else {
                out = escape(out, byte);
            }
        }
    }
    *out++ = '"';
    buffer->length = (size_t)(out - buffer->bytes);
}

void buffer_put_integer(buffer *buffer, int64_t integer) {
    uint8_t digits[MAX_INTEGER];
    size_t first = MAX_INTEGER;
    uint64_t rest = integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer;
    do {
        digits[--first] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (integer < 0) {
        digits[--first] = '-';
    }
    buffer_put(buffer, digits + first, MAX_INTEGER - first);
}

/* Puts a decimal fraction such as `12.50` or `-0.25` in its shortest form. False for one in another form.
 *
 * At most 15 digits: such a decimal is the shortest of all that are read as the same double, but for zeros at its end.
 */
static bool put_decimal(buffer *buffer, text_view text) {
    size_t sign = text.length > 0 && text.bytes[0] == '-' ? 1 : 0, point = sign, end = text.length;
    while (point < end && is_digit(text.bytes[point])) {
        point++;
    }
    size_t whole = point - sign;
    if (whole == 0 || (whole > 1 && text.bytes[sign] == '0') || point + 2 > end || text.bytes[point] != '.') {
        return false;
    }
    for (size_t i = point + 1; i < end; i++) {
        if (!is_digit(text.bytes[i])) {
            return false;
        }
    }
    while (text.bytes[end - 1] == '0' && end > point + 2) {
        end--;
    }
    bool is_small = text.bytes[sign] == '0' && end > point + 3 && text.bytes[point + 1] == '0'; /* below 0.1 */
    if (end - sign - 1 > 15 || is_small) {
        return false;
    }
    buffer_put(buffer, text.bytes, end);
    return true;
}

enum { MAX_DECIMAL = 40 /* characters of the longest number that Python's parser is asked for */ };

/* Puts any double between 0.001 and 10^15, whose shortest form is the same in Python and in orjson. */
static bool put_double(buffer *buffer, text_view text) {
    char source[MAX_DECIMAL + 1];
    if (text.length > MAX_DECIMAL) {
        return false;
    }
    memcpy(source, text.bytes, text.length);
    source[text.length] = '\0';
    double number = PyOS_string_to_double(source, NULL, NULL);
    if (number == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    double size = number < 0 ? -number : number;
    if (!(size >= 0.001 && size < 1e15)) {
        return false;
    }
    char *shortest = PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (shortest == NULL) {
        PyErr_Clear();
        buffer->state = BUFFER_NO_MEMORY;
        return false;
    }
    buffer_put(buffer, shortest, strlen(shortest));
    PyMem_Free(shortest);
    return true;
}

bool buffer_put_number(buffer *buffer, const json_document *document, const json_value *value) {
    if (value->type == JSON_INTEGER) {
        buffer_put_integer(buffer, value->as.integer);
        return true;
    }
    text_view text = {document->source + value->start, value->end - value->start, true, true};
    if (value->type == JSON_NUMBER && !text_has(text, '.')) {
        return false; /* a large integer, or one with an exponent */
    }
    return put_decimal(buffer, text) || put_double(buffer, text);
}

bool buffer_put_number_of_text(buffer *buffer, text_view text) {
    text = text_strip(text);
    bool is_integer = text.length > 0 && text.length <= 15 && (text.bytes[0] != '0' || text.length == 1);
    for (size_t i = 0; i < text.length; i++) {
        is_integer = is_integer && is_digit(text.bytes[i]);
    }
    if (is_integer) {
        buffer_put_text(buffer, text);
        return true;
    }
    return put_decimal(buffer, text);
}
