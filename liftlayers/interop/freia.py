"""Our modules inside FrEIA's networks, and FrEIA's modules among ours.

Both classes speak FrEIA's interface without importing it: FrEIA asks of a node that it be an `nn.Module` with
``forward(x_or_z, c, rev, jac)`` and ``output_dims``, not that it inherit from its base class.
"""

__all__ = ["AsFrEIA", "FromFrEIA"]

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from liftlayers._bands import Bands, as_tuple, bare
from liftlayers.invertible import Invertible

Dims = tuple[int, ...]  # a shape without its batch


class AsFrEIA(nn.Module):
    r"""One of our modules as a FrEIA module, for a ``GraphINN`` or a ``SequenceINN``.

    .. math:: (x, \text{rev} = 0) \mapsto (f(x), \log |\det \partial f / \partial x|), \qquad
        (z, \text{rev} = 1) \mapsto (f^{-1}(z), \log |\det \partial f^{-1} / \partial z|)

    FrEIA constructs its nodes itself; it is handed this class and the module as an argument::

        chain = Sequential(Haar(), LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)))
        source = ff.InputNode(3, 32, 32)
        node = ff.Node(source, AsFrEIA, {"module": chain})        # node.out0: approximation, node.out1: detail
        net = ff.GraphINN([source, node, ff.OutputNode(node.out0), ff.OutputNode(node.out1)])

        net = ff.SequenceINN(3, 32, 32)
        net.append(AsFrEIA, module=Sequential(*chain, Inverse(Haar())))         # takes one band, returns one

    The log-determinant comes from ``forward_and_log_det`` and ``inverse_and_log_det``. With ``jac=False`` neither is
    asked for and the number returned means nothing; a chain then keeps to its `memory` mode. Outputs are copies,
    because FrEIA's Haar transform writes into the tensor that it undoes.

    Args:
        dims_in: Shape of every input band, without the batch; FrEIA passes it.
        dims_c: Shape of the condition, in a list; FrEIA passes it.
        module: The module :math:`f`; the same one, not a copy.

    Shape:
        - A list of the bands that `module` takes or takes back; a tuple of those it returns, and :math:`(B)`.

    Raises:
        TypeError: If `module` is not `Invertible`, or a tensor is given for a list of them.
        ValueError: If `module` takes no condition and there is one, or there is more than one.
        NotImplementedError: If there is no log-determinant and ``jac`` asks for it.

    References:
        [Ardizzone2018]_; :doc:`/coming-from`.

    Example:
        >>> from liftlayers.interop import AsFrEIA
        >>> haar = AsFrEIA([(3, 8, 8)], module=Haar())
        >>> haar.output_dims([(3, 8, 8)])
        [(3, 4, 4), (9, 4, 4)]
        >>> (approx, detail), log_det = haar([torch.ones(1, 3, 8, 8)])
        >>> log_det
        tensor([0.])
    """

    def __init__(self, dims_in: Iterable[Dims], dims_c: Iterable[Dims] | None = None, *, module: Invertible) -> None:
        super().__init__()
        if not isinstance(module, Invertible):
            raise TypeError(f"AsFrEIA needs an Invertible module, got {type(module).__name__}")
        self.dims_in = [tuple(dims) for dims in dims_in]
        self.dims_c = [tuple(dims) for dims in dims_c or ()]
        self.module = module
        self._options(self.dims_c)  # refuses conditions early

    def forward(
        self, x_or_z: Sequence[Tensor], c: Sequence[Tensor] | None = None, rev: bool = False, jac: bool = True
    ) -> tuple[tuple[Tensor, ...], Tensor | float]:
        for kind, given in (("tensors", x_or_z), ("conditions", c)):
            if isinstance(given, Tensor):  # its batch would be taken for a list
                raise TypeError(f"AsFrEIA needs a list of {kind}, got a tensor of shape {tuple(given.shape)}")
        options: dict[str, Any] = self._options(c or ())
        log_det: Tensor | float = 0.0
        if jac and not rev:
            outputs, log_det = self.module.forward_and_log_det(*x_or_z, **options)
        elif jac:
            outputs, log_det = self.module.inverse_and_log_det(*x_or_z, **options)
        else:
            outputs = self.module.inverse(*x_or_z, **options) if rev else self.module(*x_or_z, **options)
        return tuple(y.clone() for y in as_tuple(outputs)), log_det

    def output_dims(self, input_dims: Iterable[Dims]) -> list[Dims]:
        """Shapes of the outputs for given shapes of the inputs, all without the batch.

        A copy of the module is run on meta tensors, which have shapes and no values; where it looks at values, one
        with its real parameters is run, on made-up numbers. The module itself stays as it is.
        """
        dims = [tuple(shape) for shape in input_dims]
        state = [*self.module.parameters(), *self.module.buffers()]
        device = next((tensor.device for tensor in state), torch.device("cpu"))
        with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            try:
                outputs = self._dry_run(_without_values(self.module), dims, "meta")
            except RuntimeError:  # a value is looked at, or the shapes do not fit, and the same error comes again
                outputs = self._dry_run(copy.deepcopy(self.module), dims, device)
        return [tuple(y.shape[1:]) for y in as_tuple(outputs)]

    def _dry_run(self, module: Invertible, dims: list[Dims], device: torch.device | str) -> Bands:
        dtypes = (t.dtype for t in module.parameters() if t.is_floating_point())
        dtype = next(dtypes, torch.get_default_dtype())

        def ramp(shape: Dims) -> Tensor:  # two images, so that a batch norm has something to average
            numel = 2 * math.prod(shape)
            return torch.linspace(-1, 1, numel, device=device, dtype=dtype).view(2, *shape)

        options: dict[str, Any] = self._options([ramp(shape) for shape in self.dims_c])
        return module(*map(ramp, dims), **options)

    def _options(self, conditions: Sequence[Any]) -> dict[str, Any]:
        if not conditions:
            return {}
        who = type(self.module).__name__
        if not self.module.conditional:
            raise ValueError(f"AsFrEIA got {len(conditions)} condition(s), but {who} takes none")
        if len(conditions) > 1:
            raise ValueError(f"AsFrEIA needs one condition for {who}, got {len(conditions)}; concatenate them")
        return {"condition": conditions[0]}


