"""The examples of docs/upgrading.md and docs/django.md, run as they are printed.

What docs/upgrading.md prints is the example of django-pushserver's documentation, changed
where Python 3 and Django 5.2 force it. Only the ports are others here.
"""

import json
import re
import subprocess
import threading
import types
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
import urllib3
from django.core import checks
from django.dispatch import Signal
from django.template import Context, RequestContext, Template
from django.test import RequestFactory, override_settings

from fakes import unused_port
from logins import session_cookie
from processes import DEADLINE, ROOT, RunPushserver, daemon_binary, wait_until
from pushserver import conf, signals

UPGRADING = (ROOT / "docs" / "upgrading.md").read_text()
REFERENCE = (ROOT / "docs" / "django.md").read_text()


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)


SETTINGS, OLD_URLS, NEW_URLS, RECEIVERS, SENDING = blocks(UPGRADING, "python")
(TEMPLATE,) = blocks(UPGRADING, "html")
(NGINX,) = blocks(UPGRADING, "nginx")


def run(code: str, **names: Any) -> dict[str, Any]:
    """Run a block of a document; return what it defines."""
    exec(compile(code, "a block of the document", "exec"), names)
    return names


def printed_settings(*, django_port: str = "8000", relay_port: str = "8001") -> dict[str, Any]:
    code = SETTINGS.replace("8000", django_port).replace("8001", relay_port)
    names = run(code, INSTALLED_APPS=[])
    assert names["INSTALLED_APPS"] == ["pushserver"]
    return {name: names[name] for name in ("PUSH_SERVER", "INTERNAL_IPS")}


def urlconf(code: str) -> types.ModuleType:
    module = types.ModuleType("urls_of_the_document")
    exec(code, module.__dict__)
    return module


@pytest.mark.parametrize("urls", [OLD_URLS, NEW_URLS], ids=["re_path", "path"])
def test_example_of_the_old_documentation_runs_as_printed(
    live_server: str, tmp_path: Path, urls: str
) -> None:
    django_port = live_server.rpartition(":")[2]
    settings = printed_settings(django_port=django_port, relay_port=str(unused_port()))
    printed: list[tuple[str, str, str]] = []

    def note(what: str, user: object, channel_id: str) -> None:
        printed.append((what, str(user), channel_id))

    with (
        override_settings(**settings, ROOT_URLCONF=urlconf(urls)),
        RunPushserver(tmp_path, settings["PUSH_SERVER"], binary=daemon_binary()) as relay,
    ):
        relay.wait_for_log(r"pushserver\.W001")
        receivers = run(RECEIVERS, print=note)
        try:
            # The browser: it loads the page, then its script, then it subscribes.
            page = RequestFactory().get("/", headers={"host": live_server})
            html = Template(TEMPLATE).render(RequestContext(page))
            script = re.search(r'src="([^"]+)"', html)
            assert script is not None
            client = ask("GET", f"http://{live_server}{script[1]}")
            assert client.data == (ROOT / "js" / "updates.js").read_bytes()

            url_in_script = re.search("'main_channel': '([^']+)'", html)
            assert url_in_script is not None
            url = json.loads(f'"{url_in_script[1]}"')
            wait_until(lambda: accepts(url), "the relay")
            answers: list[urllib3.BaseHTTPResponse] = []
            subscriber = threading.Thread(
                target=lambda: answers.append(
                    ask(
                        "GET",
                        url,
                        {
                            "Cookie": session_cookie("ada"),
                            "Origin": f"http://127.0.0.1:{django_port}",
                            "If-Modified-Since": "Thu, 1 Jan 1970 00:00:00 GMT",
                            "If-None-Match": "0",
                        },
                    )
                )
            )
            subscriber.start()
            try:
                wait_until(lambda: printed, "the notice that somebody subscribed")
            finally:
                run(SENDING)
                subscriber.join()
            wait_until(lambda: len(printed) == 2, "the notice that somebody unsubscribed")
        finally:
            for signal, name in (
                (signals.channel_subscribe, "process_channel_subscribe"),
                (signals.channel_unsubscribe, "process_channel_unsubscribe"),
            ):
                assert isinstance(signal, Signal) and signal.disconnect(receivers[name])

    (answer,) = answers
    assert answer.status == 200
    assert json.loads(answer.data) == {"type": "answer", "value": 42}
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Access-Control-Allow-Origin"] == f"http://127.0.0.1:{django_port}"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert printed == [
        ("Subscribed", "ada", "some_channel_id"),
        ("Unsubscribed", "ada", "some_channel_id"),
    ]


def ask(method: str, url: str, headers: dict[str, str] | None = None) -> urllib3.BaseHTTPResponse:
    """Ask once; a connection that were kept would outlive the server's thread."""
    with urllib3.PoolManager() as pool:
        return pool.request(method, url, headers=headers, timeout=DEADLINE, retries=False)


