"""Section 6: passthrough, notices to the application."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from .listener import ENOUGH, Listener, Notice
from .options import Options
from .suite import (
    SETTLE,
    Poll,
    Section,
    Trial,
    expect,
    expect_equal,
    expect_message,
    expect_status,
)
from .wire import Failure, Headers, Location, Position, request_bytes

section = Section(6, "Passthrough")

NEEDS = ("passthrough_sub", "passthrough_listen")
PAIR = ["subscribe", "unsubscribe"]


def wait_for(t: Trial, channel: str | bytes, count: int, seconds: float = 0.0) -> list[Notice]:
    """Wait until so many notices of a channel have come. seconds: more than what is usual."""
    listener: Listener = t.listener
    t.until(lambda: len(listener.notices(channel)) >= count, seconds + t.soon)
    notices = listener.notices(channel)
    if len(notices) < count:
        got = [notice.event for notice in notices]
        raise Failure(f"{count} notices", f"{len(got)}: {', '.join(got) or 'none'}")
    return notices


def expect_events(t: Trial, channel: str, events: list[str], seconds: float = 0.0) -> None:
    """Check that exactly these notices come, in this order."""
    wait_for(t, channel, len(events), seconds)
    t.wait(SETTLE)  # for what should not come
    expect_equal([notice.event for notice in t.listener.notices(channel)], events, "notices")


def hold(
    t: Trial,
    headers: Headers = (),
    subscriber: Location | None = None,
    channel: str | None = None,
) -> tuple[str, Poll]:
    """A held request whose notices go to the listener, and its channel."""
    channel = channel or t.channel()
    where = subscriber or t.options.passthrough_sub
    return channel, t.hold(channel, t.start(channel), headers, where)


def pair(t: Trial, headers: Headers = ()) -> list[Notice]:
    """Both notices of a request with these headers that is held, and closed."""
    channel, held = hold(t, headers)
    wait_for(t, channel, 1)
    held.close()
    return wait_for(t, channel, 2)


# What a notice is


@section.check("legacy", *NEEDS)
def notice_of_subscribe(t: Trial) -> None:
    """When a request begins to be held, channel_id=<id>&subscribe=1 is POSTed."""
    channel, _ = hold(t)
    notice = wait_for(t, channel, 1)[0]
    expect(notice.line.startswith(b"POST "), "a POST", repr(notice.line))
    expect_equal(notice.body, f"channel_id={channel}&subscribe=1".encode(), "the body")


@section.check("legacy", *NEEDS)
def notice_of_unsubscribe(t: Trial) -> None:
    """When a held request ends, channel_id=<id>&unsubscribe=1 is POSTed."""
    channel, held = hold(t)
    wait_for(t, channel, 1)
    held.close()
    notice = wait_for(t, channel, 2)[1]
    expect(notice.line.startswith(b"POST "), "a POST", repr(notice.line))
    expect_equal(notice.body, f"channel_id={channel}&unsubscribe=1".encode(), "the body")


@section.check("legacy", *NEEDS)
def notice_is_a_form(t: Trial) -> None:
    """A notice's Content-Type is application/x-www-form-urlencoded."""
    for notice in pair(t):
        found = [value.split(b";")[0].strip() for value in notice.all("Content-Type")]
        expect_equal(found, [b"application/x-www-form-urlencoded"], "Content-Type")


@section.check("legacy", *NEEDS)
def notice_id_survives(t: Trial) -> None:
    """Any channel id survives the form: &, =, +, %, blanks and bytes that are not UTF-8."""
    base = t.channel()
    raw = base.encode() + b" &=+%\xff\n;\xc3\xa9"
    channel = quote(raw, safe="")
    try:
        _, held = hold(t, channel=channel)
        wait_for(t, raw, 1)
        held.close()
        expect_equal([notice.event for notice in wait_for(t, raw, 2)], PAIR, "notices")
    finally:
        t.request(t.options.pub, "DELETE", channel)


@section.check("legacy", *NEEDS)
def notice_has_the_subscribers_headers(t: Trial) -> None:
    """Both notices carry the subscriber's headers: its cookies, its User-Agent and others."""
    headers = {
        "Cookie": 'sessionid=abc123; csrftoken="x y"; empty=',
        "User-Agent": "conformance/1.0",
        "Authorization": "Basic dXNlcjpwYXNz",
        "Accept-Language": "sl;q=0.9",
        "Referer": "http://page.test/",
        "X-Own": "yes",
    }
    for notice in pair(t, headers):
        for name, value in headers.items():
            expect_equal(notice.all(name), [value.encode()], f"{name} with {notice.event}")


