"""The paper's Tables 1 to 3, row by row: every system is trained and measured in the same way, for the same minutes."""

__all__ = ["Entry", "Uncomposed", "compare", "config_of", "entries", "read_rows", "uncompose"]

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import torch
from pirnet.config import PRESETS, Config
from pirnet.data import Pair
from pirnet.degrade import TASKS, Degradation
from pirnet.evaluation import Networks, measure, run
from pirnet.model import PIRNet
from pirnet.support.folder_pairs import FolderPairs
from pirnet.support.photos import Photos
from pirnet.support.progress import progress_bar
from pirnet.support.registry import suited
from pirnet.support.rows import Row, deviations, mean
from pirnet.trainer import Trainer
from torch import Tensor, nn

from liftlayers import Invertible, Sequential
from reproduce.budget import Budget, scheduled

TITLES = {
    "hidden": "HiDDeN",
    "baluja": "Baluja",
    "deepmih": "DeepMIH",
    "mirnetv2": "MIRNet-v2",
    "nafnet": "NAFNet",
    "xydeblur": "XYDeblur",
    "nafnet_gopro": "NAFNet",
    "rlfn": "RLFN",
    "fmen": "FMEN",
}
TABLE_1 = (  # restored stego, restored secret
    ("denoise", "hidden", "mirnetv2", (24.26, 25.95)),
    ("denoise", "hidden", "nafnet", (22.18, 25.22)),
    ("denoise", "baluja", "mirnetv2", (28.66, 23.17)),
    ("denoise", "baluja", "nafnet", (24.91, 25.51)),
    ("denoise", "deepmih", "mirnetv2", (29.02, 27.10)),
    ("denoise", "deepmih", "nafnet", (28.77, 26.40)),
    ("denoise", "lih", "lsr", (29.39, 29.21)),
    ("deblur", "hidden", "xydeblur", (24.27, 25.72)),
    ("deblur", "hidden", "nafnet_gopro", (25.29, 21.67)),
    ("deblur", "baluja", "xydeblur", (28.06, 27.17)),
    ("deblur", "baluja", "nafnet_gopro", (28.81, 22.45)),
    ("deblur", "deepmih", "xydeblur", (29.02, 25.76)),
    ("deblur", "deepmih", "nafnet_gopro", (29.47, 25.63)),
    ("deblur", "lih", "lsr", (30.12, 28.73)),
    ("sr", "hidden", "rlfn", (21.02, 22.28)),
    ("sr", "hidden", "fmen", (20.39, 21.43)),
    ("sr", "baluja", "rlfn", (23.30, 22.64)),
    ("sr", "baluja", "fmen", (23.91, 22.81)),
    ("sr", "deepmih", "rlfn", (27.37, 23.72)),
    ("sr", "deepmih", "fmen", (26.78, 23.67)),
    ("sr", "lih", "lsr", (30.33, 24.51)),
)
TABLE_2 = {
    "denoise": (29.00, 29.12, 29.21),
    "deblur": (28.28, 28.69, 28.73),
    "sr": (24.34, 24.44, 24.51),
}  # K = 1, 2, 3
TABLE_3 = {"denoise": (27.96, 29.21), "deblur": (27.35, 28.73), "sr": (22.73, 24.51)}  # without, with reversibility


@dataclass(frozen=True)
class Entry:
    """What is trained for one row of a table."""

    task: str
    title: str
    hider: str = "lih"
    restorer: str = "lsr"
    published: tuple[float | None, float | None] = (None, None)
    """The paper's PSNR of restored stego and restored secret, on DIV2K."""
    num_scales: int | None = None
    """K of LSR; None leaves it to the preset."""
    reversible: bool = True
    """Whether the blocks of PIRNet's chains are composed."""
    in_the_clear: bool = False

    @property
    def name(self) -> str:
        """What its row is called on the command line and on disk."""
        return re.sub(r"\W+", "-", f"{self.task} {self.title}".lower())


def entries(table: int) -> list[Entry]:
    """The rows of the paper's Table 1, with one in the clear a task; of Table 2 (K = 1, 2, 3) or 3 (reversible or not).

    Example:
        >>> [len(entries(table)) for table in (1, 2, 3)]
        [24, 9, 6]
    """
    found = []
    for task in TASKS:
        if table == 1:
            found.append(Entry(task, "in the clear", in_the_clear=True))
            for where, hider, restorer, published in TABLE_1:
                if where == task:
                    title = "PIRNet" if hider == "lih" else f"{TITLES[hider]} + {TITLES[restorer]}"
                    found.append(Entry(task, title, hider, restorer, published))
        elif table == 2:
            scales = enumerate(TABLE_2[task], 1)
            found += [Entry(task, f"PIRNet, K = {k}", published=(None, psnr), num_scales=k) for k, psnr in scales]
        else:
            without, with_it = TABLE_3[task]
            found.append(Entry(task, "not reversible", published=(None, without), reversible=False))
            found.append(Entry(task, "reversible", published=(None, with_it)))
    return found


class Uncomposed(Invertible):
    r"""Blocks as the released PIRNet code runs them, which loses the inverse: each is fed what came in at the start.

    .. math:: y = f_n(x), \qquad \hat x = f_1^{-1}(y)

    The last block's output counts, in either direction, so the others are not computed. For Table 3 alone.

    Args:
        blocks: The blocks :math:`f_1, \dots, f_n`, at least one.

    Example:
        >>> from liftlayers.testing import randomise_
        >>> pair = randomise_(Uncomposed(*(LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)) for _ in range(2))))
        >>> approx, detail = torch.rand(1, 3, 8, 8), torch.rand(1, 9, 8, 8)
        >>> torch.allclose(pair.inverse(*pair(approx, detail))[0], approx, atol=1e-2)
        False
    """

    def __init__(self, *blocks: Invertible) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, *bands: Tensor) -> tuple[Tensor, ...]:
        return self.blocks[-1](*bands)

    def inverse(self, *bands: Tensor) -> tuple[Tensor, ...]:
        return self.blocks[0].inverse(*bands)  # type: ignore[operator]  # a ModuleList forgets what its modules are


