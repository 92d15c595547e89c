"""The paper's Tables 1 to 3, row by row: every system is trained and measured in the same way, for the same minutes."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import torch
from pirnet.config import PRESETS, Config
from pirnet.data import Pair
from pirnet.degrade import Degradation
from pirnet.evaluation import Networks, Row, deviations, mean, measure, run
from pirnet.model import PIRNet
from pirnet.support.photos import Photos
from pirnet.support.registry import with_baseline_rates
from pirnet.support.settings import differences
from pirnet.support.text import from_json
from pirnet.tasks import TASKS
from pirnet.trainer import Trainer
from torch import Tensor, nn

from liftlayers import Invertible, Sequential
from reproduce.budget import Budget, train_for

HIDERS = {"hidden": "HiDDeN", "baluja": "Baluja", "deepmih": "DeepMIH"}
TABLE_1 = {  # by task, restorer and its title: restored stego and secret with each of the hiders
    ("denoise", "mirnetv2", "MIRNet-v2"): ((24.26, 25.95), (28.66, 23.17), (29.02, 27.10)),
    ("denoise", "nafnet", "NAFNet"): ((22.18, 25.22), (24.91, 25.51), (28.77, 26.40)),
    ("deblur", "xydeblur", "XYDeblur"): ((24.27, 25.72), (28.06, 27.17), (29.02, 25.76)),
    ("deblur", "nafnet_gopro", "NAFNet"): ((25.29, 21.67), (28.81, 22.45), (29.47, 25.63)),
    ("sr", "rlfn", "RLFN"): ((21.02, 22.28), (23.30, 22.64), (27.37, 23.72)),
    ("sr", "fmen", "FMEN"): ((20.39, 21.43), (23.91, 22.81), (26.78, 23.67)),
}
TABLE_2 = {"denoise": (29.00, 29.12), "deblur": (28.28, 28.69), "sr": (24.34, 24.44)}  # restored secret, K = 1, 2
TABLE_3 = {"denoise": 27.96, "deblur": 27.35, "sr": 22.73}  # restored secret, not reversible


@dataclass(frozen=True)
class Entry:
    """What is trained for one row of a table."""

    task: str
    title: str
    hider: str = "lih"
    restorer: str = "lsr"
    published: tuple[float | None, float | None] = (None, None)
    """PSNR of restored stego and restored secret in the paper, on DIV2K."""
    num_scales: int | None = None
    """K of LSR; None for that of the preset."""
    reversible: bool = True
    """Whether the blocks of PIRNet's chains are composed."""
    in_the_clear: bool = False

    @property
    def name(self) -> str:
        """The name of the row on the command line and on disk."""
        return re.sub(r"\W+", "-", f"{self.task} {self.title}".lower())


def entries(table: int) -> list[Entry]:
    """The rows of Table 1 with one in the clear for each task; of Table 2 (K = 1, 2, 3); of Table 3 (two a task).

    Example:
        >>> [len(entries(table)) for table in (1, 2, 3)]
        [24, 9, 6]
    """
    found = []
    for task, row in TASKS.items():
        stego, secret = row.published or (None, None)
        if table == 1:
            found.append(Entry(task, "in the clear", in_the_clear=True))
            for number, (hider, hider_title) in enumerate(HIDERS.items()):
                for (of, restorer, title), figures in TABLE_1.items():
                    if of == task:
                        found.append(Entry(task, f"{hider_title} + {title}", hider, restorer, figures[number]))
            found.append(Entry(task, "PIRNet", published=(stego, secret)))
        elif table == 2:
            scales = enumerate((*TABLE_2.get(task, (None, None)), secret), 1)
            found += [Entry(task, f"PIRNet, K = {k}", published=(None, psnr), num_scales=k) for k, psnr in scales]
        else:
            found.append(Entry(task, "not reversible", published=(None, TABLE_3.get(task)), reversible=False))
            found.append(Entry(task, "reversible", published=(None, secret)))
    return found


