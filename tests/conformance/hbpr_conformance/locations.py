"""Section 1: locations and channels."""

from __future__ import annotations

from urllib.parse import quote

from .options import Options
from .suite import Section, Trial, expect, expect_status
from .wire import Failure, brief

section = Section(1, "Locations and channels")

EVERY_BYTE = bytes(range(256))


def expect_apart(t: Trial, one: str, other: str) -> None:
    """Check that two ids, as they stand in a URL, name two channels."""
    t.post(one, b"one")
    t.post(other, b"other")
    t.read(one, b"one")
    t.read(other, b"other")


def expect_same(t: Trial, one: str, other: str) -> None:
    """Check that two ids, as they stand in a URL, name one channel."""
    t.post(one, b"same")
    t.read(other, b"same")


@section.check("must")
def publisher_to_subscriber(t: Trial) -> None:
    """What is published at a publisher location is read at a subscriber location."""
    channel = t.channel()
    t.post(channel, b"from the publisher")
    t.read(channel, b"from the publisher")


@section.check("must")
def channel_id_is_the_applications(t: Trial) -> None:
    """Channel ids come from the application, and each names a channel of its own."""
    channel = t.channel()
    one, other = channel + "-a.b_c~1", channel + "-a.b_c~2"
    expect_apart(t, one, other)


@section.check("legacy")
def channel_id_without_query_sub(t: Trial) -> None:
    """The query of a subscriber's request is no part of the id: jQuery's ?_=123 changes nothing."""
    channel = t.channel()
    t.post(channel, b"m")
    t.read(channel, b"m", query="_=1732150000123")


@section.check("legacy")
def channel_id_without_query_pub(t: Trial) -> None:
    """The query of a publisher's request is no part of the id."""
    channel = t.channel()
    answer = t.request(t.options.pub, "POST", channel, body=b"m", query="_=1732150000123")
    expect_status(answer, 201, 202, of="POST")
    t.read(channel, b"m")


@section.check("decision")
def channel_id_any_bytes(t: Trial) -> None:
    """A percent-decoded id is opaque bytes: %2F, %00, %0A and each other byte are data."""
    base = t.channel()
    parts = [quote(EVERY_BYTE[n : n + 32], safe="") for n in range(0, 256, 32)]
    for part in parts:
        channel = f"{base}-{part}"
        t.post(channel, part.encode())
    for part in parts:
        try:
            t.read(f"{base}-{part}", part.encode())
        finally:
            t.request(t.options.pub, "DELETE", f"{base}-{part}")


@section.check("decision")
def channel_id_slash_escaped(t: Trial) -> None:
    """The path is matched before it is decoded, so an id may have a slash as %2F."""
    channel = t.channel()
    expect_apart(t, channel + "%2Fa", channel + "%2Fb")


@section.check("decision")
def channel_id_nul_escaped(t: Trial) -> None:
    """%00 does not end an id."""
    channel = t.channel()
    expect_apart(t, channel + "%00a", channel + "%00b")


@section.check("decision")
def channel_id_line_end_escaped(t: Trial) -> None:
    """%0A and %0D are data in an id."""
    channel = t.channel()
    expect_apart(t, channel + "%0D%0Aa", channel + "%0D%0Ab")


@section.check("decision")
def channel_id_escape_equals_byte(t: Trial) -> None:
    """Ids that differ only in their encoding name one channel."""
    channel = t.channel()
    expect_same(t, channel + "-abc", channel + "-%61%62c")


@section.check("decision")
def channel_id_decoded_once(t: Trial) -> None:
    """An id is decoded once: %2541 is %41 and not A."""
    channel = t.channel()
    expect_apart(t, channel + "-%2541", channel + "-A")


@section.check("decision")
def channel_id_bad_escape_400(t: Trial) -> None:
    """Bad percent-encoding in an id is 400."""
    for escape in ("%", "%4", "%zz", "%4z"):
        answer = t.get(t.channel() + escape)
        expect_status(answer, 400, of=f"GET of an id with {escape}")


@section.check("decision")
def channel_id_as_long_as_allowed(t: Trial) -> None:
    """An id may have --max-id bytes after decoding."""
    base = t.channel()
    channel = base + "%41" * (t.options.max_id - len(base))
    try:
        t.post(channel, b"long id")
        t.read(channel, b"long id")
    finally:
        t.request(t.options.pub, "DELETE", channel)


@section.check("decision")
def channel_id_too_long_400(t: Trial) -> None:
    """An id of more than --max-id bytes is 400."""
    base = t.channel()
    channel = base + "x" * (t.options.max_id + 1 - len(base))
    answer = t.request(t.options.pub, "POST", channel, body=b"m")
    expect_status(answer, 400, of=f"an id of {len(channel)} bytes")


@section.check("http")
def target_of_8000_bytes(t: Trial) -> None:
    """A request line of 8000 bytes is understood, as RFC 9112 recommends."""
    channel = t.channel()
    t.post(channel, b"m")
    space = 8000 - len("GET  HTTP/1.1") - len(t.options.sub.target(channel, "_="))
    t.read(channel, b"m", query="_=" + "x" * space)


@section.check("http")
def target_too_long_414(t: Trial) -> None:
    """A request target over --max-target bytes is 414."""
    channel = t.channel()
    space = t.options.max_target + 1 - len(t.options.sub.target(channel, "_="))
    answer = t.get(channel, query="_=" + "x" * space)
    expect_status(answer, 414)


def idle(options: Options) -> float:
    """Seconds until an idle channel with an expired message should be gone."""
    return (options.message_timeout or 0) + (options.channel_timeout or 0) + 1.5


@section.check("decision", "idle_pub", "channel_timeout", takes=idle)
def channel_made_by_post_goes_when_idle(t: Trial) -> None:
    """A channel made by POST goes when it has had neither message nor waiter for its time."""
    publisher = t.options.idle_pub
    assert publisher is not None
    channel = t.channel(publisher)
    t.post(channel, b"m", publisher=publisher)
    if not t.until(lambda: not t.exists(channel, publisher), idle(t.options) + t.soon):
        raise Failure("404 when the channel has been idle", "200")


@section.check("decision", "idle_pub", "channel_timeout", takes=idle)
def channel_made_by_put_stays(t: Trial) -> None:
    """A channel made by PUT stays until DELETE."""
    publisher = t.options.idle_pub
    assert publisher is not None
    channel = t.channel(publisher)
    expect_status(t.request(publisher, "PUT", channel), 200, of="PUT")
    t.wait(idle(t.options))
    expect(t.exists(channel, publisher), "the channel still to be there", "404")


@section.check("decision", "nowhere")
def path_outside_all_locations_404(t: Trial) -> None:
    """A path outside all locations is 404, whatever the method."""
    nowhere = t.options.nowhere
    assert nowhere is not None
    for method in ("GET", "POST", "PUT", "DELETE"):
        answer = t.request(nowhere, method, "x", body=b"m" if method == "POST" else None)
        expect(answer.status == 404, f"404 to {method}", f"{answer} {brief(answer.body)}")
