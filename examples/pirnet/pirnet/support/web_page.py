"""Serves the client's page to a browser on this machine: known files, with headers that let it talk to nobody else.

Torch is not imported here. `export.py` writes the graphs of the networks that the page runs.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pirnet.support.places import LIH_WEIGHTS
from pirnet.support.text import from_json
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
CONCEAL, REVEAL, MANIFEST = "conceal.onnx", "reveal.onnx", "graphs.json"
GRAPHS = Path(__file__).parents[2] / "web" / "graphs"
"""The folder that both scripts use if no other is named."""

Files = dict[str, tuple[str, bytes]]
"""Type and content of files, by their paths in addresses."""


def digest(weights: Path) -> str:
    """The SHA-256 of `lih.safetensors` in a folder of weights, which tells whether graphs are of these weights.

    Raises:
        ValueError: If there is no such file.
    """
    path = weights / LIH_WEIGHTS
    if not path.is_file():
        raise ValueError(f"no weights at {path}: train with train.py, or name another folder with --weights")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_manifest(folder: Path) -> dict[str, object]:
    """What `export.py` says about the graphs in a folder; empty if a file is missing or damaged."""
    try:
        content = from_json((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    complete = isinstance(content, dict) and all((folder / name).is_file() for name in (CONCEAL, REVEAL))
    return content if complete else {}


def origin(service: str) -> str:
    """The part of an address that names the server: scheme, host and port.

    Raises:
        ValueError: If it is no address of a web service.
    """
    if "@" in service:  # it may hold a password, which no message shows
        raise ValueError("--service needs an address without a user name or password")
    parts = urlsplit(service)
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", parts.netloc):
        raise ValueError(f"--service needs an address such as https://restore.example.org, got {service}")
    return f"{parts.scheme}://{parts.netloc}"


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


def built_files(folder: Path) -> Files:
    """The files that `npm run build` has written.

    Raises:
        ValueError: If there are none.
    """
    if not (folder / "index.html").is_file():
        raise ValueError(f"the page is not built: run npm ci && npm run build in {folder.parent}")
    known = [path for path in folder.iterdir() if path.suffix in TYPES]
    found = {f"/{path.name}": (TYPES[path.suffix], path.read_bytes()) for path in known}
    return found | {"/": found["/index.html"]}


def graph_files(folder: Path, service: str) -> Files:
    """The graphs that `export.py` has written, and what the page has to know: the service, its tasks and the graphs."""
    tasks = {name: task.title.partition(",")[0].capitalize() for name, task in TASKS.items()}
    settings = {"service": service, "tasks": tasks, "graphs": read_manifest(folder)}
    found = {f"/{name}": (TYPES[".onnx"], (folder / name).read_bytes()) for name in (CONCEAL, REVEAL)}
    return found | {f"/{SETTINGS}": (TYPES[".json"], json.dumps(settings).encode())}


def server(port: int, known: Files, sent: Mapping[str, str]) -> ThreadingHTTPServer:
    """A server of some files on the loopback interface; port 0 is a free one.

    Raises:
        ValueError: If the port is not free.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, known, sent))
    except OSError as error:
        raise ValueError(f"cannot listen on 127.0.0.1:{port}: {error.strerror or error}") from error


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD of a known path; everything else is refused."""

    protocol_version = "HTTP/1.1"

    def __init__(self, known: Files, sent: Mapping[str, str], *connection: Any) -> None:
        self.known, self.sent = known, sent
        super().__init__(*connection)  # answers

    def do_GET(self) -> None:
        """Answers a file, or 404."""
        path = urlsplit(self.path).path
        kind, content = self.known.get(path, ("text/plain; charset=utf-8", b"no such file\n"))
        self.send_response(HTTPStatus.OK if path in self.known else HTTPStatus.NOT_FOUND)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def end_headers(self) -> None:
        """Adds the headers of the page, also to errors."""
        for name, value in self.sent.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        """Does not name the version of Python."""
        return "page.py"

    def log_message(self, format: str, *args: object) -> None:
        """Writes no log."""
