"""System checks: each mistake is named by its key, and good settings pass in silence."""

import copy
from typing import Any

import pytest
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.urls import include, path, re_path, resolve, reverse
from django.urls.exceptions import Resolver404

from pushserver import views
from pushserver.utils import updates

GOOD: dict[str, Any] = {
    "port": 8001,
    "address": "127.0.0.1",
    "publisher_host": {"location": "127.0.0.1:8001", "secure": False},
    "subscriber_host": {"location": "127.0.0.1:8001", "secure": False},
    "store": {"type": "memory", "max_messages": 100},
    "locations": (
        {
            "type": "subscriber",
            "url": r"/updates/([^/]+)",
            "allow_origin": "http://127.0.0.1:8000",
            "allow_credentials": True,
            "passthrough": "http://127.0.0.1:8000/passthrough",
        },
        {"type": "publisher", "url": r"/send-update/([^/]+)"},
    ),
}


def good(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(GOOD), **changes}


def good_with_subscriber(**changes: Any) -> dict[str, Any]:
    subscriber, publisher = copy.deepcopy(GOOD["locations"])
    return good(locations=[{**subscriber, **changes}, publisher])


def messages(push_server: object) -> list[checks.CheckMessage]:
    with override_settings(PUSH_SERVER=push_server):
        return checks.run_checks()


def test_good_settings_pass_in_silence() -> None:
    assert messages(GOOD) == []
    assert messages({}) == []


def test_project_without_the_setting_passes_in_silence() -> None:
    with override_settings():
        del settings.PUSH_SERVER
        assert checks.run_checks() == []


@pytest.mark.parametrize(
    ("push_server", "where"),
    [
        (None, "PUSH_SERVER"),
        ([], "PUSH_SERVER"),
        (good(port="http"), "PUSH_SERVER['port']"),
        (good(port=0), "PUSH_SERVER['port']"),
        (good(port=65536), "PUSH_SERVER['port']"),
        (good(port=True), "PUSH_SERVER['port']"),
        (good(port=None), "PUSH_SERVER['port']"),
        (good(address=127), "PUSH_SERVER['address']"),
        (good(listen=8001), "PUSH_SERVER['listen']"),
        (good(store=["memory"]), "PUSH_SERVER['store']"),
        (good(limits=3), "PUSH_SERVER['limits']"),
        (good(binary=7), "PUSH_SERVER['binary']"),
        (good(publisher_hosts={}), "PUSH_SERVER['publisher_hosts']"),
        (good(publisher_host="127.0.0.1:8001"), "PUSH_SERVER['publisher_host']"),
        (good(publisher_host={}), "PUSH_SERVER['publisher_host']['location']"),
        (
            good(publisher_host={"location": "http://127.0.0.1:8001"}),
            "PUSH_SERVER['publisher_host']['location']",
        ),
        (
            good(publisher_host={"location": "127.0.0.1:99999"}),
            "PUSH_SERVER['publisher_host']['location']",
        ),
        (
            good(subscriber_host={"location": "relay/updates"}),
            "PUSH_SERVER['subscriber_host']['location']",
        ),
        (
            good(subscriber_host={"location": "relay", "secure": "no"}),
            "PUSH_SERVER['subscriber_host']['secure']",
        ),
        (
            good(subscriber_host={"location": "relay", "port": 80}),
            "PUSH_SERVER['subscriber_host']['port']",
        ),
        (good(locations="/updates/"), "PUSH_SERVER['locations']"),
        (good(locations={"type": "publisher"}), "PUSH_SERVER['locations']"),
        (good(locations=["/updates/"]), "PUSH_SERVER['locations'][0]"),
        (good_with_subscriber(type="subscribe"), "PUSH_SERVER['locations'][0]['type']"),
        (good_with_subscriber(url=None), "PUSH_SERVER['locations'][0]"),
        (good_with_subscriber(url=5), "PUSH_SERVER['locations'][0]['url']"),
        (good_with_subscriber(channel_argument=5), "PUSH_SERVER['locations'][0]['channel_arg"),
        (good_with_subscriber(allow_origin=5), "PUSH_SERVER['locations'][0]['allow_origin']"),
        (good_with_subscriber(allow_origin=["*", 5]), "PUSH_SERVER['locations'][0]['allow_or"),
        (good_with_subscriber(passthrough="/passthrough"), "PUSH_SERVER['locations'][0]['pass"),
    ],
)
def test_malformed_setting_is_an_error_that_names_the_key(push_server: object, where: str) -> None:
    found = messages(push_server)
    assert [message.id for message in found] == ["pushserver.E001"]
    assert found[0].msg.startswith(where)
    # What the check finds is found at use as well.
    with (
        override_settings(PUSH_SERVER=push_server),
        pytest.raises(ImproperlyConfigured) as raised,
    ):
        updates.publisher_url("room")
    assert str(raised.value) == found[0].msg


def test_misspelt_key_of_djangos_own_gets_a_suggestion() -> None:
    (found,) = messages(good(subscriber_hosts={"location": "x"}))
    assert found.hint == "Did you mean 'subscriber_host'?"


def test_keys_that_only_the_relay_reads_are_left_to_it() -> None:
    assert messages(good(workers=4, servername=None, anything="else")) == []


