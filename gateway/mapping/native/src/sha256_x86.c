/* SHA-256 with the SHA extensions of x86-64 processors (Intel SDM, "SHA extensions"). */
#include "sha256_engines.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

enum { SSSE3 = 1 << 9, SSE4_1 = 1 << 19, SHA = 1 << 29 }; /* bits of CPUID leaf 1, ECX, and of leaf 7, EBX */

/* The instructions hold the state as the words (a, b, e, f) and (c, d, g, h), the first one highest. */
__attribute__((target("sha,sse4.1,ssse3"))) static void
compress_sha_ni(uint32_t state[SHA256_STATE_WORDS], const uint8_t *data, size_t blocks)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i dcba = _mm_loadu_si128((const __m128i *)state), hgfe = _mm_loadu_si128((const __m128i *)(state + 4));
    __m128i cdab = _mm_shuffle_epi32(dcba, 0xB1), efgh = _mm_shuffle_epi32(hgfe, 0x1B);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
    for (; blocks > 0; blocks--, data += SHA256_BLOCK) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i words[4]; /* the last sixteen words of the message schedule */
        for (int i = 0; i < 4; i++) {
            words[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data + 16 * i)), big_endian);
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) { /* four rounds each */
            __m128i *next = &words[i % 4];
            const __m128i *word_7 = &words[(i + 2) % 4], *last = &words[(i + 3) % 4];
            if (i >= 4) {
                __m128i sum = _mm_sha256msg1_epu32(*next, words[(i + 1) % 4]);
                *next = _mm_sha256msg2_epu32(_mm_add_epi32(sum, _mm_alignr_epi8(*last, *word_7, 4)), *last);
            }
            __m128i added = _mm_add_epi32(*next, _mm_load_si128((const __m128i *)(sha256_round_constants + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, added);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(added, 0x0E));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

static const sha256_engine sha_ni_engine = {"SHA-NI", compress_sha_ni};

const sha256_engine *sha256_x86_engine(void)
{
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & (SSSE3 | SSE4_1)) != (SSSE3 | SSE4_1)) {
        return NULL;
    }
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & SHA) != 0 ? &sha_ni_engine : NULL;
}

#else

const sha256_engine *sha256_x86_engine(void)
{
    return NULL;
}

#endif
