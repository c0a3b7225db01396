"""PUSH_SERVER, checked: the one place that reads the setting.

Its keys are those of the relay's configuration (pushserver.yaml(5)) and a few that only
Django reads. What only the relay reads is not judged here but handed on: the relay knows
its keys best and names the wrong one. Settings are read at each use, so that
override_settings() works and importing has no effects.
"""

import difflib
import functools
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from urllib.parse import quote, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise
from django.utils.regex_helper import normalize

DEFAULT_ADDRESS = "127.0.0.1"
DEFAULT_PORT = 8001
# Addresses to listen on that mean all there are; the relay's "::" is IPv6 alone.
EVERYTHING = ("", "*")
_REACHED_AT = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
# What django-pushserver took where a project names no locations.
DEFAULT_LOCATIONS: tuple[Mapping[str, Any], ...] = (
    {"type": "publisher", "prefix": "/publisher/"},
    {"type": "subscriber", "prefix": "/subscriber/"},
)
# Taken out of what the relay is given, for it refuses what it does not know.
DJANGO_KEYS = ("publisher_host", "subscriber_host", "binary")

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
# The characters of a path (RFC 3986, 3.3) less "&" and "'", which HTML escaping changes.
_PATH = re.compile(r"/[A-Za-z0-9._~%!$()*+,;=:@/-]*")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the setting; checks.py shows it."""

    where: str  # the key, as one writes it: PUSH_SERVER['locations'][0]['url']
    what: str
    hint: str
    id: str

    def __str__(self) -> str:
        return f"{self.where} {self.what}"


@dataclass(frozen=True)
class Host:
    """publisher_host or subscriber_host: who answers in front of the relay."""

    location: str  # host or host:port
    secure: bool


@dataclass(frozen=True)
class Location:
    """One location, as far as URLs are made from it."""

    where: str
    type: str
    url: str | None  # a regular expression with one group, the channel id
    prefix: str | None  # where url is None
    argument: str | None = None  # the query's parameter that has the id; then not the path

    def path(self, channel_id: str | bytes) -> str:
        """Return the path of a channel, with a query where that has the id, which is quoted.

        Raises ValueError for an id that the location cannot match.
        """
        quoted = quote(channel_id if isinstance(channel_id, bytes) else str(channel_id), safe="")
        if not quoted and (self.argument is not None or self.url is None):
            raise ValueError("a channel id must not be empty")
        if self.argument is not None:
            path = str(self.prefix) if self.url is None else _around_group(self.url, 0)[0]
            return f"{_addressable(path)}?{self.argument}={quoted}"
        if self.url is None:
            return _addressable(f"{self.prefix}{quoted}")
        before, after = _around_group(self.url)
        path = f"{before}{quoted}{after}"
        # The relay matches before it decodes, so does this.
        match = re.fullmatch(self.url, path)
        if match is None or match[1] != quoted:
            raise ValueError(f"channel id {channel_id!r} does not fit {self.where}: {self.url}")
        return _addressable(path)


@dataclass(frozen=True)
class Config:
    """PUSH_SERVER as Django uses it."""

    address: str  # as given, see EVERYTHING
    port: int | None  # None where the relay listens on Unix sockets alone
    publisher_host: Host | None
    subscriber_host: Host | None
    locations: tuple[Location, ...]
    binary: str | None

    def location(self, location_type: str) -> Location:
        """Return the first location of a type, which is the one that URLs are made for."""
        for location in self.locations:
            if location.type == location_type:
                problem = _pattern_problem(location)
                if problem is not None:
                    raise ImproperlyConfigured(str(problem))
                return location
        raise ImproperlyConfigured(f"PUSH_SERVER['locations'] has no {location_type} location")

    def own_host(self, name: str | None = None) -> str:
        """Return host:port of the relay itself, by its address or by another name of it."""
        if self.port is None:
            raise ImproperlyConfigured(
                "PUSH_SERVER['listen'] has Unix sockets alone: "
                "set publisher_host and subscriber_host"
            )
        host = name or _REACHED_AT.get(self.address, self.address)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def is_own(self, host: Host) -> bool:
        """Say whether a host is the relay itself, seen from its own machine.

        The relay speaks no TLS, so `secure` can then not be meant.
        """
        parts = urlsplit(f"//{host.location}")
        port = parts.port or (443 if host.secure else 80)
        theirs = _loopback(parts.hostname or "")
        if theirs is None or port != self.port:
            return False
        own = _loopback(_REACHED_AT.get(self.address, self.address))
        return theirs == own or (self.address in EVERYTHING and theirs == "::1")


def host_name(host: str) -> str:
    """Return the host name of host:port."""
    return urlsplit(f"//{host}").hostname or ""


def load() -> Config:
    """Return the checked setting.

    Raises ImproperlyConfigured with the key at fault.
    """
    raw = getattr(settings, "PUSH_SERVER", {})
    for problem in _shape_problems(raw):
        raise ImproperlyConfigured(str(problem))
    address, port = _own_address(raw)
    return Config(
        address=address,
        port=port,
        publisher_host=_host(raw.get("publisher_host")),
        subscriber_host=_host(raw.get("subscriber_host")),
        locations=tuple(_locations(raw)),
        binary=None if raw.get("binary") is None else str(raw["binary"]),
    )


def daemon_json(*, address: str | None = None, port: int | None = None) -> bytes:
    """Return the setting as the relay reads it, JSON in UTF-8.

    address, port: where to listen, instead of what the setting says.
    """
    raw = dict(getattr(settings, "PUSH_SERVER", {}))
    for problem in _shape_problems(raw):
        raise ImproperlyConfigured(str(problem))
    for key in DJANGO_KEYS:
        raw.pop(key, None)
    if address is not None or port is not None:
        own_address, own_port = _own_address(raw)
        raw.pop("listen", None)
        raw["address"] = own_address if address is None else address
        raw["port"] = own_port if port is None else port
    if raw.get("listen") is None:
        raw.setdefault("address", DEFAULT_ADDRESS)
        raw.setdefault("port", DEFAULT_PORT)
    locations = raw.get("locations")
    raw["locations"] = [
        _with_identity(location)
        for location in (DEFAULT_LOCATIONS if locations is None else locations)
    ]
    # JSON is YAML but for two things in which libyaml is strict: it takes no surrogate
    # pairs as escapes and no control characters as they are.
    text = json.dumps(raw, ensure_ascii=False, allow_nan=False, default=_plain)
    text = re.sub("[\x7f-\x9f\ufffe\uffff]", lambda match: f"\\u{ord(match[0]):04x}", text)
    return text.encode()


def problems() -> list[Problem]:
    """Return all that is wrong with the setting and would stop its use."""
    raw = getattr(settings, "PUSH_SERVER", {})
    found = list(_shape_problems(raw))
    if found:
        return found
    return [*_location_problems(raw), *_credentials_problems(raw)]


def passthrough_urls() -> list[tuple[str, str]]:
    """Return the passthrough URLs, each behind the key that has it."""
    raw = getattr(settings, "PUSH_SERVER", {})
    if any(True for _ in _shape_problems(raw)):
        return []
    return [
        (f"PUSH_SERVER['locations'][{i}]['passthrough']", location["passthrough"])
        for i, location in enumerate(raw.get("locations") or ())
        if location.get("passthrough")
    ]


# Reading.


def _addressable(path: str) -> str:
    """Return a path, unless clients would shorten it (RFC 3986, 5.2.4), quoted or not."""
    if {".", ".."}.intersection(path.split("/")):
        raise ValueError(f"{path} cannot be asked for: clients take dots for directories")
    return path


def _own_address(raw: Mapping[str, Any]) -> tuple[str, int | None]:
    """Return where the relay listens: by address and port, or the first entry of listen."""
    listen = raw.get("listen")
    if listen is None:
        address = raw.get("address", DEFAULT_ADDRESS)
        return "*" if address is None else address, int(raw.get("port", DEFAULT_PORT))
    for entry in [listen] if isinstance(listen, str) else listen:
        host, _, port = entry.rpartition(":")
        if not entry.startswith("unix:") and port.isascii() and port.isdigit():
            return host.strip("[]"), int(port)
    return "", None


def _host(value: Mapping[str, Any] | None) -> Host | None:
    if value is None:
        return None
    return Host(location=str(value["location"]), secure=value.get("secure", False))


def _locations(raw: Mapping[str, Any]) -> Iterator[Location]:
    locations = raw.get("locations")
    for i, location in enumerate(DEFAULT_LOCATIONS if locations is None else locations):
        key = "url" if location.get("url") is not None else "prefix"
        yield Location(
            where=f"PUSH_SERVER['locations'][{i}]['{key}']",
            type=location["type"],
            url=location.get("url"),
            prefix=location.get("prefix") if key == "prefix" else None,
            argument=location.get("channel_argument"),
        )


def _loopback(host: str) -> str | None:
    """Return a loopback address in one form, None for any other."""
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return str(address) if address.is_loopback else None


def _with_identity(location: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a location that knows subscribers again by this project's session cookie."""
    if location["type"] != "subscriber" or not location.get("passthrough"):
        return location
    return {"passthrough_identity": [settings.SESSION_COOKIE_NAME], **location}


