"""Whether the bands that a chain has rebuilt are still the original ones, judged by a sample of their values."""

import functools
import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from liftlayers._bands import has_values

SAMPLE_SIZE = 256  # values kept of each band
DRIFT_ALLOWED = 1e-3
DESTROYED = 0.05  # error of a band relative to its own size

Sample = tuple[Tensor, ...]


def sample(bands: Sequence[Tensor]) -> Sample:
    """Returns a copy of some values of each band, evenly spread. Gradients have to be off."""
    parts = map(_part_here, bands)
    return tuple(x.reshape(-1)[:: max(1, x.numel() // SAMPLE_SIZE)].clone() for x in parts)


def _part_here(x: Tensor) -> Tensor:
    """Returns the part of a `DTensor` that this process has, and other tensors as they are."""
    to_local = getattr(x, "to_local", None)
    return x if to_local is None else to_local()


def warn_of_drift(samples: Sequence[tuple[int, Sample, Sample]], num_steps: int) -> None:
    """Warns if samples of rebuilt bands differ from those of the original ones.

    Args:
        samples: The number of a step, a sample of its rebuilt input bands, and one of the original bands; the last step
            comes first.
        num_steps: Number of steps of the chain.
    """
    numbers, rebuilt, originals = zip(*samples, strict=True)
    bands = [x for step in originals for x in step]
    if not all(map(has_values, bands)) or not any(x.numel() for x in bands):
        return
    values = _relative_errors(rebuilt, originals)
    if all(value <= DRIFT_ALLOWED for value in values):  # so that nan warns too
        return
    worst = max(values, key=lambda value: (math.isnan(value), value))
    first = next(number for number, value in zip(numbers, values, strict=True) if not value <= DRIFT_ALLOWED)
    warnings.warn(
        f"a chain with memory='reversible' rebuilt its bands with a relative error of {worst:.1e}, above "
        f"{DRIFT_ALLOWED:.0e} from step {first} of {num_steps} down to step {numbers[-1]}: gradients there are off by "
        "as much. Keep activations with memory='checkpoint', use float64, or hold the chain's growth down. If bands do "
        "not grow, the cause is autocast, under which networks amplify rounding (exact chains have none), bands of 16 "
        "bits (call .float() before the chain), or state that torch does not count, such as numbers that Python's "
        "random draws",
        RuntimeWarning,
        stacklevel=2,
    )


def _relative_errors(rebuilt: Sequence[Sample], originals: Sequence[Sample]) -> list[float]:
    """Returns the error at each step relative to the size of all its bands together, both as Euclidean norms.

    If a band is destroyed, it is the error of this band relative to its own size. Smaller errors of small bands do not
    count, since networks in bfloat16 cause them in every chain.
    """
    bands = [x for step in originals for x in step]
    dtype = functools.reduce(torch.promote_types, {x.dtype for x in bands}, torch.float32)
    now, then = (
        pad_sequence([x.to(bands[0].device, dtype) for step in steps for x in step], batch_first=True)
        for steps in (rebuilt, originals)
    )
    largest = then.abs().amax(1)
    unit = torch.where(largest == 0, 1, largest)  # so that no square is too large for the dtype
    norms = [(x / unit[:, None]).norm(dim=1) for x in (now - then, then)]
    found = torch.stack([unit, *norms], 1).tolist()  # one synchronisation a pass
    sizes = iter([(unit * error, unit * size) for unit, error, size in found])
    values = []
    for step in originals:
        errors, of_bands = zip(*(next(sizes) for _ in step), strict=True)
        whole = math.hypot(*of_bands)
        value = math.hypot(*errors) / (whole or 1.0)  # the absolute error where all was zero
        own = [e / size for x, e, size in zip(step, errors, of_bands, strict=True) if size > _negligible(x, whole)]
        values.append(max([value, *(error for error in own if error > DESTROYED)]))  # nan if the first is nan
    return values


def _negligible(band: Tensor, whole: float) -> float:
    """Returns the size up to which a band may consist of rounding errors, from the size of all bands of its step."""
    return whole * torch.finfo(band.dtype).eps if band.is_floating_point() else 0.0
