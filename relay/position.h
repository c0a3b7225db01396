/*
 * position.h - where a subscriber stands: ids and HTTP dates as text, both ways.
 *
 * Untrusted bytes are parsed here, without sockets. PROTOCOL, section 2.
 */
#ifndef RELAY_POSITION_H
#define RELAY_POSITION_H

#include "base/attr.h"
#include "store/message.h"

#include <stdbool.h>
#include <stddef.h>

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
#define HTTP_DATE_LEN 29

/* Writes HTTP_DATE_LEN bytes, no NUL (IMF-fixdate, RFC 9110, 5.6.7). second is one that
 * the functions below have read, or the clock's: of the years 1970 to 9999. */
void http_date_format(int64_t second, char *out);

/*
 * Reads a date: IMF-fixdate, RFC 850, asctime; a numeric zone for GMT; days of one
 * digit, as old browser clients send them. A date before 1970 is 0. False: malformed.
 */
bool http_date_parse(const char *s, size_t len, int64_t *second) MUST_CHECK;

/*
 * Reads an If-None-Match: 7, "7", W/"7", "7-gzip", W/"7-gzip". All else is malformed,
 * lists and * too.
 */
bool etag_parse(const char *s, size_t len, int64_t *tag) MUST_CHECK;

/* Reads "SECOND:TAG", the id of event streams. */
bool msgid_parse(const char *s, size_t len, struct msgid *id) MUST_CHECK;

/* Longest text of a number, and of an id. */
#define NUMBER_TEXT_MAX 20
#define MSGID_TEXT_MAX  (2 * NUMBER_TEXT_MAX + 1)

/* Writes the decimal digits of n without NUL; returns how many. */
size_t number_format(int64_t n, char *out);
size_t msgid_format(struct msgid id, char *out);

#endif
