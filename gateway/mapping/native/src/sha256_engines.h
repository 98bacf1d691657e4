/* What the files of SHA-256 share. */
#ifndef GATEWAY_SHA256_ENGINES_H
#define GATEWAY_SHA256_ENGINES_H

#include "sha256.h"

/* K of FIPS 180-4, section 4.2.2. */
extern const uint32_t sha256_round_constants[64];

/* The engine with a processor's instructions, or NULL on a processor without them. */
const sha256_engine *sha256_x86_engine(void);
const sha256_engine *sha256_arm_engine(void);

#endif
