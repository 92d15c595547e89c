"""The cloud as a web service: `POST /restore?task=...` with a stego image answers the restored one.

This process receives, checks and answers; other processes restore, so torch is not imported here. Nothing of a request
is written anywhere: the log has one line for each, with task, size and time.
"""

import asyncio
import hmac
import logging
import struct
import time
from collections.abc import Sequence
from typing import Protocol

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pirnet.support.outputs import ImageError
from pirnet.support.service_options import Limits

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
MIN_SIDE = 16
RETRY_AFTER = 2  # seconds
CLIENT_LEFT = 499  # as nginx calls it; nobody receives this status
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 300)  # of the histogram; clients wait up to 300

log = logging.getLogger("pirnet.service")


class Refused(Exception):
    """A request that is answered with an error: a status, and a sentence that says what is needed."""

    def __init__(self, status: int, needs: str) -> None:
        super().__init__(needs)
        self.status = status


class Restorer(Protocol):
    """What restores for a service.

    Attributes:
        lost: How many processes ended before their work was done.
    """

    lost: int

    async def restore(self, content: bytes, task: str) -> bytes:
        """As `service_worker.restore`."""
        ...


class Service:
    """The routes of the service, its limits and its figures.

    Args:
        restorer: What restores, such as `service_pool.Workers`.
        tasks: The tasks that it can do.
        limits: What is accepted.
        key: What clients send as `Authorization: Bearer KEY`; empty for none.
        origins: Web pages whose scripts may call the service, such as `https://photos.example.org`.
    """

    def __init__(
        self, restorer: Restorer, tasks: Sequence[str], limits: Limits, *, key: str = "", origins: Sequence[str] = ()
    ) -> None:
        self.restorer, self.tasks, self.limits, self.key = restorer, tasks, limits, key
        self.draining = False
        self.turns = asyncio.Semaphore(limits.workers)
        self.inside = 0  # requests that wait or are worked on
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("pirnet_requests", "Requests by status", ["status"], registry=registry)
        self.pixels = Counter("pirnet_pixels", "Restored pixels", registry=registry)
        self.seconds = Histogram(
            "pirnet_seconds", "Seconds until the answer", ["task"], buckets=SECONDS, registry=registry
        )
        inside = Gauge("pirnet_inside", "Requests that wait or are worked on", registry=registry)
        inside.set_function(lambda: self.inside)
        lost = Gauge("pirnet_lost_processes", "Processes that ended before their work was done", registry=registry)
        lost.set_function(lambda: restorer.lost)
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
        )
        self.app = Starlette(
            routes=[
                Route("/restore", self.restore, methods=["POST"]),
                Route("/health", self.health),
                Route("/tasks", self.list_tasks),
                Route("/metrics", self.metrics),
            ],
            middleware=[cors] if origins else [],
            exception_handlers={HTTPException: self.no_such_route},
        )
        self.app.router.redirect_slashes = False  # the answer would name the address that the client has sent

    async def no_such_route(self, _request: Request, error: Exception) -> Response:
        """404 or 405 as one line of JSON."""
        assert isinstance(error, HTTPException)
        needs = "needs POST /restore?task=..., or GET /tasks, /health or /metrics"
        return JSONResponse({"error": needs}, error.status_code, error.headers)

    async def health(self, _request: Request) -> Response:
        """200 while requests are accepted, 503 while the last ones are finished."""
        return PlainTextResponse("draining\n" if self.draining else "ok\n", 503 if self.draining else 200)

    async def list_tasks(self, _request: Request) -> Response:
        """The names of the tasks."""
        return JSONResponse(list(self.tasks))

    async def metrics(self, _request: Request) -> Response:
        """Figures for Prometheus."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

    async def restore(self, request: Request) -> Response:
        """Answers a PNG file, or one line of JSON that says what was needed."""
        begun, about = time.monotonic(), "-"
        try:
            task = self._checked_head(request)
            self.inside += 1
            try:
                content = await self._body(request)
                height, width = self._size(content)
                about = f"{task} {width}x{height}"
                restored = await self._in_turn(request, content, task)
            finally:
                self.inside -= 1
            self.pixels.inc(height * width)
            self.seconds.labels(task).observe(time.monotonic() - begun)
            response = Response(restored, media_type="image/png")
        except Refused as refused:
            headers = {"Retry-After": str(RETRY_AFTER)} if refused.status in (429, 503) else {}
            response = JSONResponse({"error": str(refused)}, refused.status, headers)
        except ClientDisconnect:
            response = Response(status_code=CLIENT_LEFT)
        self.requests.labels(response.status_code).inc()
        log.info("%d %s %.0f ms", response.status_code, about, 1000 * (time.monotonic() - begun))
        return response

    def _checked_head(self, request: Request) -> str:
        """The task of a request, after all checks that need no body."""
        if self.key:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self.key.encode()):
                raise Refused(401, "needs the header Authorization: Bearer KEY with the key of this service")
        task = request.query_params.get("task", "")
        if task not in self.tasks:
            raise Refused(422, f"needs ?task= with one of {', '.join(self.tasks)}, got {task[:50]!r}")
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > 1e6 * self.limits.megabytes:
            raise self._too_large()
        if self.draining:
            raise Refused(503, "this service is about to end, try again later")
        if self.inside >= self.limits.workers + self.limits.queue:
            raise Refused(429, f"needs a free place, {self.inside} requests are waiting: try again later")
        return task

    def _too_large(self) -> Refused:
        return Refused(413, f"needs a body of at most {self.limits.megabytes:g} megabytes")

    async def _body(self, request: Request) -> bytes:
        content = bytearray()
        try:
            async with asyncio.timeout(self.limits.timeout):
                async for part in request.stream():
                    content += part
                    if len(content) > 1e6 * self.limits.megabytes:
                        raise self._too_large()
        except TimeoutError:
            raise Refused(408, f"needs the whole body within {self.limits.timeout:g} seconds") from None
        return bytes(content)

    def _size(self, content: bytes) -> tuple[int, int]:
        """Height and width from the header of a PNG file, before anything is decoded."""
        if not content.startswith(PNG) or len(content) < len(PNG) + 8:
            raise Refused(422, "needs a PNG file, as conceal.py writes it")
        width, height = struct.unpack(">II", content[len(PNG) : len(PNG) + 8])
        if min(height, width) < MIN_SIDE:
            raise Refused(422, f"needs at least {MIN_SIDE} x {MIN_SIDE} pixels, got {height} x {width}")
        if height * width > 1e6 * self.limits.megapixels:
            raise Refused(413, f"needs at most {self.limits.megapixels:g} megapixels, got {height} x {width}")
        return height, width

    async def _in_turn(self, request: Request, content: bytes, task: str) -> bytes:
        """Restores as soon as a process is free; nothing is computed for a client that has left before."""
        turn, left = asyncio.ensure_future(self.turns.acquire()), asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait((turn, left), return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                raise ClientDisconnect
            return await self.restorer.restore(content, task)
        except ClientDisconnect:
            raise
        except ImageError as error:
            raise Refused(422, str(error).removeprefix("stego image: ")) from error
        except Exception as error:  # its message might quote the picture
            log.error("a worker process failed with %s", type(error).__name__)
            raise Refused(500, "this picture could not be restored") from error
        finally:
            left.cancel()
            if turn.done():
                self.turns.release()
            else:
                turn.cancel()