@section.check("legacy", *NEEDS)
def notices_of_one_request_are_alike(t: Trial) -> None:
    """Both notices carry the same headers."""
    one, other = pair(t, {"Cookie": "a=b", "X-One": "1", "Accept": "*/*"})
    differ = {"content-length", "connection"}
    fields = [[f for f in notice.fields if f[0] not in differ] for notice in (one, other)]
    expect_equal(fields[1], fields[0], "the second notice's headers")


# What is not passed on

NOT_PASSED_ON = {
    "connection": ("hop-by-hop headers", {"Keep-Alive": "timeout=5", "Proxy-Connection": "x"}),
    "proxy-authorization": ("Proxy-Authorization", {"Proxy-Authorization": "Basic eA=="}),
    "te": ("TE and Trailer", {"TE": "trailers", "Trailer": "X-T"}),
    "content": (
        "headers about a body",
        {"Content-Language": "sl", "Content-Encoding": "x", "Content-Disposition": "inline"},
    ),
    "expect": ("Expect", {"Expect": "100-continue"}),
    "upgrade": (
        "Upgrade and Sec-WebSocket-*",
        {"Upgrade": "h2c", "Sec-WebSocket-Key": "eA==", "Sec-WebSocket-Protocol": "x"},
    ),
    "conditions": (
        "conditional and range headers",
        {
            "If-Match": '"5"',
            "If-Unmodified-Since": "Thu, 01 Jan 2099 00:00:00 GMT",
            "If-Range": '"5"',
            "Range": "bytes=0-1",
        },
    ),
    "accept-encoding": ("Accept-Encoding", {"Accept-Encoding": "gzip"}),
    "underscores": ("names with _", {"Remote_User": "root", "X_Forwarded_For": "1.2.3.4"}),
}


def not_passed_on(headers: dict[str, str], t: Trial) -> None:
    for notice in pair(t, {**headers, "X-End": "y"}):
        for name, value in headers.items():
            expect(value.encode() not in notice.all(name), f"no {name}", f"{name}: {value}")
        expect_equal(notice.all("X-End"), [b"y"], "a header behind them")


for _name, (_what, _headers) in NOT_PASSED_ON.items():
    section.add(
        "decision",
        f"notice-without-{_name}",
        f"Not passed on: {_what}",
        partial(not_passed_on, _headers),
        *NEEDS,
    )


@section.check("decision", *NEEDS)
def notice_without_position(t: Trial) -> None:
    """Not passed on: If-Modified-Since and If-None-Match."""
    for notice in pair(t):  # that is held from a position
        found = notice.all("If-Modified-Since") + notice.all("If-None-Match")
        expect_equal(found, [], "If-Modified-Since and If-None-Match")


@section.check("decision", *NEEDS)
def notice_without_what_connection_names(t: Trial) -> None:
    """Not passed on: what Connection names."""
    headers = {"X-Hop": "1", "Connection": "keep-alive, x-HOP", "X-Stays": "2"}
    for notice in pair(t, headers):
        expect_equal(notice.all("X-Hop"), [], "X-Hop")
        expect_equal(notice.all("X-Stays"), [b"2"], "X-Stays")


@section.check("decision", *NEEDS)
def notice_has_the_applications_host(t: Trial) -> None:
    """Host is the application's, not the subscriber's."""
    sub = t.options.passthrough_sub
    assert sub is not None
    for notice in pair(t, {"Host": "subscriber.test:81"}):
        hosts = notice.all("Host")
        expect(len(hosts) == 1, "one Host", str(hosts))
        expect(hosts[0] != b"subscriber.test:81", "the application's Host", repr(hosts[0]))


@section.check("decision", *NEEDS)
def notice_values_unchanged(t: Trial) -> None:
    """All other values pass unchanged, byte for byte."""
    values = {
        "X-Latin": bytes(range(0x80, 0x100)),
        "X-Punctuation": b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
        "X-Blanks": b"a  b\tc",
        "X-Percent": b"%0d%0aX: y",
        "X-Empty": b"",
        "X-Long": b"x" * 4000,
    }
    headers = {name: value.decode("latin-1") for name, value in values.items()}
    for notice in pair(t, headers):
        for name, value in values.items():
            expect_equal(notice.all(name), [value], name)


# What is added


