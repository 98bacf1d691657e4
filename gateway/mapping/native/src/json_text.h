/* The characters of JSON strings: UTF-8 and escapes. */
#ifndef GATEWAY_JSON_TEXT_H
#define GATEWAY_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the UTF-8 sequence at `text`, whose first byte is beyond ASCII; 0 if it is not valid (RFC 3629). */
size_t json_sequence_length(const uint8_t *text, const uint8_t *end);

/* Decodes the escape at `text`, or the two of a surrogate pair, and advances `out`. Decoded text is never longer than
 * its escape. Clears `ascii` for a character beyond ASCII. Returns the text behind the escape, or NULL if it is not
 * valid.
 */
const uint8_t *json_decode_escape(const uint8_t *text, const uint8_t *end, uint8_t **out, bool *ascii);

#endif
