"""examples/pirnet/deploy/nginx.conf in front of two services, with a certificate of its own."""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pirnet.support.service_options import ServiceOptions

from tests.example.helpers import EXAMPLE, Script, assert_refused
from tests.example.services import KEY, Answer, Running, noise, service

for need in ("starlette", "uvicorn", "prometheus_client"):
    pytest.importorskip(need, reason="needs the extra serve")

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
CONFIG = EXAMPLE / "deploy" / "nginx.conf"
OPTIONS = ("--queue", 24)
MAIN = """
daemon off; pid nginx.pid; error_log error.log warn; user root;
events { worker_connections 512; }
http { client_body_temp_path bodies; proxy_temp_path answers; include pirnet.conf; }
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None or shutil.which("openssl") is None, reason="needs nginx and openssl"),
]


@dataclass
class Proxy:
    """nginx with its folder and port, the services behind it, and what ends them."""

    folder: Path
    port: int
    services: list[Running]
    stack: ExitStack

    @property
    def certificate(self) -> Path:
        return self.folder / "cert.pem"

    def connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.certificate))
        plain = socket.create_connection(("localhost", self.port), timeout=60)
        return context.wrap_socket(plain, server_hostname="localhost")

    def ask(self, path: str, body: bytes = b"", method: str = "POST", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = self.connect()
        connection.request(method, path, body, headers | {"Authorization": f"Bearer {KEY}"})
        answer = connection.getresponse()
        found = Answer(answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()})
        connection.close()
        return found

    def restore(self, body: bytes) -> Answer:
        return self.ask("/restore?task=denoise", body)


def configured(folder: Path, services: list[Running]) -> int:
    """Writes the configuration with the addresses, paths and times of the test; returns the port."""
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    changes = {r"listen 443": f"listen 127.0.0.1:{port}", r"(header|body)_timeout 10s": r"\1_timeout 1s"}
    changes |= {r"/etc/letsencrypt/\S+/fullchain.pem": "cert.pem", r"/etc/letsencrypt/\S+/privkey.pem": "key.pem"}
    changes |= {f"10.0.0.1{i}:8000": f"127.0.0.1:{running.port}" for i, running in enumerate(services, 1)}
    changes |= {"/var/log/nginx/pirnet.log": "access.log", "limit_conn pirnet 32": "limit_conn pirnet 64"}
    text = CONFIG.read_text()
    for pattern, replacement in changes.items():
        text, count = re.subn(pattern, replacement, text)
        assert count, pattern
    (folder / "pirnet.conf").write_text(text)
    (folder / "nginx.conf").write_text(MAIN)
    return port


@pytest.fixture(scope="module")
def proxy(random_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folders = [tmp_path_factory.mktemp(name) for name in ("nginx", "first", "second")]
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem"
    command += " -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(command.split(), cwd=folders[0], check=True, capture_output=True)
    with ExitStack() as stack:
        services = [stack.enter_context(service(random_weights, folder, *OPTIONS)) for folder in folders[1:]]
        port = configured(folders[0], services)
        command = [str(NGINX), "-p", str(folders[0]), "-c", "nginx.conf"]
        process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        stack.callback(process.terminate)
        deadline = time.monotonic() + 30
        while not (folders[0] / "nginx.pid").exists():
            assert time.monotonic() < deadline, (folders[0] / "error.log").read_text()
            time.sleep(0.05)
        yield Proxy(folders[0], port, services, stack)


def test_restore_trusts_the_certificate_that_is_named(
    proxy: Proxy, script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, random_weights: Path
) -> None:
    (tmp_path / "stego.png").write_bytes(noise(40, 33))
    (tmp_path / "key").write_text(KEY)
    task = ("--task", "denoise")
    assert script("restore.py", "stego.png", "-o", "local.png", *task, "--weights", random_weights).status == 0
    server = f"https://localhost:{proxy.port}"
    remotely = ("restore.py", "stego.png", "-o", "remote.png", *task, "--server", server, "--api-key-file", "key")
    assert_refused(script(*remotely), "restore.py", f"{server}: its certificate is not accepted, self-signed")
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.certificate))
    assert script(*remotely) == (0, "", "")
    assert (tmp_path / "remote.png").read_bytes() == (tmp_path / "local.png").read_bytes()


def test_answers_of_the_service_pass(proxy: Proxy) -> None:
    assert json.loads(proxy.ask("/tasks", method="GET").body) == ["denoise", "deblur", "sr"]
    refused = proxy.ask("/restore?task=denoise", b"text")
    assert (refused.status, refused.error) == (422, "needs a PNG file, as conceal.py writes it")
    for path in ("/metrics", "/health", "/"):
        assert proxy.ask(path, method="GET").status == 404


def test_large_bodies_do_not_reach_the_service(proxy: Proxy) -> None:
    """The limit is that of serve.py, and no body is written to a disk."""
    limit = int(re.findall(r"client_max_body_size (\d+);", CONFIG.read_text())[0])
    assert limit == 1e6 * ServiceOptions.megabytes
    assert re.findall(r"client_body_buffer_size (\d+);", CONFIG.read_text()) == [str(limit)]
    before = [running.log.read_text() for running in proxy.services]
    with proxy.connect() as connection:
        connection.sendall(f"POST /restore?task=sr HTTP/1.1\r\nHost: a\r\nContent-Length: {limit + 1}\r\n\r\n".encode())
        answer = connection.recv(1000).decode()
    assert answer.startswith("HTTP/1.1 413 ")
    assert "needs a body of at most 64 megabytes" in answer
    assert [running.log.read_text() for running in proxy.services] == before
    assert proxy.restore(bytes(5_000_000)).status == 422
    assert [*(proxy.folder / "bodies").rglob("*")] == []
    assert "temporary file" not in (proxy.folder / "error.log").read_text()


def test_slow_clients_are_cut_off(proxy: Proxy) -> None:
    head = b"POST /restore?task=sr HTTP/1.1\r\nHost: a\r\n"
    with proxy.connect() as header, proxy.connect() as body:
        header.sendall(head)
        body.sendall(head + b"Content-Length: 1000\r\n\r\nstart")
        assert header.recv(1000)[9:12] in (b"", b"408")
        assert body.recv(1000)[9:12] in (b"", b"408")


def test_the_log_has_no_address_no_query_and_no_key(proxy: Proxy) -> None:
    assert proxy.restore(b"text").status == 422
    lines = (proxy.folder / "access.log").read_text().splitlines()
    line = [line for line in lines if " 422 " in line][-1]  # clients that were cut off may be logged after it
    assert re.fullmatch(r"\S+ 422 POST /restore \d+ \d+ [\d.]+ 127.0.0.1:\d+", line), line
    assert line.endswith(tuple(f":{running.port}" for running in proxy.services))


def test_an_upgrade_loses_no_request(proxy: Proxy, random_weights: Path, tmp_path: Path) -> None:
    """One service ends after its work, and another one starts at its address, while clients ask on and on."""
    picture, old, done = noise(256, 256), proxy.services[0], threading.Event()
    expected = proxy.restore(picture).body

    def ask_on() -> set[tuple[int, bytes]]:
        found = set()
        while not done.is_set():
            answer = proxy.restore(picture)
            found.add((answer.status, answer.body))
        return found

    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(ask_on) for _ in range(8)]
        time.sleep(0.3)
        old.process.terminate()
        assert old.process.wait(60) == 0
        new = proxy.stack.enter_context(service(random_weights, tmp_path, *OPTIONS, "--port", old.port))
        while not all(answer.done() for answer in answers) and " 200 " not in new.log.read_text():
            time.sleep(0.05)
        done.set()
        assert [answer.result() for answer in answers] == [{(200, expected)}] * 8
    assert " 200 " in new.log.read_text()
    proxy.services[0] = new


def test_a_killed_machine_loses_no_request(proxy: Proxy) -> None:
    """Also those that it works on; then a full queue and a machine that ends are answers that clients understand."""
    large = noise(512, 512)
    expected = proxy.restore(large).body
    with ThreadPoolExecutor(48) as clients:
        answers = [clients.submit(proxy.restore, large) for _ in range(16)]
        time.sleep(0.5)
        waiting = [running.ask("/metrics", method="GET").body for running in proxy.services]
        assert all(b"pirnet_inside 0.0" not in figures for figures in waiting)
        proxy.services[0].process.kill()
        assert [answer.result().status for answer in answers] == [200] * 16
        assert {answer.result().body for answer in answers} == {expected}

        answers = list(clients.map(proxy.restore, [large] * 48))
        refused = [answer for answer in answers if answer.status == 429]
        assert len(refused) + sum(answer.status == 200 for answer in answers) == 48
        assert refused
        assert {answer.headers["retry-after"] for answer in refused} == {"2"}

    proxy.services[1].process.terminate()
    assert proxy.services[1].process.wait(60) == 0
    gone = proxy.restore(large)
    assert (gone.status, gone.headers["retry-after"]) == (503, "5")
    assert gone.error == "no machine is available, try again later"
