"""Section 5: CORS, at subscriber locations."""

from __future__ import annotations

from .options import Options
from .suite import Section, Trial, expect, expect_equal, expect_message, expect_status
from .wire import Headers, Location, Response

section = Section(5, "CORS")

PAGE = "http://page.test"
ORIGIN = {"Origin": PAGE}
PREFLIGHT = {
    **ORIGIN,
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "if-modified-since, if-none-match",
}


def allowed_origin(answer: Response) -> str | None:
    return answer.header("Access-Control-Allow-Origin")


def expect_visible(answer: Response) -> None:
    """Check that a script on a page of PAGE can see the answer."""
    found = allowed_origin(answer)
    if found not in ("*", PAGE):
        expect(False, f"Access-Control-Allow-Origin on {answer.status}", repr(found))


def preflight(t: Trial, headers: Headers = PREFLIGHT, where: Location | None = None) -> Response:
    answer = t.request(where or t.options.sub, "OPTIONS", t.channel(), headers)
    return expect_status(answer, 200, of="a preflight")


@section.check("legacy")
def cors_any_origin(t: Trial) -> None:
    """allow_origin is * by default: a message can be read by a script of any page."""
    channel = t.channel()
    t.post(channel, b"m")
    expect_visible(t.read(channel, headers=ORIGIN))
    expect_visible(preflight(t))


@section.check("legacy")
def cors_any_origin_delayed(t: Trial) -> None:
    """So can a message that was waited for."""
    channel = t.channel()
    held = t.hold(channel, t.start(channel), ORIGIN)
    t.post(channel, b"m")
    expect_visible(expect_message(held.answer_at_once("POST")))


@section.check("safety")
def cors_no_credentials_for_all(t: Trial) -> None:
    """Where any origin is allowed, credentials are not: neither by * nor by echoing."""
    channel = t.channel()
    t.post(channel, b"m")
    for answer in (t.read(channel, headers=ORIGIN), preflight(t)):
        found = answer.header("Access-Control-Allow-Credentials")
        expect_equal(found, None, "Access-Control-Allow-Credentials")


@section.check("legacy")
def cors_allow_headers(t: Trial) -> None:
    """Access-Control-Allow-Headers has If-Modified-Since, If-None-Match and X-Cookie."""
    answer = preflight(t)
    name = "Access-Control-Allow-Headers"
    missing = {"if-modified-since", "if-none-match", "x-cookie"} - answer.tokens(name)
    expect(not missing, f"{name} with all three", f"none for {', '.join(sorted(missing))}")


@section.check("decision")
def cors_allow_more_headers(t: Trial) -> None:
    """Access-Control-Allow-Headers has Last-Event-ID and Content-Type."""
    answer = preflight(t)
    name = "Access-Control-Allow-Headers"
    missing = {"last-event-id", "content-type"} - answer.tokens(name)
    expect(not missing, f"{name} with both", f"none for {', '.join(sorted(missing))}")


@section.check("legacy")
def cors_expose_headers(t: Trial) -> None:
    """Access-Control-Expose-Headers has Last-Modified, Etag and Cache-Control."""
    channel = t.channel()
    t.post(channel, b"m")
    name = "Access-Control-Expose-Headers"
    missing = {"last-modified", "etag", "cache-control"} - t.read(channel, headers=ORIGIN).tokens(
        name
    )
    expect(not missing, f"{name} with all three", f"none for {', '.join(sorted(missing))}")


@section.check("decision")
def cors_expose_gap(t: Trial) -> None:
    """Access-Control-Expose-Headers has X-Push-Gap."""
    channel = t.channel()
    t.post(channel, b"m")
    found = t.read(channel, headers=ORIGIN).tokens("Access-Control-Expose-Headers")
    expect("x-push-gap" in found, "X-Push-Gap", str(sorted(found)))


@section.check("legacy")
def cors_max_age(t: Trial) -> None:
    """Access-Control-Max-Age is 864000."""
    expect_equal(preflight(t).header("Access-Control-Max-Age"), "864000", "Access-Control-Max-Age")


# One origin, or several, with --origin among them


def _both(t: Trial, where: Location | None, origin: str) -> list[Response]:
    """A message and a preflight for a page of that origin."""
    channel = t.channel()
    t.post(channel, b"m")
    headers = {**PREFLIGHT, "Origin": origin}
    return [
        t.read(channel, headers={"Origin": origin}, subscriber=where),
        preflight(t, headers, where),
    ]


