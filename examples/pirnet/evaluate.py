"""Measures trained weights on a folder of photos: quality, and the price of privacy.

    python examples/pirnet/evaluate.py --data PHOTOS --out REPORT

Needs lih.safetensors and lsr.safetensors. Photos are sorted by name; the first is hidden in the second, the third in
the fourth, and so on. Writes results.json, results.md, pairs.csv and comparison sheets into a new folder.
"""

# ruff: noqa: E402 (the command line is read before torch is imported, which takes seconds)

import pirnet.support.interrupt  # noqa: F401 (Ctrl-C is one line from here on)

# isort: split

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from pirnet.support import cli
from pirnet.support.places import CLEAR_WEIGHTS, LIH_WEIGHTS, LSR_WEIGHTS, SHIPPED
from pirnet.support.settings import Count
from pirnet.support.text import counted, file_name


@dataclass(frozen=True)
class Options:
    """Measure trained weights on a folder of photos."""

    data: Path
    """Folder of photos that were not used for training; sub-folders are not searched."""
    out: Path
    """Folder to write, new or empty."""
    weights: Path = SHIPPED
    """Folder with lih.safetensors and lsr.safetensors."""
    clear_weights: Path | None = None
    """Weights trained in the clear; by default clear.safetensors in the folder of the weights, if it exists."""
    lpips: Path | None = None
    """LPIPS weights with SqueezeNet 1.1; without them LPIPS is not measured."""
    block: Literal[16, 32, 64, 0] = 16
    """Side in pixels of the blocks that each photo's key scrambles; 0 hides without keys."""
    pipeline: Literal["uint8", "float", "both"] = "both"
    """Round stego images to 8 bit as files are, or keep floats as the paper does, or measure both."""
    protocol: Literal["paper", "released"] = "paper"
    """Low resolution as in the paper, or as in the authors' released code, without antialiasing."""
    swap: bool = False
    """Measure every pair a second time, with secret and cover exchanged."""
    limit: Count | None = None
    """Largest number of pairs to measure, the first by name."""
    device: str = "auto"
    """Device to run on: cpu, cuda, cuda:1, ...; auto is cuda if there is one, else cpu."""
    force: bool = False
    """Write into a folder that is not empty, and overwrite files of the same names."""


read_options = cli.read_early(__name__, lambda: cli.parse(Options, __doc__))

import torch
from pirnet.data import FolderPairs
from pirnet.degrade import Degradation
from pirnet.evaluation import Networks, measure, run
from pirnet.images import ImageError
from pirnet.metrics import MS_SSIM_SIDE
from pirnet.pixels import Pipeline
from pirnet.support import files
from pirnet.support.lpips import LPIPS, LPIPS_SIDE, load_lpips
from pirnet.support.progress import progress_bar
from pirnet.support.report import Report, table
from pirnet.weights import load_lih, load_lsr, run_warning


def main() -> None:
    options = read_options()
    device = cli.device(options.device)
    paths, networks = load_networks(options, device)
    warnings = run_warning(*paths[:2])
    cli.warn(*warnings)  # now, and again among the notes
    lpips = None if options.lpips is None else load_lpips(options.lpips).to(device)
    multiple = max(16, 2 ** len(networks.lsr.restorers))
    pairs = FolderPairs(options.data, multiple=multiple, limit=options.limit, swap=options.swap)
    open_folder(options.out, force=options.force)
    pipelines: list[Pipeline] = ["uint8", "float"] if options.pipeline == "both" else [options.pipeline]
    degradation, report = Degradation(protocol=options.protocol), Report()
    with progress_bar(total=len(pairs) * len(networks.lsr.tasks), unit="secret") as bar:
        for number, pair in enumerate(pairs):
            for task in networks.lsr.tasks:
                for pipeline in pipelines:
                    hide = partial(run, networks, pair, task, number=number, pipeline=pipeline, degradation=degradation)
                    example = hide(block=options.block)
                    without_key = hide() if options.block else None
                    rows = measure(example, pipeline=pipeline, without_key=without_key, lpips=lpips)
                    report.add(number, pair, example, rows)
                bar.update()
    remarks = [*warnings, *notes(networks, lpips, pairs)]
    results = {
        "data": file_name(options.data),
        "pairs": len(pairs),
        "block": options.block,
        "notes": remarks,
        **report.results(),
        "names": pairs.names,
        "protocol": asdict(degradation) | {"lost_part": networks.z, "lpips": lpips and lpips.backbone},
        "weights": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths},
        "device": str(device),
        "versions": files.versions(),
    }
    report.save(options.out, results)
    for pipeline in pipelines:
        print(f"{pipeline}, {counted(len(pairs), 'pair')} of {file_name(options.data)}:\n")
        print(table([row for row in report.means() if row.pipeline == pipeline]), end="\n\n")
    print("\n".join([*remarks, f"look at {options.out / 'results.md'}"]))


def load_networks(options: Options, device: torch.device) -> tuple[list[Path], Networks]:
    """The weight files, and the networks in them: the client's, the cloud's, and one in the clear if there is one."""
    paths = [options.weights / LIH_WEIGHTS, options.weights / LSR_WEIGHTS]
    lih, lsr = load_lih(paths[0]).to(device), load_lsr(paths[1]).to(device)
    clear = options.clear_weights or options.weights / CLEAR_WEIGHTS
    if options.clear_weights is None and not clear.is_file():
        return paths, Networks(lih, lsr)
    return [*paths, clear], Networks(lih, lsr, load_lsr(clear).to(device))


def open_folder(folder: Path, *, force: bool) -> None:
    """Creates the folder of the report, or accepts an empty one."""
    if folder.exists() and not folder.is_dir():
        raise ImageError(f"{folder}: a folder is needed, this is a file")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise ImageError(f"{folder}: is not empty; --force writes into it and overwrites files")
    folder.mkdir(parents=True, exist_ok=True)


def notes(networks: Networks, lpips: LPIPS | None, pairs: FolderPairs) -> Sequence[str]:
    """What a reader needs to know about the figures: which ones are missing, and why."""
    lines = []
    if networks.clear is None:
        lines.append("No row in the clear and no price of privacy: there are no weights trained in the clear.")
    if lpips is None:
        lines.append("No LPIPS: no weights were given with --lpips.")
    else:
        lines.append(f"LPIPS uses {lpips.backbone}; it cannot be compared with the usual one, which uses AlexNet.")
    for metric, least in (("MS-SSIM", MS_SSIM_SIDE), ("LPIPS", LPIPS_SIDE if lpips else 0)):
        if small := sum(min(size) < least for size in pairs.sizes):
            which = f"{small} of {counted(len(pairs), 'pair')} {'has' if small == 1 else 'have'}"
            lines.append(f"No mean {metric}: {which} less than {least} pixels a side.")
    return lines


if __name__ == "__main__":
    cli.run(main)
