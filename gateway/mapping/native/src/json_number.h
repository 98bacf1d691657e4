/* The numbers of JSON. */
#ifndef GATEWAY_JSON_NUMBER_H
#define GATEWAY_JSON_NUMBER_H

#include "json.h"

/* Reads the number at `text`, which is before `end`: sets type and content of `value`, and the end of the number.
 * Numbers that may be too large for a double are not supported.
 */
enum json_status json_read_number(const uint8_t *text, const uint8_t *end, json_value *value, const uint8_t **behind);

#endif
