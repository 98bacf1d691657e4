#include "python.h"

#include "memo.h"

#include <string.h>

enum { WAYS = 4 /* entries in which a key may be stored */ };

/* 180 bytes. Hashes are stored as bytes, not as hexadecimal, which halves the memory of the whole. */
typedef struct {
    uint32_t hash;
    uint8_t length; /* of the text; 0 in an empty entry */
    uint8_t field;
    country_code country;
    uint8_t kind, count, cause; /* of the answer, as its country */
    country_code answer_country;
    uint8_t hashes[MAX_FORMS][HEX_HASH / 2];
    uint8_t text[VALUE_LENGTH];
} value_entry;

struct value_memo {
    uint32_t next; /* counts, so that entries are replaced in turn */
    value_entry entries[VALUE_ENTRIES];
};

value_memo *value_memo_new(void) { return PyMem_Calloc(1, sizeof(value_memo)); }

void value_memo_free(value_memo *memo) { PyMem_Free(memo); }

static uint8_t digit_value(char digit) { return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10); }

static void pack(value_entry *entry, const answer *answer) {
    entry->kind = answer->kind;
    entry->count = answer->count;
    entry->cause = answer->cause;
    entry->answer_country = answer->country;
    for (unsigned i = 0; answer->kind == ANSWER_HASHES && i < answer->count; i++) {
        for (unsigned j = 0; j < HEX_HASH / 2; j++) {
            const char *digits = &answer->hashes[i][2 * j];
            entry->hashes[i][j] = (uint8_t)(digit_value(digits[0]) << 4 | digit_value(digits[1]));
        }
    }
}

static void unpack(const value_entry *entry, answer *answer) {
    static const char digits[] = "0123456789abcdef";
    answer->kind = entry->kind;
    answer->count = entry->count;
    answer->cause = entry->cause;
    answer->country = entry->answer_country;
    for (unsigned i = 0; entry->kind == ANSWER_HASHES && i < entry->count; i++) {
        for (unsigned j = 0; j < HEX_HASH / 2; j++) {
            answer->hashes[i][2 * j] = digits[entry->hashes[i][j] >> 4];
            answer->hashes[i][2 * j + 1] = digits[entry->hashes[i][j] & 15];
        }
    }
}

static uint32_t hash_of(const value_key *key) {
    uint32_t hash = json_hash(key->text.bytes, key->text.length);
    uint32_t rest = key->field | (uint32_t)(uint8_t)key->country.letters[0] << 8
                    | (uint32_t)(uint8_t)key->country.letters[1] << 16;
    hash = (hash ^ rest) * 0x9E3779B1u;
    return hash ^ hash >> 15;
}

static bool is_entry_of(const value_entry *entry, const value_key *key, uint32_t hash) {
    return entry->hash == hash && entry->length == key->text.length && entry->field == key->field
           && memcmp(&entry->country, &key->country, sizeof(country_code)) == 0
           && memcmp(entry->text, key->text.bytes, entry->length) == 0;
}

static bool can_be_stored(const value_key *key) { return key->text.length > 0 && key->text.length <= VALUE_LENGTH; }

bool value_memo_get(const value_memo *memo, const value_key *key, answer *answer) {
    if (!can_be_stored(key)) {
        return false;
    }
    uint32_t hash = hash_of(key), first = hash % (VALUE_ENTRIES / WAYS) * WAYS;
    for (uint32_t i = first; i < first + WAYS; i++) {
        if (is_entry_of(&memo->entries[i], key, hash)) {
            unpack(&memo->entries[i], answer);
            return true;
        }
    }
    return false;
}

void value_memo_put(value_memo *memo, const value_key *key, const answer *answer) {
    if (!can_be_stored(key)) {
        return;
    }
    uint32_t hash = hash_of(key), first = hash % (VALUE_ENTRIES / WAYS) * WAYS;
    value_entry *entry = &memo->entries[first + memo->next++ % WAYS];
    for (uint32_t i = first; i < first + WAYS; i++) {
        if (memo->entries[i].length == 0) {
            entry = &memo->entries[i];
            break;
        }
    }
    entry->hash = hash;
    entry->length = (uint8_t)key->text.length;
    entry->field = key->field;
    entry->country = key->country;
    memcpy(entry->text, key->text.bytes, key->text.length);
    pack(entry, answer);
}

typedef struct {
    uint32_t hash;
    uint32_t verdict;
    uint8_t length; /* 0 in an empty entry */
    uint8_t text[NAME_LENGTH];
} name_entry;

struct name_memo {
    uint32_t next;
    name_entry entries[NAME_ENTRIES];
};

name_memo *name_memo_new(void) { return PyMem_Calloc(1, sizeof(name_memo)); }

void name_memo_free(name_memo *memo) { PyMem_Free(memo); }

bool name_memo_get(const name_memo *memo, text_view name, uint32_t hash, uint32_t *verdict) {
    if (name.length == 0 || name.length > NAME_LENGTH) {
        return false;
    }
    uint32_t first = hash % (NAME_ENTRIES / WAYS) * WAYS;
    for (uint32_t i = first; i < first + WAYS; i++) {
        const name_entry *entry = &memo->entries[i];
        if (entry->hash == hash && entry->length == name.length && memcmp(entry->text, name.bytes, name.length) == 0) {
            *verdict = entry->verdict;
            return true;
        }
    }
    return false;
}

void name_memo_put(name_memo *memo, text_view name, uint32_t hash, uint32_t verdict) {
    if (name.length == 0 || name.length > NAME_LENGTH) {
        return;
    }
    uint32_t first = hash % (NAME_ENTRIES / WAYS) * WAYS;
    name_entry *entry = &memo->entries[first + memo->next++ % WAYS];
    for (uint32_t i = first; i < first + WAYS; i++) {
        if (memo->entries[i].length == 0) {
            entry = &memo->entries[i];
            break;
        }
    }
    *entry = (name_entry){hash, verdict, (uint8_t)name.length, {0}};
    memcpy(entry->text, name.bytes, name.length);
}
