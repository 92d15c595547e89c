"""Writes the client's network as two ONNX graphs, for programs without PyTorch, such as the page that page.py serves.

    python examples/pirnet/export.py
    python examples/pirnet/export.py --weights runs/base -o graphs

Needs lih.safetensors, and the extra web. conceal.onnx takes cover and scrambled secret and gives the stego image,
reveal.onnx the opposite; both take and give 8-bit images (1, 3, H, W) of any even size. They are compared with PyTorch
before they are written, and replace those in the folder. graphs.json names the weights that they were made from.
"""

# ruff: noqa: E402 (the command line is read before torch is imported, which takes seconds)

import pirnet.support.interrupt  # noqa: F401 (Ctrl-C is one line from here on)

# isort: split

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from pirnet.support import cli
from pirnet.support.places import LIH_WEIGHTS, SHIPPED
from pirnet.support.web_page import CONCEAL, GRAPHS, MANIFEST, REVEAL, digest


@dataclass(frozen=True)
class Options:
    """Write the client's network as ONNX graphs."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = GRAPHS
    """Folder to write to; made if it is missing."""
    weights: Path = SHIPPED
    """Folder with lih.safetensors."""


read_options = cli.read_early(__name__, lambda: cli.parse(Options, __doc__))

with cli.needs_extra("web"):
    import onnx  # noqa: F401 (torch imports it and onnxscript only while it exports)
    import onnxscript  # noqa: F401
    from pirnet.support.exporting import OPSET, Conceal, Reveal, difference, exported

import torch
from pirnet.support.files import atomic_path, write_json
from pirnet.support.text import counted
from pirnet.support.tiling import reach
from pirnet.weights import load_lih, run_of


def main() -> None:
    options = read_options()
    path = options.weights / LIH_WEIGHTS
    lih = load_lih(path)
    options.out.mkdir(parents=True, exist_ok=True)
    graphs = {}
    for name, network in ((CONCEAL, Conceal(lih)), (REVEAL, Reveal(lih))):
        graphs[name] = exported(network)
        levels, share = difference(graphs[name], network)
        distance = f"{counted(levels, 'grey level')} at most, in {share:.4%} of values"
        print(f"{options.out / name}: differs from PyTorch by {distance}", flush=True)
    with torch.inference_mode():
        overlap = min(max(reach(lih.conceal, lih, num_images=2), reach(lih.reveal, lih)), cli.MAX_OVERLAP)
    about = {"weights": digest(options.weights), "run": run_of(path), "overlap": overlap, "opset": OPSET}
    (options.out / MANIFEST).unlink(missing_ok=True)  # until both graphs are of these weights
    for name, graph in graphs.items():
        with atomic_path(options.out / name) as temporary:
            temporary.write_bytes(graph)
    write_json(options.out / MANIFEST, about)


if __name__ == "__main__":
    cli.run(main)
