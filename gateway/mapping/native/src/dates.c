#include "dates.h"

enum { MAX_SECONDS_DIGITS = 11, FIRST_YEAR = 1970, DAY = 86400 };

static const int64_t MAX_SECONDS = 100000000000; /* a larger number is one of milliseconds */

bool is_date(unsigned year, unsigned month, unsigned day) {
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (month < 1 || month > 12 || day < 1) {
        return false;
    }
    bool is_leap_year = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return day <= days[month - 1] + (unsigned)(month == 2 && is_leap_year);
}

/* Days from 1 January 1970 to a day at or after it. Years begin in March here, so that the leap day is the last. */
static int64_t days_since_1970(unsigned year, unsigned month, unsigned day) {
    unsigned years = month > 2 ? year : year - 1;
    unsigned months = month > 2 ? month - 3 : month + 9;
    unsigned day_of_year = (153 * months + 2) / 5 + day - 1;
    return 365 * (int64_t)years + years / 4 - years / 100 + years / 400 + day_of_year - 719468;
}

/* The number that `count` digits are; -1 when they are not all digits. */
static int number_at(const uint8_t *bytes, unsigned count) {
    int number = 0;
    for (unsigned i = 0; i < count; i++) {
        if (!is_digit(bytes[i])) {
            return -1;
        }
        number = number * 10 + (bytes[i] - '0');
    }
    return number;
}

/* The offset from UTC that a text is: nothing, `Z` or `+HH:MM`. */
static bool read_offset(const uint8_t *bytes, size_t length, int64_t *seconds) {
    *seconds = 0;
    if (length == 0 || (length == 1 && bytes[0] == 'Z')) {
        return true;
    }
    if (length != 6 || (bytes[0] != '+' && bytes[0] != '-') || bytes[3] != ':') {
        return false;
    }
    int hours = number_at(bytes + 1, 2), minutes = number_at(bytes + 4, 2);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) {
        return false;
    }
    *seconds = (bytes[0] == '-' ? -1 : 1) * (int64_t)(hours * 3600 + minutes * 60);
    return true;
}

/* `YYYY-MM-DDTHH:MM:SS`, up to nine decimals, and the offset. */
static bool read_iso(text_view text, int64_t *seconds) {
    const uint8_t *at = text.bytes;
    if (text.length < 19 || at[4] != '-' || at[7] != '-' || (at[10] != 'T' && at[10] != ' ') || at[13] != ':'
        || at[16] != ':') {
        return false;
    }
    int year = number_at(at, 4), month = number_at(at + 5, 2), day = number_at(at + 8, 2);
    int hour = number_at(at + 11, 2), minute = number_at(at + 14, 2), second = number_at(at + 17, 2);
    if (year < FIRST_YEAR || month < 0 || day < 0 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0
        || second > 59 || !is_date((unsigned)year, (unsigned)month, (unsigned)day)) {
        return false;
    }
    size_t end = 19;
    if (end < text.length && at[end] == '.') {
        size_t decimals = 0;
        while (end + 1 + decimals < text.length && is_digit(at[end + 1 + decimals])) {
            decimals++;
        }
        if (decimals == 0 || decimals > 9) {
            return false;
        }
        end += 1 + decimals;
    }
    int64_t offset;
    if (!read_offset(at + end, text.length - end, &offset)) {
        return false;
    }
    *seconds = days_since_1970((unsigned)year, (unsigned)month, (unsigned)day) * DAY + hour * 3600 + minute * 60
               + second - offset;
    return true;
}

static bool read_number(int64_t number, int64_t *seconds) {
    if (number < 0 || number > 1000 * MAX_SECONDS) {
        return false;
    }
    *seconds = number > MAX_SECONDS ? number / 1000 : number;
    return true;
}

bool read_time(const json_value *value, int64_t *seconds) {
    if (value->type == JSON_INTEGER) {
        return read_number(value->as.integer, seconds);
    }
    return value->type == JSON_STRING && read_iso(text_strip(text_of_string(value)), seconds);
}
