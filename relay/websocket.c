#include "relay/websocket.h"
#include "base/attr.h"
#include "relay/subscriber.h"
#include "relay/transport.h"
size_t
websocket_input(struct subscriber *sub UNUSED, char *data UNUSED, size_t len)
{
	return len;
}
bool
websocket_is_publishing(const struct subscriber *sub UNUSED)
{
	return false;
}
void
websocket_published(struct conn *conn UNUSED, unsigned status UNUSED)
{
}
void
websocket_free(struct subscriber *sub UNUSED)
{
}
static unsigned
no(struct subscriber *sub UNUSED, const struct request *req UNUSED, const struct route *r UNUSED,
    const char **why)
{
	*why = "not yet";
	return 501;
}
const struct transport websocket_transport = {
    .name = "websocket", .kind = TRANSPORT_WEBSOCKET, .stream = true, .accept = no};
