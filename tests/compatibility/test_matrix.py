"""Every cell of the compatibility matrix; the docs show the matrix that the tests find."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

import liftlayers
from tests.compatibility.matrix import CHECKS, DASHES, EXCEPTIONS, PAGE, REASONS, SLOW, updated
from tests.registry import ROWS

CELLS = [(check, name) for check in CHECKS for name in ROWS if (check, name) not in DASHES]
# Warnings that PyTorch raises in its own code, by column.
PYTORCH_WARNINGS = {
    "ONNX": "ignore:.isinstance.treespec, LeafSpec:FutureWarning",
    "ONNX of the inverse": "ignore:.isinstance.treespec, LeafSpec:FutureWarning",
    "forward mode": "ignore:.torch.jit.script. is deprecated:DeprecationWarning",
}


def marks(cell: tuple[str, str]) -> list[pytest.MarkDecorator]:
    filters = [pytest.mark.filterwarnings(PYTORCH_WARNINGS[cell[0]])] if cell[0] in PYTORCH_WARNINGS else []
    return [*filters, pytest.mark.slow] if cell in SLOW else filters


@pytest.fixture(autouse=True)
def _nothing_compiled_before() -> None:
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("check", "name"), [pytest.param(*cell, marks=marks(cell), id="-".join(cell)) for cell in CELLS]
)
def test_cell(check: str, name: str) -> None:
    """A cell holds or fails with the error that is listed; one that begins to hold must leave the exceptions."""
    refusal = EXCEPTIONS.get((check, name))
    with nullcontext() if refusal is None else pytest.raises(refusal.error, match=refusal.match):
        CHECKS[check](name)


WITHOUT_ROWS = {
    "abstract": "Coupling IntegerNetwork Invertible VolumePreserving",
    "made by `exact`, which has a row": "Exact OnGrid ToGrid",
    "part of a network that has a row": "IntegerConv2d LayerNorm2d SimpleGate",
    "nothing but torch's convolutions": "BiasFreePredictor ConvPredictor DensePredictor ResidualPredictor",
}


def test_every_public_layer_has_a_row_or_a_reason() -> None:
    public = {name: getattr(liftlayers, name) for name in liftlayers.__all__}
    layers = {name for name, kind in public.items() if isinstance(kind, type) and issubclass(kind, nn.Module)}
    without = {name for names in WITHOUT_ROWS.values() for name in names.split()}
    assert not without & set(ROWS)
    assert layers == without | {name for name in ROWS if name in layers}


def test_every_exception_is_of_a_cell_and_has_a_reason() -> None:
    assert EXCEPTIONS.keys() <= set(CELLS)
    assert {refusal.reason for refusal in EXCEPTIONS.values()} == REASONS.keys()


def test_the_page_shows_the_current_matrix() -> None:
    page = PAGE.read_text()
    assert page == updated(page), "run `python -m tests.compatibility.matrix`"
