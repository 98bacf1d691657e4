#include "normalise.h"

#include <string.h>

#include "dates.h"

enum {
    MAX_WORD = 31,  /* bytes of the longest text that cannot be a hash or an MD5 */
    MAX_EMAIL = 98, /* as in gateway/mapping/shortcuts.py */
    MAX_TRIMMED = 63,
    MAX_PHONE = 23,
    FIRST_BIRTH_YEAR = 1900,
    LAST_BIRTH_YEAR = 2009 /* later birthdays may be in the future, depending on the day */
};

static normal_text *only_form(normal_forms *normal) {
    normal->count = 1;
    normal->forms[0].length = 0;
    return &normal->forms[0];
}

static void add(normal_text *form, uint8_t byte) { form->bytes[form->length++] = byte; }

static bool is_email_byte(uint8_t byte) {
    return (byte >= 'a' && byte <= 'z') || is_digit(byte) || byte == '-';
}

/* The part before the `@`: [a-z0-9._%+-]{1,64}. */
static size_t local_part(const normal_text *email) {
    size_t end = 0;
    while (end < email->length
           && (is_email_byte(email->bytes[end]) || memchr("._%+", email->bytes[end], 4) != NULL)) {
        end++;
    }
    return end <= 64 ? end : 0;
}

/* Whether the rest is a domain: ([a-z0-9-]{1,63}\.){1,2}[a-z0-9-]{2,24}. */
static bool is_domain(const uint8_t *bytes, size_t length) {
    size_t labels = 0, label = 0;
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] == '.') {
            if (label == 0 || label > 63) {
                return false;
            }
            labels++;
            label = 0;
        } else if (is_email_byte(bytes[i])) {
            label++;
        } else {
            return false;
        }
    }
    return (labels == 1 || labels == 2) && label >= 2 && label <= 24;
}

bool normalise_email(text_view text, normal_forms *normal) {
    if (!text.is_ascii || text.length > MAX_EMAIL) {
        return false;
    }
    text = text_strip(text);
    normal_text *form = only_form(normal);
    for (size_t i = 0; i < text.length; i++) {
        add(form, lower_case(text.bytes[i]));
    }
    size_t at = local_part(form);
    return at > 0 && at < form->length && form->bytes[at] == '@'
           && is_domain(form->bytes + at + 1, form->length - at - 1);
}

/* Words of letters and digits in lower case, each followed by a space, and their number. */
static size_t words_of(text_view text, normal_text *words) {
    size_t count = 0;
    words->length = 0;
    for (size_t i = 0; i < text.length; i++) {
        uint8_t byte = text.bytes[i];
        if (is_letter(byte) || is_digit(byte)) {
            add(words, lower_case(byte));
        } else if (is_space(byte) && words->length > 0 && words->bytes[words->length - 1] != ' ') {
            add(words, ' ');
            count++;
        }
    }
    if (words->length > 0 && words->bytes[words->length - 1] != ' ') {
        add(words, ' ');
        count++;
    }
    return count;
}

bool normalise_name(text_view text, bool has_variants, normal_forms *normal) {
    if (!text.is_ascii || text.length > MAX_WORD) {
        return false;
    }
    normal_text words;
    size_t count = words_of(text, &words);
    normal_text *form = only_form(normal);
    for (size_t i = 0; i < words.length; i++) {
        if (words.bytes[i] != ' ') {
            add(form, words.bytes[i]);
        }
    }
    if (count > 1 && has_variants) {
        normal->count = 2;
        normal->forms[1] = words;
        normal->forms[1].length--; /* the space at the end */
    }
    return count > 0;
}

/* The letters and digits in lower case. */
static void compact(text_view text, normal_text *form) {
    for (size_t i = 0; i < text.length; i++) {
        if (is_letter(text.bytes[i]) || is_digit(text.bytes[i])) {
            add(form, lower_case(text.bytes[i]));
        }
    }
}

