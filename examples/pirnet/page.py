"""The client as a page in the browser: hides a photo, has it restored by a service, and reveals it.

    python examples/pirnet/serve.py --allow-origin http://127.0.0.1:8001
    python examples/pirnet/page.py

The photo, the cover and the key stay in the browser. The page is for this machine only, since whoever serves it could
read the photo. It needs web/dist, which npm builds, and the graphs that export.py writes; it calls export.py if there
are no graphs for these weights.
"""

import pirnet.support.interrupt  # noqa: F401 (Ctrl-C is one line from here on)

# isort: split

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pirnet.support import cli, web_page
from pirnet.support.places import SHIPPED
from pirnet.support.settings import Port

WEB = Path(__file__).parent / "web"


@dataclass(frozen=True)
class Options:
    """Serve the client's page on this machine."""

    service: str = "http://127.0.0.1:8000"
    """Address of the service that restores; the page can send to no other."""
    port: Port = 8001
    """Port to listen on, at 127.0.0.1; 0 chooses a free one and prints it."""
    weights: Path = SHIPPED
    """Folder with lih.safetensors."""
    graphs: Path = web_page.GRAPHS
    """Folder with what export.py wrote for these weights; export.py is run if it has none."""


def main() -> None:
    options = cli.parse(Options, __doc__)
    sent, known = web_page.headers(options.service), web_page.built_files(WEB / "dist")
    if web_page.read_manifest(options.graphs).get("weights") != web_page.digest(options.weights):
        print("writing the graphs of these weights, once; this may take a minute", flush=True)
        export(options)
    known |= web_page.graph_files(options.graphs, options.service)
    with web_page.server(options.port, known, sent) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        print(f"{address} is the page; it sends to {options.service} only. End it with Ctrl-C", flush=True)
        server.serve_forever()


def export(options: Options) -> None:
    """Writes the graphs in a process of its own, since this one needs no torch afterwards."""
    script = Path(__file__).with_name("export.py")
    command = [sys.executable, script, "--weights", options.weights, "--out", options.graphs]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        sys.exit(2)  # export.py has said why


if __name__ == "__main__":
    cli.run(main)
