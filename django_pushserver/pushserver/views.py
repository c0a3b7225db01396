"""The view behind the `passthrough` URL: the relay's notices become signals.

The relay passes the subscriber's headers on, so whoever may call this view says whose
cookies they are: only the addresses in INTERNAL_IPS may.
"""

import ipaddress
import logging

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.views.decorators.csrf import csrf_exempt

from pushserver import signals

logger = logging.getLogger("pushserver")


def _is_internal(address: str) -> bool:
    """Say whether an address is in INTERNAL_IPS, also as the IPv4 address it maps."""
    # Only `in` is asked of INTERNAL_IPS, so that a project may put in an object of its own,
    # for networks say.
    if address in settings.INTERNAL_IPS:
        return True
    try:
        mapped = getattr(ipaddress.ip_address(address), "ipv4_mapped", None)
    except ValueError:
        return False
    return mapped is not None and str(mapped) in settings.INTERNAL_IPS


def _refuse(request: HttpRequest, reason: str) -> HttpResponse:
    logger.warning("passthrough from %r refused: %s", request.META.get("REMOTE_ADDR", ""), reason)
    return HttpResponseForbidden(f"{reason}\n", content_type="text/plain; charset=utf-8")


# The relay has no CSRF token and LoginRequiredMiddleware would send it to the login page.
# Without non_atomic_requests a receiver's database error would, under ATOMIC_REQUESTS,
# break the transaction for the receivers that come after it.
@csrf_exempt
@login_not_required
@transaction.non_atomic_requests
def passthrough(request: HttpRequest) -> HttpResponse:
    """Send channel_subscribe or channel_unsubscribe for one notice of the relay.

    POST with channel_id and subscribe=1 or unsubscribe=1, form-encoded, from an address in
    INTERNAL_IPS: 204, whatever the receivers do. Anything else: 403, and a warning that
    names the address.
    Source: docs/protocol.md, section 6.
    """
    address = request.META.get("REMOTE_ADDR", "")
    if not _is_internal(address):
        return _refuse(request, "the address is not in INTERNAL_IPS")
    if request.method != "POST":
        return _refuse(request, "only POST is allowed")
    channel_id = request.POST.get("channel_id")
    if not channel_id:
        return _refuse(request, "channel_id is missing")
    if request.POST.get("subscribe"):
        signal = signals.channel_subscribe
    elif request.POST.get("unsubscribe"):
        signal = signals.channel_unsubscribe
    else:
        return _refuse(request, "neither subscribe nor unsubscribe is given")
    signal.send_robust(sender=passthrough, request=request, channel_id=channel_id)
    return HttpResponse(status=204)