def accepts(url: str) -> bool:
    """Say whether the relay answers yet; OPTIONS tells nobody of a subscriber."""
    try:
        return ask("OPTIONS", url).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def test_printed_settings_mean_to_the_relay_what_the_document_says() -> None:
    with override_settings(**printed_settings()):
        shown = subprocess.run(
            [daemon_binary(), "-c", "-", "--dump-config"],
            input=conf.daemon_json(),
            capture_output=True,
            check=True,
            timeout=10,
        ).stdout.decode()
    for line in (
        # as printed
        '- "127.0.0.1:8001"',
        "max_messages: 100",
        "message_timeout: 10",
        'url: "/updates/([^/]+)"',
        "polling: long",
        "create_on_get: true",
        'allow_origin: ["http://127.0.0.1:8000"]',
        "allow_credentials: true",
        'passthrough: "http://127.0.0.1:8000/passthrough"',
        'url: "/send-update/([^/]+)"',
        # what differs on purpose
        "timeout: {longpoll: 55, eventsource: 0, websocket: 0, stream: 0, multipart: 0, jsonp: 55}",
        "timeout_status: 304",
        'allow: ["127.0.0.0/8", "::1", "unix"]',
        "allow_origin: []",
        "max_memory: 64M",
        "max_body: 1M",
    ):
        assert re.search(rf"^\s*(?:- )?{re.escape(line)}$", shown, re.MULTILINE), line


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_mesages": 100}, "max_mesages"),
        ({"address": "localhost"}, "address"),
        ({"store": {"type": "redis"}}, "store.type"),
    ],
)
def test_relay_refuses_what_the_document_says(change: dict[str, Any], named: str) -> None:
    push_server = {**printed_settings()["PUSH_SERVER"], **change}
    with override_settings(PUSH_SERVER=push_server):
        refused = subprocess.run(
            [daemon_binary(), "-c", "-", "-t"],
            input=conf.daemon_json(),
            capture_output=True,
            timeout=10,
        )
    assert refused.returncode == 1
    assert named in refused.stderr.decode()


def test_printed_settings_give_one_warning_and_no_more() -> None:
    settings = printed_settings()
    with override_settings(**settings, ROOT_URLCONF=urlconf(OLD_URLS)):
        assert [message.id for message in checks.run_checks()] == ["pushserver.W001"]
    settings["PUSH_SERVER"]["publisher_host"]["secure"] = False
    with override_settings(**settings, ROOT_URLCONF=urlconf(NEW_URLS)):
        assert checks.run_checks() == []


def test_static_url_is_empty_in_a_new_project_and_filled_by_its_context_processor() -> None:
    template = Template("{{ STATIC_URL }}pushserver/updates.js")
    assert template.render(Context({})) == "pushserver/updates.js"
    from django.template.context_processors import static

    request = RequestFactory().get("/")
    assert template.render(Context(static(request))) == "/static/pushserver/updates.js"


def test_nginx_configuration_matches_the_printed_settings() -> None:
    push_server = printed_settings()["PUSH_SERVER"]
    subscriber, publisher = push_server["locations"]
    assert f"listen {push_server['address']}:{push_server['port']};" in NGINX
    for location, directive in ((subscriber, "nchan_subscriber"), (publisher, "nchan_publisher")):
        begins = NGINX.index(f"location ~ ^{location['url']}$ {{")
        body = NGINX[begins : NGINX.index("}", begins)]
        assert f"{directive} " in body and "nchan_channel_id $1;" in body
    assert f'nchan_access_control_allow_origin "{subscriber["allow_origin"]}";' in NGINX
    assert "nchan_access_control_allow_credentials on;" in NGINX
    store = push_server["store"]
    assert f"nchan_message_buffer_length {store['max_messages']};" in NGINX
    assert f"nchan_message_timeout {store['message_timeout']}s;" in NGINX


def test_settings_of_the_reference_are_good() -> None:
    code, urls = blocks(REFERENCE, "python")[0].split("# urls.py\n")
    names = run(code, INSTALLED_APPS=[])
    module = urlconf("from django.urls import include, path\n" + urls)
    with override_settings(
        PUSH_SERVER=names["PUSH_SERVER"],
        INTERNAL_IPS=names["INTERNAL_IPS"],
        ROOT_URLCONF=module,
    ):
        assert checks.run_checks() == []


def test_reference_lists_every_check_and_every_key_of_djangos_own() -> None:
    package = ROOT / "django_pushserver" / "pushserver"
    sources = "".join(path.read_text() for path in package.glob("*.py"))
    ids = set(re.findall(r'"(pushserver\.[EW][0-9]+)"', sources))
    assert ids and set(re.findall(r"^\| `(pushserver\.[EW][0-9]+)`", REFERENCE, re.M)) == ids
    for key in conf.DJANGO_KEYS:
        assert f"\n| `{key}` |" in REFERENCE


@pytest.mark.parametrize("document", ["upgrading.md", "django.md"])
def test_links_of_the_documents_lead_somewhere(document: str) -> None:
    text = (ROOT / "docs" / document).read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if urllib.parse.urlsplit(target).scheme:
            continue
        path, _, anchor = target.partition("#")
        linked = ROOT / "docs" / (path or document)
        assert linked.is_file(), target
        headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
        anchors = [
            re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
        ]
        assert not anchor or anchor in anchors, target
