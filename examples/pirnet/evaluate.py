"""Measures trained weights on a folder of photos: quality, the price of privacy, and what attackers see.

    python examples/pirnet/evaluate.py --data PHOTOS --out REPORT

Needs lih.safetensors and lsr.safetensors. Photos are sorted by name; the first is hidden in the second, the third in
the fourth, and so on. Writes results.json, results.md, pairs.csv and comparison sheets into a folder of its own.
"""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from pirnet.degrade import TASKS, Degradation
from pirnet.evaluation import Networks, Pipeline, measure, run, table
from pirnet.images import ImageError
from pirnet.metrics import MS_SSIM_SIDE
from pirnet.model import LIH
from pirnet.support import cli, runs
from pirnet.support.folder_pairs import FolderPairs
from pirnet.support.lpips import LPIPS, LPIPS_SIDE, load_lpips
from pirnet.support.progress import progress_bar
from pirnet.support.report import Report
from pirnet.weights import load_lih, load_lsr
from reproduce.attacks import Attacks, leaks

import liftlayers


@dataclass(frozen=True)
class Options:
    """Measure trained weights on a folder of photos."""

    data: Path
    """Folder of photos, none of which was trained on."""
    out: Path
    """Folder to write, new or empty."""
    weights: Path = cli.SHIPPED
    """Folder with lih.safetensors and lsr.safetensors."""
    clear_weights: Path | None = None
    """Weights trained in the clear; without them, clear.safetensors beside the others, if it is there."""
    other_weights: Path | None = None
    """LIH weights of another run, to see what a wrong key reveals."""
    lpips: Path | None = None
    """LPIPS weights with SqueezeNet 1.1; without them, there is no LPIPS."""
    pipeline: Literal["uint8", "float", "both"] = "both"
    """Round stego images to 8 bit as files are, or keep floats as the paper does, or measure both ways."""
    protocol: Literal["paper", "released"] = "paper"
    """Low resolution as in the paper's text, or as in the authors' released code, without antialiasing."""
    swap: bool = False
    """Measure every pair a second time, with secret and cover exchanged."""
    limit: int | None = None
    """Pairs to measure at most, the first by name."""
    device: str = "auto"
    """Where to run: cpu, cuda, cuda:1, ...; auto takes a GPU where there is one."""
    force: bool = False
    """Write into a folder that holds something, over files of the same names."""


def main() -> None:
    options = cli.parse(Options, __doc__)
    device = cli.device(options.device)
    files, networks = load_networks(options, device)
    others = {} if options.other_weights is None else {"another run's key": load_lih(options.other_weights).to(device)}
    lpips = None if options.lpips is None else load_lpips(options.lpips).to(device)
    multiple = max(16, 2 ** len(networks.lsr.restorers))
    pairs = FolderPairs(options.data, multiple=multiple, limit=options.limit, swap=options.swap)
    open_folder(options.out, force=options.force)
    pipelines: list[Pipeline] = ["uint8", "float"] if options.pipeline == "both" else [options.pipeline]
    degradation = Degradation(protocol=options.protocol)
    report, security = gather(
        networks, pairs, pipelines, degradation=degradation, others=others, lpips=lpips, device=device
    )
    remarks = notes(networks, lpips, pairs)
    results = {
        "data": str(options.data),
        "pairs": len(pairs),
        "notes": remarks,
        **report.results(),
        "security": {"pipeline": pipelines[0], "tasks": {task: security[task].summary() for task in TASKS}},
        "names": pairs.names,
        "protocol": asdict(degradation) | {"lost_part": networks.z, "lpips": lpips and lpips.backbone},
        "weights": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "device": str(device),
        "versions": {
            "liftlayers": liftlayers.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    report.save(options.out, results, {task: security[task].panels for task in TASKS})
    for pipeline in pipelines:
        print(f"{pipeline}, {len(pairs)} pairs of {options.data}:\n")
        print(table([row for row in report.means() if row.pipeline == pipeline]), end="\n\n")
    print("\n".join([*remarks, f"look at {options.out / 'results.md'}"]))


def load_networks(options: Options, device: torch.device) -> tuple[list[Path], Networks]:
    """The weight files and what is in them: the client's network, the cloud's, and one in the clear if there is one."""
    files = [options.weights / runs.LIH_WEIGHTS, options.weights / runs.LSR_WEIGHTS]
    lih, lsr = load_lih(files[0]).to(device), load_lsr(files[1]).to(device)
    clear = options.clear_weights or options.weights / runs.CLEAR_WEIGHTS
    if options.clear_weights is None and not clear.is_file():
        return files, Networks(lih, lsr)
    return [*files, clear], Networks(lih, lsr, load_lsr(clear).to(device))


def gather(
    networks: Networks,
    pairs: FolderPairs,
    pipelines: Sequence[Pipeline],
    *,
    degradation: Degradation,
    others: Mapping[str, LIH],
    lpips: LPIPS | None,
    device: torch.device,
) -> tuple[Report, dict[str, Attacks]]:
    """Takes every pair through every task and pipeline; attacks the first pipeline, and no pair a second time."""
    report = Report()
    security = {task: Attacks(networks.lih, others=others, leaked=leaks(pairs.unswapped)) for task in TASKS}
    with progress_bar(total=len(pairs) * len(TASKS), unit="secret") as bar:
        for number, pair in enumerate(pairs):
            for task in TASKS:
                for pipeline in pipelines:
                    example = run(
                        networks,
                        pair,
                        task,
                        number=number,
                        pipeline=pipeline,
                        device=device,
                        degradation=degradation,
                    )
                    report.add(number, pair, example, measure(example, pipeline=pipeline, lpips=lpips))
                    if pipeline == pipelines[0] and number < pairs.unswapped:
                        security[task].add(example)
                bar.update()
    return report, security


def open_folder(folder: Path, *, force: bool) -> None:
    """Makes the folder of the report, or takes an empty one."""
    if folder.exists() and not folder.is_dir():
        raise ImageError(f"{folder}: a folder is needed, this is a file")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise ImageError(f"{folder}: is not empty, and nothing in it is overwritten without --force")
    folder.mkdir(parents=True, exist_ok=True)


def notes(networks: Networks, lpips: LPIPS | None, pairs: FolderPairs) -> list[str]:
    """What a reader of the figures must know: which ones are missing, and why."""
    lines = []
    if networks.clear is None:
        lines.append("No row in the clear, so no price of privacy: no weights were trained in the clear.")
    if lpips is None:
        lines.append("No LPIPS: no weights were named with --lpips.")
    else:
        lines.append(f"LPIPS is that of {lpips.backbone}, which cannot be compared with the usual one of AlexNet.")
    for metric, least in (("MS-SSIM", MS_SSIM_SIDE), ("LPIPS", LPIPS_SIDE if lpips else 0)):
        if small := sum(min(size) < least for size in pairs.sizes):
            lines.append(f"No mean {metric}: {small} of {len(pairs)} pairs have less than {least} pixels a side.")
    return lines


if __name__ == "__main__":
    cli.run(main)
