"""The stack of couplings that `invertible.py` measures, built with each library and with the same weights.

The stack consists of additive couplings y1 = x1 + F(x2), y2 = x2 + G(y1) on two streams of 12 channels. F and G are
three 3x3 convolutions 12-32-32-12. Every variant maps (B, 24, H, W) to (B, 24, H, W). `inverse` inverts it, if the
library has an inverse.
"""

__all__ = ["CHANNELS", "VARIANTS", "build"]

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from liftlayers import AdditiveCoupling, Sequential, Update, exact

CHANNELS, HIDDEN = 12, 32
Pairs = list[tuple[nn.Module, nn.Module]]


def subnet(activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Builds F or G, three convolutions."""
    return nn.Sequential(
        nn.Conv2d(CHANNELS, HIDDEN, 3, padding=1),
        activation(),
        nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1),
        activation(),
        nn.Conv2d(HIDDEN, CHANNELS, 3, padding=1),
    )


class Ours(nn.Module):
    """The stack as a liftlayers `Sequential` with a memory mode, optionally made exact."""

    def __init__(self, pairs: Pairs, memory: str, *, bits: int | None = None) -> None:
        super().__init__()
        steps = [step for f, g in pairs for step in (Update(f), AdditiveCoupling(g))]
        chain = Sequential(*steps, memory=memory)  # type: ignore[arg-type]
        self.chain = chain if bits is None else exact(chain, bits=bits)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.chain(*x.chunk(2, dim=1)), dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        return torch.cat(self.chain.inverse(*y.chunk(2, dim=1)), dim=1)


class Plain(nn.Module):
    """The stack as a plain loop, optionally with torch's checkpoint around each block."""

    def __init__(self, pairs: Pairs, *, checkpointed: bool = False) -> None:
        super().__init__()
        self.pairs = nn.ModuleList(nn.ModuleList(pair) for pair in pairs)
        self.checkpointed = checkpointed

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = x.chunk(2, dim=1)
        for pair in self.pairs:
            if self.checkpointed:
                x1, x2 = checkpoint(self.block, pair, x1, x2, use_reentrant=False)
            else:
                x1, x2 = self.block(pair, x1, x2)
        return torch.cat((x1, x2), dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        y1, y2 = y.chunk(2, dim=1)
        for f, g in reversed(list(self.pairs)):  # type: ignore[misc]
            y2 = y2 - g(y1)
            y1 = y1 - f(y2)
        return torch.cat((y1, y2), dim=1)

    @staticmethod
    def block(pair: nn.ModuleList, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        f, g = pair
        x1 = x1 + f(x2)
        return x1, x2 + g(x1)


def memcnn_stack(pairs: Pairs) -> nn.Module:
    """Builds the stack with MemCNN. MemCNN frees the input of the stack, so it gets a copy."""
    import memcnn

    class CopiesInput(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.clone())

        def inverse(self, y: Tensor) -> Tensor:
            for block in reversed(self):
                y = block.inverse(y.clone())  # type: ignore[operator]
            return y

    return CopiesInput(*(memcnn.InvertibleModuleWrapper(memcnn.AdditiveCoupling(Fm=f, Gm=g)) for f, g in pairs))


def revlib_stack(pairs: Pairs) -> nn.Module:
    """Builds the stack with revlib in its memory-saving mode. revlib has no callable inverse."""
    import revlib

    mode = revlib.MemoryModes.autograd_function
    return revlib.ReversibleSequential(*(net for pair in pairs for net in pair), memory_mode=mode)


def freia_stack(pairs: Pairs, size: int) -> nn.Module:
    """Builds the stack with FrEIA, which stores activations."""
    import FrEIA.framework
    import FrEIA.modules

    chain = FrEIA.framework.SequenceINN(2 * CHANNELS, size, size)
    for f, g in pairs:
        nets = iter((f, g))
        chain.append(FrEIA.modules.NICECouplingBlock, subnet_constructor=lambda _i, _o, nets=nets: next(nets))

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.chain = chain

        def forward(self, x: Tensor) -> Tensor:
            return self.chain(x)[0]

        def inverse(self, y: Tensor) -> Tensor:
            return self.chain(y, rev=True)[0]

    return Bare()


VARIANTS: dict[str, Callable[[Pairs, int], nn.Module]] = {
    "plain loop": lambda pairs, _size: Plain(pairs),
    "torch checkpoint": lambda pairs, _size: Plain(pairs, checkpointed=True),
    "FrEIA": freia_stack,
    "MemCNN": lambda pairs, _size: memcnn_stack(pairs),
    "revlib": lambda pairs, _size: revlib_stack(pairs),
    "liftlayers, store": lambda pairs, _size: Ours(pairs, "store"),
    "liftlayers, checkpoint": lambda pairs, _size: Ours(pairs, "checkpoint"),
    "liftlayers, reversible": lambda pairs, _size: Ours(pairs, "reversible"),
    "liftlayers, exact, store": lambda pairs, _size: Ours(pairs, "store", bits=16),
    "liftlayers, exact": lambda pairs, _size: Ours(pairs, "reversible", bits=16),
    "liftlayers, exact, 8 bits": lambda pairs, _size: Ours(pairs, "reversible", bits=8),
}


def build(name: str, depth: int, size: int, *, gain: float = 1.0, smooth: bool = False) -> nn.Module:
    """Builds a variant. All variants of the same depth have the same weights, listed by `weights` in the same order.

    Args:
        name: A key of `VARIANTS`.
        depth: Number of pairs of couplings.
        size: Height and width of the images, which FrEIA needs at construction.
        gain: A factor on the weights of the last convolutions. Larger weights make activations grow.
        smooth: Use SiLU between the convolutions instead of leaky ReLU.
    """
    torch.manual_seed(0)
    nets = [subnet(nn.SiLU if smooth else nn.LeakyReLU) for _ in range(2 * depth)]
    with torch.no_grad():
        for net in nets:
            net[-1].weight.mul_(gain)  # type: ignore[operator]
    model = VARIANTS[name](list(zip(nets[::2], nets[1::2], strict=True)), size)
    vars(model)["weights"] = [p for net in nets for p in net.parameters()]
    return model
