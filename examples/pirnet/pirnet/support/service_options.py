"""The options that `serve.py` and `cluster.py` share, and the limits that a service takes from them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pirnet.support.places import SHIPPED
from pirnet.support.remote import read_api_key
from pirnet.support.settings import CountOrZero, Port, Positive, Range

DAY = 86_400  # seconds


@dataclass(frozen=True)
class Limits:
    """What a service accepts.

    Attributes:
        workers: Processes that restore.
        queue: Requests that may wait while all of them work.
        megabytes: Largest body.
        megapixels: Largest picture.
        timeout: Seconds in which a body has to arrive.
    """

    workers: int
    queue: int
    megabytes: float
    megapixels: float
    timeout: float


@dataclass(frozen=True)
class ServiceOptions:
    """What a service needs to know, however many machines restore."""

    weights: Path = SHIPPED
    """Folder with lsr.safetensors."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every network, where a key and a proxy with TLS are needed."""
    port: Port = 8000
    """Port to listen on; 0 chooses a free one and prints it."""
    queue: CountOrZero = 64
    """Requests that may wait while all processes work; others are answered 429."""
    megabytes: Positive = 64.0
    """Largest body."""
    megapixels: Positive = 24.0
    """Largest picture."""
    timeout: Annotated[float, Range(0, DAY, open_ends=True)] = 30.0
    """Seconds in which a body has to arrive."""
    api_key_file: Path | None = None
    """File with a key on its first line, which clients have to send; without it, everybody may call."""
    allow_origin: tuple[str, ...] = ()
    """Web pages whose scripts may call the service, such as http://127.0.0.1:8001."""

    def key(self) -> str:
        """What clients have to send; empty if everybody may call."""
        return "" if self.api_key_file is None else read_api_key(self.api_key_file)

    def origins(self) -> list[str]:
        """The web pages as browsers name them, without a slash at the end."""
        found = [origin.removesuffix("/") for origin in self.allow_origin]
        for origin in found:
            if origin != "*" and ("://" not in origin or "/" in origin.split("://", 1)[1]):
                raise ValueError(
                    f"--allow-origin needs scheme, host and port, such as http://127.0.0.1:8001, got {origin}"
                )
        return found

    def limits(self, processes: int) -> Limits:
        """What a service with that many processes accepts."""
        return Limits(processes, self.queue, self.megabytes, self.megapixels, self.timeout)

    def address(self, port: int) -> str:
        """Host and port as in an address, where IPv6 needs brackets."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"
