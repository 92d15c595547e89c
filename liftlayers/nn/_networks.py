"""What layers ask of a network that they are given, before they call it."""

__all__ = ["require_network", "takes_condition"]

import torch
from torch import nn

from liftlayers._maps import parameters_of
from liftlayers.invertible import Invertible


def require_network(who: str, network: nn.Module) -> None:
    """Raises `TypeError` unless it is a module, and no invertible step in a network's place."""
    if not isinstance(network, nn.Module):
        got = network.__name__ if isinstance(network, type) else type(network).__name__
        raise TypeError(f"{who} needs an nn.Module as its network, got {got}")
    if isinstance(network, Invertible):
        raise TypeError(
            f"{who} needs a network, got {type(network).__name__}, which is a step itself; "
            "inside a network, as in nn.Sequential, it would be welcome"
        )


@torch.compiler.assume_constant_result
def takes_condition(network: nn.Module) -> bool:
    """Whether a network takes ``condition=``.

    It says so by an attribute `conditional`, or its `forward` names the parameter, or it passes all keywords to the
    network inside, as the wrappers of `torch.compile` and `nn.DataParallel` do.
    """
    declared = getattr(network, "conditional", None)
    if isinstance(declared, bool):
        return declared
    parameters = parameters_of(network.forward)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for name in ("_orig_mod", "module"):
            if isinstance(inner := getattr(network, name, None), nn.Module):
                return takes_condition(inner)
    return "condition" in parameters
