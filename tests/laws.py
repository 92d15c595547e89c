"""The laws of a layer, each as one assertion."""

import copy
import pickle

import torch
from torch import Tensor

from liftlayers import Inverse, Invertible, Sequential
from liftlayers._bands import as_tuple
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_

__all__ = [
    "assert_copies",
    "assert_inverts_both_ways",
    "assert_log_dets",
    "assert_modes_agree",
    "flat_jacobian",
]


def assert_inverts_both_ways(module: Invertible, *bands: Tensor) -> None:
    """The laws of a module and of its inverse, in both memory formats; leaves that need gradients stay unwritten."""
    formats = [torch.contiguous_format] + [torch.channels_last] * all(band.ndim == 4 for band in bands)
    for memory_format in formats:
        given = tuple(band.contiguous(memory_format=memory_format) for band in bands)
        with torch.no_grad():
            outputs = as_tuple(module(*given))
        assert_inverts(module, *given)
        assert_inverts(Inverse(module), *outputs)
        for direction, inputs in ((module, given), (Inverse(module), outputs)):
            leaves = [x.clone().requires_grad_() for x in inputs]
            as_tuple(direction(*leaves))
            assert all(torch.equal(leaf, x) and leaf._version == 0 for leaf, x in zip(leaves, inputs, strict=True))


def assert_log_dets(module: Invertible, *bands: Tensor) -> Tensor:
    """Log-determinants of float64 bands are those of autograd's Jacobian, image by image; the inverse has the opposite.

    Returns them for further checks.
    """
    outputs, log_det = module.forward_and_log_det(*bands)
    outputs = as_tuple(outputs)
    returned, back = module.inverse_and_log_det(*outputs)
    assert all(torch.equal(x, y) for x, y in zip(outputs, as_tuple(module(*bands)), strict=True))
    assert all(torch.equal(x, y) for x, y in zip(as_tuple(returned), as_tuple(module.inverse(*outputs)), strict=True))
    assert log_det.shape == back.shape == (len(bands[0]),)
    torch.testing.assert_close(log_det + back, torch.zeros_like(log_det), rtol=0, atol=1e-10)
    for image in range(len(bands[0])):
        for direction, given, claimed in ((module, bands, log_det), (Inverse(module), outputs, back)):
            jacobian = flat_jacobian(direction, *(x[image : image + 1].detach() for x in given))
            torch.testing.assert_close(
                torch.linalg.slogdet(jacobian).logabsdet, claimed[image].detach(), rtol=1e-9, atol=1e-9
            )
    return log_det.detach()


def assert_modes_agree(module: Invertible, *bands: Tensor) -> None:
    """Gradients of the module with the inverse of another after it agree in all memory modes; bands are float64."""
    other = randomise_(copy.deepcopy(module), seed=1)
    for memory in ("reversible", "checkpoint"):
        stored, kept = (copy.deepcopy(Sequential(module, Inverse(other))) for _ in range(2))
        kept.memory = memory
        assert_same_gradients(stored, kept, *bands, tolerance=1e-10)
        with torch.no_grad():
            outputs = as_tuple(stored(*bands))
        assert_same_gradients(Inverse(stored), Inverse(kept), *outputs, tolerance=1e-10)


def assert_copies(module: Invertible, fresh: Invertible, *bands: Tensor) -> None:
    """Copies, pickles and a fresh module that loads the state dict compute the same bits, and invert."""
    outputs = as_tuple(module(*bands))
    fresh.load_state_dict(module.state_dict())
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), fresh):
        assert other is not module
        for way in ("train", "eval"):
            getattr(other, way)()
            assert all(torch.equal(x, y) for x, y in zip(as_tuple(other(*bands)), outputs, strict=True))
            returned = as_tuple(other.inverse(*outputs))
            assert all(torch.equal(x, y) for x, y in zip(returned, as_tuple(module.inverse(*outputs)), strict=True))
            assert_inverts(other, *bands)


def flat_jacobian(module: Invertible, *given: Tensor) -> Tensor:
    """The Jacobian of a module as one square matrix: all bands in, all bands out, flattened and joined."""
    sizes, shapes = [x.numel() for x in given], [x.shape for x in given]

    def flat(joined: Tensor) -> Tensor:
        parts = joined.split(sizes)
        outputs = module(*(part.view(shape) for part, shape in zip(parts, shapes, strict=True)))
        return torch.cat([y.reshape(-1) for y in (outputs if isinstance(outputs, tuple) else (outputs,))])

    jacobian = torch.autograd.functional.jacobian(flat, torch.cat([x.reshape(-1) for x in given]))
    assert isinstance(jacobian, Tensor)
    return jacobian
