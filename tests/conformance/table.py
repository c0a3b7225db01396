"""Measure our relay and Nchan, and write what came out into docs/conformance.md.

`python3 tests/conformance/table.py` runs the suite against build/pushserver, with 1 and with 4
workers, and against Nchan, and replaces what lies between the two marks in the document. The
outcomes are only ever written from a run; what is written here by hand is a word on each
difference. It ends with status 1 where a difference has no word, or a word no difference.
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

import nchan
import relay
from hbpr_conformance import __main__ as command
from hbpr_conformance.suite import LEVELS

DOCUMENT = relay.ROOT / "docs" / "conformance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

Outcomes = dict[str, dict[str, Any]]

# A word on each difference: patterns of checks, and why Nchan does not pass them.
NO_CONCURRENCY = "It has no locations that hold only the newest or the oldest request."
NO_STATUS = "It never answers so; see the check of the status itself."
TAGS = "A tag that it cannot read counts as none or as 0."
DATES = "A date that it cannot read counts as none."
PUT = "Its PUT publishes an empty message, as its POST would."
NO_BODY_READ = "It leaves the body of a subscriber's request in place, and takes it for the next."
NGINX = "Nginx answers so, before Nchan has a part in it."
LENIENT = "Nginx's parser lets it pass."
NO_DATA = "Where publishing is not allowed it closes at the first message of a client, with 1008."
NO_CHECKS = "It does not check this; to a message it says 1008, for publishing is not allowed."
NOTES = {
    "channel-id-any-bytes,channel-id-nul-escaped": "Nginx refuses %00 in a path.",
    "channel-id-line-end-escaped": "A `.` of nginx's patterns does not match a line's end.",
    "channel-id-too-long-400": "It refuses with 403.",
    "channel-made-by-*-when-idle,channel-made-by-put-stays": "It has no time of its own for "
    "channels; they go with their last message.",
    "etag-is-quoted": "Its tags are bare, which HTTP does not allow.",
    "etag-in-cache-control,message-is-not-cached,old-client-echoes-*": "It sends no Cache-Control.",
    "ids-increase-over-the-store": "Tags count within a channel.",
    "ids-not-reused-after-delete": "Tags begin anew when a channel is deleted, so two messages of "
    "one second have one id, and who stands at it misses the second.",
    "ids-not-reused-for-unstored": "A message that is not stored shares its id with the next.",
    "if-modified-since-alone-*": "It asks for If-None-Match as well.",
    "if-none-match-*gzip": TAGS,
    "if-none-match-*-400": TAGS,
    "if-modified-since-zone": "It does not read zones, and so is hours off.",
    "if-modified-since-one-digit-day": "It does not read such a date, and sends the oldest.",
    "if-modified-since-*-400": DATES,
    "malformed-position-before-404": "Unknown channels are 403, whatever the position.",
    "last-event-id-*400": "An id that it cannot read counts as none.",
    "last-event-id-query-in-camel-case": "It does not know the name.",
    "position-in-the-future": "Whose clock stepped back waits until it is that late again.",
    "gap-is-told*": "It does not tell gaps; after a deletion within the second it even holds the "
    "request although there is a message.",
    "no-gap-for-unstored": "A message that came behind an unstored one is not delivered.",
    "sub-*-405,sub-405-has-allow": "403 to methods that it knows, 400 to others, and no answer "
    "at all to HEAD.",
    "interval-creates-no-channel": "Its interval polls make channels.",
    "content-type-of-location": "It has no such setting.",
    "last-*,first-*,conflicts-*,cors-on-409": NO_CONCURRENCY,
    "unknown-channel-404": "It refuses with 403.",
    "channel-made-by-get-vanishes": "The channel stays for some seconds.",
    "time-out-304,time-out-repeats-position": "408 without a position.",
    "time-out-without-position-*": PUT,
    "pipelined-behind-a-held-one": "More bytes behind a held request are taken for a mistake.",
    "pub-put-200,pub-put-is-no-message,pub-put-keeps-waiters,info-of-an-empty-channel": PUT,
    "pub-delete-second-404,pub-delete-removes-*": "Deleted channels stay for some seconds, empty.",
    "pub-post-unknown-404": "Its POST always makes the channel.",
    "info-messages-after-delete": "It tells the messages before.",
    "info-accept-by-quality": "It does not read q-values.",
    "forego-stores-nothing": "An unstored message drops those that were stored.",
    "message-timeout-is-told": "Messages over their age are counted until it sweeps them away.",
    "min-messages": "It has no such bound.",
    "max-memory-*,message-too-large-*,no-room-507": "Its memory is one for all locations.",
    "pub-other-methods-405,pub-405-has-allow": "400, and no Allow.",
    "web-pages-may-not-publish,named-pages-may-publish": "Publishing is open to web pages unless "
    "nginx is told otherwise.",
    "cors-no-credentials-for-all": "It allows any origin together with credentials.",
    "cors-allow-headers,cors-allow-more-headers": "It allows other headers.",
    "cors-expose-*,cors-max-age": "It exposes other headers, and sends no Max-Age.",
    "cors-stranger-is-not-echoed": "It echoes an origin that it refuses.",
    "cors-list-varies": "Without Vary: Origin a cache may serve one origin's answer to another.",
    "cors-on-40[045]": NO_STATUS,
    "notice*,pair-*,no-notice*,slow-application*,linger-*": "It notifies nobody of long polls.",
    "head-has-no-body": "It never answers HEAD.",
    "chunk-*-by-lf-400,chunk-extension-with-nul-400,trailer-ended-by-lf-400": LENIENT,
    "lf-ends-*,no-colon-400": LENIENT,
    "content-type-doubled-400": LENIENT,
    "header*-431": NGINX,
    "slow-header-408": "Nginx closes without an answer.",
    "slow-body-408": "Nginx counts the time anew with each byte.",
    "body-of-get-sub-*,body-of-patch-sub-*": NO_BODY_READ,
    "accept-in-any-case,accept-of-no-quality-*": "It looks for the exact text in Accept, and not "
    "at its q-values.",
    "only-*,upgrade-with-426,*-not-allowed-406,cors-on-406": "It refuses with 403, or polls; a "
    "location's only transport must be asked for.",
    "*-unknown-channel-404": "It refuses with 403.",
    "*-malformed-position-400": "An id that it cannot read counts as none.",
    "sse-cors,multipart-cors": "It echoes any origin, and allows credentials.",
    "*-in-chunks": "It writes to the end of the connection, also in HTTP/1.1.",
    "*-connection-goes-on": "It ends a stream with the connection.",
    "ws-more-meta-lines": "That subprotocol is pushserver's own.",
    "*-request-behind-waits": "More bytes behind a stream are taken for a mistake.",
    "sse-is-not-*": "It sends no such header.",
    "sse-cr-*,sse-mixed-line-ends,sse-empty-last-line-by-cr,sse-nothing-is-forged": "It splits at "
    "LF alone, so a CR begins a field of the publisher's choice.",
    "sse-event-by-event-type": "It has X-EventSource-Event alone.",
    "sse-event-of-location": "The location's name goes before the publisher's.",
    "ws-frames-with-the-handshake": "What comes with the handshake is lost.",
    "ws-key-*": "It hashes whatever it is given.",
    "ws-version-other-426,ws-refused-connection-goes-on": "400.",
    "ws-upgrade-in-1-0": "It upgrades HTTP/1.0.",
    "ws-unknown-subprotocol,ws-meta-is-accepted": "It answers with an empty subprotocol unless "
    "ws+meta.nchan is the first and only one.",
    "ws-unknown-extension": "It accepts an extension of old browsers, and its frames are then "
    "other than RFC 7692's.",
    "ws-origin-*": "Its own host is no origin of its own: only what is set may come.",
    "ws-binary-where-not-utf-8": "Browsers close a WebSocket on this.",
    "ws-ping-byte-by-byte": "A long ping in single bytes is not answered.",
    "ws-heartbeat,ws-messages-are-dropped,ws-fragments,ws-empty-*,ws-long-text,ws-utf-8*": NO_DATA,
    "ws-ping-between-*,ws-close-between-*,ws-binary-is-any-bytes,deflate-from-the-client": NO_DATA,
    "ws-publishes-text,ws-publishes-byte-by-byte,deflate-publishes": "What came as text has no "
    "Content-Type.",
    "ws-publishes-fragments": "A ping between fragments loses the message.",
    "ws-too-big-1009,ws-fragments-too-big-1009,deflate-bomb-1009": "It has no limit of its own for "
    "a message over the socket, nor for what it inflates to.",
    "ws-unmasked-*,ws-rsv*,ws-length-*,ws-*-fragmented-*,ws-continuation-*": NO_CHECKS,
    "ws-text-between-*,ws-binary-between-*,deflate-rsv1-*": NO_CHECKS,
    "deflate-invalid-*,deflate-bad-*": NO_CHECKS,
    "deflate-unnegotiated-1002,ws-ping-too-long-1002,ws-close-too-long-1002": NO_CHECKS,
    "ws-opcode-*": "It sends two close frames.",
    "ws-close-*": "It answers whatever came.",
    "deflate-off-is-declined": "It accepts it everywhere, and compresses where a publisher's "
    "location says so.",
    "deflate-offer-*,deflate-next-offer,deflate-within-its-window": "It reads only the first "
    "offer, passes over what it does not know, and refuses a window that is too small with 400.",
    "deflate-messages,deflate-compresses": "Compression is a matter of the publisher's location.",
    "batch-multipart": "Its parts have no positions.",
    "several-*-outlives-one,several-poll-*": "When one channel is deleted all subscriptions end.",
    "several-cut-before-decoding": "It cuts behind decoding.",
    "several-same-twice": "400.",
    "several-up-to-255": "The ids together may have no more bytes than one.",
    "several-in-one-order": "Its order is by channel within a second.",
    "several-held-for-each": "A subscriber of several channels is counted in none.",
    "several-say-*,several-parts-say-*": "It does not say which channel a message is of.",
    "backtrack*,time-*": "It has no such query.",
    "full-channel-refuses*": "403 without a word.",
    "*-older-ends-where-last,*-newer-409-where-first": NO_CONCURRENCY,
}


def measure(arguments: Sequence[str]) -> Outcomes:
    """Run the suite and give its results by check."""
    out = io.StringIO()
    command.main([*arguments, "--json", "--timeout=10"], out)
    return {check["id"]: check for check in json.loads(out.getvalue())["checks"]}


def note(id: str) -> str:
    """The word on a check that Nchan does not pass; nothing where there is none."""
    found = [
        text
        for patterns, text in NOTES.items()
        if any(fnmatch.fnmatchcase(id, pattern) for pattern in patterns.split(","))
    ]
    return found[0] if found else ""


def cell(text: str) -> str:
    """Text for a cell of a table."""
    text = re.sub(r"hbpr-[0-9a-f]{8}-\d+", "…", text)
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


SYMBOLS = {"pass": "pass", "fail": "**FAIL**", "skip": "–"}


def rows(ours: Outcomes, theirs: Outcomes) -> list[str]:
    lines = []
    for section in command.SECTIONS:
        lines += ["", f"### {section.number}. {section.title}", ""]
        lines += ["| check | level | clause | pushserver | Nchan | the difference |"]
        lines += ["| --- | --- | --- | --- | --- | --- |"]
        for check in section.checks:
            our, their = ours[check.id], theirs[check.id]
            said = ""
            if their["result"] != our["result"] or their["result"] == "fail":
                got = f"Got {their['got']}. " if their["result"] == "fail" else ""
                said = cell(got + note(check.id))
            outcomes = f"{SYMBOLS[our['result']]} | {SYMBOLS[their['result']]}"
            clause = cell(check.clause)
            lines.append(f"| `{check.id}` | {check.level} | {clause} | {outcomes} | {said} |")
    return lines


def totals(ours: Outcomes, theirs: Outcomes) -> list[str]:
    lines = ["| level | pushserver: pass | FAIL | – | Nchan: pass | FAIL | – |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for level in [*LEVELS, "all"]:
        counts = [
            sum(o["result"] == outcome and level in (o["level"], "all") for o in side.values())
            for side in (ours, theirs)
            for outcome in SYMBOLS
        ]
        lines.append(f"| {level} | {' | '.join(map(str, counts))} |")
    return lines


def complaints(ours: Outcomes, theirs: Outcomes) -> list[str]:
    """What is wrong with the words on the differences. Each FAIL of Nchan needs one."""
    differ = {
        id
        for id, their in theirs.items()
        if ours[id]["result"] == "pass" and their["result"] == "fail"
    }
    unknown = {id for id in ours if "skip" in (ours[id]["result"], theirs[id]["result"])}
    said = [f"{id}: a difference without a word" for id in sorted(differ) if not note(id)]
    for text in dict.fromkeys(NOTES.values()):
        if not any(note(id) == text for id in differ | unknown):
            said.append(f"a word without a difference: {text}")
    said += [
        f"{id}: our relay fails: expected {our['expected']}, got {our['got']}"
        for id, our in ours.items()
        if our["result"] == "fail"
    ]
    return said


def main() -> int:
    columns = []
    for workers in (1, 4):
        with relay.running(workers) as arguments:
            columns.append(measure(arguments))
    ours, again = columns
    for id, our in ours.items():
        if our["result"] != again[id]["result"]:
            print(f"{id}: not the same with 1 and with 4 workers", file=sys.stderr)
            return 1
    try:
        with nchan.running() as arguments:
            theirs = measure(arguments)
    except nchan.Missing as missing:
        print(missing, file=sys.stderr)
        return 2
    ours_is = f"pushserver {(relay.ROOT / 'VERSION').read_text().strip()}"
    lines = [
        f"pushserver: {ours_is}, with 1 and with 4 workers alike. Nchan: {nchan.version()}, with "
        "one worker. A dash: the server has no location or setting for it.",
        "",
        *totals(ours, theirs),
        *rows(ours, theirs),
    ]
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")
    said = complaints(ours, theirs)
    for line in said:
        print(line, file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
