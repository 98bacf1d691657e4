#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "json_number.h"

#include <float.h>
#include <stdbool.h>
#include <string.h>

/* Reals are computed by one operation on two exact doubles, which rounds correctly only without excess precision. */
_Static_assert(FLT_EVAL_METHOD == 0, "arithmetic with doubles has to round to doubles");

enum {
    MAX_EXACT_POWER = 22,     /* the largest power of ten that a double holds exactly */
    MAX_MANTISSA_DIGITS = 19, /* 64 bits hold all numbers of so many digits */
    MAX_COMPUTED_DIGITS = 17, /* enough for the shortest text of each double */
    MAX_COMPUTED_TEXT = 31,   /* characters */
    MAX_FINITE_TEXT = 300     /* characters plus exponent; the largest double has 309 digits */
};

static const uint64_t MAX_EXACT_MANTISSA = UINT64_C(1) << 53;

/* The parts of a number's text. */
typedef struct {
    uint64_t mantissa; /* all digits as one number, if there are at most MAX_MANTISSA_DIGITS */
    int32_t digits;    /* from the first that is not zero */
    int32_t power;     /* of ten, by which the mantissa is multiplied */
    int32_t exponent;  /* as written, without its sign; above MAX_FINITE_TEXT only roughly */
    bool negative;
    bool integer; /* neither a fraction nor an exponent */
} number_parts;

static inline bool is_digit(const uint8_t *text, const uint8_t *end)
{
    return text < end && *text >= '0' && *text <= '9';
}

static inline const uint8_t *scan_digits(const uint8_t *text, const uint8_t *end, number_parts *parts)
{
    for (; is_digit(text, end); text++) {
        parts->mantissa = parts->mantissa * 10 + (uint64_t)(*text - '0'); /* wraps around where there are too many */
        parts->digits += parts->mantissa != 0 || parts->digits != 0;
    }
    return text;
}

static const uint8_t *scan_exponent(const uint8_t *text, const uint8_t *end, number_parts *parts)
{
    const bool negative = text < end && *text == '-';
    text += negative || (text < end && *text == '+');
    if (!is_digit(text, end)) {
        return NULL;
    }
    for (; is_digit(text, end); text++) {
        parts->exponent = parts->exponent <= MAX_FINITE_TEXT ? parts->exponent * 10 + (*text - '0') : parts->exponent;
    }
    parts->power += negative ? -parts->exponent : parts->exponent;
    return text;
}

/* The end of the number at `text`, or NULL where it breaks the grammar of RFC 8259, section 6. */
static inline const uint8_t *scan_number(const uint8_t *text, const uint8_t *end, number_parts *parts)
{
    parts->negative = *text == '-';
    parts->integer = true;
    const uint8_t *digits = text + parts->negative;
    text = scan_digits(digits, end, parts);
    if (text == digits || (*digits == '0' && text - digits > 1)) {
        return NULL;
    }
    if (text < end && *text == '.') {
        const uint8_t *fraction = text + 1;
        text = scan_digits(fraction, end, parts);
        if (text == fraction) {
            return NULL;
        }
        parts->integer = false;
        parts->power = (int32_t)(fraction - text);
    }
    if (text < end && (*text == 'e' || *text == 'E')) {
        parts->integer = false;
        return scan_exponent(text + 1, end, parts);
    }
    return text;
}

/* The double of a mantissa and a power that doubles hold exactly: the one operation rounds correctly. */
static inline double exact_real(const number_parts *parts)
{
    static const double powers[MAX_EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                       1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                       1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const double mantissa = (double)parts->mantissa;
    const double real = parts->power < 0 ? mantissa / powers[-parts->power] : mantissa * powers[parts->power];
    return parts->negative ? -real : real;
}

/* Python's conversion, which rounds correctly in any locale. */
static enum json_status rounded_real(const uint8_t *text, size_t length, double *real)
{
    char terminated[MAX_COMPUTED_TEXT + 1];
    memcpy(terminated, text, length);
    terminated[length] = '\0';
    *real = PyOS_string_to_double(terminated, NULL, NULL);
    if (*real == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return JSON_NO_MEMORY;
    }
    return JSON_OK;
}

enum json_status json_read_number(const uint8_t *text, const uint8_t *end, json_value *value, const uint8_t **behind)
{
    number_parts parts = {0};
    const uint8_t *stop = scan_number(text, end, &parts);
    if (stop == NULL || stop - text + parts.exponent > MAX_FINITE_TEXT) {
        return JSON_UNSUPPORTED;
    }
    *behind = stop;
    value->type = JSON_NUMBER;
    if (parts.integer) {
        if (parts.digits <= MAX_MANTISSA_DIGITS && parts.mantissa <= INT64_MAX) {
            value->type = JSON_INTEGER;
            value->as.integer = parts.negative ? -(int64_t)parts.mantissa : (int64_t)parts.mantissa;
        }
        return JSON_OK;
    }
    if (parts.digits > MAX_COMPUTED_DIGITS || stop - text > MAX_COMPUTED_TEXT) {
        return JSON_OK;
    }
    value->type = JSON_REAL;
    if (parts.mantissa <= MAX_EXACT_MANTISSA && parts.power >= -MAX_EXACT_POWER && parts.power <= MAX_EXACT_POWER) {
        value->as.real = exact_real(&parts);
        return JSON_OK;
    }
    return rounded_real(text, (size_t)(stop - text), &value->as.real);
}