def _plain(value: object) -> str:
    if isinstance(value, Promise | PurePath):
        return str(value)
    raise ImproperlyConfigured(
        f"PUSH_SERVER has {value!r}, a {type(value).__name__}, which the relay cannot be told"
    )


def _group_count(pattern: str) -> int:
    try:
        return re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None


def _check_groups(location: Location, one: bool) -> None:
    """Raise ValueError unless the URL has the groups that its location needs.

    one: no more than one is meant.
    """
    assert location.url is not None
    groups = _group_count(location.url)
    if location.argument is not None:
        if groups != 0:
            raise ValueError("must have no group, for channel_argument says where the id is")
    elif one:
        if groups != 1:
            raise ValueError("must have exactly one group, the channel id")
    elif groups == 0:
        raise ValueError("must have a group, the channel id")


@functools.lru_cache(maxsize=64)
def _around_group(pattern: str, groups: int = 1) -> tuple[str, str]:
    """Return what stands before and behind the group in a path that a pattern matches.

    groups: 1, or 0 for a pattern without a group; all is then before it.
    Raises ValueError where that cannot be said.
    """
    try:
        candidates = normalize(pattern)
    except (NotImplementedError, ValueError) as error:
        raise ValueError(f"cannot be turned into a URL: {error}") from None
    # An optional group gives a candidate without it too.
    for candidate, names in candidates:
        if groups == 0 and not names:
            before, after = candidate, ""
            break
        if len(names) == 1 and candidate.count(f"%({names[0]})s") == 1:
            before, _, after = candidate.partition(f"%({names[0]})s")
            break
    else:
        raise ValueError("cannot be turned into a URL")
    if not _PATH.fullmatch(before + after):
        raise ValueError(
            "must match a path: it begins with / and has neither spaces nor \" & ' < > ? # \\, "
            "nor letters beyond ASCII"
        )
    return before, after


