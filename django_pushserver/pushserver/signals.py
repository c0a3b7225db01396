"""What projects can listen to.

All four are sent with send_robust(): a receiver that fails is logged by Django (logger
django.dispatch) and stops neither the other receivers nor what is being done.
"""

from django.dispatch import Signal

# A subscriber has begun, or ceased, to be held by the relay. A client that polls does so
# again for each update, so receivers should be light, and notices of different requests
# may overtake each other.
#   sender      the view, pushserver.views.passthrough
#   request     the relay's request with the subscriber's own headers, cookies included,
#               so request.user is the subscriber
#   channel_id  str, decoded
channel_subscribe = Signal()
channel_unsubscribe = Signal()

# An update is about to be published.
#   sender              the module, pushserver.utils.updates
#   channel_id, data, already_serialized
#                       as send_update() got them
#   request             updates.UpdateRequest: url, headers (a receiver may change them),
#                       body (bytes)
pre_send_update = Signal()

# An update has been published, or could not be. As above, and
#   response            the relay's answer, a urllib3 response (status, headers, data), or
#                       the updates.UpdateError
post_send_update = Signal()
