"""page.py serves known files with headers that let the page talk to one service; nothing here needs a browser."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pirnet.support import web_page
from pirnet.support.web_page import CONCEAL, MANIFEST, REVEAL
from pirnet.tasks import TASKS

from tests.example.helpers import Script, assert_refused

SERVICE = "https://restore.example.org:444/pirnet"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like those of `npm run build` and `export.py`, with files that are not served."""
    folder = tmp_path_factory.mktemp("built")
    for name in ("index.html", "page.js", "ort.mjs", "ort.wasm", "worker.js.LEGAL.txt", CONCEAL, REVEAL):
        (folder / name).write_text(f"content of {name}")
    (folder / MANIFEST).write_text('{"run": "0f"}')
    return folder


@pytest.fixture(scope="module")
def port(built: Path) -> Iterator[int]:
    known = web_page.built_files(built) | web_page.graph_files(built, SERVICE)
    with web_page.server(0, known, web_page.headers(SERVICE)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def ask(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders() if name != "Date"}, content


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/ort.mjs", "text/javascript; charset=utf-8"),
        ("/ort.wasm", "application/wasm"),
        (f"/{CONCEAL}", "application/octet-stream"),
    ],
)
def test_known_files_have_their_types(path: str, kind: str, port: int) -> None:
    status, headers, content = ask(port, path)
    assert (status, headers["content-type"]) == (200, kind)
    assert content.decode() == f"content of {path.strip('/') or 'index.html'}"
    assert ask(port, path, "HEAD") == (200, headers, b"")


def test_the_page_knows_service_tasks_and_graphs(port: int) -> None:
    settings = json.loads(ask(port, "/page.json")[2])
    assert settings["service"] == SERVICE
    assert settings["tasks"].keys() == TASKS.keys()
    assert settings["tasks"]["sr"] == "Low resolution"
    assert settings["graphs"] == {"run": "0f"}


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nothing", "GET", 404),
        ("/worker.js.LEGAL.txt", "GET", 404),
        ("/../page.py", "GET", 404),
        ("//etc/passwd", "GET", 404),
        ("/dist/", "GET", 404),
        ("/", "POST", 501),
        ("/", "OPTIONS", 501),
    ],
)
def test_everything_else_is_refused(path: str, method: str, status: int, port: int) -> None:
    found, headers, content = ask(port, path, method)
    assert found == status
    assert "content-security-policy" in headers
    assert b"content of" not in content


def test_headers_allow_one_service_and_nothing_else(port: int) -> None:
    _, headers, _ = ask(port, "/")
    policy = dict(each.split(" ", 1) for each in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self' https://restore.example.org:444"
    assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert "unsafe-inline" not in str(policy)
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert headers["server"] == "page.py"


@pytest.mark.parametrize("service", ["127.0.0.1:80", "ftp://a", "http://", "http://a b", "http://a;sandbox"])
def test_a_service_needs_an_address(service: str) -> None:
    with pytest.raises(ValueError, match=r"--service needs an address such as https://restore\.example\.org, got "):
        web_page.origin(service)


def test_a_password_in_an_address_is_not_printed() -> None:
    with pytest.raises(ValueError, match=r"^--service needs an address without a user name or password$"):
        web_page.origin("http://anna:word@a")


def test_mistakes_are_one_line(script: Script, tmp_path: Path) -> None:
    assert_refused(script("page.py", "--service", "a"), "page.py", "--service needs an address such as https://")
    message = "--port needs at least 0 and at most 65535, got 70000"
    assert_refused(script("page.py", "--port", 70000), "page.py", message)
    with pytest.raises(ValueError, match="the page is not built: run npm ci && npm run build in "):
        web_page.built_files(tmp_path / "dist")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            web_page.server(port, {}, {})