def uncompose(model: PIRNet) -> None:
    """Puts an `Uncomposed` of the same blocks in the place of each of a model's chains."""
    model.lih.blocks = Sequential(Uncomposed(*model.lih.blocks))
    levels = model.lsr.pyramid.levels
    for scale, level in enumerate(levels):
        haar, *blocks = cast(Sequential, level)
        levels[scale] = Sequential(haar, Uncomposed(*blocks))


def config_of(entry: Entry, budget: Budget) -> Config:
    """What an entry is trained with: the preset's recipe, on its task alone, at the degradation of the test."""
    start = PRESETS[budget.preset]()
    train = replace(start.train, tasks=(entry.task,), crop=budget.crop, batch_size=budget.batch_size)
    return suited(
        replace(
            start,
            hider=entry.hider,
            restorer=entry.restorer,
            lsr=replace(start.lsr, num_scales=entry.num_scales or start.lsr.num_scales),
            train=train,
            degradation=Degradation(),
            in_the_clear=entry.in_the_clear,
        )
    )


def compare(
    entry: Entry, budget: Budget, *, photos: Photos, pairs: Sequence[Pair] | FolderPairs, device: torch.device
) -> dict[str, object]:
    """Trains an entry for the budget's minutes and measures it on pairs: a row, as plain values."""
    begun = time.monotonic()

    def new_trainer(config: Config) -> Trainer:
        return _trainer(entry, config, photos, device)

    config = scheduled(config_of(entry, budget), new_trainer, minutes=budget.minutes)
    trainer = new_trainer(config)
    timed = time.monotonic()
    with progress_bar(total=trainer.total, desc=entry.name, unit="step", leave=False) as bar:
        while trainer.step < trainer.total:
            bar.set_postfix_str(f"stage {trainer.stage}", refresh=False)
            trainer.take_step()
            bar.update()
    trained = time.monotonic()
    figures = _measured(entry, trainer.average, pairs, side=budget.side, device=device)
    return {
        "name": entry.name,
        "task": entry.task,
        "title": entry.title,
        "hider": entry.hider,
        "restorer": entry.restorer,
        "figures": figures,
        "published": dict(zip(("stego_psnr", "secret_psnr"), entry.published, strict=True)),
        "parameters": {
            "hider": 0 if entry.in_the_clear else _count(trainer.model.lih),
            "restorer": _count(trainer.model.lsr),
        },
        "steps": list(config.train.steps),
        "skipped": trainer.guard.skipped,
        "seconds": {"timing": timed - begun, "training": trained - timed, "testing": time.monotonic() - trained},
        "config": asdict(config),
    }


def read_rows(folder: Path, settings: Mapping[str, object]) -> dict[str, dict]:
    """The rows that a folder holds already, by name.

    Raises:
        ValueError: If one is damaged, or was made with other settings; those that differ are named.
    """
    rows = {}
    for path in sorted(folder.glob("*.json")):
        try:
            row = json.loads(path.read_text())
            differences = _differences(settings, row["settings"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no row of a comparison: remove it to train it again") from error
        if differences:
            raise ValueError(
                f"{path} comes from another comparison: {'; '.join(differences)}; name another folder with --out"
            )
        rows[row["name"]] = row
    return rows


def _trainer(entry: Entry, config: Config, photos: Photos, device: torch.device) -> Trainer:
    trainer = Trainer(config, photos, device=device)
    if not entry.reversible:
        for model in {trainer.model, trainer.average}:  # one and the same without an average
            uncompose(model)
    return trainer


def _measured(
    entry: Entry, model: PIRNet, pairs: Sequence[Pair] | FolderPairs, *, side: int, device: torch.device
) -> dict[str, dict]:
    """Mean figures over the pairs, through 8 bit, and their deviations, by way to the secret."""
    model.eval()
    networks = Networks(model.lih, model.lsr, clear=model.lsr if entry.in_the_clear else None)
    figures: dict[str, list[Row]] = {}
    for number in range(len(pairs)):
        pair = _centred(pairs[number], side)
        example = run(networks, pair, entry.task, number=number, pipeline="uint8", device=device)
        for row in measure(example, pipeline="uint8"):
            if not entry.in_the_clear or row.row in ("do nothing", "in the clear"):
                figures.setdefault(row.row, []).append(row)
    return {way: asdict(mean(rows)) | {"std": deviations(rows)} for way, rows in figures.items()}


def _centred(pair: Pair, side: int) -> Pair:
    """The same pair, seen through a window of at most that side about its centre."""
    height, width = pair.secret.shape[1:]
    top, left = max(0, height - side) // 2, max(0, width - side) // 2
    secret, cover = (image[:, top : top + side, left : left + side] for image in (pair.secret, pair.cover))
    return replace(pair, secret=secret, cover=cover)


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _differences(now: Mapping[str, object], then: Mapping[str, object]) -> list[str]:
    """The settings in which two comparisons differ, in words; lists of photos are too long to tell."""
    found = []
    for name in sorted(now.keys() | then.keys()):
        mine, other = now.get(name), then.get(name)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            found += [f"{name} {line}" for line in _differences(mine, other)]
        elif mine != other:
            found.append(f"{name} differ" if isinstance(mine, list) else f"{name} is {other} there and {mine} here")
    return found
