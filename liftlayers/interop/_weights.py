"""Whether tensors from a file are those of a network."""

from collections.abc import Mapping

from torch import Tensor


def misfits(found: Mapping[str, Tensor], needed: Mapping[str, Tensor]) -> str:
    """Says which tensors are missing, unknown or of another kind than those needed; empty if all fit."""
    problems = [f"{name} is missing" for name in needed if name not in found]
    problems += [f"{name} is unknown" for name in found if name not in needed]
    for name in (name for name in needed if name in found):
        theirs, ours = found[name], needed[name]
        if theirs.shape != ours.shape:
            problems.append(f"{name} has shape {tuple(theirs.shape)} instead of {tuple(ours.shape)}")
        elif theirs.is_floating_point() != ours.is_floating_point():
            problems.append(f"{name} has dtype {theirs.dtype} instead of {ours.dtype}")
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
    return "; ".join(problems[:5]) + more
