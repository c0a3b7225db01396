"""The application as Django's registry knows it."""

from django.apps import AppConfig


class BoardConfig(AppConfig):
    """Connect the receivers of presence.py."""

    name = "board"

    def ready(self) -> None:
        """Import the receivers, which connects them."""
        from board import presence  # noqa: F401
