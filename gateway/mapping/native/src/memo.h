/* Bounded caches of what Python answered: about a personal value, and about the name of a property.
 *
 * Answers are copied in and out, so that no entry is referred to while Python runs.
 */
#ifndef GATEWAY_MEMO_H
#define GATEWAY_MEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "normalise.h"
#include "text.h"

enum answer_kind {
    ANSWER_FALL_BACK, /* only Python can map the event; not stored */
    ANSWER_HASHES,    /* `count` hashes */
    ANSWER_ABSENT,    /* nothing is sent, and nothing is counted */
    ANSWER_DROPPED,   /* nothing is sent, for `cause` */
    ANSWER_YES,       /* the answer to a question */
    ANSWER_NO,
    ANSWER_TEXT       /* the text is returned apart; not stored */
};

typedef struct {
    uint8_t kind;
    uint8_t count; /* of hashes */
    uint8_t cause;
    country_code country; /* for the field `country`: the code, or zeros */
    char hashes[MAX_FORMS][HEX_HASH];
} answer;

enum {
    VALUE_ENTRIES = 16384, /* 2.9 MB, of which a process touches what it uses */
    VALUE_LENGTH = 64,    /* bytes of the longest text that is stored */
    NAME_ENTRIES = 1024,
    NAME_LENGTH = 64
};

typedef struct {
    text_view text;
    country_code country;
    uint8_t field;
} value_key;

typedef struct value_memo value_memo;

value_memo *value_memo_new(void);
void value_memo_free(value_memo *memo);
bool value_memo_get(const value_memo *memo, const value_key *key, answer *answer);
void value_memo_put(value_memo *memo, const value_key *key, const answer *answer);

typedef struct name_memo name_memo;

name_memo *name_memo_new(void);
void name_memo_free(name_memo *memo);
bool name_memo_get(const name_memo *memo, text_view name, uint32_t hash, uint32_t *verdict);
void name_memo_put(name_memo *memo, text_view name, uint32_t hash, uint32_t verdict);

#endif
