"""serve.py as clients meet it: every answer, on the loopback interface."""

import asyncio
import http.client
import io
import json
import multiprocessing
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PIL import Image
from pirnet.support import remote
from pirnet.support.service_options import ServiceOptions
from pirnet.support.service_pool import Workers
from pirnet.support.signals import ENDING

from tests.example.helpers import EXAMPLE, Script, assert_refused, save_image
from tests.example.services import KEY, Running, noise, service

for need in ("starlette", "uvicorn", "prometheus_client"):
    pytest.importorskip(need, reason="needs the extra serve")

PROC = Path("/proc/self/maps").exists()


@pytest.fixture(scope="module")
def stego() -> bytes:
    return noise(40, 33)


@pytest.fixture(scope="module")
def running(random_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    limits = ("--megabytes", 0.2, "--megapixels", 0.1, "--timeout", 1)
    with service(random_weights, folder, *limits, "--allow-origin", "http://127.0.0.1:1/") as found:
        yield found


def test_an_answer_is_what_restore_writes(
    running: Running, stego: bytes, random_weights: Path, script: Script, tmp_path: Path
) -> None:
    """Byte for byte, for each task, also through `restore.py --server`."""
    (tmp_path / "stego.png").write_bytes(stego)
    (tmp_path / "key").write_text(KEY)
    remotely = ("--server", f"http://127.0.0.1:{running.port}/", "--api-key-file", "key")
    answers = []
    for task in ("denoise", "deblur", "sr"):
        local = ("stego.png", "-o", f"{task}.png", "--task", task, "--weights", random_weights)
        assert script("restore.py", *local) == (0, "", "")
        expected = (tmp_path / f"{task}.png").read_bytes()
        answer = running.restore(stego, task)
        assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
        assert answer.body == expected
        assert script("restore.py", "stego.png", "-o", "remote.png", "--task", task, *remotely, "--force") == (
            0,
            "",
            "",
        )
        assert (tmp_path / "remote.png").read_bytes() == expected
        answers.append(expected)
    assert len(set(answers)) == 3


def test_what_a_program_asks_first(running: Running) -> None:
    assert json.loads(running.ask("/tasks", method="GET", key=None).body) == ["denoise", "deblur", "sr"]
    assert running.ask("/health", method="GET", key=None).body == b"ok\n"
    figures = running.ask("/metrics", method="GET", key=None)
    assert figures.headers["content-type"].startswith("text/plain")
    assert b"pirnet_inside 0.0" in figures.body
    for path, status in (("/restore", 405), ("/nothing", 404)):
        refused = running.ask(path, method="GET")
        assert (refused.status, refused.error[:24]) == (status, "needs POST /restore?task")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def picture(kind: str, mode: str = "RGB", size: tuple[int, int] = (32, 32)) -> bytes:
    content = io.BytesIO()
    Image.new(mode, size).save(content, kind)
    return content.getvalue()


def bomb() -> bytes:
    """A picture with 200 MB of text, compressed a thousand times: the same block of ten megabytes, twenty times."""
    packer = zlib.compressobj()
    block = packer.compress(bytes(10**7)) + packer.flush(zlib.Z_FULL_FLUSH)
    return png_header(32, 32) + chunk(b"zTXt", b"Comment\x00\x00" + block + 19 * block[2:])


@pytest.mark.parametrize(
    ("body", "status", "needs"),
    [
        (b"", 422, "needs a PNG file, as conceal.py writes it"),
        (b"text", 422, "needs a PNG file"),
        (picture("JPEG"), 422, "needs a PNG file"),
        (picture("PNG", "P"), 422, "a palette, grey or 1-bit file"),
        (picture("PNG", "I;16"), 422, "more than 8 bits a channel"),
        (picture("PNG", size=(32, 15)), 422, "needs at least 16 x 16 pixels, got 15 x 32"),
        (picture("PNG")[:-30], 422, "cannot be read, damaged or truncated"),
        (png_header(32, 32), 422, "not a PNG, JPEG, WebP, BMP or TIFF picture"),
        (png_header(32, 32) + png_header(400, 400)[8:] + picture("PNG")[33:], 422, "too large to open safely"),
        (bomb(), 422, "cannot be read, damaged or truncated"),
        (png_header(60_000, 60_000), 413, "needs at most 0.1 megapixels, got 60000 x 60000"),
        (bytes(200_001), 413, "needs a body of at most 0.2 megabytes"),
        ((bytes(1000) for _ in range(500)), 413, "needs a body of at most 0.2 megabytes"),  # without a length
    ],
)
def test_bad_bodies_are_refused(body: object, status: int, needs: str, running: Running) -> None:
    try:
        answer = running.restore(body)
    except (BrokenPipeError, ConnectionResetError):
        assert status == 413  # the service has answered and closed before everything was sent
        return
    assert answer.status == status
    assert answer.error.startswith(needs)
    assert b"\n" not in answer.body


def test_keys_and_tasks_are_checked_first(running: Running, stego: bytes) -> None:
    for key in (None, "", "another", "ключ".encode().decode("latin-1")):
        refused = running.ask("/restore?task=denoise", stego, key=key)
        assert (refused.status, refused.error) == (
            401,
            "needs the header Authorization: Bearer KEY with the key of this service",
        )
    for path in ("/restore", "/restore?task=", "/restore?task=all"):
        refused = running.ask(path, stego)
        assert refused.status == 422
        assert refused.error.startswith("needs ?task= with one of denoise, deblur, sr, got ")


def test_slow_clients_are_left(running: Running, stego: bytes) -> None:
    """Without a body, the answer is 408; one that sends nothing, or no whole header, is disconnected."""
    address, head = ("127.0.0.1", running.port), b"POST /restore?task=sr HTTP/1.1\r\nHost: a\r\n"
    slow, slower, silent = (socket.create_connection(address, timeout=30) for _ in range(3))
    with slow, slower, silent:
        rest = f"Authorization: Bearer {KEY}\r\nContent-Length: 9999\r\n\r\n"
        slow.sendall(head + rest.encode() + stego[:100])
        slower.sendall(head)
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
        assert slower.recv(100) == b""
        assert silent.recv(100) == b""


def test_a_connection_is_kept_for_many_requests(running: Running, stego: bytes) -> None:
    connection, expected = http.client.HTTPConnection("127.0.0.1", running.port), running.restore(stego, "sr").body
    for _ in range(12):  # longer than the time after which an idle connection is closed
        connection.request("POST", "/restore?task=sr", stego, {"Authorization": f"Bearer {KEY}"})
        assert connection.getresponse().read() == expected
        assert connection.sock is not None
        time.sleep(0.1)
    connection.close()


def with_damaged_exif(stego: bytes) -> bytes:
    content = io.BytesIO()
    with Image.open(io.BytesIO(stego)) as image:
        image.save(content, "PNG", exif=b"MM\0*\0\0\0\x08\0\x05\x01\x12")
    return content.getvalue()


def test_the_log_has_no_key_and_no_picture(running: Running, stego: bytes) -> None:
    running.restore(stego)
    running.ask("/restore?task=photo-of-anna", stego, key="battery staple")
    assert running.restore(with_damaged_exif(stego)).status == 200  # Pillow warns of it
    for line in running.log.read_text().splitlines():
        assert re.fullmatch(r"[\d:, -]+ (\d{3} (-|\w+ \d+x\d+) \d+ ms|a worker process was lost.*)", line)


def test_an_address_with_a_slash_at_its_end_is_not_redirected(running: Running) -> None:
    """The answer would name the host that the client has sent."""
    answer = running.ask("/restore/?task=denoise", Host="elsewhere")
    assert answer.status == 404
    assert "location" not in answer.headers


def test_origins_are_addresses_without_a_path() -> None:
    named = ServiceOptions(allow_origin=("*", "https://photos.example.org/"))
    assert named.origins() == ["*", "https://photos.example.org"]
    for origin in ("photos.example.org", "https://photos.example.org/app"):
        with pytest.raises(ValueError, match="--allow-origin needs scheme, host and port, such as http"):
            ServiceOptions(allow_origin=(origin,)).origins()


def test_a_web_page_may_call_it_if_it_is_named(running: Running) -> None:
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    for origin, allowed in (("http://127.0.0.1:1", True), ("http://127.0.0.1:2", False)):
        answer = running.ask("/restore", method="OPTIONS", key=None, Origin=origin, **ask)
        assert ("access-control-allow-origin" in answer.headers) == allowed
        refused = running.ask("/restore", key=None, Origin=origin)  # a script may read errors, too
        assert refused.status == 401
        assert ("access-control-allow-origin" in refused.headers) == allowed
        assert refused.headers["access-control-expose-headers"] == "Retry-After"


@pytest.mark.skipif(not PROC, reason="needs /proc")
def test_only_the_workers_import_torch(running: Running, stego: bytes) -> None:
    assert running.restore(stego).status == 200
    children = running.children()
    assert len(children) == 1
    assert "libtorch" not in Path(f"/proc/{running.process.pid}/maps").read_text()
    assert "libtorch" in Path(f"/proc/{children[0]}/maps").read_text()


def test_a_killed_worker_is_replaced(running: Running, stego: bytes) -> None:
    before = running.restore(stego)
    (child,) = running.children()
    os.kill(child, signal.SIGKILL)
    after = running.restore(stego)
    assert (after.status, after.body) == (200, before.body)
    assert running.children() != [child]


def test_an_unexpected_error_is_one_line_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    from pirnet.support.service import Limits, Service  # needs the extra

    class Failing:
        lost = 0

        async def restore(self, content: bytes, task: str) -> bytes:
            raise KeyError(f"{task} of {content!r}")

    async def ask() -> list[dict]:
        sent: list[dict] = []
        messages: asyncio.Queue[dict] = asyncio.Queue()  # after the body, no client leaves
        messages.put_nowait({"type": "http.request", "body": picture("PNG"), "more_body": False})

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(dict(message))

        scope = {"type": "http", "method": "POST", "path": "/restore", "query_string": b"task=sr", "headers": []}
        await Service(Failing(), ["sr"], Limits(1, 1, 1.0, 1.0, 1.0)).app(scope, messages.get, send)
        return sent

    start, body = asyncio.run(ask())
    assert start["status"] == 500
    assert json.loads(body["body"]) == {"error": "this picture could not be restored"}
    assert "failed with KeyError" in caplog.text
    assert "PNG" not in caplog.text


def test_mistakes_at_the_start_are_one_line(script: Script, random_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = script("serve.py", "--port", port, "--weights", random_weights)
        assert_refused(refused, "serve.py", f"cannot listen on 127.0.0.1:{port}: Address already in use")
    assert_refused(script("serve.py", "--api-key-file", "empty"), "serve.py", "empty: needs a key on its first line")
    assert_refused(script("serve.py", "--api-key-file", "no"), "serve.py", "no: no such file")
    assert_refused(script("serve.py", "--workers", "0"), "serve.py", "--workers needs at least 1, got 0")
    message = "--port needs at least 0 and at most 65535, got 65536"
    assert_refused(script("serve.py", "--port", "65536"), "serve.py", message)
    message = r"--timeout needs more than 0 and less than 86400, got 100000000\.0"
    assert_refused(script("serve.py", "--timeout", "1e8"), "serve.py", message)


def test_an_address_of_ipv6_has_brackets(script: Script, random_weights: Path) -> None:
    assert ServiceOptions().address(80) == "127.0.0.1:80"
    try:
        taken = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("needs IPv6")
    with taken:
        port = taken.getsockname()[1]
        refused = script("serve.py", "--host", "::1", "--port", port, "--weights", random_weights)
        assert_refused(refused, "serve.py", rf"cannot listen on \[::1\]:{port}: Address already in use")


def test_missing_weights_are_one_line(tmp_path: Path) -> None:
    command = [sys.executable, EXAMPLE / "serve.py", "--port", "0", "--weights", tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert re.search(r"serve.py: error: no weights at .*lsr.safetensors: train with train.py", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("restore.example.org", "--server needs an address such as https://restore.example.org, got restore"),
        ("http://anna:word@a", "--server needs an address without a user name or password, which --api-key-file"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1: cannot be reached, Connection refused"),
    ],
)
def test_clients_say_what_is_wrong(server: str, message: str, script: Script, tmp_path: Path) -> None:
    save_image(tmp_path / "stego.png", 0, 32, 32)
    refused = script("restore.py", "stego.png", "-o", "out.png", "--task", "sr", "--server", server)
    assert_refused(refused, "restore.py", message)
    assert not (tmp_path / "out.png").exists()


def test_a_client_shows_the_answer_of_a_service(running: Running, script: Script, tmp_path: Path) -> None:
    Image.new("RGB", (400, 400)).save(tmp_path / "stego.png")
    (tmp_path / "key").write_text(KEY)
    server = f"http://127.0.0.1:{running.port}"
    asked = ("restore.py", "stego.png", "-o", "out.png", "--task", "sr", "--server", server)
    refused = script(*asked)
    assert_refused(refused, "restore.py", f"{server}: answered 401, needs the header Authorization: Bearer KEY")
    refused = script(*asked, "--api-key-file", "key")
    assert_refused(refused, "restore.py", f"{server}: answered 413, needs at most 0.1 megapixels, got 400 x 400")


def test_a_client_asks_a_busy_service_once_more(stego: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """And follows no redirect, which could carry the key elsewhere."""
    waits: list[float] = []
    monkeypatch.setattr(remote.time, "sleep", waits.append)
    with ThreadPoolExecutor(1) as pool, socket.create_server(("127.0.0.1", 0)) as listening:

        def answer(heads: list[bytes]) -> list[bytes]:
            received = []
            for head in heads:
                connection, _ = listening.accept()
                with connection:
                    data = b""
                    while not data.endswith(stego):
                        data += connection.recv(65536)
                    received.append(data)
                    connection.sendall(b"HTTP/1.1 " + head + b"\r\nConnection: close\r\n\r\ndone")
            return received

        server = f"http://127.0.0.1:{listening.getsockname()[1]}"
        served = pool.submit(answer, [b"503 Busy\r\nRetry-After: 0", b"200 OK\r\nContent-Length: 4"])
        assert remote.restore(server, stego, "sr", most=4, key=KEY) == b"done"
        assert len(served.result()) == 2
        assert f"Authorization: Bearer {KEY}".encode() in served.result()[0]
        served = pool.submit(answer, [b"429 Busy\r\nRetry-After: \xb2", b"429 Busy\r\nRetry-After: 0"])
        with pytest.raises(remote.ServiceError, match="answered 429, Too Many Requests"):
            remote.restore(server, stego, "sr", most=4)
        served.result()
        assert waits == [0, 1]
        served = pool.submit(answer, [b"307 Moved\r\nLocation: http://127.0.0.1:1/"])
        with pytest.raises(remote.ServiceError, match="answered 307, Temporary Redirect"):
            remote.restore(server, stego, "sr", most=4, key=KEY)
        served.result()
        for length in (b"", b"\r\nContent-Length: 3000000000"):
            served = pool.submit(answer, [b"200 OK" + length])
            with pytest.raises(remote.ServiceError, match="needs to answer at most 3 bytes, got more"):
                remote.restore(server, stego, "sr", most=3)
            served.result()


@pytest.mark.slow
def test_many_clients_get_their_own_answers(random_weights: Path, tmp_path: Path) -> None:
    """64 clients send 4 images each, over two processes."""
    images = [noise(32 + number % 7, 32 + number % 5) for number in range(256)]
    with service(random_weights, tmp_path, "--workers", 2, "--queue", 300) as running:
        alone = [running.restore(image) for image in images]
        with ThreadPoolExecutor(64) as clients:
            together = list(clients.map(running.restore, images))
    assert {answer.status for answer in alone + together} == {200}
    assert [answer.body for answer in together] == [answer.body for answer in alone]
    assert len({answer.body for answer in alone}) == 256


@pytest.mark.slow
def test_a_full_queue_refuses_and_loses_nothing(random_weights: Path, stego: bytes, tmp_path: Path) -> None:
    with service(random_weights, tmp_path, "--queue", 64) as running:
        expected = running.restore(stego).body
        with ThreadPoolExecutor(200) as clients:
            answers = list(clients.map(running.restore, [stego] * 200))
        assert running.restore(stego).body == expected
        figures = running.ask("/metrics", method="GET", key=None).body.decode()
    served = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 429]
    assert len(served) + len(refused) == 200
    assert len(served) >= 65
    assert {answer.body for answer in served} == {expected}
    assert all(answer.headers["retry-after"] == "2" for answer in refused)
    assert f'pirnet_requests_total{{status="200"}} {len(served) + 2}.0' in figures


@pytest.mark.slow
def test_nothing_is_lost_if_a_worker_is_killed(random_weights: Path, tmp_path: Path) -> None:
    large = picture("PNG", size=(512, 512))
    with service(random_weights, tmp_path, "--workers", 2) as running, ThreadPoolExecutor(16) as clients:
        expected = running.restore(large).body
        answers = [clients.submit(running.restore, large) for _ in range(16)]
        time.sleep(0.5)
        os.kill(running.children()[0], signal.SIGKILL)
        assert {answer.result().status for answer in answers} == {200}
        assert {answer.result().body for answer in answers} == {expected}


@pytest.mark.slow
def test_sigterm_answers_what_has_arrived(random_weights: Path, tmp_path: Path) -> None:
    """No process is left and the port is free, also if the whole group of processes receives the signal."""
    large = picture("PNG", size=(512, 512))
    with service(random_weights, tmp_path, "--workers", 2) as running, ThreadPoolExecutor(16) as clients:
        assert running.restore(large).status == 200
        children = running.children()
        answers = [clients.submit(running.restore, large) for _ in range(16)]
        time.sleep(0.5)
        for number in (*children, running.process.pid):
            os.kill(number, signal.SIGTERM)
        assert {answer.result().status for answer in answers} == {200}
        assert running.process.wait(60) == 0
        assert not any(Path(f"/proc/{child}").exists() for child in children)
        socket.create_server(("127.0.0.1", running.port)).close()


@pytest.mark.slow
def test_workers_end_with_a_killed_parent(random_weights: Path, stego: bytes, tmp_path: Path) -> None:
    with service(random_weights, tmp_path) as running:
        assert running.restore(stego).status == 200
        (child,) = running.children()
        running.process.kill()
        running.process.wait()
        deadline = time.monotonic() + 30
        while Path(f"/proc/{child}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.slow
def test_nothing_is_computed_for_clients_that_have_left(random_weights: Path, stego: bytes, tmp_path: Path) -> None:
    large = picture("PNG", size=(1024, 1024))
    with service(random_weights, tmp_path) as running:
        assert running.restore(stego).status == 200
        head = f"POST /restore?task=sr HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n"
        head += f"Content-Length: {len(large)}\r\n\r\n"
        connections = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(12)]
        for connection in connections:
            connection.sendall(head.encode() + large)
        time.sleep(0.3)
        for connection in connections:
            connection.close()
        assert running.restore(stego).status == 200
    log = (tmp_path / "log").read_text()
    assert log.count(" 499 sr 1024x1024 ") >= 8
    assert log.count(" 200 sr 1024x1024 ") <= 4


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux")
def test_a_client_that_reads_nothing_is_left(random_weights: Path, tmp_path: Path) -> None:
    """It holds no memory for long, and does not keep the service from ending."""
    large = noise(1200, 1200)
    with service(random_weights, tmp_path, "--timeout", 2) as running, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", running.port))
        head = f"POST /restore?task=sr HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n"
        connection.sendall(f"{head}Content-Length: {len(large)}\r\n\r\n".encode() + large)
        while " 200 sr 1200x1200 " not in running.log.read_text():
            time.sleep(0.05)
        running.process.terminate()
        assert running.process.wait(60) == 0
        with pytest.raises(ConnectionResetError):
            connection.makefile("rb").read()


@pytest.mark.slow
def test_processes_are_replaced_after_their_share(random_weights: Path, stego: bytes) -> None:
    """All requests are answered while processes end and start."""
    workers = Workers(random_weights / "lsr.safetensors", 2, max_pixels=1e6, tasks_per_process=3)
    try:
        assert workers.tasks() == ("denoise", "deblur", "sr")
        first = {child.pid for child in multiprocessing.active_children()}

        async def restore(count: int) -> list[bytes]:
            turns = asyncio.Semaphore(2)

            async def one() -> bytes:
                async with turns:
                    return await workers.restore(stego, "sr")

            return await asyncio.gather(*(one() for _ in range(count)))

        assert len(set(asyncio.run(restore(8)))) == 1
        assert not first & {child.pid for child in multiprocessing.active_children()}
    finally:
        workers.end()


@pytest.mark.slow
@pytest.mark.skipif(not PROC, reason="needs /proc")
def test_memory_stays_flat(random_weights: Path, stego: bytes, tmp_path: Path) -> None:
    def memory() -> int:
        """Resident memory of all processes of the service, in MiB."""
        pids = [running.process.pid, *running.children()]
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * 4096 // 2**20

    with service(random_weights, tmp_path) as running:
        for _ in range(50):
            running.restore(stego)
        before = memory()
        for _ in range(500):
            assert running.restore(stego).status == 200
        assert memory() < before + 32


def test_an_ignored_signal_does_not_end_the_service() -> None:
    """A shell ignores Ctrl-C for what a script starts in the background."""
    import serve
    import uvicorn

    server = serve.Server(uvicorn.Config("none"), cast(serve.Service, SimpleNamespace(draining=False)))
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with server.capture_signals():
            signal.raise_signal(signal.SIGINT)
            assert not server.should_exit
            signal.raise_signal(signal.SIGTERM)
            assert server.should_exit
            assert server.service.draining
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
