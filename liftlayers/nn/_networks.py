"""Checks of the networks inside invertible layers: their type, a condition that they take, and their numbers."""

from torch import nn

from liftlayers._graphs import constant_in_graphs
from liftlayers._maps import parameters_of
from liftlayers.invertible import Invertible
from liftlayers.nn.integer import IntegerNetwork


def require_network(who: str, network: nn.Module) -> None:
    """Raises `TypeError` unless the network is a module, and not an `Invertible`, which is probably misplaced."""
    if not isinstance(network, nn.Module):
        got = network.__name__ if isinstance(network, type) else type(network).__name__
        raise TypeError(f"{who} needs an nn.Module as its network, got {got}")
    if isinstance(network, Invertible):
        remedy = "to use it as a network, put it inside another module, such as nn.Sequential"
        raise TypeError(f"{who} needs a network, got {type(network).__name__}, which is an invertible step; {remedy}")


def input_is_written(who: str, network: nn.Module) -> RuntimeError:
    """Returns the error for a network that writes into its input: the inverse would get another one."""
    return RuntimeError(
        f"{who} needs a network that leaves its input as it is, but {type(network).__name__} writes into it: use "
        "inplace=False in its first layers, or give them a clone"
    )


@constant_in_graphs
def takes_condition(network: nn.Module) -> bool:
    """Returns True if a network takes ``condition=``.

    Either the network has an attribute ``conditional``, or its signature decides. If the signature has ``**kwargs``, as
    in `torch.compile` and `nn.DataParallel`, the signature of the wrapped network decides.
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


def is_integer(network: nn.Module) -> bool:
    """Whether a network is an `IntegerNetwork`, or a sequence of some."""
    if isinstance(network, nn.Sequential):
        return all(is_integer(layer) for layer in network)
    return isinstance(network, IntegerNetwork)
