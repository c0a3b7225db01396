"""The application as Django's registry knows it."""

from django.apps import AppConfig


class PushServerConfig(AppConfig):
    """Register the system checks; everything else is read at use."""

    name = "pushserver"
    verbose_name = "Push server"

    def ready(self) -> None:
        """Register the checks, which importing them does."""
        from pushserver import checks  # noqa: F401
