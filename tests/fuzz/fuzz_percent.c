/*
 * Percent-decoding: percent_decode() of relay/location.c.
 *
 * Promises: it takes exactly what has two hexadecimal digits behind every '%', gives one
 * byte for each such three and each other byte, writes nothing behind the end, and gives
 * back any bytes that were encoded, in full or only where they must be.
 */
#include "fuzz.h"

#include "relay/location.h"

#include <ctype.h>
#include <stdbool.h>

/* By strtoul(), on a copy of two characters. */
static ptrdiff_t
decode_slowly(const char *in, size_t len, unsigned char *out)
{
	ptrdiff_t n = 0;

	for (size_t i = 0; i < len; n++) {
		char digits[3] = "";

		if (in[i] != '%') {
			out[n] = (unsigned char)in[i++];
			continue;
		}
		if (len - i < 3 || !isxdigit((unsigned char)in[i + 1]) ||
		    !isxdigit((unsigned char)in[i + 2]))
			return -1;
		memcpy(digits, in + i + 1, 2);
		out[n] = (unsigned char)strtoul(digits, NULL, 16);
		i += 3;
	}
	return n;
}

static void
check_way_back(const uint8_t *bytes, size_t len, bool everything)
{
	char *encoded = calloc(1, len * 3 + 4), three[4];
	unsigned char *decoded = malloc(len * 3 + 1);
	size_t n = 0;
	ptrdiff_t back;

	if (encoded == NULL || decoded == NULL)
		abort();
	for (size_t i = 0; i < len; i++) {
		if (!everything && bytes[i] != '%') {
			encoded[n++] = (char)bytes[i];
			continue;
		}
		snprintf(three, sizeof(three), i % 2 == 0 ? "%%%02x" : "%%%02X", bytes[i]);
		memcpy(encoded + n, three, 3);
		n += 3;
	}
	back = percent_decode(encoded, n, decoded);
	PROMISE(back == (ptrdiff_t)len && (len == 0 || memcmp(decoded, bytes, len) == 0),
	    "%zu bytes came back as %td", len, back);
	free(encoded);
	free(decoded);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *in = fuzz_copy(data, size);
	unsigned char *out = (unsigned char *)fuzz_copy(data, size);
	unsigned char *slow = (unsigned char *)fuzz_copy(data, size);
	ptrdiff_t n = percent_decode(in, size, out), slow_n = decode_slowly(in, size, slow);

	PROMISE(n == slow_n, "\"%.*s\" is %td bytes, not %td", (int)size, in, slow_n, n);
	PROMISE(n <= 0 || memcmp(out, slow, (size_t)n) == 0, "\"%.*s\"", (int)size, in);
	check_way_back(data, size, true);
	check_way_back(data, size, false);
	free(in);
	free(out);
	free(slow);
	return 0;
}
