"""docs/protocol.md: each clause names tests, and each test named exists.

The same of what docs/architecture.md says of hostile clients.
"""

from __future__ import annotations

import ast
import functools
import re

from .daemon import ROOT
from .test_http import BAD

REFERENCE = re.compile(r"`(tests/relay/test_\w+\.py)::(test_\w+)`")


def clauses() -> list[str]:
    """The items of the document's lists, with the lines that belong to them."""
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    return re.findall(r"^- .*(?:\n  .*)*", text, re.MULTILINE)


@functools.cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_clause_of_the_protocol_names_a_test() -> None:
    assert len(clauses()) > 80
    bare = [clause for clause in clauses() if not REFERENCE.search(clause)]
    assert not bare


def test_each_test_that_the_protocol_names_exists() -> None:
    named = {match for clause in clauses() for match in REFERENCE.findall(clause)}
    absent = sorted((path, name) for path, name in named if name not in names_in(path))
    assert not absent


def test_whatever_looks_like_a_test_in_the_protocol_is_read_as_one() -> None:
    """A reference in another form would not be checked."""
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert len(re.findall(r"\btest_\w+(?!\w*\.py)\b", REFERENCE.sub("", text))) == 0


def hostile() -> list[str]:
    """The rows of the table of what may be sent to do harm."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("| what comes | test |\n| --- | --- |\n")[2].partition("\n\n")[0]
    return table.splitlines()


def test_all_that_a_hostile_client_sends_is_held_by_a_test_that_exists() -> None:
    rows = hostile()
    assert len(rows) > 20
    told = set()
    for row in rows:
        what, held_by = row.strip("| ").split(" | ")
        tests = re.findall(r"`(test_\w+\.py)::(test_\w+)`", held_by)
        requests = re.findall(r'"([^"]+)"', held_by)
        assert tests or requests, what
        absent = [name for path, name in tests if name not in names_in(f"tests/relay/{path}")]
        assert not absent + [request for request in requests if request not in BAD], what
        told.update(requests)
    # What is malformed, but has nothing to do with where a request ends, need not be told.
    assert len(told) > len(BAD) / 2
