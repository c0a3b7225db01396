/*
 * info.h - channel information as text: plain, JSON, XML or YAML (PROTOCOL, section 4).
 */
#ifndef RELAY_INFO_H
#define RELAY_INFO_H

#include "base/attr.h"
#include "base/text.h"
#include "store/store.h"

#include <stddef.h>

enum info_format {
	INFO_PLAIN,
	INFO_JSON,
	INFO_XML,
	INFO_YAML,
};

/* Longest text of any format. */
#define INFO_TEXT_MAX 512

/*
 * The format that an Accept header asks for (RFC 9110, 12.5.1; accept NULL where it is
 * absent). usual where it is absent, leaves the choice, or cannot be met: a POST must not
 * fail for what it accepts.
 */
enum info_format info_negotiate(const char *accept, size_t len, enum info_format usual);
const char *info_content_type(enum info_format format);
void info_write(struct text *t, enum info_format format, const struct store_info *info);

#endif
