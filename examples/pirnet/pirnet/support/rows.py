"""The rows of an evaluation: the figures of a pair, means and deviations over pairs, and differences of means."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Row:
    """Figures of one pair, or their means; None if a figure has no meaning. PSNR in dB; all on 8-bit RGB."""

    task: str
    row: str
    """`do nothing`: the degraded secret. `no restoration`: hidden and revealed without the cloud. `in the clear`: the
    degraded secret, restored by a network that is given it. `ours`: hidden, restored in the cloud and revealed."""
    pipeline: str
    """`uint8`: stego rounded to 8 bit as in a file; or `float`."""
    stego_psnr: float | None
    """Stego or restored stego against cover."""
    secret_psnr: float
    """Secret against its truth."""
    stego_ssim: float | None
    secret_ssim: float
    revealed_psnr: float | None = None
    """Revealed against degraded secret: the fidelity of the client's network alone."""
    stego_ms_ssim: float | None = None
    secret_ms_ssim: float | None = None
    stego_lpips: float | None = None
    secret_lpips: float | None = None


FIGURES = tuple(field.name for field in fields(Row))[3:]


@dataclass(frozen=True)
class Difference:
    """Differences between the rows of one task, in dB of the secret's PSNR."""

    task: str
    pipeline: str
    over_nothing: float
    """Ours minus doing nothing."""
    cloud_gain: float
    """Ours minus no restoration: the gain by the cloud."""
    price_of_privacy: float | None
    """In the clear minus ours: the cost of hiding; None without a network in the clear."""


def mean(rows: Sequence[Row]) -> Row:
    """The mean of every figure over the pairs; None if a pair lacks it."""
    means = {name: _reduced(statistics.fmean, rows, name) for name in FIGURES}
    return replace(rows[0], **means)  # type: ignore[arg-type]


def deviations(rows: Sequence[Row]) -> dict[str, float | None]:
    """The standard deviation of every figure over the pairs; None for one pair, and if a figure is not finite."""
    return {name: _reduced(_deviation, rows, name) for name in FIGURES}


def differences(rows: Sequence[Row]) -> list[Difference]:
    """The gain by the cloud and the price of privacy, for each pipeline and task."""
    secrets = {(row.pipeline, row.task, row.row): row.secret_psnr for row in rows}
    result = []
    for pipeline, task, name in secrets:
        if name == "ours":
            ours, clear = secrets[pipeline, task, name], secrets.get((pipeline, task, "in the clear"))
            nothing, unrestored = (secrets[pipeline, task, way] for way in ("do nothing", "no restoration"))
            price = None if clear is None else clear - ours
            result.append(Difference(task, pipeline, ours - nothing, ours - unrestored, price))
    return result


def _reduced(reduce: Callable[[list[float]], float | None], rows: Sequence[Row], name: str) -> float | None:
    values = [getattr(row, name) for row in rows]
    value = None if None in values else reduce(values)
    return None if value is None else round(value, 4)


def _deviation(values: list[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None
