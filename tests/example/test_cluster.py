"""cluster.py with two replicas on this machine: the answers of serve.py, also if a replica is killed."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from os import environ, kill
from pathlib import Path

import pytest

from tests.example.helpers import EXAMPLE, Script
from tests.example.services import KEY, Running, noise

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra cluster"),
]


def children(parent: int, name: str) -> list[int]:
    """The child processes of a process that have a word in their command line."""
    found = subprocess.run(["ps", "-ww", "-o", "pid=,args=", "--ppid", str(parent)], stdout=subprocess.PIPE, text=True)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if name in line]


@pytest.fixture(scope="module")
def running(random_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "key").write_text(KEY)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, EXAMPLE / "cluster.py", "--weights", random_weights, "--port", port]
    command += ["--queue", 30, "--megapixels", 1, "--api-key-file", "key"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [*map(str, command)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environ | {"HOME": str(folder)},  # Ray writes a token there
        ) as process,
    ):
        try:
            assert process.stdout is not None
            ready = f"http://127.0.0.1:{port} restores on 2 replicas; end it with Ctrl-C\n"
            assert ready in iter(process.stdout.readline, ""), (folder / "log").read_text()
            yield Running(process, port, folder / "log")
        finally:
            process.terminate()
            process.wait(60)


def test_answers_are_what_restore_writes(
    running: Running, random_weights: Path, script: Script, tmp_path: Path
) -> None:
    """Each client gets its own, byte for byte."""
    pictures = [noise(40 + number, 33) for number in range(4)]
    expected = []
    for picture in pictures:
        (tmp_path / "stego.png").write_bytes(picture)
        local = ("stego.png", "-o", "local.png", "--task", "deblur", "--weights", random_weights, "--force")
        assert script("restore.py", *local).status == 0
        expected.append((tmp_path / "local.png").read_bytes())
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda picture: running.restore(picture, "deblur"), 8 * pictures))
    assert [answer.body for answer in answers] == 8 * expected


@pytest.mark.parametrize(
    ("body", "status", "needs"),
    [
        (b"text", 422, "needs a PNG file, as conceal.py writes it"),
        (noise(40, 33)[:-30], 422, "cannot be read, damaged or truncated"),
        (noise(1100, 1000), 413, "needs at most 1 megapixels, got 1000 x 1100"),
    ],
)
def test_refusals_are_those_of_the_service(running: Running, body: bytes, status: int, needs: str) -> None:
    refused = running.restore(body)
    assert (refused.status, refused.error[: len(needs)]) == (status, needs)
    assert running.ask("/restore?task=sr", body, key="another").status == 401


def test_a_killed_replica_loses_no_request(running: Running) -> None:
    large = noise(512, 512)
    (raylet,) = children(running.process.pid, "raylet/raylet")
    expected = running.restore(large).body
    with ThreadPoolExecutor(16) as clients:
        answers = [clients.submit(running.restore, large) for _ in range(16)]
        time.sleep(0.5)
        kill(children(raylet, "ServeReplica:pirnet:Replica")[0], signal.SIGKILL)
        assert {(answer.result().status, answer.result().body) for answer in answers} == {(200, expected)}


def test_a_full_queue_refuses(running: Running) -> None:
    large = noise(256, 256)
    with ThreadPoolExecutor(80) as clients:
        answers = list(clients.map(running.restore, [large] * 80))
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert {answer.headers["retry-after"] for answer in refused} == {"2"}
    assert len(refused) + sum(answer.status == 200 for answer in answers) == 80


def test_sigterm_answers_what_has_arrived(running: Running) -> None:
    large = noise(512, 512)
    with ThreadPoolExecutor(16) as clients:
        answers = [clients.submit(running.restore, large) for _ in range(16)]
        time.sleep(0.5)
        running.process.terminate()
        assert {answer.result().status for answer in answers} == {200}
    assert running.process.wait(60) == 0
    assert re.findall(r"(?i)traceback", running.log.read_text()) == []
    socket.create_server(("127.0.0.1", running.port)).close()
