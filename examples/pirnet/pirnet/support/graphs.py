"""The files that `export.py` writes and `page.py` serves; torch is not imported here."""

import hashlib
import json
from pathlib import Path

from pirnet.support.places import LIH_WEIGHTS

CONCEAL, REVEAL, MANIFEST = "conceal.onnx", "reveal.onnx", "graphs.json"
GRAPHS = Path(__file__).parents[2] / "web" / "graphs"
"""The folder that both scripts use if no other is named."""


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
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    complete = isinstance(content, dict) and all((folder / name).is_file() for name in (CONCEAL, REVEAL))
    return content if complete else {}