class FromFrEIA(Invertible):
    r"""A FrEIA module, a ``SequenceINN`` or a ``GraphINN`` as one of our modules.

    .. math:: y = f(x), \qquad x = f^{-1}(y)

    ::

        block = FromFrEIA(fm.AllInOneBlock([(12, 16, 16)], subnet_constructor=subnet))
        chain = Sequential(PixelUnshuffle(2), block, memory="reversible")

    FrEIA fixes sizes at construction, so this module has sizes too, those of `module`. It hands over copies of its
    inputs, because FrEIA's Haar transform writes into the tensor that it undoes. A condition is the single entry of
    FrEIA's list ``c``.

    Args:
        module: The module :math:`f`; the same one, not a copy.

    Shape:
        - The shapes that `module` was constructed for, one band for each of its inputs or outputs.

    Raises:
        TypeError: If `module` has not FrEIA's interface.
        ValueError: If the number of bands or a shape is not what `module` was constructed for, if a condition is
            missing or there is no use for it, or if `module` needs more than one.

    References:
        [Ardizzone2018]_; :doc:`/coming-from`.

    Example:
        >>> from liftlayers.interop import AsFrEIA, FromFrEIA
        >>> haar = FromFrEIA(AsFrEIA([(3, 8, 8)], module=Haar()))  # any module of FrEIA's own will do as well
        >>> approx, detail = haar(torch.ones(1, 3, 8, 8))
        >>> haar.inverse(approx, detail).shape
        torch.Size([1, 3, 8, 8])
    """

    def __init__(self, module: nn.Module) -> None:
        if not (isinstance(module, nn.Module) and hasattr(module, "dims_in") and hasattr(module, "output_dims")):
            raise TypeError(
                "FromFrEIA needs a FrEIA InvertibleModule (pip install FrEIA), with dims_in and output_dims, "
                f"got {type(module).__name__}"
            )
        super().__init__()
        self.module = module

    def forward(self, *bands: Tensor, condition: Tensor | None = None) -> Bands:
        return self._run(bands, condition, rev=False, jac=False)[0]

    def inverse(self, *bands: Tensor, condition: Tensor | None = None) -> Bands:
        return self._run(bands, condition, rev=True, jac=False)[0]

    def forward_and_log_det(self, *bands: Tensor, condition: Tensor | None = None) -> tuple[Bands, Tensor]:
        return self._run(bands, condition, rev=False, jac=True)

    def inverse_and_log_det(self, *bands: Tensor, condition: Tensor | None = None) -> tuple[Bands, Tensor]:
        return self._run(bands, condition, rev=True, jac=True)

    @property
    def conditional(self) -> bool:
        return _num_conditions(self.module) > 0

    def _run(
        self, bands: tuple[Tensor, ...], condition: Tensor | None, *, rev: bool, jac: bool
    ) -> tuple[Bands, Tensor]:
        self._check(bands, _dims_out(self.module) if rev else _dims_in(self.module))
        # Some FrEIA modules take no argument `c` at all, and InvertibleSigmoid leaves the second value out.
        options: dict[str, Any] = self._conditions(condition)
        outputs, *rest = self.module(tuple(band.clone() for band in bands), rev=rev, jac=jac, **options)
        outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        return bare(outputs), _as_log_det(rest[0] if jac else 0.0, bands[0])

    def _check(self, bands: tuple[Tensor, ...], dims: list[Dims]) -> None:
        got = [tuple(band.shape[1:]) for band in bands]
        if got != dims:
            shapes = " and ".join(str(("B", *shape)).replace("'", "") for shape in dims)
            actual = " and ".join(str(tuple(band.shape)) for band in bands) or "nothing"
            raise ValueError(f"FromFrEIA({type(self.module).__name__}) needs bands of shape {shapes}, got {actual}")

    def _conditions(self, condition: Tensor | None) -> dict[str, list[Tensor]]:
        num, who = _num_conditions(self.module), f"FromFrEIA({type(self.module).__name__})"
        if num > 1:
            raise ValueError(f"{who} needs a module of at most one condition, got one of {num}")
        if num == 1 and condition is None:
            raise ValueError(f"{who} needs a condition, got none")
        if num == 0 and condition is not None:
            raise ValueError(f"{who} got a condition, but its module takes none")
        return {} if condition is None else {"c": [condition]}


