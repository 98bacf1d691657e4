/* Normalisation of personal values in their usual forms: the same results as gateway/mapping/normalise.py and phone.py.
 *
 * Every function returns false for a text that it does not know, and Python then decides.
 */
#ifndef GATEWAY_NORMALISE_H
#define GATEWAY_NORMALISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

enum {
    NORMAL_LENGTH = 128, /* bytes of the longest normal form; all texts that are read here are shorter */
    MAX_FORMS = 3,       /* a name has up to two, the parts of a birthday are three */
    HEX_HASH = 64        /* characters of a SHA-256 */
};

typedef struct {
    uint8_t bytes[NORMAL_LENGTH];
    size_t length;
} normal_text;

typedef struct {
    normal_text forms[MAX_FORMS];
    unsigned count;
} normal_forms;

/* The customer's country: two letters in upper case, or zeros when it is not known. */
typedef struct {
    char letters[2];
} country_code;

static inline bool country_is(country_code country, const char *letters) {
    return country.letters[0] == letters[0] && country.letters[1] == letters[1];
}

bool normalise_email(text_view text, normal_forms *normal);
bool normalise_name(text_view text, bool has_variants, normal_forms *normal);
bool normalise_city(text_view text, normal_forms *normal);
bool normalise_zip(text_view text, country_code country, normal_forms *normal);
bool normalise_trimmed(text_view text, bool lower, normal_forms *normal);

/* The digits of a number that begins with `+`. Whether the number is complete has to be found out by them. */
bool normalise_phone(text_view text, normal_forms *normal);

/* A birthday before 2010: one form YYYYMMDD, or with `parts` the three forms YYYY, MM and DD.
 *
 * Where both numbers could be the month, `month_first` decides, with slashes between them also `american`.
 */
bool normalise_birthday(text_view text, bool month_first, bool american, bool parts, normal_forms *normal);

/* An advertiser ID in lower case. */
bool normalise_madid(text_view text, normal_forms *normal);

bool is_ipv4(text_view text);

/* Copies the SHA-256 that a text is, in lower case. False for other texts, and for the hash of the empty text. */
bool read_hash(text_view text, char hash[HEX_HASH]);

#endif
