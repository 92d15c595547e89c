"""Whether the bands that a chain has rebuilt are still the original ones, judged by a sample of their values."""

import functools
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from liftlayers._bands import has_values

SAMPLE_SIZE = 256  # values kept of each band
DRIFT_ALLOWED = 1e-3


def sample(bands: Sequence[Tensor]) -> Tensor:
    """Returns a copy of some values of several bands, evenly spread. Gradients have to be off."""
    return torch.cat([x.reshape(-1)[:: max(1, x.numel() // SAMPLE_SIZE)] for x in bands])


def warn_of_drift(samples: Sequence[tuple[int, Tensor, Tensor]], num_steps: int) -> None:
    """Warns if samples of rebuilt bands differ from those of the original ones.

    Args:
        samples: The number of a step, a sample of its rebuilt input bands, and one of the original bands; the last step
            comes first.
        num_steps: Number of steps of the chain.
    """
    numbers, rebuilt, originals = zip(*samples, strict=True)
    if not all(map(has_values, originals)):
        return
    values = _relative_errors(rebuilt, originals).tolist()  # one synchronisation a pass
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


def _relative_errors(rebuilt: Sequence[Tensor], originals: Sequence[Tensor]) -> Tensor:
    """Returns the relative error of each sample as a whole, since one of its bands may be zero."""
    dtype = functools.reduce(torch.promote_types, {x.dtype for x in originals}, torch.float32)
    now, then = (pad_sequence([x.to(dtype) for x in side], batch_first=True) for side in (rebuilt, originals))
    size = then.abs().sum(1, keepdim=True)  # so that no square is too large for the dtype
    now, then = now / torch.where(size == 0, 1, size), then / torch.where(size == 0, 1, size)
    scale = then.norm(dim=1)
    return (now - then).norm(dim=1) / torch.where(scale == 0, 1, scale)  # the absolute error where all was zero