@section.check("decision", *NEEDS)
def notice_forwarded_for(t: Trial) -> None:
    """X-Forwarded-For is the peer's address behind what came in it."""
    for came, wanted in (({}, b""), ({"X-Forwarded-For": "198.51.100.7"}, b"198.51.100.7, ")):
        for notice in pair(t, came):
            value = b", ".join(notice.all("X-Forwarded-For"))
            expect(value.startswith(wanted), f"{wanted!r} and an address", repr(value))
            peer = value[len(wanted) :]
            expect(bool(peer) and b"," not in peer, "the peer's address last", repr(value))


@section.check("decision", *NEEDS)
def notice_forwarded_proto_and_host(t: Trial) -> None:
    """X-Forwarded-Proto and X-Forwarded-Host say how the relay was asked."""
    for notice in pair(t, {"Host": "subscriber.test:81"}):
        expect_equal(notice.all("X-Forwarded-Proto"), [b"http"], "X-Forwarded-Proto")
        expect_equal(notice.all("X-Forwarded-Host"), [b"subscriber.test:81"], "X-Forwarded-Host")


@section.check("decision", *NEEDS)
def notice_has_nothing_else(t: Trial) -> None:
    """Nothing else is added, no Accept or User-Agent that did not come."""
    known = {
        *("host", "connection", "content-type", "content-length"),
        *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"),
    }
    for notice in pair(t):
        more = {name for name, _ in notice.fields} - known
        expect(not more, "nothing else", ", ".join(sorted(more)))


# One pair for each held request


@section.check("decision", *NEEDS)
def pair_when_delivered(t: Trial) -> None:
    """One pair, in order, when a message is delivered."""
    channel, held = hold(t)
    t.post(channel, b"m")
    expect_message(held.answer_at_once("POST"), b"m")
    expect_events(t, channel, PAIR)


@section.check("decision", *NEEDS)
def pair_when_closed(t: Trial) -> None:
    """One pair, in order, when the client closes."""
    channel, held = hold(t)
    held.close()
    expect_events(t, channel, PAIR)


@section.check("decision", *NEEDS)
def pair_when_reset(t: Trial) -> None:
    """One pair, in order, when the client resets."""
    channel, held = hold(t)
    held.connection.reset()
    expect_events(t, channel, PAIR)


@section.check("decision", *NEEDS)
def pair_when_deleted(t: Trial) -> None:
    """One pair, in order, when the channel is deleted."""
    channel, held = hold(t)
    t.request(t.options.pub, "DELETE", channel)
    expect_status(held.answer_at_once("DELETE"), 410)
    expect_events(t, channel, PAIR)


def holding(options: Options) -> float:
    return (options.hold_timeout or 0) + 1.0


@section.check(
    "decision", "passthrough_timeout_sub", "hold_timeout", "passthrough_listen", takes=holding
)
def pair_when_timed_out(t: Trial) -> None:
    """One pair, in order, when the request times out."""
    channel, held = hold(t, subscriber=t.options.passthrough_timeout_sub)
    held.answer()
    expect_events(t, channel, PAIR)


@section.check("decision", "passthrough_last_sub", "passthrough_listen")
def pair_when_in_conflict(t: Trial) -> None:
    """One pair, in order, for the request that a conflict ends; the other stays subscribed."""
    where = t.options.passthrough_last_sub
    channel, older = hold(t, {"X-Who": "older"}, where)
    t.poll(channel, t.read(channel).position, {"X-Who": "newer"}, where)
    expect_status(older.answer_at_once("a newer request"), 409)
    wait_for(t, channel, 3)
    t.wait(SETTLE)
    came: dict[bytes, list[str]] = {b"older": [], b"newer": []}
    for notice in t.listener.notices(channel):
        came[b"".join(notice.all("X-Who"))].append(notice.event)
    expect_equal(came, {b"older": PAIR, b"newer": ["subscribe"]}, "notices")


@section.check("decision", *NEEDS)
def pair_for_each_poll(t: Trial) -> None:
    """Each request of a connection has its own pair."""
    channel = t.channel()
    position: Position = t.start(channel)
    where = t.options.passthrough_sub
    connection = t.connect(where)
    for n in range(1, 4):
        held = t.hold(channel, position, subscriber=where, connection=connection)
        t.post(channel, b"%d" % n)
        position = expect_message(held.answer_at_once("POST"), b"%d" % n).position
        wait_for(t, channel, 2 * n)
    expect_events(t, channel, PAIR * 3)


