"""Who is online, as the relay's notices tell."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models

# A tab is not held between two polls, for some milliseconds or, after an error, for a
# second or two; who comes back within this time was never away.
GRACE = timedelta(seconds=3)

# A poll ends after 55 seconds at the latest and the next one begins, so a tab is heard of
# once a minute. Who is not has gone, though no notice said so (Django was down, say).
SILENCE = timedelta(minutes=2)


class Presence(models.Model):
    """One user, however many tabs.

    It is in the database, not in a dictionary, so that it outlives runserver's reloads and
    is one for all of Django's processes.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True)
    # Requests that the relay holds for this user. Notices of different requests may overtake
    # each other: the next tab's, or poll's, subscribe can come before the last unsubscribe.
    # A count ends the same in either order; a flag would not.
    held = models.PositiveIntegerField(default=0)
    heard_at = models.DateTimeField()
    # Whether the list that was published last has this user.
    listed = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.user}: {self.held} held"

    def is_online(self, now: datetime) -> bool:
        """Say whether the user belongs on the list."""
        return self.heard_at > now - (SILENCE if self.held else GRACE)

    @classmethod
    def usernames(cls) -> list[str]:
        """Return the list that was published last."""
        listed = cls.objects.filter(listed=True).order_by("user__username")
        return list(listed.values_list("user__username", flat=True))