# Judging. Problems E001: the setting's shape; all else relies on it.


def _malformed(where: str, what: str, hint: str = "") -> Problem:
    return Problem(where, what, hint, "pushserver.E001")


def _shape_problems(raw: object) -> Iterator[Problem]:
    if not isinstance(raw, Mapping):
        yield _malformed("PUSH_SERVER", f"must be a dictionary, not {raw!r}")
        return
    for key in raw:
        if not isinstance(key, str):
            yield _malformed("PUSH_SERVER", f"has the key {key!r}, which is no string")
        elif key not in DJANGO_KEYS and (
            near := difflib.get_close_matches(key, DJANGO_KEYS, n=1, cutoff=0.8)
        ):
            yield _malformed(f"PUSH_SERVER['{key}']", "is not known", f"Did you mean '{near[0]}'?")
    yield from _address_problems(raw)
    for key in ("publisher_host", "subscriber_host"):
        if raw.get(key) is not None:
            yield from _host_problems(f"PUSH_SERVER['{key}']", raw[key])
    for key in ("store", "limits"):
        if raw.get(key) is not None and not isinstance(raw[key], Mapping):
            yield _malformed(f"PUSH_SERVER['{key}']", f"must be a dictionary, not {raw[key]!r}")
    if not isinstance(raw.get("binary"), str | PurePath | None):
        yield _malformed("PUSH_SERVER['binary']", "must be the path of the relay's program")
    locations = raw.get("locations")
    if locations is None:
        return
    if not isinstance(locations, Sequence) or isinstance(locations, str | bytes):
        yield _malformed(
            "PUSH_SERVER['locations']",
            f"must be a list of dictionaries, not {locations!r}",
            "A tuple of one needs a comma behind it." if isinstance(locations, Mapping) else "",
        )
        return
    for i, location in enumerate(locations):
        yield from _location_shape_problems(f"PUSH_SERVER['locations'][{i}]", location)


def _address_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    address, port = raw.get("address"), raw.get("port", DEFAULT_PORT)
    if not isinstance(address, str | None):
        yield _malformed("PUSH_SERVER['address']", f"must be a string, not {address!r}")
    number = int(port) if isinstance(port, str) and re.fullmatch("[0-9]+", port) else port
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 65536:
        yield _malformed("PUSH_SERVER['port']", f"must be a number from 1 to 65535, not {port!r}")
    listen = raw.get("listen")
    if (
        listen is not None
        and not isinstance(listen, str)
        and not (isinstance(listen, Sequence) and all(isinstance(entry, str) for entry in listen))
    ):
        yield _malformed("PUSH_SERVER['listen']", f"must be a list of strings, not {listen!r}")


