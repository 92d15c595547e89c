"""Our modules inside FrEIA's networks, and FrEIA's modules inside ours.

Both classes use FrEIA's interface without importing FrEIA. FrEIA requires that a node is an `nn.Module` with
``forward(x_or_z, c, rev, jac)`` and ``output_dims``; it need not inherit from FrEIA's base class.
"""

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from liftlayers._bands import Bands, as_tuple, bare
from liftlayers._random import RandomState
from liftlayers.invertible import Invertible, require_invertible

Dims = tuple[int, ...]  # a shape without its batch


class AsFrEIA(nn.Module):
    r"""One of our modules as a FrEIA module, for a ``GraphINN`` or a ``SequenceINN``.

    .. math:: (x, \text{rev} = 0) \mapsto (f(x), \log |\det \partial f / \partial x|), \qquad
        (z, \text{rev} = 1) \mapsto (f^{-1}(z), \log |\det \partial f^{-1} / \partial z|)

    FrEIA constructs its nodes itself, so it gets this class, with the module as an argument::

        chain = Sequential(Haar(), LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)))
        source = ff.InputNode(3, 32, 32)
        node = ff.Node(source, AsFrEIA, {"module": chain})        # node.out0: approximation, node.out1: detail
        net = ff.GraphINN([source, node, ff.OutputNode(node.out0), ff.OutputNode(node.out1)])

        net = ff.SequenceINN(3, 32, 32)
        net.append(AsFrEIA, module=Sequential(*chain, Inverse(Haar())))         # takes one band, returns one

    The log-determinant comes from ``forward_and_log_det`` and ``inverse_and_log_det``. With ``jac=False`` neither is
    called, and the number returned in its place has no meaning; a chain then uses its `memory` mode. Outputs are
    copies, because FrEIA's Haar transform writes into its input when it is inverted.

    Args:
        dims_in: Shape of every input band, without the batch; FrEIA passes it.
        dims_c: Shape of the condition, in a list; FrEIA passes it.
        module: The module :math:`f`; it is used itself, not copied.

    Shape:
        - Input: a list of the bands that `module`, or its inverse, takes.
        - Output: a tuple of the bands that it returns, and a log-determinant of shape :math:`(B)`.

    Raises:
        TypeError: If `module` is not `Invertible`, or a tensor is given instead of a list of tensors.
        ValueError: If a condition is given to a module that takes none, or more than one condition is given.
        NotImplementedError: If `jac` is true and `module` has no log-determinant.

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
        require_invertible("AsFrEIA", module)
        self.dims_in = [tuple(dims) for dims in dims_in]
        self.dims_c = [tuple(dims) for dims in dims_c or ()]
        self.module = module
        self._options(self.dims_c)  # so that wrong conditions fail at construction

    def forward(
        self, x_or_z: Sequence[Tensor], c: Sequence[Tensor] | None = None, rev: bool = False, jac: bool = True
    ) -> tuple[tuple[Tensor, ...], Tensor | float]:
        for kind, given in (("tensors", x_or_z), ("conditions", c)):
            if isinstance(given, Tensor):  # unpacking it would split its batch
                raise TypeError(f"AsFrEIA needs a list of {kind}, got a tensor of shape {tuple(given.shape)}")
        options = self._options(c or ())
        if jac:
            direction = self.module.inverse_and_log_det if rev else self.module.forward_and_log_det
            outputs, log_det = direction(*x_or_z, **options)
        else:
            outputs, log_det = (self.module.inverse if rev else self.module)(*x_or_z, **options), 0.0
        return tuple(y.clone() for y in as_tuple(outputs)), log_det

    def output_dims(self, input_dims: Iterable[Dims]) -> list[Dims]:
        """Returns the shapes of the outputs for given shapes of the inputs, all without the batch.

        A copy of the module is run on meta tensors, which have shapes and no values. If the module reads values, a copy
        with its real parameters is run on arbitrary numbers instead. The module itself does not change.
        """
        dims = [tuple(shape) for shape in input_dims]
        state = [*self.module.parameters(), *self.module.buffers()]
        device = next((tensor.device for tensor in state), torch.device("cpu"))
        with torch.no_grad(), RandomState(state).again():
            try:
                outputs = self._dry_run(copy.deepcopy(self.module).to("meta"), dims, "meta")
            except RuntimeError:  # the module reads a value; or shapes do not fit, which raises the same error again
                outputs = self._dry_run(copy.deepcopy(self.module), dims, device)
        return [tuple(y.shape[1:]) for y in as_tuple(outputs)]

    def _dry_run(self, module: Invertible, dims: list[Dims], device: torch.device | str) -> Bands:
        dtypes = (p.dtype for p in module.parameters() if p.is_floating_point())
        dtype = next(dtypes, torch.get_default_dtype())

        def ramp(shape: Dims) -> Tensor:  # a batch of two, because batch norm needs more than one value per channel
            return torch.linspace(-1, 1, 2 * math.prod(shape), device=device, dtype=dtype).view(2, *shape)

        return module(*map(ramp, dims), **self._options([ramp(shape) for shape in self.dims_c]))

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
    r"""A FrEIA module, for instance a ``SequenceINN`` or a ``GraphINN``, as one of our modules.

    .. math:: y = f(x), \qquad x = f^{-1}(y)

    ::

        block = FromFrEIA(fm.AllInOneBlock([(12, 16, 16)], subnet_constructor=subnet))
        chain = Sequential(PixelUnshuffle(2), block, memory="reversible")

    FrEIA fixes sizes at construction, so this module takes the sizes of `module` only. It passes copies of its inputs
    on, because FrEIA's Haar transform writes into its input when it is inverted. A condition becomes the single entry
    of FrEIA's list ``c``.

    Args:
        module: The module :math:`f`; it is used itself, not copied.

    Shape:
        - The shapes that `module` was constructed for, one band for each of its inputs or outputs.

    Raises:
        TypeError: If `module` does not have FrEIA's interface.
        ValueError: If the number of bands or a shape is not what `module` was constructed for, if a condition is
            missing or `module` takes none, or if `module` needs more than one.

    References:
        [Ardizzone2018]_; :doc:`/coming-from`.

    Example:
        >>> from liftlayers.interop import AsFrEIA, FromFrEIA
        >>> haar = FromFrEIA(AsFrEIA([(3, 8, 8)], module=Haar()))  # or any module of FrEIA's own
        >>> approx, detail = haar(torch.ones(1, 3, 8, 8))
        >>> haar.inverse(approx, detail).shape
        torch.Size([1, 3, 8, 8])
    """

    def __init__(self, module: nn.Module) -> None:
        if not (isinstance(module, nn.Module) and hasattr(module, "dims_in") and hasattr(module, "output_dims")):
            needed = "a FrEIA InvertibleModule (pip install FrEIA), with dims_in and output_dims"
            raise TypeError(f"FromFrEIA needs {needed}, got {type(module).__name__}")
        super().__init__()
        self.module = module

    def forward(self, *bands: Tensor, condition: Tensor | None = None) -> Bands:
        return self._run(*bands, condition=condition, rev=False, jac=False)[0]

    def inverse(self, *bands: Tensor, condition: Tensor | None = None) -> Bands:
        return self._run(*bands, condition=condition, rev=True, jac=False)[0]

    def forward_and_log_det(self, *bands: Tensor, condition: Tensor | None = None) -> tuple[Bands, Tensor]:
        return self._run(*bands, condition=condition, rev=False, jac=True)

    def inverse_and_log_det(self, *bands: Tensor, condition: Tensor | None = None) -> tuple[Bands, Tensor]:
        return self._run(*bands, condition=condition, rev=True, jac=True)

    @property
    def conditional(self) -> bool:
        return _num_conditions(self.module) > 0

    def _run(self, *bands: Tensor, condition: Tensor | None, rev: bool, jac: bool) -> tuple[Bands, Tensor]:
        self._check(bands, _dims_out(self.module) if rev else _dims_in(self.module))
        copies = tuple(band.clone() for band in bands)
        # Some FrEIA modules have no argument `c`, and InvertibleSigmoid does not return a log-determinant.
        outputs, *rest = self.module(copies, rev=rev, jac=jac, **self._conditions(condition))
        outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        return bare(outputs), _as_log_det(rest[0] if jac else 0.0, bands[0])

    def _check(self, bands: tuple[Tensor, ...], dims: list[Dims]) -> None:
        got = [tuple(band.shape[1:]) for band in bands]
        if got != dims:
            shapes = " and ".join(str(("B", *shape)).replace("'", "") for shape in dims)
            actual = " and ".join(str(tuple(band.shape)) for band in bands) or "nothing"
            raise ValueError(f"FromFrEIA({type(self.module).__name__}) needs bands of shape {shapes}, got {actual}")

    def _conditions(self, condition: Tensor | None) -> dict[str, Any]:
        num, who = _num_conditions(self.module), f"FromFrEIA({type(self.module).__name__})"
        if num > 1:
            raise ValueError(f"{who} needs a module with at most one condition, got {num} conditions")
        if num == 1 and condition is None:
            raise ValueError(f"{who} needs a condition, got none")
        if num == 0 and condition is not None:
            raise ValueError(f"{who} got a condition, but its module takes none")
        return {} if condition is None else {"c": [condition]}


# FrEIA's containers describe their shapes and conditions in other ways than its modules do.


def _dims_in(module: Any) -> list[Dims]:
    dims = list(module.dims_in)
    if dims and isinstance(dims[0], int):  # an ActNorm, which has one shape instead of a list of shapes
        return [tuple(dims)]
    if type(module).__name__ in ("HaarUpsampling", "IRevNetUpsampling"):  # whose dims_in is the output's shape
        return [(4 * channels, height // 2, width // 2) for channels, height, width in dims]
    return [tuple(shape) for shape in dims]


def _dims_out(module: Any) -> list[Dims]:
    if hasattr(module, "global_out_shapes"):  # a GraphINN, whose output_dims fails with a single output
        return [tuple(shape) for shape in module.global_out_shapes]
    if hasattr(module, "shapes"):  # a SequenceINN, whose output_dims returns the input's
        return [tuple(module.shapes[-1])]
    return [tuple(shape) for shape in module.output_dims(_dims_in(module))]


def _num_conditions(module: Any) -> int:
    if hasattr(module, "shapes"):  # a SequenceINN, whose dims_c is empty: its steps hold positions in the list `c`
        return 1 + max((position for position in module.conditions if position is not None), default=-1)
    return len(module.dims_c)


def _as_log_det(log_det: Tensor | float, like: Tensor) -> Tensor:
    """Returns one number per image, of shape (B,), from a float or from a tensor of one number or of some per image.

    InvertibleSigmoid returns a number for each pixel.
    """
    if isinstance(log_det, Tensor):
        return (log_det.flatten(1).sum(1) if log_det.ndim > 1 else log_det).expand(len(like))
    return like.new_full((len(like),), float(log_det))