@pytest.mark.parametrize(
    ("push_server", "what"),
    [
        (good(locations=[]), "no publisher location"),
        (good(locations=GOOD["locations"][:1]), "no publisher location"),
        (good(locations=GOOD["locations"][1:]), "no subscriber location"),
        (good_with_subscriber(url="/updates/[^/]+"), "exactly one group"),
        (good_with_subscriber(url="/(updates)/([^/]+)"), "exactly one group"),
        (good_with_subscriber(url="/updates/([^/]+"), "is no regular expression"),
        (good_with_subscriber(url="/a|/updates/([^/]+)"), "cannot be turned into a URL"),
        (good_with_subscriber(url="/q&a/([^/]+)"), "must match a path"),
        (good_with_subscriber(url="updates/([^/]+)"), "must match a path"),
        (good_with_subscriber(url=None, prefix="/q'a/"), '"/q\'a/"'),
        (good_with_subscriber(url=None, prefix=""), "['prefix'] is ''"),
        (good_with_subscriber(url="/updates/(.)", channel_argument="id"), "must have no group"),
    ],
)
def test_locations_without_usable_urls_are_errors(push_server: object, what: str) -> None:
    found = messages(push_server)
    assert {message.id for message in found} == {"pushserver.E002"}
    assert any(what in message.msg for message in found)
    assert all(message.hint for message in found)


def test_location_that_no_url_is_made_for_needs_but_a_group() -> None:
    later = {"type": "subscriber", "url": r"/a/([^/]+)(?:|/x|/y)"}
    for url in (later["url"], "/a/(.)/(.)"):
        assert messages(good(locations=[*GOOD["locations"], {**later, "url": url}])) == []
    for bad in ({"url": "/a"}, {"type": "publisher", "url": "/a/(.)/(.)"}, {"url": "/a/("}):
        (found,) = messages(good(locations=[*GOOD["locations"], {**later, **bad}]))
        assert found.id == "pushserver.E002"
        assert found.msg.startswith("PUSH_SERVER['locations'][2]['url'] ")


def test_statistics_and_ids_in_the_query_are_left_to_the_relay() -> None:
    more = [
        {"type": "statistics", "url": r"/stats/?(.*)", "allow": "127.0.0.1"},
        {"type": "statistics", "prefix": "/stats", "channel_argument": "id"},
        {"type": "subscriber", "url": "/all/(?:x|y)", "channel_argument": "id", "split": ","},
    ]
    assert messages(good(locations=[*GOOD["locations"], *more])) == []
    # Where URLs are made of it, it is not the statistics that come first.
    assert messages(good(locations=[more[0], *GOOD["locations"]])) == []


@pytest.mark.parametrize("origin", ["*", ["http://a.example", "*"], None, "null"])
def test_any_origin_with_credentials_is_an_error(origin: object) -> None:
    (found,) = messages(good_with_subscriber(allow_origin=origin))
    assert found.id == "pushserver.E003"
    assert found.msg.startswith("PUSH_SERVER['locations'][0]['allow_origin']")


def test_credentials_without_an_origin_mean_any_origin() -> None:
    push_server = good_with_subscriber()
    del push_server["locations"][0]["allow_origin"]
    assert [message.id for message in messages(push_server)] == ["pushserver.E003"]


def test_https_to_the_relay_itself_is_a_warning() -> None:
    own = {"location": "127.0.0.1:8001", "secure": True}
    (found,) = messages(good(publisher_host=own))
    assert (found.id, found.level) == ("pushserver.W001", checks.WARNING)
    (found,) = messages(good(subscriber_host=own))
    assert (found.id, found.level) == ("pushserver.W002", checks.WARNING)
    assert messages(good(publisher_host={"location": "push.example.com", "secure": True})) == []


def test_passthrough_url_that_leads_nowhere_is_a_warning() -> None:
    for url in ("http://127.0.0.1:8000/elsewhere", "http://127.0.0.1:8000/page"):
        (found,) = messages(good_with_subscriber(passthrough=url))
        assert found.id == "pushserver.W003"
        assert found.msg.startswith("PUSH_SERVER['locations'][0]['passthrough']")


def test_passthrough_of_a_project_without_urls_is_a_warning() -> None:
    with override_settings():
        del settings.ROOT_URLCONF
        (found,) = checks.run_checks(tags=["pushserver"])
    assert found.id == "pushserver.W003"


def test_passthrough_without_internal_ips_is_a_warning() -> None:
    with override_settings(INTERNAL_IPS=[]):
        (found,) = messages(GOOD)
    assert found.id == "pushserver.W004"


def test_without_passthrough_neither_url_nor_internal_ips_are_asked_for() -> None:
    class NoUrls:
        urlpatterns: list[Any] = []

    with override_settings(ROOT_URLCONF=NoUrls, INTERNAL_IPS=[]):
        assert messages(good_with_subscriber(passthrough=None)) == []


@pytest.mark.parametrize(
    "pattern",
    [
        path("passthrough", include("pushserver.urls")),
        re_path(r"^passthrough", include("pushserver.urls")),
    ],
    ids=["path", "re_path"],
)
def test_url_resolves_with_and_without_slash_and_nothing_longer(pattern: Any) -> None:
    class Urls:
        urlpatterns = [pattern]

    with override_settings(ROOT_URLCONF=Urls, PUSH_SERVER=GOOD):
        assert checks.run_checks() == []
        for found in ("/passthrough", "/passthrough/"):
            match = resolve(found)
            assert match.func is views.passthrough
            assert match.view_name == "pushserver-passthrough"
        for missing in (
            "/passthrough//",
            "/passthrough/x",
            "/passthroughs",
            "/passthrough\n",
            "/x/passthrough",
        ):
            with pytest.raises(Resolver404):
                resolve(missing)
        assert reverse("pushserver-passthrough") == "/passthrough"
