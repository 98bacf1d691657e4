/* A cheap test for texts that cannot look personal to gateway/mapping/personal.py. */
#include "mapping.h"

/* Whether a text begins with `http://` or `https://`, in any case. White space before it is taken off. */
static bool begins_as_address(text_view text) {
    static const char scheme[] = "http";
    text = text_strip(text);
    if (text.length < 7) {
        return false;
    }
    for (size_t i = 0; i < 4; i++) {
        if (lower_case(text.bytes[i]) != (uint8_t)scheme[i]) {
            return false;
        }
    }
    size_t colon = lower_case(text.bytes[4]) == 's' ? 5 : 4;
    return text.length >= colon + 3 && memcmp(text.bytes + colon, "://", 3) == 0;
}

/* Whether nothing of an address has to be looked at. */
static bool needs_no_cleaning(text_view text) {
    return text.is_ascii && !text_has(text, '?') && !text_has(text, '@') && !text_has(text, '#')
           && !text_has(text, '%');
}

/* Whether an ASCII text without `%` may be an IP address: only hexadecimal digits, dots and colons. */
static bool may_be_ip_address(text_view text) {
    for (size_t i = 0; i < text.length; i++) {
        if (!is_hex_digit(text.bytes[i]) && text.bytes[i] != '.' && text.bytes[i] != ':') {
            return false;
        }
    }
    return text_has(text, '.') || text_has(text, ':');
}

static bool is_phone_separator(uint8_t byte) { return is_space(byte) || memchr("().-/", byte, 5) != NULL; }

/* Whether an ASCII text may be a phone number in international form: `+` or `00`, digits and separators. */
static bool may_be_phone(text_view text) {
    size_t characters = 0;
    for (size_t i = 0; i < text.length; i++) {
        uint8_t byte = text.bytes[i];
        if (is_phone_separator(byte)) {
            continue;
        }
        bool fits = characters == 0 ? byte == '+' || byte == '0' : is_digit(byte);
        if (!fits) {
            return false;
        }
        characters++;
    }
    return characters > 7;
}

/* Whether the first character is neither white space nor a sign that may begin a phone number. */
static bool begins_beyond_ascii(text_view text) {
    uint8_t first = text.bytes[0];
    return (first >= 0xC3 && first <= 0xDF) || (first >= 0xE4 && first != 0xEF);
}

bool is_plain_text(text_view text) {
    if (text.length == 0) {
        return true;
    }
    if (text_has(text, '@') || text_has(text, '%')) {
        return false;
    }
    if (!text.is_ascii) {
        bool begins_plainly = is_letter(text.bytes[0]) || begins_beyond_ascii(text);
        return begins_plainly && !text_has(text, ':') && !text_contains(text, "\xEF\xBC\xA0");
    }
    if (begins_as_address(text)) {
        return needs_no_cleaning(text);
    }
    text = text_strip(text);
    if (text.length == 0 || (is_letter(text.bytes[0]) && !text_has(text, ':'))) {
        return true;
    }
    return !may_be_ip_address(text) && !may_be_phone(text);
}

bool is_plain_address(text_view text) {
    if (!begins_as_address(text) || !needs_no_cleaning(text)) {
        return false;
    }
    text = text_strip(text);
    size_t host = lower_case(text.bytes[4]) == 's' ? 8 : 7;
    return text.length > host && text.bytes[host] != '/' && !is_space(text.bytes[host]) && !text_has(text, ' ');
}
