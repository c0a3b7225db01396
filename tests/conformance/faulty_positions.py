"""How the faulty server understands a request's position; see faulty.py."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

from faulty_http import Broken, Refused, Request
from faulty_store import Id

DATE_FORMS = {
    "imf-fixdate": r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
    "one-digit-day": r"\w{3}, \d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
    "rfc850": r"\w{6,9}, \d\d-\w{3}-\d\d \d\d:\d\d:\d\d GMT",
    "asctime": r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}",
    "zone": r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}",
}
BAD_DATES = {
    "word": r"[a-z]+",
    "number": r"\d+",
    "no-time": r"\w{3}, \d\d \w{3} \d{4}",
    "no-such-day": r".*, 32 .*",
    "no-such-hour": r".* 25:.*",
    "more-behind": r".*GMT x",
}
TAG_FORMS = {
    "bare": r"(\d{1,18})",
    "quoted": r'"(\d{1,18})"',
    "weak": r'W/"(\d{1,18})"',
    "gzip": r'"(\d{1,18})-gzip"',
    "weak-gzip": r'W/"(\d{1,18})-gzip"',
}
BAD_TAGS = {
    "list": r".*,.*",
    "star": r"\*",
    "word": r"[a-z]+",
    "negative": r'"-.*',
    "unclosed": r'"\d+',
    "overflow": r'"\d{19,}"',
}


class Positions:
    """How a request's position is understood."""

    def __init__(self, broken: Broken) -> None:
        self.broken = broken

    def date(self, text: str) -> int | None:
        """The second; None where a fault overlooks that it is malformed. Raises Refused."""
        for name, pattern in BAD_DATES.items():
            if re.fullmatch(pattern, text) and self.broken(f"if-modified-since-{name}-400"):
                return None
        for name, pattern in DATE_FORMS.items():
            if re.fullmatch(pattern, text):
                if self.broken(f"if-modified-since-{name}"):
                    break
                try:
                    return int(parsedate_to_datetime(text.replace("GMT", "+0000")).timestamp())
                except ValueError:
                    break
        raise Refused(400)

    def tag(self, text: str) -> int:
        for name, pattern in BAD_TAGS.items():
            if re.fullmatch(pattern, text) and self.broken(f"if-none-match-{name}-400"):
                return 0
        for name, pattern in TAG_FORMS.items():
            found = re.fullmatch(pattern, text)
            if found and not self.broken(f"if-none-match-{name}"):
                return int(found[1])
        raise Refused(400)

    def event_id(self, text: str | None, clause: str) -> Id | None:
        if text is None:
            return None
        if not text:
            if self.broken("last-event-id-empty-is-absent"):
                raise Refused(400)
            return None
        found = re.fullmatch(r"(\d{1,12}):(\d{1,18})", text)
        if not found:
            if self.broken(clause):
                return None
            raise Refused(400)
        return int(found[1]), int(found[2])

    def of(self, request: Request, query: str) -> Id | None:
        """The position that a request has. Raises Refused."""
        since, tag = request.header("if-modified-since"), request.header("if-none-match")
        by_header = by_query = None
        if not self.broken("last-event-id-header"):
            text = request.header("last-event-id")
            by_header = self.event_id(text, "last-event-id-malformed-400")
        found = re.search(r"(?:^|&)last_event_id=([^&]*)", query)
        if found and not self.broken("last-event-id-query"):
            by_query = self.event_id(found[1], "last-event-id-query-malformed-400")
        again = re.search(r"(?:^|&)lastEventId=([^&]*)", query)
        if again and by_query is None and not self.broken("last-event-id-query-in-camel-case"):
            by_query = self.event_id(again[1], "last-event-id-query-malformed-400")
        if tag == '""' and not self.broken("if-none-match-empty-is-absent"):
            tag = None
        tag_number = None if tag is None else self.tag(tag)
        position = None
        if since is not None:
            second = self.date(since)
            if second is not None:
                if tag_number is None and self.broken("if-modified-since-alone-is-that-second"):
                    raise Refused(400)
                position = (second, -1 if tag_number is None else tag_number)
        elif tag is not None and self.broken("if-none-match-alone-changes-nothing"):
            raise Refused(400)
        if self.broken("last-event-id-header-before-query"):
            position = by_query or position
        if self.broken("if-modified-since-before-last-event-id"):
            position = by_header or position
        for other in (by_header, by_query):
            position = other if position is None else position
        return position