bool normalise_city(text_view text, normal_forms *normal) {
    if (!text.is_ascii || text.length > MAX_WORD) {
        return false;
    }
    normal_text *form = only_form(normal);
    compact(text, form);
    return form->length > 0;
}

bool normalise_zip(text_view text, country_code country, normal_forms *normal) {
    if (!text.is_ascii || text.length > MAX_WORD || text_has(text, '-')) {
        return false;
    }
    normal_text *form = only_form(normal);
    compact(text, form);
    if (!country_is(country, "US")) {
        return form->length >= 2;
    }
    bool is_plain = text.length == 5 && form->length == 5;
    for (size_t i = 0; i < form->length; i++) {
        is_plain = is_plain && is_digit(form->bytes[i]);
    }
    return is_plain;
}

bool normalise_trimmed(text_view text, bool lower, normal_forms *normal) {
    if (text.length > MAX_TRIMMED || (lower && !text.is_ascii)) {
        return false;
    }
    text = text_strip(text);
    normal_text *form = only_form(normal);
    for (size_t i = 0; i < text.length; i++) {
        add(form, lower ? lower_case(text.bytes[i]) : text.bytes[i]);
    }
    return form->length > 0;
}

bool normalise_phone(text_view text, normal_forms *normal) {
    if (!text.is_ascii || text.length > MAX_PHONE || text.length == 0 || text.bytes[0] != '+'
        || text_contains(text, "(0")) {
        return false;
    }
    normal_text *form = only_form(normal);
    for (size_t i = 1; i < text.length; i++) {
        if (is_digit(text.bytes[i])) {
            add(form, text.bytes[i]);
        } else if (memchr(" -.()[]{}_/\t", text.bytes[i], 12) == NULL) {
            return false;
        }
    }
    return form->length >= 4;
}

/* Takes one or two digits, or with `exactly` so many. False when there are none. */
static bool take_number(text_view *rest, size_t exactly, unsigned *number) {
    size_t most = exactly > 0 ? exactly : 2, digits = 0;
    *number = 0;
    while (digits < most && digits < rest->length && is_digit(rest->bytes[digits])) {
        *number = *number * 10 + (unsigned)(rest->bytes[digits++] - '0');
    }
    rest->bytes += digits;
    rest->length -= digits;
    return digits > 0 && (exactly == 0 || digits == exactly);
}

/* White space of a regular expression for ASCII. */
static bool take_space(text_view *rest) {
    if (rest->length == 0 || !(rest->bytes[0] == ' ' || (rest->bytes[0] >= 9 && rest->bytes[0] <= 13))) {
        return false;
    }
    rest->bytes++;
    rest->length--;
    return true;
}

/* Takes what is between two numbers: one of `,/.-` with up to one space on each side, or one space. */
static bool take_separator(text_view *rest, uint8_t *separator) {
    bool has_space = take_space(rest);
    *separator = 0;
    if (rest->length > 0 && memchr(",/.-", rest->bytes[0], 4) != NULL) {
        *separator = rest->bytes[0];
        rest->bytes++;
        rest->length--;
        take_space(rest);
    }
    return has_space || *separator != 0;
}

typedef struct {
    unsigned year, month, day;
} date_parts;

static void swap_month(date_parts *date) {
    unsigned day = date->month;
    date->month = date->day;
    date->day = day;
}

/* `YYYY-MM-DD` with one of `-/.` or nothing as separator, also with a time behind it. */
static bool year_first(text_view text, date_parts *date) {
    uint8_t separator = text.length > 4 ? text.bytes[4] : 0;
    bool is_separated = separator == '-' || separator == '/' || separator == '.';
    if (!take_number(&text, 4, &date->year)) {
        return false;
    }
    if (is_separated) {
        text.bytes++;
        text.length--;
    }
    if (!take_number(&text, 2, &date->month)) {
        return false;
    }
    if (is_separated) {
        if (text.length == 0 || text.bytes[0] != separator) {
            return false;
        }
        text.bytes++;
        text.length--;
    }
    if (!take_number(&text, 2, &date->day)) {
        return false;
    }
    if (is_separated && date->month > 12) {
        swap_month(date);
    }
    return text.length == 0 || text.bytes[0] == 'T' || text.bytes[0] == ' ';
}

