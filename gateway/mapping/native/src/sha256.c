#include "sha256_engines.h"

#include <string.h>

enum { LENGTH_BYTES = 8, MAX_PADDED_REST = SHA256_BLOCK - LENGTH_BYTES - 1 };

static const uint32_t initial_state[SHA256_STATE_WORDS] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

_Alignas(16) const uint32_t sha256_round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t rotate_right(uint32_t word, unsigned bits)
{
    return word >> bits | word << (32 - bits);
}

static inline uint32_t load_big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The message schedule of FIPS 180-4, section 6.2.2, step 1. */
static void expand_block(uint32_t schedule[64], const uint8_t *block)
{
    for (int t = 0; t < 16; t++) {
        schedule[t] = load_big_endian(block + 4 * t);
    }
    for (int t = 16; t < 64; t++) {
        uint32_t early = schedule[t - 15], late = schedule[t - 2];
        uint32_t sigma_0 = rotate_right(early, 7) ^ rotate_right(early, 18) ^ early >> 3;
        uint32_t sigma_1 = rotate_right(late, 17) ^ rotate_right(late, 19) ^ late >> 10;
        schedule[t] = sigma_1 + schedule[t - 7] + sigma_0 + schedule[t - 16];
    }
}

/* The names a to h are those of FIPS 180-4, section 6.2.2, steps 2 to 4. */
static void compress_portable(uint32_t state[SHA256_STATE_WORDS], const uint8_t *data, size_t blocks)
{
    for (; blocks > 0; blocks--, data += SHA256_BLOCK) {
        uint32_t schedule[64];
        expand_block(schedule, data);
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (int t = 0; t < 64; t++) {
            uint32_t sum_1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
            uint32_t sum_0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
            uint32_t choice = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
            uint32_t t_1 = h + sum_1 + choice + sha256_round_constants[t] + schedule[t], t_2 = sum_0 + majority;
            h = g, g = f, f = e, e = d + t_1, d = c, c = b, b = a, a = t_1 + t_2;
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
        state[4] += e, state[5] += f, state[6] += g, state[7] += h;
    }
}

static const sha256_engine portable_engine = {"portable SHA-256", compress_portable};

const sha256_engine *sha256_portable_engine(void)
{
    return &portable_engine;
}

const sha256_engine *sha256_best_engine(void)
{
    const sha256_engine *engine = sha256_x86_engine();
    if (engine == NULL) {
        engine = sha256_arm_engine();
    }
    return engine != NULL ? engine : &portable_engine;
}

/* Writes the eight hexadecimal digits of a word, all at once: a byte of the number for each digit. */
static void write_hexadecimal(char *hex, uint32_t word)
{
    uint64_t digits = word; /* spread so that the highest digit is in the lowest byte */
    digits = (digits & 0xFFFF) << 32 | digits >> 16;
    digits = (digits & UINT64_C(0x000000FF000000FF)) << 16 | (digits >> 8 & UINT64_C(0x000000FF000000FF));
    digits = (digits & UINT64_C(0x000F000F000F000F)) << 8 | (digits >> 4 & UINT64_C(0x000F000F000F000F));
    uint64_t letters = (digits + UINT64_C(0x0606060606060606)) >> 4 & UINT64_C(0x0101010101010101); /* 1 from 10 on */
    digits += UINT64_C(0x3030303030303030) + letters * ('a' - '0' - 10);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    digits = __builtin_bswap64(digits);
#endif
    memcpy(hex, &digits, sizeof digits);
}

void sha256_hex(const sha256_engine *engine, const uint8_t *data, size_t length, char hex[SHA256_HEX])
{
    uint32_t state[SHA256_STATE_WORDS];
    uint8_t padded[2 * SHA256_BLOCK] = {0};
    size_t rest = length % SHA256_BLOCK, whole = length - rest;
    memcpy(state, initial_state, sizeof state);
    if (whole > 0) {
        engine->compress(state, data, whole / SHA256_BLOCK);
    }
    if (rest > 0) {
        memcpy(padded, data + whole, rest);
    }
    padded[rest] = 0x80;
    size_t blocks = rest <= MAX_PADDED_REST ? 1 : 2;
    uint64_t bits = (uint64_t)length * 8;
    for (size_t i = 1; i <= LENGTH_BYTES; i++, bits >>= 8) {
        padded[blocks * SHA256_BLOCK - i] = (uint8_t)bits;
    }
    engine->compress(state, padded, blocks);
    for (int i = 0; i < SHA256_STATE_WORDS; i++) {
        write_hexadecimal(hex + 8 * i, state[i]);
    }
}
