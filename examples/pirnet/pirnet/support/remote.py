"""The client of the service: sends a stego image, and nothing else, and receives the restored one."""

import contextlib
import http.client
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from pirnet.support.progress import progress_bar
from pirnet.support.text import from_json

TIMEOUT = 300.0  # seconds without any answer
LONGEST_WAIT = 60.0  # seconds before the second try, even if the service asks for more
BUSY = (429, 503)
LARGE, PART = 2**21, 2**16  # bytes: bodies with a progress bar, and its steps


class ServiceError(ValueError):
    """A service that cannot be reached, or does not do what was asked. The message is one line that names it."""


@dataclass(frozen=True)
class _Answer:
    status: int
    content: bytes
    retry_after: str

    @property
    def reason(self) -> str:
        """What the service needs, as it says."""
        try:
            return str(from_json(self.content)["error"])[:500]
        except (ValueError, KeyError, TypeError):
            return http.client.responses.get(self.status, "for no stated reason")


def restore(server: str, content: bytes, task: str, *, most: int, key: str = "") -> bytes:
    """Sends the content of a PNG file to a service; returns what it answers.

    A busy service is asked once more, after the time that it names. Certificates are verified, and redirects are not
    followed: the key must reach nobody else.

    Args:
        server: The service, such as `https://restore.example.org`.
        content: The stego image.
        task: The name of the task.
        most: The size of the largest answer, in bytes.
        key: The API key, or nothing.

    Raises:
        ServiceError: If there is no such service, it refuses, or it answers more.
    """
    answer = _post(server, content, task, most, key)
    if answer.status in BUSY:
        asked = float(answer.retry_after) if answer.retry_after.isdecimal() else 1.0
        time.sleep(min(asked, LONGEST_WAIT))
        answer = _post(server, content, task, most, key)
    if answer.status != http.client.OK:
        raise ServiceError(f"{server}: answered {answer.status}, {answer.reason}")
    return answer.content


def read_api_key(path: Path) -> str:
    """The key on the first line of a file.

    Raises:
        ValueError: If the file is missing, or its first line is empty or not ASCII.
    """
    try:
        key = path.read_text(encoding="ascii").partition("\n")[0].strip()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: needs a key of ASCII characters on its first line") from None
    if not key:
        raise ValueError(f"{path}: needs a key on its first line, which is empty")
    return key


def _post(server: str, content: bytes, task: str, most: int, key: str) -> _Answer:
    if "@" in server:  # it may hold a password, which no message shows
        raise ServiceError("--server needs an address without a user name or password, which --api-key-file replaces")
    headers = {"Content-Type": "image/png", "Content-Length": str(len(content))}
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    path = f"{urlsplit(server).path.rstrip('/')}/restore?{urlencode({'task': task})}"
    connection = _connection(server)
    try:
        connection.connect()
    except ssl.SSLCertVerificationError as error:
        raise ServiceError(f"{server}: its certificate is not accepted, {error.verify_message}") from error
    except OSError as error:
        raise ServiceError(f"{server}: cannot be reached, {error.strerror or error}") from error
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may refuse before it has received all
            connection.request("POST", path, _parts(content), headers)
        answer = connection.getresponse()
        return _Answer(answer.status, _body(answer, server, most), answer.headers.get("Retry-After", ""))
    except TimeoutError as error:
        raise ServiceError(f"{server}: no answer within {TIMEOUT:.0f} seconds") from error
    except (OSError, http.client.HTTPException) as error:
        raise ServiceError(f"{server}: the connection broke, {error or type(error).__name__}") from error
    finally:
        connection.close()


def _body(answer: http.client.HTTPResponse, server: str, most: int) -> bytes:
    content = answer.read(most + 1) if answer.length is None else b""
    if max(answer.length or 0, len(content)) > most:
        raise ServiceError(f"{server}: needs to answer at most {most} bytes, got more")
    return content or answer.read()


def _connection(server: str) -> http.client.HTTPConnection:
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    try:
        parts = urlsplit(server)
        return kinds[parts.scheme](parts.hostname or "", parts.port, timeout=TIMEOUT)
    except (KeyError, ValueError, http.client.HTTPException):
        raise ServiceError(f"--server needs an address such as https://restore.example.org, got {server}") from None


def _parts(content: bytes) -> Iterator[bytes]:
    with progress_bar(
        total=len(content), unit="B", unit_scale=True, desc="sending", leave=False, disable=len(content) < LARGE
    ) as bar:
        for start in range(0, len(content), PART):
            part = content[start : start + PART]
            yield part
            bar.update(len(part))