/* `DD, MM, YYYY` with the usual separators. */
static bool year_last(text_view text, bool month_first, bool american, date_parts *date) {
    uint8_t before, after;
    if (!take_number(&text, 0, &date->day) || !take_separator(&text, &before) || !take_number(&text, 0, &date->month)
        || !take_separator(&text, &after) || !take_number(&text, 4, &date->year) || text.length > 0) {
        return false;
    }
    bool has_slashes = before == '/' && after == '/';
    if (date->month > 12 || (date->day <= 12 && (month_first || (american && has_slashes)))) {
        swap_month(date);
    }
    return true;
}

static void add_number(normal_text *form, unsigned number, unsigned digits) {
    unsigned power = 1;
    for (unsigned i = 1; i < digits; i++) {
        power *= 10;
    }
    for (; power > 0; power /= 10) {
        add(form, (uint8_t)('0' + number / power % 10));
    }
}

bool normalise_birthday(text_view text, bool month_first, bool american, bool parts, normal_forms *normal) {
    if (!text.is_ascii || text.length > MAX_WORD) {
        return false;
    }
    text = text_strip(text);
    date_parts date;
    if (!year_first(text, &date) && !year_last(text, month_first, american, &date)) {
        return false;
    }
    if (date.year < FIRST_BIRTH_YEAR || date.year > LAST_BIRTH_YEAR || !is_date(date.year, date.month, date.day)) {
        return false;
    }
    normal->count = parts ? 3 : 1;
    const unsigned values[MAX_FORMS] = {date.year, date.month, date.day};
    for (unsigned i = 0; i < MAX_FORMS; i++) {
        normal_text *form = &normal->forms[parts ? i : 0];
        if (parts || i == 0) {
            form->length = 0;
        }
        add_number(form, values[i], i == 0 ? 4 : 2);
    }
    return true;
}

bool normalise_madid(text_view text, normal_forms *normal) {
    text = text_strip(text);
    if (text.length != 36) {
        return false;
    }
    normal_text *form = only_form(normal);
    bool has_other_than_zeros = false;
    for (size_t i = 0; i < text.length; i++) {
        uint8_t byte = lower_case(text.bytes[i]);
        bool is_hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_hyphen ? byte != '-' : !is_hex_digit(byte)) {
            return false;
        }
        has_other_than_zeros = has_other_than_zeros || (byte != '0' && byte != '-');
        add(form, byte);
    }
    return has_other_than_zeros;
}

bool is_ipv4(text_view text) {
    for (unsigned part = 0; part < 4; part++) {
        size_t digits = 0;
        unsigned number = 0;
        while (digits < 3 && digits < text.length && is_digit(text.bytes[digits])) {
            number = number * 10 + (unsigned)(text.bytes[digits++] - '0');
        }
        if (digits == 0 || number > 255 || (digits > 1 && text.bytes[0] == '0')) {
            return false;
        }
        bool is_last = part == 3;
        if (is_last ? text.length != digits : text.length == digits || text.bytes[digits] != '.') {
            return false;
        }
        size_t used = digits + (is_last ? 0 : 1);
        text.bytes += used;
        text.length -= used;
    }
    return true;
}

bool read_hash(text_view text, char hash[HEX_HASH]) {
    static const char empty_text[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    text = text_strip(text);
    if (text.length != HEX_HASH) {
        return false;
    }
    for (size_t i = 0; i < HEX_HASH; i++) {
        if (!is_hex_digit(text.bytes[i])) {
            return false;
        }
        hash[i] = (char)lower_case(text.bytes[i]);
    }
    return memcmp(hash, empty_text, HEX_HASH) != 0;
}
