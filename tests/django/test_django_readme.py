"""The README's Django example, run as it is printed, on another port."""

import json
import re
import types
from pathlib import Path

from django.core import checks
from django.template import Context, Template
from django.test import override_settings
from django.urls import include, path

from fakes import unused_port
from processes import ROOT, RunPushserver, daemon_binary
from test_django_upgrading import ask, blocks, run

README = (ROOT / "README.md").read_text()
SETTINGS, SENDING = blocks(README, "python")
(TEMPLATE,) = blocks(README, "html")


def test_the_ten_lines_of_the_readme_run_as_printed(tmp_path: Path) -> None:
    """An update that they send comes out at the URL that their template makes."""
    port = unused_port()
    names = run(SETTINGS, INSTALLED_APPS=[], path=path, include=include)
    assert names["INSTALLED_APPS"] == ["pushserver"]
    settings = {**names["PUSH_SERVER"], "port": port}
    urls = types.ModuleType("urls_of_the_readme")
    urls.urlpatterns = names["urlpatterns"]  # type: ignore[attr-defined]
    with (
        override_settings(
            PUSH_SERVER=settings, INTERNAL_IPS=names["INTERNAL_IPS"], ROOT_URLCONF=urls
        ),
        RunPushserver(tmp_path, settings, binary=daemon_binary()) as relay,
    ):
        assert [m for m in checks.run_checks() if m.id and m.id.startswith("pushserver")] == []
        relay.wait_for_log("listening on")
        html = Template(TEMPLATE).render(Context())
        run(SENDING)
        url = re.search(r"subscribe\(\{news: '([^']+)'\}\)", html)
        assert url is not None
        assert url[1] == f"http://127.0.0.1:{port}/updates/some_channel_id"
        assert 'src="/static/pushserver/updates.js"' in html
        answer = ask("GET", url[1])
    assert answer.status == 200
    assert json.loads(answer.data) == {"type": "answer", "value": 42}