# What is told to nobody


def expect_silence(t: Trial, channel: str) -> None:
    t.wait(2 * SETTLE)
    events = [notice.event for notice in t.listener.notices(channel)]
    expect_equal(events, [], "notices")


@section.check("decision", *NEEDS)
def no_notice_when_answered_at_once(t: Trial) -> None:
    """Nothing is sent for a request that was answered at once."""
    channel = t.channel()
    t.post(channel, b"m")
    t.read(channel, b"m", subscriber=t.options.passthrough_sub)
    expect_silence(t, channel)


@section.check("decision", *NEEDS)
def no_notice_when_refused(t: Trial) -> None:
    """Nothing is sent for OPTIONS, and for what is refused or malformed."""
    channel = t.channel()
    where = t.options.passthrough_sub
    assert where is not None
    t.post(channel, b"m")
    t.request(where, "OPTIONS", channel, {"Origin": "http://page.test"})
    t.request(where, "PATCH", channel, body=b"x")
    t.get(channel, headers={"If-Modified-Since": "yesterday"}, subscriber=where)
    connection = t.connect(where)
    connection.send(request_bytes("GET", where.target(channel), where.host, {"X ": "y"}))
    connection.read_to_end()
    expect_silence(t, channel)


@section.check("decision", "passthrough_interval_sub", "passthrough_listen")
def no_notice_for_interval_polls(t: Trial) -> None:
    """Nothing is sent for interval polling."""
    channel = t.channel()
    position = t.start(channel)
    where = t.options.passthrough_interval_sub
    t.get(channel, position, subscriber=where)
    t.read(channel, b"start", subscriber=where)
    expect_silence(t, channel)


# The application's troubles are its own


@section.check("decision", *NEEDS)
def slow_application_delays_nobody(t: Trial) -> None:
    """An application that does not answer delays no subscriber and no publisher."""
    channel = t.channel()
    t.listener.answer(channel, "never")
    _, held = hold(t, channel=channel)
    wait_for(t, channel, 1)
    expect_status(t.post(channel, b"m"), 201, of="POST")
    expect_message(held.answer_at_once("POST"), b"m")


@section.check("decision", *NEEDS)
def notice_answer_is_ignored(t: Trial) -> None:
    """What the application answers is ignored: also 500 ends no subscription."""
    channel = t.channel()
    t.listener.answer(channel, "error")
    _, held = hold(t, channel=channel)
    wait_for(t, channel, 1)
    held.expect_held("whatever the application answers")
    t.post(channel, b"m")
    expect_message(held.answer_at_once("POST"), b"m")
    expect_events(t, channel, PAIR)


@section.check("decision", *NEEDS)
def notice_redirect_is_not_followed(t: Trial) -> None:
    """A redirect by the application is not followed."""
    channel = t.channel()
    t.listener.answer(channel, "redirect")
    _, held = hold(t, channel=channel)
    wait_for(t, channel, 1)
    held.close()
    expect_events(t, channel, PAIR)
    expect(not t.listener.saw_path("/elsewhere-" + channel), "no request", "one to its Location")


@section.check("safety", *NEEDS, takes=lambda options: 5.0)
def notice_answer_is_not_read_to_its_end(t: Trial) -> None:
    """Of a long answer by the application only a little is read."""
    channel = t.channel()
    t.listener.answer(channel, "huge")
    hold(t, channel=channel)
    wait_for(t, channel, 1)
    t.until(lambda: t.listener.taken(channel) is not None, t.deadline.left() - 0.5)
    taken = t.listener.taken(channel)
    if taken is None or taken > ENOUGH:
        raise Failure("the relay to hang up", f"{taken or 'ever more'} bytes read")


@section.check(
    "decision", "linger_sub", "linger", "passthrough_listen", takes=lambda o: o.linger or 0
)
def linger_makes_one_pair(t: Trial) -> None:
    """With passthrough_linger a subscriber who comes back within it never left: one pair."""
    where, linger = t.options.linger_sub, t.options.linger
    assert linger is not None
    channel = t.channel()
    position: Position = t.start(channel)
    connection = t.connect(where)
    cookie = {"Cookie": "sessionid=linger"}
    for n in range(3):
        held = t.hold(channel, position, cookie, where, connection=connection)
        t.post(channel, b"%d" % n)
        position = expect_message(held.answer_at_once("POST"), b"%d" % n).position
    expect_events(t, channel, PAIR, linger + 1)
