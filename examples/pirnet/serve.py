"""The cloud as a web service, which restores the photos inside stego images without revealing them.

    python examples/pirnet/serve.py
    python examples/pirnet/restore.py stego.png -o restored.png --task denoise --server http://127.0.0.1:8000

Needs only lsr.safetensors, and the extra serve. POST /restore?task=denoise with a PNG file answers the PNG file that
restore.py writes; GET /tasks, /health and /metrics. On SIGTERM it answers the requests that have arrived, and ends.
"""

import pirnet.support.interrupt  # noqa: F401 (Ctrl-C is one line from here on)

# isort: split

import asyncio
import contextlib
import ipaddress
import logging
import math
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from pirnet.support import cli, signals
from pirnet.support.places import LSR_WEIGHTS
from pirnet.support.remote import TIMEOUT
from pirnet.support.service_options import ServiceOptions
from pirnet.support.settings import Count

KEEP_ALIVE = 10  # seconds without a request after which a connection is closed


@dataclass(frozen=True)
class Options(ServiceOptions):
    """Restore stego images over the network."""

    workers: Count = 1
    """Processes that restore, each on one core; about 1 GB of memory each for a megapixel, 2 GB for twelve."""


read_options = cli.read_early(__name__, lambda: cli.parse(Options, __doc__))

with cli.needs_extra("serve"):
    import uvicorn
    from pirnet.support.service import Service
    from pirnet.support.service_pool import Workers
    from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """A connection, which is closed if no request starts in time: uvicorn waits for the rest of a header forever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the timer."""
        super().connection_made(transport)
        self._watch()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        self.loop.call_later(self.timeout_keep_alive, self._check, self.cycle, self._is_idle())

    def _check(self, last_request: object, was_idle: bool) -> None:
        if was_idle and self.cycle is last_request:
            self.transport.close()
        if not self.transport.is_closing():
            self._watch()


class Server(uvicorn.Server):
    """The web server, which tells the service when a signal asks it to end; it then accepts no more work."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles signals unless they are ignored, and does not raise them once more at the end, as uvicorn does."""
        with signals.handled(self.handle_exit, *signals.ENDING):
            yield

    def handle_exit(self, sig: int, frame: object) -> None:
        """Begins to drain; a second Ctrl-C does not wait."""
        self.service.draining = True
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


def main() -> None:
    options = read_options()
    key, origins, family = options.key(), options.origins(), socket.AF_INET6 if ":" in options.host else socket.AF_INET
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        listening = socket.create_server((options.host, options.port), family=family, backlog=1024)
    except OSError as error:
        raise ValueError(f"cannot listen on {options.address(options.port)}: {error.strerror or error}") from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections have the option of the socket that accepts them
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * options.timeout))
    workers = Workers(options.weights / LSR_WEIGHTS, options.workers, max_pixels=1e6 * options.megapixels)
    try:
        service = Service(workers, workers.tasks(), options.limits(options.workers), key=key, origins=origins)
        address = f"http://{options.address(listening.getsockname()[1])}"
        print(f"{address} restores {', '.join(service.tasks)}; end it with Ctrl-C", flush=True)
        if not key and not is_local(options.host):
            cli.warn("without --api-key-file, everybody who reaches this address may use it")
        config = uvicorn.Config(
            service.app,
            http=Connection,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=math.ceil(min(KEEP_ALIVE, options.timeout)),
            timeout_graceful_shutdown=round(TIMEOUT),
        )
        Server(config, service).run(sockets=[listening])
    finally:
        workers.end()


def is_local(host: str) -> bool:
    """True if only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    cli.run(main)
