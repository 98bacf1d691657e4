/* Times as senders write them: the same results as `unix_seconds` of gateway/mapping/json_path.py. */
#ifndef GATEWAY_DATES_H
#define GATEWAY_DATES_H

#include <stdbool.h>
#include <stdint.h>

#include "json.h"
#include "text.h"

/* Whether there is such a day in the Gregorian calendar. */
bool is_date(unsigned year, unsigned month, unsigned day);

/* Unix seconds of an ISO 8601 time, or of a number of seconds or milliseconds. False: Python decides. */
bool read_time(const json_value *value, int64_t *seconds);

#endif
