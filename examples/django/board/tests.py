"""What the list of who is online promises; `manage.py test` runs this.

The relay is not needed: its notices are made here, and updates are kept instead of sent.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from django.contrib.auth.models import User
from django.test import Client, TestCase
from django.utils import timezone

from board import presence
from board.models import GRACE, SILENCE, Presence
from pushserver.utils import updates


class PresenceTests(TestCase):
    """Notices come in; lists go out."""

    def setUp(self) -> None:
        """Note what would be published, and leave departures to after()."""
        self.lists: list[list[str]] = []
        self.enterContext(patch.object(updates, "send_update", self.send_update))
        self.enterContext(patch.object(presence, "announce_after_grace"))
        self.clients = {}
        for name in ("ann", "bob"):
            self.clients[name] = Client()
            self.clients[name].force_login(User.objects.create_user(name))

    def send_update(self, channel_id: str, data: dict[str, Any]) -> None:
        self.assertEqual((channel_id, data["type"]), ("board", "online"))
        self.lists.append(data["users"])

    def notice(self, name: str, event: str, channel_id: str = "board") -> None:
        form = {"channel_id": channel_id, event: "1"}
        self.assertEqual(self.clients[name].post("/passthrough", form).status_code, 204)

    @contextmanager
    def after(self, time: timedelta) -> Iterator[None]:
        later = timezone.now() + time
        with patch.object(timezone, "now", return_value=later):
            yield

    def test_lists_are_published_when_somebody_comes_and_goes(self) -> None:
        self.notice("ann", "subscribe")
        self.notice("bob", "subscribe")
        self.notice("ann", "unsubscribe")
        with self.after(GRACE):
            presence.announce()
        self.assertEqual(self.lists, [["ann"], ["ann", "bob"], ["bob"]])
        self.assertEqual(Presence.usernames(), ["bob"])

    def test_second_tab_is_the_same_user(self) -> None:
        self.notice("ann", "subscribe")
        self.notice("ann", "subscribe")
        self.notice("ann", "unsubscribe")
        with self.after(GRACE):
            presence.announce()
        self.assertEqual(self.lists, [["ann"]])

    def test_next_poll_may_be_heard_of_before_the_end_of_the_last(self) -> None:
        for event in ("subscribe", "subscribe", "unsubscribe"):
            self.notice("ann", event)
        with self.after(GRACE):
            presence.announce()
        self.assertEqual(Presence.usernames(), ["ann"])

    def test_gap_between_two_polls_is_not_seen(self) -> None:
        self.notice("ann", "subscribe")
        self.notice("ann", "unsubscribe")
        with self.after(GRACE / 2):
            presence.announce()
            self.notice("ann", "subscribe")
        with self.after(GRACE * 2):
            presence.announce()
        self.assertEqual(self.lists, [["ann"]])

    def test_user_not_heard_of_for_two_minutes_is_forgotten(self) -> None:
        self.notice("ann", "subscribe")
        with self.after(SILENCE - timedelta(seconds=1)):
            presence.announce()
        self.assertEqual(self.lists, [["ann"]])
        with self.after(SILENCE):
            self.notice("bob", "subscribe")
        self.assertEqual(self.lists, [["ann"], ["bob"]])

    def test_missed_notice_of_leaving_is_forgotten_after_a_silence(self) -> None:
        self.notice("ann", "subscribe")
        self.notice("ann", "subscribe")
        with self.after(SILENCE):
            self.notice("ann", "subscribe")
            self.notice("ann", "unsubscribe")
        with self.after(SILENCE + GRACE):
            presence.announce()
        self.assertEqual(Presence.usernames(), [])

    def test_missed_notice_of_coming_does_no_harm_later(self) -> None:
        self.notice("ann", "unsubscribe")
        self.notice("ann", "subscribe")
        with self.after(GRACE):
            presence.announce()
        self.assertEqual(Presence.usernames(), ["ann"])

    def test_user_who_logs_out_is_gone_though_the_last_notice_names_nobody(self) -> None:
        self.notice("ann", "subscribe")
        self.clients["ann"].post("/logout")
        self.notice("ann", "unsubscribe")
        with self.after(GRACE):
            presence.announce()
        self.assertEqual(self.lists, [["ann"], []])

    def test_visitors_without_a_name_and_other_channels_do_not_count(self) -> None:
        self.clients["nobody"] = Client()
        self.notice("nobody", "subscribe")
        self.notice("ann", "subscribe", channel_id="another")
        self.assertEqual(self.lists, [])

    def test_list_that_could_not_be_published_is_published_with_the_next_notice(self) -> None:
        refused = updates.UpdateError("http://127.0.0.1:8001/send-update/board", None, "refused")
        with (
            patch.object(updates, "send_update", side_effect=refused),
            self.assertLogs(presence.logger, "WARNING") as logged,
        ):
            self.notice("ann", "subscribe")
        self.assertIn("refused", logged.output[0])
        self.notice("ann", "subscribe")
        self.assertEqual(self.lists, [["ann"]])
