"""Where in a chain, or in a pyramid, an error arose: its message names the layer, and a note its place."""

__all__ = ["call_at"]

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def call_at(
    kind: str,
    places: Iterable[tuple[int, nn.Module]],
    function: Callable[..., Any],
    bands: tuple[Tensor, ...],
    options: Mapping[str, Any],
) -> Any:
    """Calls a direction of a module, and notes on what it raises where the module stands.

    Args:
        kind: What the places are of, such as ``"step"``.
        places: Position and module, the innermost first.
        function: What is called.
        bands: Its tensors.
        options: Its other arguments.
    """
    if torch.compiler.is_compiling():
        return function(*bands, **options)
    try:
        return function(*bands, **options)
    except Exception as error:
        for position, module in places:
            error.add_note(f"in {kind} {position} ({type(module).__name__})")
        raise
