/* SHA-256 (FIPS 180-4) in hexadecimal, with the processor's own instructions where it has them. */
#ifndef GATEWAY_SHA256_H
#define GATEWAY_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_BLOCK = 64, SHA256_STATE_WORDS = 8, SHA256_HEX = 64 /* characters of a digest */ };

/* Adds whole blocks of SHA256_BLOCK bytes to the state. */
typedef void sha256_compress(uint32_t state[SHA256_STATE_WORDS], const uint8_t *data, size_t blocks);

typedef struct {
    const char *name; /* for the operator, such as "SHA-NI" */
    sha256_compress *compress;
} sha256_engine;

/* The fastest engine that this processor has. The caller keeps the result: in a virtual machine the look-up takes tens
 * of microseconds.
 */
const sha256_engine *sha256_best_engine(void);

/* The engine that works on all processors. */
const sha256_engine *sha256_portable_engine(void);

/* Writes the digest of `data` as lower-case hexadecimal, without a terminator. */
void sha256_hex(const sha256_engine *engine, const uint8_t *data, size_t length, char hex[SHA256_HEX]);

#endif
