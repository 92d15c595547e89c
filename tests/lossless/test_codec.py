"""Photos return bit for bit with random integer networks: the laws of the codec do not depend on training."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("constriction", reason="needs the extra `lossless`")

from photo_codec import container
from photo_codec.coder import YCOCG, activity
from photo_codec.container import Weights, compress, decompress, tiles_of
from photo_codec.model import SYMBOLS, Model, levels_of

from liftlayers.testing import randomise_


def coarse_colours(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Returns pixels whose colours are those of blocks of 2 x 2, with noise in the luma."""
    blocks = rng.integers(128, size=(shape[0] // 2 + 1, shape[1] // 2 + 1, shape[2]))
    return np.kron(blocks, np.ones((2, 2, 1)))[: shape[0], : shape[1]] + rng.integers(128, size=(*shape[:2], 1))


KINDS = {
    "coarse colours": coarse_colours,
    "noise": lambda rng, shape: rng.integers(256, size=shape),
    "black and white": lambda rng, shape: 255 * rng.integers(2, size=shape),  # values beyond all tables
    "flat": lambda rng, shape: np.full(shape, rng.integers(256)),
    "few colours": lambda rng, shape: rng.integers(256, size=(9, shape[2]))[rng.integers(9, size=shape[:2])],
    "ramp": lambda _rng, shape: np.add.outer(3 * np.arange(shape[0]), np.arange(shape[1]))[..., None] + np.zeros(shape),
}


def photo(kind: str, *shape: int) -> np.ndarray:
    return KINDS[kind](np.random.default_rng(0), shape).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))
def test_every_photo_returns(weights: Weights, kind: str, height: int, width: int, channels: int) -> None:
    pixels = photo(kind, height, width, channels)
    data = compress(pixels, weights, extras=(b"profile", b""))
    restored, extras = decompress(data, weights)
    assert np.array_equal(restored, pixels)
    assert extras == (b"profile", b"")


def test_tiles_cover_each_value_once(monkeypatch: pytest.MonkeyPatch, weights: Weights) -> None:
    monkeypatch.setattr(container, "TILE", 16)
    pixels = photo("noise", 37, 33, 4)
    hits = np.zeros(pixels.shape, int)
    for tile in tiles_of(*pixels.shape):
        hits[tile] += 1
    assert (hits == 1).all()
    assert np.array_equal(decompress(compress(pixels, weights), weights)[0], pixels)


def test_other_threads_decode(weights: Weights) -> None:
    pixels, threads = photo("noise", 64, 48, 3), torch.get_num_threads()
    data = compress(pixels, weights)
    try:
        torch.set_num_threads(2 if threads == 1 else 1)
        assert np.array_equal(decompress(data, weights)[0], pixels)
    finally:
        torch.set_num_threads(threads)


def test_colours_return() -> None:
    levels = torch.arange(0, 256, 15, dtype=torch.int16)
    colours = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, len(levels), -1)
    assert torch.equal(YCOCG.inverse(YCOCG(colours)), colours)


def test_activity_tells_colours_of_half_the_size() -> None:
    image = torch.from_numpy(photo("coarse colours", 24, 32, 3).astype(np.int16)).permute(2, 0, 1)[None]
    rows, within_rows, between_rows, columns, within_columns, between_columns = activity(YCOCG(image))[0].tolist()
    assert within_rows == within_columns == 0
    assert min(rows, between_rows, columns, between_columns) > 20


@given(st.integers(1, 600), st.integers(1, 600))
def test_pyramids_end_with_a_small_image(height: int, width: int) -> None:
    levels = levels_of(height, width)
    assert -(-max(height, width) // 2**levels) <= 4
    assert levels == 0 or -(-max(height, width) // 2 ** (levels - 1)) > 4


def test_the_trained_form_predicts_what_the_frozen_form_does() -> None:
    from photo_codec.training import predictions

    from liftlayers import frozen

    model = randomise_(Model(12))
    image = torch.from_numpy(photo("noise", 32, 32, 3).astype(np.float32)).permute(2, 0, 1)[None]
    given = image, activity(image)
    for trained, shipped in zip(predictions(model, *given), predictions(frozen(model), *given), strict=True):
        assert torch.equal(trained, shipped)


def test_tables_are_exact_distributions(weights: Weights) -> None:
    tables = weights.model.tables.numpy()
    assert tables.min() >= 0
    assert (tables.sum(1) == 2**24 - SYMBOLS).all()
