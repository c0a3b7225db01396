"""System checks: what is wrong with PUSH_SERVER, by key, and what to do.

Tagged `pushserver`; runpushserver runs them too. E001 to E003 come from conf.py, which
refuses the same at use; the warnings are about what works but not as written.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.urls import Resolver404, get_script_prefix, resolve

from pushserver import conf, views

TAG = "pushserver"


@register(TAG)
def check_push_server(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check the setting, and what Django needs besides it for passthrough."""
    errors: list[CheckMessage] = [
        Error(str(problem), hint=problem.hint or None, id=problem.id) for problem in conf.problems()
    ]
    if any(error.id == "pushserver.E001" for error in errors):
        return errors
    return [*errors, *_secure_warnings(), *_passthrough_warnings()]


def _secure_warnings() -> Iterator[CheckMessage]:
    config = conf.load()
    if config.port is None:
        return
    if (host := config.publisher_host) and host.secure and config.is_own(host):
        yield Warning(
            f"PUSH_SERVER['publisher_host']['secure'] is True, but {host.location} is the "
            f"relay itself, which speaks no TLS: updates are published by http.",
            hint="Set 'secure': False, or 'location' to the TLS server before the relay.",
            id="pushserver.W001",
        )
    if (host := config.subscriber_host) and host.secure and config.is_own(host):
        yield Warning(
            f"PUSH_SERVER['subscriber_host']['secure'] is True, but {host.location} is the "
            f"relay itself, which speaks no TLS: browsers will not reach it by https.",
            hint="Set 'secure': False, or 'location' to the TLS server before the relay.",
            id="pushserver.W002",
        )


def _passthrough_warnings() -> Iterator[CheckMessage]:
    """Warn of what would have the relay's notices refused.

    Whoever does not use passthrough needs neither its URL nor INTERNAL_IPS.
    """
    urls = conf.passthrough_urls()
    for where, url in urls:
        if not _reaches_view(url):
            yield Warning(
                f"{where} is {url!r}, but no URL pattern of this project leads from there to "
                f"pushserver's view.",
                hint="Add path('passthrough', include('pushserver.urls')) to urlpatterns.",
                id="pushserver.W003",
            )
    if urls and not settings.INTERNAL_IPS:
        yield Warning(
            "INTERNAL_IPS is empty, so the relay's passthrough notices are refused.",
            hint="Add the relay's address: INTERNAL_IPS = ['127.0.0.1'] on one machine.",
            id="pushserver.W004",
        )


def _reaches_view(url: str) -> bool:
    if not getattr(settings, "ROOT_URLCONF", None):
        return False
    path, prefix = unquote(urlsplit(url).path) or "/", get_script_prefix()
    if prefix != "/" and path.startswith(prefix):
        path = path[len(prefix) - 1 :]
    try:
        match = resolve(path)
    except Resolver404:
        return False
    # By name too, for a project may have wrapped the view.
    return match.func is views.passthrough or match.url_name == "pushserver-passthrough"
