"""Serves the client's page to a browser on this machine: known files, with headers that let it talk to nobody else."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from pirnet.support.graphs import CONCEAL, REVEAL
from pirnet.tasks import TASKS

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".json": "application/json",
}
SETTINGS = "page.json"


def origin(service: str) -> str:
    """The part of an address that names the server: scheme, host and port.

    Raises:
        ValueError: If it is no address of a web service.
    """
    parts = urlsplit(service)
    if parts.scheme not in ("http", "https") or not parts.hostname or not service.isascii() or " " in service:
        raise ValueError(f"--service needs an address such as https://restore.example.org, got {service}")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def headers(service: str) -> dict[str, str]:
    """The headers of each answer: the page may load its own files and send to one service, and nothing else.

    The last three let onnxruntime use threads, which browsers allow on isolated pages only.
    """
    policy = {
        "default-src": "'none'",
        "script-src": "'self' 'wasm-unsafe-eval'",
        "worker-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "connect-src": f"'self' {origin(service)}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def files(built: Path, graphs: Path, *, service: str, manifest: Mapping[str, object]) -> dict[str, tuple[str, bytes]]:
    """Type and content of each file of the page, by its path.

    Args:
        built: The folder that `npm run build` writes.
        graphs: The folder that `export.py` writes.
        service: The address of the service.
        manifest: What `export.py` says about the graphs.
    """
    named = [*built.iterdir(), graphs / CONCEAL, graphs / REVEAL]
    found = {f"/{path.name}": (TYPES[path.suffix], path.read_bytes()) for path in named if path.suffix in TYPES}
    found["/"] = found["/index.html"]
    tasks = {name: task.title.partition(",")[0].capitalize() for name, task in TASKS.items()}
    settings = {"service": service, "tasks": tasks, "graphs": dict(manifest)}
    return found | {f"/{SETTINGS}": (TYPES[".json"], json.dumps(settings).encode())}


class Server(ThreadingHTTPServer):
    """Answers with one of some files, on the loopback interface."""

    daemon_threads = True

    def __init__(self, port: int, known: Mapping[str, tuple[str, bytes]], sent: Mapping[str, str]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.known, self.sent = known, sent


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD of a known path; everything else is refused."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """Answers a file, or 404."""
        path = urlsplit(self.path).path
        kind, content = self.server.known.get(path, ("text/plain; charset=utf-8", b"no such file\n"))
        self.send_response(HTTPStatus.OK if path in self.server.known else HTTPStatus.NOT_FOUND)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def end_headers(self) -> None:
        """Adds the headers of the page, also to errors."""
        for name, value in self.server.sent.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        """Names no version of Python."""
        return "page.py"

    def log_message(self, *_arguments: object) -> None:
        """Writes no log: nothing here is for anybody else."""
