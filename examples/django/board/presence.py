"""From the relay's notices to the list of who is online, which the relay brings to all pages."""

import functools
import logging
import threading
import time

from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_out
from django.db import connections, transaction
from django.db.models import Q
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from board.models import GRACE, SILENCE, Presence
from pushserver.signals import channel_subscribe, channel_unsubscribe
from pushserver.utils import updates

logger = logging.getLogger(__name__)

# The channel of the page, which all users share.
CHANNEL = "board"


@receiver(channel_subscribe)
def on_subscribe(sender: object, request: HttpRequest, channel_id: str, **kwargs: object) -> None:
    """Count a tab that has begun to wait for updates."""
    if channel_id == CHANNEL and request.user.is_authenticated:
        note(request.user, +1)
        announce()


@receiver(channel_unsubscribe)
def on_unsubscribe(sender: object, request: HttpRequest, channel_id: str, **kwargs: object) -> None:
    """Discount a tab that has got an update, in which case it comes back, or was closed."""
    if channel_id == CHANNEL and request.user.is_authenticated:
        note(request.user, -1)
        announce_after_grace()


@receiver(user_logged_out)
def on_logout(
    sender: object, request: HttpRequest, user: AbstractBaseUser | None, **kwargs: object
) -> None:
    """Forget the user's tabs: their last notices come with a session that has no user now.

    Tabs of other sessions of the same user are back with their next poll.
    """
    Presence.objects.filter(user=user).update(held=0, heard_at=timezone.now())
    announce_after_grace()


def note(user: AbstractBaseUser, change: int) -> None:
    """Count one more, or one less, held request of a user."""
    with transaction.atomic():
        now = timezone.now()
        row, _ = Presence.objects.select_for_update().get_or_create(
            user=user, defaults={"heard_at": now}
        )
        # Django misses a notice when it ends in the middle of one. After a silence the count
        # begins anew, and it never falls below 0, so that no error stays for ever.
        held = row.held if row.heard_at > now - SILENCE else 0
        row.held = max(held + change, 0)
        row.heard_at = now
        row.save()


def announce() -> None:
    """Publish the list of who is online, if it has changed.

    Only then: an update ends every tab's poll, the next polls bring the next notices, and
    these come here again.
    """
    try:
        with transaction.atomic():
            now = timezone.now()
            rows = list(
                Presence.objects.select_for_update(of=("self",))
                .select_related("user")
                .filter(Q(listed=True) | Q(heard_at__gt=now - SILENCE))
                .order_by("user__username")
            )
            changed = [row for row in rows if row.listed != row.is_online(now)]
            if not changed:
                return
            for row in changed:
                row.listed = not row.listed
            Presence.objects.bulk_update(changed, ["listed"])
            # Within the transaction: the rows are locked, so lists leave in the order in
            # which they were made; and if this fails, `listed` stays what the pages show.
            users = [row.user.get_username() for row in rows if row.listed]
            updates.send_update(CHANNEL, {"type": "online", "users": users})
    except updates.UpdateError as error:
        logger.warning("the next notice tries again: %s", error)


# One thread per process, asleep unless somebody left.

_somebody_left = threading.Event()


def announce_after_grace() -> None:
    """Have announce() called when whoever has just left can no longer come back unnoticed."""
    _somebody_left.set()
    _start_thread()


@functools.cache
def _start_thread() -> None:
    # At the first notice, not at import: runserver has two processes and serves in one.
    threading.Thread(target=_announce_departures, daemon=True).start()


def _announce_departures() -> None:
    while True:
        _somebody_left.wait()
        # Who leaves from here on sets it again, and gets a round of their own.
        _somebody_left.clear()
        time.sleep(GRACE.total_seconds() + 0.1)
        try:
            announce()
        except Exception:
            logger.exception("the list of who is online was not published")
        finally:
            connections.close_all()
