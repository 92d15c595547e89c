"""Chromium without a window, driven through its DevTools protocol over a pipe, which needs no package; and page.py."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "pirnet"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # it refuses to run as root otherwise, as in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)
READ, WRITE = 3, 4  # the numbers that --remote-debugging-pipe means
PATIENCE = 300.0  # seconds

MISSING = [
    *([] if CHROMIUM else ["Chromium (apt-get install chromium)"]),
    *([] if (EXAMPLE / "web" / "dist").exists() else ["web/dist (npm ci && npm run build)"]),
]
"""What the page needs and this machine lacks."""


def require_page() -> None:
    """Skips a test where something that the page needs is missing, and fails it in CI."""
    if MISSING:
        reason = f"needs {' and '.join(MISSING)}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


class Browser:
    """One page of a running Chromium.

    Attributes:
        requests: Method and address of each request of the page and its workers, in their order.
        messages: What was printed on the console, and errors that nothing caught.
        in_workers: JavaScript that each new worker evaluates before its own script.
    """

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write, self._buffer, self._count = read, write, bytearray(), 0
        self._session = self.in_workers = ""
        self.requests: list[tuple[str, str]] = []
        self.messages: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)

    def send(self, method: str, **parameters: object) -> dict:
        """Sends a command about the page, and waits for its result."""
        return self._result(method, self._post(method, self._session, parameters))

    def processor_seconds(self) -> float:
        """The processor time of all processes of the browser so far."""
        method = "SystemInfo.getProcessInfo"
        found = self._result(method, self._post(method, "", {}))
        return sum(process["cpuTime"] for process in found["processInfo"])

    def _result(self, method: str, number: int) -> dict:
        while True:
            message = self._next()
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message)

    def evaluate(self, script: str) -> object:
        """The value of a JavaScript expression in the page; a promise is awaited."""
        found = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str) -> object:
        """Waits until a JavaScript expression is true, and returns its value."""
        end = time.monotonic() + PATIENCE
        while not (value := self.evaluate(script)):
            assert time.monotonic() < end, f"{script} is still false; {self.evaluate('document.body.innerText')}"
            time.sleep(0.05)
        return value

    def open(self, address: str) -> None:
        """Opens a page and waits until its scripts have run."""
        failed = self.send("Page.navigate", url=address).get("errorText")
        assert not failed, f"{address}: {failed}"
        self.wait(f"location.href.startsWith({json.dumps(address)}) && document.readyState === 'complete'")

    def choose(self, selector: str, path: Path) -> None:
        """Chooses a file, as in the dialog that an input opens."""
        expression = f"document.querySelector({json.dumps(selector)})"
        found = self.send("Runtime.evaluate", expression=expression)
        self.send("DOM.setFileInputFiles", files=[str(path)], objectId=found["result"]["objectId"])

    def click(self, selector: str) -> None:
        """Clicks an element."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def save(self, selector: str, folder: Path, name: str) -> bytes:
        """Clicks a link that saves a file of that name, and returns what is saved."""
        self.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.click(selector)
        end = time.monotonic() + PATIENCE
        while not (folder / name).exists() or list(folder.glob("*.crdownload")):
            assert time.monotonic() < end, f"{name} was not saved"
            self.evaluate("0")
            time.sleep(0.02)
        return (folder / name).read_bytes()

    def _post(self, method: str, session: str, parameters: dict) -> int:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        return self._count

    def _next(self) -> dict:
        searched = 0
        while (end := self._buffer.find(b"\0", searched)) < 0:  # an event with the body of a request is large
            searched = len(self._buffer)
            ready, _, _ = select.select([self._read], [], [], PATIENCE)
            assert ready, "Chromium does not answer"
            data = os.read(self._read, 2**20)
            assert data, "Chromium has ended"
            self._buffer += data
        message = json.loads(self._buffer[:end])
        del self._buffer[: end + 1]
        return message

    def _note(self, message: dict) -> None:
        """Keeps what an event says; a worker waits until its requests are also seen, and `in_workers` is evaluated."""
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Target.attachedToTarget":
            self._post("Network.enable", parameters["sessionId"], {})
            if self.in_workers:
                self._post("Runtime.evaluate", parameters["sessionId"], {"expression": self.in_workers})
            self._post("Runtime.runIfWaitingForDebugger", parameters["sessionId"], {})
        elif method == "Network.requestWillBeSent":
            self.requests.append((parameters["request"]["method"], parameters["request"]["url"]))
        elif method == "Log.entryAdded":
            self.messages.append(parameters["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.messages.append(str([each.get("value") for each in parameters["args"]]))
        elif method == "Runtime.exceptionThrown":
            self.messages.append(parameters["exceptionDetails"].get("exception", {}).get("description", "exception"))


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Starts Chromium with a profile of its own."""
    assert CHROMIUM is not None
    commands, answers = os.pipe(), os.pipe()
    shell = f'exec "$@" {READ}<&{commands[0]} {WRITE}>&{answers[1]}'
    words = ["bash", "-c", shell, "chromium", CHROMIUM, *OPTIONS, f"--user-data-dir={profile}"]
    with (
        (profile / "log").open("w") as log,
        subprocess.Popen(words, pass_fds=(commands[0], answers[1]), stdout=log, stderr=log) as process,
    ):
        os.close(commands[0])
        os.close(answers[1])
        try:
            yield Browser(answers[0], commands[1])
        finally:
            process.kill()
            os.close(commands[1])
            os.close(answers[0])


@contextmanager
def page(service: str) -> Iterator[str]:
    """Runs page.py for a service; yields the address of the page. Ctrl-C ends it with one line."""
    heard = ["env", "--default-signal=INT"]  # a shell ignores Ctrl-C for what it starts in the background
    words = [*heard, sys.executable, str(EXAMPLE / "page.py"), "--port", "0", "--service", service]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        line = next((line for line in process.stdout if "is the page" in line), "")  # after the graphs are written
        address = re.match(r"http://127.0.0.1:\d+", line)
        try:
            assert address, line
            yield address[0]
            process.send_signal(signal.SIGINT)
            assert process.stdout.read() == "page.py: interrupted\n"
        finally:
            process.kill()