@section.check("legacy", "origin_sub", "origin")
def cors_one_origin(t: Trial) -> None:
    """A location that allows one origin names it."""
    assert t.options.origin is not None
    for answer in _both(t, t.options.origin_sub, t.options.origin):
        expect_equal(allowed_origin(answer), t.options.origin, "Access-Control-Allow-Origin")


@section.check("legacy", "origin_sub", "origin")
def cors_credentials(t: Trial) -> None:
    """allow_credentials is said as Access-Control-Allow-Credentials: true."""
    assert t.options.origin is not None
    for answer in _both(t, t.options.origin_sub, t.options.origin):
        found = answer.header("Access-Control-Allow-Credentials")
        expect_equal(found, "true", "Access-Control-Allow-Credentials")


@section.check("safety", "origin_sub", "origin")
def cors_stranger_is_not_echoed(t: Trial) -> None:
    """An origin that a location does not allow is never echoed, nor is * said."""
    assert t.options.origin is not None
    for stranger in ("http://evil.test", t.options.origin + ".evil.test", "null"):
        channel = t.channel()
        t.post(channel, b"m")
        answer = t.get(channel, headers={"Origin": stranger}, subscriber=t.options.origin_sub)
        found = allowed_origin(answer)
        expect(found in (None, t.options.origin), f"no {stranger} and no *", repr(found))


@section.check("decision", "origins_sub", "origin")
def cors_list_echoes(t: Trial) -> None:
    """Of a list of origins the one that matches is echoed, alone."""
    assert t.options.origin is not None
    for answer in _both(t, t.options.origins_sub, t.options.origin):
        expect_equal(allowed_origin(answer), t.options.origin, "Access-Control-Allow-Origin")


@section.check("decision", "origins_sub", "origin")
def cors_list_varies(t: Trial) -> None:
    """Where there is a list, answers say Vary: Origin, whoever asks."""
    assert t.options.origin is not None
    for origin in (t.options.origin, "http://evil.test"):
        channel = t.channel()
        t.post(channel, b"m")
        answer = t.get(channel, headers={"Origin": origin}, subscriber=t.options.origins_sub)
        expect("origin" in answer.tokens("Vary"), "Vary with Origin", str(answer.all("Vary")))


# On every status


@section.check("decision", "interval_sub")
def cors_on_304(t: Trial) -> None:
    """CORS headers are on 304."""
    channel = t.channel()
    position = t.start(channel)
    answer = t.get(channel, position, ORIGIN, t.options.interval_sub)
    expect_visible(expect_status(answer, 304))


def holding(options: Options) -> float:
    return (options.hold_timeout or 0) + 1.0


@section.check("decision", "timeout_sub", "hold_timeout", takes=holding)
def cors_on_time_out(t: Trial) -> None:
    """CORS headers are on the answer to a time-out, whatever its status."""
    channel = t.channel()
    poll = t.poll(channel, t.start(channel), ORIGIN, t.options.timeout_sub)
    expect_visible(poll.answer())


@section.check("decision")
def cors_on_400(t: Trial) -> None:
    """CORS headers are on the 400 of a malformed position."""
    channel = t.channel()
    t.post(channel, b"m")
    answer = t.get(channel, headers={**ORIGIN, "If-Modified-Since": "yesterday"})
    expect_visible(expect_status(answer, 400))


@section.check("decision", "existing_sub")
def cors_on_404(t: Trial) -> None:
    """CORS headers are on 404."""
    answer = t.get(t.channel(), headers=ORIGIN, subscriber=t.options.existing_sub)
    expect_visible(expect_status(answer, 404))


@section.check("decision")
def cors_on_405(t: Trial) -> None:
    """CORS headers are on 405."""
    answer = t.request(t.options.sub, "PATCH", t.channel(), ORIGIN, b"x")
    expect_visible(expect_status(answer, 405))


@section.check("decision", "first_sub")
def cors_on_409(t: Trial) -> None:
    """CORS headers are on 409."""
    channel = t.channel()
    position = t.start(channel)
    t.hold(channel, position, subscriber=t.options.first_sub)
    answer = t.get(channel, position, ORIGIN, t.options.first_sub)
    expect_visible(expect_status(answer, 409))


@section.check("decision")
def cors_on_410(t: Trial) -> None:
    """CORS headers are on 410."""
    channel = t.channel()
    held = t.hold(channel, t.start(channel), ORIGIN)
    t.request(t.options.pub, "DELETE", channel)
    expect_visible(expect_status(held.answer_at_once("DELETE"), 410))
