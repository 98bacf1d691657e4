/* SHA-256 with the cryptographic extension of ARMv8-A in 64-bit mode (Arm ARM, "FEAT_SHA256"). */
#include "sha256_engines.h"

#if defined(__aarch64__) && (defined(__linux__) || defined(__APPLE__))

#include <arm_neon.h>

#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#if defined(__clang__)
#define WITH_SHA2 __attribute__((target("sha2")))
#else
#define WITH_SHA2 __attribute__((target("+crypto")))
#endif

WITH_SHA2 static void compress_sha2(uint32_t state[SHA256_STATE_WORDS], const uint8_t *data, size_t blocks)
{
    uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);
    for (; blocks > 0; blocks--, data += SHA256_BLOCK) {
        const uint32x4_t abcd_before = abcd, efgh_before = efgh;
        uint32x4_t words[4]; /* the last sixteen words of the message schedule */
        for (int i = 0; i < 4; i++) {
            words[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data + 16 * i)));
        }
        for (int i = 0; i < 16; i++) { /* four rounds each */
            uint32x4_t *next = &words[i % 4];
            if (i >= 4) {
                uint32x4_t sum = vsha256su0q_u32(*next, words[(i + 1) % 4]);
                *next = vsha256su1q_u32(sum, words[(i + 2) % 4], words[(i + 3) % 4]);
            }
            uint32x4_t added = vaddq_u32(*next, vld1q_u32(sha256_round_constants + 4 * i));
            uint32x4_t abcd_old = abcd;
            abcd = vsha256hq_u32(abcd, efgh, added);
            efgh = vsha256h2q_u32(efgh, abcd_old, added);
        }
        abcd = vaddq_u32(abcd, abcd_before);
        efgh = vaddq_u32(efgh, efgh_before);
    }
    vst1q_u32(state, abcd);
    vst1q_u32(state + 4, efgh);
}

static const sha256_engine sha2_engine = {"ARMv8 SHA-2", compress_sha2};

const sha256_engine *sha256_arm_engine(void)
{
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_SHA2) != 0 ? &sha2_engine : NULL;
#else
    return &sha2_engine; /* all of Apple's 64-bit processors have them */
#endif
}

#else

const sha256_engine *sha256_arm_engine(void)
{
    return NULL;
}

#endif
