"""Whether bands that a chain has rebuilt are still what they were, judged by some of their numbers."""

__all__ = ["drift_of", "sample", "warn_of_drift"]

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

SAMPLE_SIZE = 256  # numbers kept of each band
DRIFT_ALLOWED = 1e-3


def sample(band: Tensor) -> Tensor:
    """Some numbers of a band, evenly spread, whatever its layout."""
    every = max(1, band.numel() // SAMPLE_SIZE)
    return band.detach().reshape(-1)[::every].clone()


def drift_of(rebuilt: Sequence[Tensor], anchors: Sequence[Tensor]) -> Tensor:
    """Relative error of the rebuilt bands, all together: one of them may be zero. Judged by their samples."""
    then, now = (
        torch.cat([x.to(torch.promote_types(x.dtype, torch.float32)) for x in side])
        for side in (anchors, [sample(band) for band in rebuilt])
    )
    size = then.abs().sum()  # so that no square is too large for the dtype
    then, now = then / torch.where(size == 0, 1, size), now / torch.where(size == 0, 1, size)
    scale = then.norm()
    return (now - then).norm() / torch.where(scale == 0, 1, scale)  # of all zeros, what they came back as


def warn_of_drift(drifts: dict[int, Tensor], num_steps: int, last: int) -> None:
    values = torch.stack(list(drifts.values())).tolist()  # one synchronisation a pass, last steps first
    if all(value <= DRIFT_ALLOWED for value in values):  # so that nan warns too
        return
    first = next(number for number, value in zip(drifts, values, strict=True) if not value <= DRIFT_ALLOWED)
    warnings.warn(
        f"Sequential with memory='reversible' rebuilt its bands with a relative error of {values[-1]:.1e}, above "
        f"{DRIFT_ALLOWED:.0e} from step {first} of {num_steps} down to step {last}: gradients there are off by as "
        "much. Keep activations with memory='checkpoint', use float64, or hold the chain's growth down",
        RuntimeWarning,
        stacklevel=2,
    )
