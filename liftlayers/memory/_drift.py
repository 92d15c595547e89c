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
NEGLIGIBLE = 8  # a band of fewer epsilons of the largest band of its step may consist of rounding errors

Sample = tuple[Tensor, ...]


def sample(bands: Sequence[Tensor]) -> Sample:
    """Returns a copy of some values of each band, evenly spread. Gradients have to be off."""
    return tuple(x.reshape(-1)[:: max(1, x.numel() // SAMPLE_SIZE)].clone() for x in bands)


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
    first = next(number for number, value in zip(numbers, values, strict=True) if not value <= DRIFT_ALLOWED)
    warnings.warn(
        f"Sequential with memory='reversible' rebuilt its bands with a relative error of {values[-1]:.1e}, above "
        f"{DRIFT_ALLOWED:.0e} from step {first} of {num_steps} down to step {numbers[-1]}: gradients there are off by "
        "as much. Keep activations with memory='checkpoint', use float64, or hold the chain's growth down. If bands do "
        "not grow, a network depends on state that torch does not count, such as numbers that Python's random draws",
        RuntimeWarning,
        stacklevel=2,
    )


def _relative_errors(rebuilt: Sequence[Sample], originals: Sequence[Sample]) -> list[float]:
    """Returns, for each step, the largest error of one of its bands relative to the largest value of that band.

    The error of a negligible band is relative to the largest value of all bands of its step.
    """
    bands = [x for step in originals for x in step]
    dtype = functools.reduce(torch.promote_types, {x.dtype for x in bands}, torch.float32)
    now, then = (
        pad_sequence([x.to(bands[0].device, dtype) for step in steps for x in step], batch_first=True)
        for steps in (rebuilt, originals)
    )
    found = torch.stack([(now - then).abs().amax(1), then.abs().amax(1)], 1).tolist()  # one synchronisation a pass
    pairs = iter(zip(bands, found, strict=True))
    values = []
    for step in originals:
        taken = [next(pairs) for _ in step]
        largest = max(size for _, (_, size) in taken)
        errors = [error / (_scale(x, size, largest) or 1.0) for x, (error, size) in taken]
        values.append(math.nan if any(map(math.isnan, errors)) else max(errors))  # max() may drop a nan
    return values


def _scale(band: Tensor, size: float, largest: float) -> float:
    """Returns what the error of a band is relative to, from the largest values of this band and of all of its step."""
    epsilon = torch.finfo(band.dtype).eps if band.is_floating_point() else 0.0
    return size if size > NEGLIGIBLE * epsilon * largest else largest
