/*
 * response.h - status lines, header lines and bodies, as bytes.
 */
#ifndef RELAY_RESPONSE_H
#define RELAY_RESPONSE_H

#include "base/text.h"
#include "relay/conn.h"
#include "relay/cors.h"

#include <stdbool.h>
#include <stdint.h>

struct msgid;
struct render_variant;

/* Room for the lines in struct answer.fields: a CORS block, Allow, Vary, a position. */
#define RESPONSE_FIELDS_SIZE 4096

/* "Not Found" for 404. */
const char *response_reason(unsigned status);

/* "HTTP/1.1 200 OK", Server and Date. */
void response_begin(struct text *t, struct worker *w, unsigned status);
/* The Connection header, where the exchange at hand needs one. */
void response_connection(struct text *t, const struct conn *conn);
void response_number(struct text *t, int64_t n);
/* "Name: value" with CR LF. */
void response_field(struct text *t, const char *name, const char *value);

/* The header lines that all answers of a location carry (PROTOCOL, section 5). */
void response_cors(struct text *t, const struct cors *cors, unsigned block, enum cors_vary vary);

/* Last-Modified, Etag and Cache-Control of a position; a tag of -1 has only the first. */
void response_position(struct text *t, struct msgid id);

/* The CORS block and Connection, with the position: what a poll's answer of messages has. */
void response_poll_fields(struct text *t, struct msgid id, const struct render_variant *variant);
/* X-Push-Gap: how many messages were lost, or 1 where that is not known. */
void response_gap(struct text *t, uint64_t lost);

/* Puts a whole answer together, but for nothing of it in case of !text_ok(). */
void response_answer(struct text *t, struct conn *conn, const struct answer *answer);

#endif