def _host_problems(where: str, host: object) -> Iterator[Problem]:
    if not isinstance(host, Mapping):
        yield _malformed(
            where,
            f"must be a dictionary with location and secure, not {host!r}",
        )
        return
    location, secure = host.get("location"), host.get("secure", False)
    if not isinstance(location, str) or not _HOST.fullmatch(location):
        yield _malformed(
            f"{where}['location']",
            f"must be a host, or host:port, not {location!r}",
            "Neither http:// nor a path belong to it; 'secure' chooses between http and https.",
        )
    elif urlsplit(f"//{location}").netloc.rpartition(":")[2].isdigit() and not _port_fits(location):
        yield _malformed(f"{where}['location']", f"has no valid port: {location!r}")
    if not isinstance(secure, bool):
        yield _malformed(f"{where}['secure']", f"must be True or False, not {secure!r}")
    for key in host:
        if key not in ("location", "secure"):
            yield _malformed(
                f"{where}[{key!r}]", "is not known", "Its keys are 'location' and 'secure'."
            )


def _port_fits(location: str) -> bool:
    try:
        return urlsplit(f"//{location}").port != 0
    except ValueError:
        return False


def _location_shape_problems(where: str, location: object) -> Iterator[Problem]:
    if not isinstance(location, Mapping):
        yield _malformed(where, f"must be a dictionary, not {location!r}")
        return
    if location.get("type") not in ("publisher", "subscriber", "statistics"):
        yield _malformed(
            f"{where}['type']",
            f"must be 'publisher', 'subscriber' or 'statistics', not {location.get('type')!r}",
        )
    if location.get("url") is None and location.get("prefix") is None:
        yield _malformed(where, "has neither url nor prefix")
    for key in ("url", "prefix", "channel_argument"):
        value = location.get(key)
        if value is not None and not isinstance(value, str):
            yield _malformed(f"{where}['{key}']", f"must be a string, not {value!r}")
    origin = location.get("allow_origin")
    if not isinstance(origin, str | None) and not (
        isinstance(origin, Sequence) and all(isinstance(one, str) for one in origin)
    ):
        yield _malformed(
            f"{where}['allow_origin']", f"must be a string or a list of strings, not {origin!r}"
        )
    passthrough = location.get("passthrough")
    if passthrough is not None and not (
        isinstance(passthrough, str) and re.match("https?://[^/]", passthrough)
    ):
        yield _malformed(
            f"{where}['passthrough']",
            f"must be a whole URL, such as 'http://127.0.0.1:8000/passthrough', "
            f"not {passthrough!r}",
        )


# E002: what the relay serves, and whether URLs can be made for it.


def _location_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    seen: set[str] = set()
    for location in _locations(raw):
        reversible = location.type != "statistics" and location.type not in seen
        problem = _pattern_problem(location, reversible=reversible)
        if problem is not None:
            yield problem
        seen.add(location.type)
    for location_type in ("publisher", "subscriber"):
        if location_type not in seen:
            yield Problem(
                "PUSH_SERVER['locations']",
                f"has no {location_type} location",
                f"Add a dictionary with 'type': '{location_type}' and a 'url' or a 'prefix'.",
                "pushserver.E002",
            )


def _pattern_problem(location: Location, reversible: bool = True) -> Problem | None:
    """Return what is wrong with a location's URL.

    reversible: URLs are made for this location, the first of its type, so that more is
        asked of it than to be a pattern with a group.
    """
    if location.url is None:
        if not _PATH.fullmatch(location.prefix or ""):
            return Problem(
                location.where,
                f"is {location.prefix!r}",
                "A prefix begins with / and has neither spaces nor \" & ' < > ? # \\, "
                "nor letters beyond ASCII.",
                "pushserver.E002",
            )
        return None
    try:
        _check_groups(location, one=reversible or location.type == "publisher")
        if reversible:
            _around_group(location.url, 0 if location.argument is not None else 1)
    except ValueError as error:
        return Problem(
            location.where,
            f"is {location.url!r}, which {error}",
            "A URL is a regular expression with the channel id in its one group, "
            r"such as r'/updates/([^/]+)'; write other groups as (?:…).",
            "pushserver.E002",
        )
    return None


# E003: what no browser would accept and the relay refuses to start with.


def _credentials_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for i, location in enumerate(raw.get("locations") or ()):
        if location["type"] != "subscriber" or not location.get("allow_credentials"):
            continue
        origins = location.get("allow_origin", "*")
        for origin in [origins] if isinstance(origins, str | None) else origins:
            # Any site can have its pages sent as from "null".
            if origin in ("*", "null", None):
                yield Problem(
                    f"PUSH_SERVER['locations'][{i}]['allow_origin']",
                    f"is {origin!r}, together with allow_credentials: any site could read with "
                    "a visitor's cookies, and browsers refuse '*'",
                    "Name the origin of your pages, such as 'http://127.0.0.1:8000'.",
                    "pushserver.E003",
                )