class Uncomposed(Invertible):
    r"""Blocks as the released PIRNet code runs them: each gets the chain's own input, so there is no inverse.

    .. math:: y = f_n(x), \qquad \hat x = f_1^{-1}(y)

    Only the output of the last block counts, in each direction, so the others are not computed. Used only for Table 3.

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
        return self.blocks[0].inverse(*bands)  # type: ignore[operator]  # a ModuleList does not keep their type


def uncompose(model: PIRNet) -> None:
    """Replaces each chain of a model by an `Uncomposed` of the same blocks."""
    model.lih.blocks = Sequential(Uncomposed(*model.lih.blocks))
    levels = model.lsr.pyramid.levels
    for scale, level in enumerate(levels):
        haar, *blocks = cast(Sequential, level)
        levels[scale] = Sequential(haar, Uncomposed(*blocks))


def config_of(entry: Entry, budget: Budget) -> Config:
    """The config of an entry: the preset's settings, on its task alone, at the degradation of the test."""
    start = PRESETS[budget.preset]()
    lsr = replace(start.lsr, num_scales=entry.num_scales or start.lsr.num_scales)
    lih = replace(start.lih, headroom=0)  # as the paper and the other systems, and without a key
    train = replace(start.train, tasks=(entry.task,), crop=budget.crop, batch_size=budget.batch_size, blocks=(0,))
    config = replace(start, lih=lih, lsr=lsr, train=train, degradation=Degradation(), in_the_clear=entry.in_the_clear)
    return with_baseline_rates(replace(config, hider=entry.hider, restorer=entry.restorer))


def compare(
    entry: Entry, budget: Budget, *, photos: Photos, pairs: Sequence[Pair], device: torch.device
) -> dict[str, object]:
    """Trains an entry for the budget's minutes and measures it on pairs; returns a row as plain values."""

    def new_trainer(config: Config) -> Trainer:
        trainer = Trainer(config, photos, device=device)
        if not entry.reversible:
            for model in {trainer.model, trainer.average}:  # one and the same without an average
                uncompose(model)
        return trainer

    trainer, seconds = train_for(config_of(entry, budget), new_trainer, minutes=budget.minutes, name=entry.name)
    begun = time.monotonic()
    figures = _measured(entry, trainer.average, pairs, side=budget.side)
    counts = {name: sum(p.numel() for p in trainer.model.get_submodule(name).parameters()) for name in ("lih", "lsr")}
    return {
        **{key: getattr(entry, key) for key in ("name", "task", "title", "hider", "restorer")},
        "figures": figures,
        "published": dict(zip(("stego_psnr", "secret_psnr"), entry.published, strict=True)),
        "parameters": {"hider": 0 if entry.in_the_clear else counts["lih"], "restorer": counts["lsr"]},
        "steps": list(trainer.config.train.steps),
        "skipped": trainer.guard.skipped,
        "seconds": seconds | {"testing": time.monotonic() - begun},
        "config": asdict(trainer.config),
    }


def read_rows(folder: Path, settings: Mapping[str, object]) -> dict[str, dict]:
    """The rows that a folder already holds, by name.

    Raises:
        ValueError: If a row is damaged or was made with other settings; the message names the differences.
    """
    rows = {}
    for path in sorted(folder.glob("*.json")):
        try:
            row = from_json(path.read_text(encoding="utf-8"))
            found = differences(settings, row.pop("settings"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no row of a comparison: remove it to train it again") from error
        if found:
            raise ValueError(f"{path} is of another comparison: {'; '.join(found)}; name another folder with --out")
        rows[row["name"]] = row
    return rows


def _measured(entry: Entry, model: PIRNet, pairs: Sequence[Pair], *, side: int) -> dict[str, dict]:
    """Mean figures over the pairs, in 8 bit, and their deviations, for each way to obtain the secret."""
    model.eval()
    networks = Networks(model.lih, model.lsr, clear=model.lsr if entry.in_the_clear else None)
    figures: dict[str, list[Row]] = {}
    for number, pair in enumerate(pairs):
        example = run(networks, pair.cropped(side), entry.task, number=number, pipeline="uint8")
        for row in measure(example, pipeline="uint8"):
            if not entry.in_the_clear or row.row in ("do nothing", "in the clear"):
                figures.setdefault(row.row, []).append(row)
    return {way: asdict(mean(rows)) | {"std": deviations(rows)} for way, rows in figures.items()}
