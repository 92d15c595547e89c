"""Where weights, runs and caches are, without importing torch: the scripts need it to read their command lines."""

import os
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "weights"
"""The folder of the weights that come with the example."""
LIH_WEIGHTS, LSR_WEIGHTS, CLEAR_WEIGHTS = "lih.safetensors", "lsr.safetensors", "clear.safetensors"
RUNS = Path("runs")
CHECKPOINT = "checkpoint.pt"


class CheckpointError(ValueError):
    """A file of weights or a checkpoint that cannot be used."""


def latest_run(holding: str) -> Path:
    """The run under `runs/` whose file of that name is the newest.

    Raises:
        CheckpointError: If there is none.
    """
    files = sorted(RUNS.glob(f"*/{holding}"), key=lambda file: file.stat().st_mtime)
    if not files:
        raise CheckpointError(f"no {holding} in any folder of {RUNS}/: train with train.py first, or name a folder")
    return files[-1].parent


def cache_folder() -> Path:
    """The default folder of caches: `liftlayers` in the user's cache folder, which XDG_CACHE_HOME names.

    Raises:
        ValueError: If the user has no home, as in a container that runs under an unknown user.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "liftlayers"
    except RuntimeError as error:
        needs = "no place for decoded photos, since the user has no home: name a folder with --cache"
        raise ValueError(needs) from error
