"""Runs serve.py in a separate process and asks it, as programs do."""

import http.client
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tests.example.helpers import EXAMPLE

KEY = "correct horse"


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def error(self) -> str:
        return json.loads(self.body)["error"]


@dataclass
class Running:
    """A service in a separate process, the port that it printed, and the file of its log."""

    process: subprocess.Popen
    port: int
    log: Path

    def ask(
        self, path: str, body: object = None, *, method: str = "POST", key: str | None = KEY, **headers: str
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = headers | ({} if key is None else {"Authorization": f"Bearer {key}"})
        connection.request(method, path, body, sent)  # type: ignore[arg-type]
        answer = connection.getresponse()
        found = Answer(answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()})
        connection.close()
        return found

    def restore(self, body: object, task: str = "denoise") -> Answer:
        return self.ask(f"/restore?task={task}", body)

    def children(self) -> list[int]:
        """The processes that restore."""
        found = subprocess.run(["ps", "-ww", "-o", "pid=,args=", "--ppid", str(self.process.pid)], stdout=-1, text=True)
        return [int(line.split()[0]) for line in found.stdout.splitlines() if "spawn_main" in line]


@contextmanager
def service(weights: Path, folder: Path, *options: object) -> Iterator[Running]:
    (folder / "key").write_text(f"{KEY}\n")
    command = [sys.executable, EXAMPLE / "serve.py", "--weights", weights, "--port", "0", "--api-key-file", "key"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [*map(str, [*command, *options])], cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.match(r"http://127.0.0.1:(\d+) restores denoise, deblur, sr; end it with Ctrl-C", line)
            assert found, line + (folder / "log").read_text()
            yield Running(process, int(found[1]), folder / "log")
        finally:
            process.kill()


def noise(width: int, height: int) -> bytes:
    """A PNG file of random colours, of which no two are the same file."""
    content = io.BytesIO()
    Image.effect_noise((width, height), 50).convert("RGB").save(content, "PNG")
    return content.getvalue()