def _without_values(module: Invertible) -> Invertible:
    """A copy with its parameters and buffers on the meta device; none of them is copied on the way."""
    memo: dict[int, Any] = {id(tensor): torch.empty_like(tensor, device="meta") for tensor in module.buffers()}
    for parameter in module.parameters():
        meta = torch.empty_like(parameter, device="meta")
        memo[id(parameter)] = nn.Parameter(meta, requires_grad=parameter.requires_grad)
    return copy.deepcopy(module, memo)


# FrEIA's containers differ from its modules, and from each other, in what they say of themselves.


def _dims_in(module: Any) -> list[Dims]:
    dims = list(module.dims_in)
    dims = [tuple(dims)] if dims and isinstance(dims[0], int) else [tuple(shape) for shape in dims]  # bare in ActNorm
    if type(module).__name__ in ("HaarUpsampling", "IRevNetUpsampling"):  # their dims_in is their output's
        return [(4 * channels, height // 2, width // 2) for channels, height, width in dims]
    return dims


def _dims_out(module: Any) -> list[Dims]:
    if hasattr(module, "global_out_shapes"):  # a GraphINN, whose output_dims refuses a single output
        return [tuple(shape) for shape in module.global_out_shapes]
    if hasattr(module, "shapes"):  # a SequenceINN, whose output_dims returns its input's
        return [tuple(module.shapes[-1])]
    return [tuple(shape) for shape in module.output_dims(_dims_in(module))]


def _num_conditions(module: Any) -> int:
    if hasattr(module, "shapes"):  # a SequenceINN, whose dims_c is empty: its steps hold positions in the list `c`
        return 1 + max((position for position in module.conditions if position is not None), default=-1)
    return len(module.dims_c)


def _as_log_det(log_det: Tensor | float, like: Tensor) -> Tensor:
    """A number an image, of shape (B,), from what FrEIA returns: a number, a tensor of one, or one an image."""
    if isinstance(log_det, Tensor):
        return log_det.expand(len(like))
    return like.new_full((len(like),), float(log_det))
