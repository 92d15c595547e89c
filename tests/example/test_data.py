"""Photos, held-out photos, training crops that depend on seed and index, and pairs for evaluation."""

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pirnet.data import PairCrops, evaluation_pairs
from pirnet.images import ImageError
from pirnet.support import photos as photos_module
from pirnet.support.photo_cache import cached_photos
from pirnet.support.photos import Photos, bundled_photos, hold_out
from pirnet.support.seeds import seeded_generator


def constant_photos(count: int, height: int = 24, width: int = 32) -> Photos:
    """Photos in which photo number i has the grey level i everywhere, so that a crop shows its source."""
    return Photos(
        tuple(f"photo{i}" for i in range(count)),
        tuple(torch.full((3, height, width), i, dtype=torch.uint8) for i in range(count)),
    )


def position_photos() -> Photos:
    """Photos in which red is the row, green the column, and blue the number of the photo."""
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(50), indexing="ij")
    images = [torch.stack((rows, columns, torch.full_like(rows, i))).to(torch.uint8) for i in range(3)]
    return Photos(("a", "b", "c"), tuple(images))


def save(path: Path, height: int = 20, width: int = 24, level: int = 100) -> None:
    Image.new("RGB", (width, height), (level, level, level)).save(path)


def test_bundled_photos_are_there_in_order() -> None:
    photos = bundled_photos()
    assert photos.names == (
        "astronaut",
        "chelsea",
        "coffee",
        "rocket",
        "motorcycle_left",
        "ihc",
        "hubble_deep_field",
        "retina",
    )
    assert [tuple(image.shape[1:]) for image in photos.images] == [
        (512, 512),
        (300, 451),
        (400, 600),
        (427, 640),
        (500, 741),
        (512, 512),
        (872, 1000),
        (1411, 1411),
    ]
    assert len(photos) == 8
    for image in photos.images:  # colour, not grey
        assert (image[0] != image[2]).float().mean() > 0.3


def test_missing_scikit_image_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "skimage", None)
        with pytest.raises(ImageError, match="need scikit-image: pip install scikit-image"):
            bundled_photos()
    monkeypatch.setattr(photos_module.resources, "files", lambda _: tmp_path)
    with pytest.raises(ImageError, match=r"astronaut.png: this photo is missing from the installed scikit-image"):
        bundled_photos()


def test_folder_is_read_by_name(tmp_path: Path) -> None:
    for level, name in enumerate(("c.png", "B.JPG", "a.webp", "d.bmp", "e.TIF", "f.jpeg")):
        save(tmp_path / name, level=10 * level)
    save(tmp_path / ".hidden.png")
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "folder.png").mkdir()
    Image.new("L", (18, 17), 200).save(tmp_path / "gray.png")
    photos = cached_photos(tmp_path, cache=tmp_path / "cache")
    assert photos.names == ("B.JPG", "a.webp", "c.png", "d.bmp", "e.TIF", "f.jpeg", "gray.png")
    assert photos.images[2].unique().tolist() == [0]
    assert photos.images[6].shape == (3, 17, 18)
    assert photos.images[6].unique().tolist() == [200]


def test_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="missing: no such folder"):
        cached_photos(tmp_path / "missing", cache=tmp_path / "cache")
    folder = tmp_path / "photos"
    folder.mkdir()
    with pytest.raises(ImageError, match=r"photos: at least two photos are needed \(.png, .jpg, .*\), found none"):
        cached_photos(folder, cache=tmp_path / "cache")
    save(folder / "a.png")
    with pytest.raises(ImageError, match=r"a.png: a folder of photos is needed, this is a file"):
        cached_photos(folder / "a.png", cache=tmp_path / "cache")
    with pytest.raises(ImageError, match=r"at least two photos are needed .* found only a.png"):
        cached_photos(folder, cache=tmp_path / "cache")
    save(folder / "b.png", height=30, width=22)
    with pytest.raises(ImageError, match=r"a.png: needs at least 23 x 23 pixels .* got 20 x 24"):
        cached_photos(folder, cache=tmp_path / "cache", min_size=23)
    content = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"b.png: cannot be read, damaged or truncated"):
        cached_photos(folder, cache=tmp_path / "cache")


def test_wrong_photos_are_refused() -> None:
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    with pytest.raises(ValueError, match="one name an image, got 1 names, 2 images"):
        Photos(("a",), (image, image))
    with pytest.raises(ValueError, match="names that differ, got a more than once"):
        Photos(("a", "a"), (image, image))
    with pytest.raises(TypeError, match=r"images of torch.uint8, got torch.float32 for a"):
        Photos(("a",), (image.float(),))
    with pytest.raises(ValueError, match=r"images of shape \(3, H, W\), got \(1, 16, 16\) for a"):
        Photos(("a",), (image[:1],))


def test_hold_out_parts_by_name() -> None:
    train, held = hold_out(constant_photos(5), ("photo3", "photo1"))
    assert train.names == ("photo0", "photo2", "photo4")
    assert held.names == ("photo1", "photo3")
    assert [int(image.max()) for image in held.images] == [1, 3]
    with pytest.raises(ValueError, match="names among photo0, photo1, got nobody"):
        hold_out(constant_photos(2), ("nobody",))
    with pytest.raises(ValueError, match="at least two photos for training, got 1 of 3"):
        hold_out(constant_photos(3), ("photo0", "photo1"))


@settings(deadline=None)
@given(seed=st.integers(-(2**40), 2**70), index=st.integers(0, 2**40), count=st.integers(2, 5), size=st.integers(1, 6))
def test_pairs_never_share_a_photo(seed: int, index: int, count: int, size: int) -> None:
    cover, secret = PairCrops(constant_photos(count), crop=8, seed=seed).batch(index, size)
    assert cover.shape == secret.shape == (size, 3, 8, 8)
    assert cover.dtype == secret.dtype == torch.float32
    assert (cover != secret).all()
    assert cover.max() <= (count - 1) / 255 + 1e-6


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), index=st.integers(0, 10_000), others=st.lists(st.integers(0, 99), max_size=3))
def test_batches_depend_on_seed_and_index_alone(seed: int, index: int, others: list[int]) -> None:
    photos = position_photos()
    crops = PairCrops(photos, crop=16, seed=seed)
    for other in others:
        crops.batch(other, 2)
    state = torch.random.get_rng_state()
    cover, secret = crops.batch(index, 4)
    assert torch.equal(torch.random.get_rng_state(), state)
    again = PairCrops(photos, crop=16, seed=seed).batch(index, 4)
    assert torch.equal(cover, again[0])
    assert torch.equal(secret, again[1])
    fewer = crops.batch(index, 2)
    assert torch.equal(cover[:2], fewer[0])
    assert torch.equal(secret[:2], fewer[1])
    assert not torch.equal(torch.stack(crops.batch(index + 1, 4)), torch.stack((cover, secret)))


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_crops_are_windows_of_one_photo(seed: int) -> None:
    cover, secret = PairCrops(position_photos(), crop=12, seed=seed).batch(0, 3)
    for crop in (255 * torch.cat((cover, secret))).round().long():
        if crop[0, 0, 0] == crop[0, 0, 1]:  # rows were not exchanged with columns
            rows, columns = crop[0, :, 0], crop[1, 0]
        else:
            rows, columns = crop[0, 0], crop[1, :, 0]
        for drawn in (rows, columns):
            assert drawn.diff().abs().tolist() == [1] * 11
        square = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
        assert torch.equal(crop[:2], square) or torch.equal(crop[:2], square.transpose(-1, -2))
        assert crop[2].unique().numel() == 1


def test_every_photo_border_and_orientation_is_drawn() -> None:
    """Crops come from every photo, reach every border, and have all eight orientations about equally often."""
    cover, secret = (255 * torch.stack(PairCrops(position_photos(), crop=38, seed=1).batch(0, 400))).round()
    for crops in (cover, secret):
        assert crops[:, 2, 0, 0].unique().tolist() == [0, 1, 2]
        assert crops[:, 0].amin(dim=(1, 2)).unique().tolist() == [0, 1, 2]  # 40 rows, 38 taken
        assert crops[:, 1].amin(dim=(1, 2)).unique().tolist() == list(range(13))  # 50 columns
        corners = crops[:, :2, [0, 0, -1], [0, -1, 0]].diff().sign().flatten(1)  # this shows the orientation
        counts = corners.unique(dim=0, return_counts=True)[1]
        assert counts.numel() == 8
        assert counts.min() > 25


def test_wrong_crops_are_refused() -> None:
    photos = Photos(("wide", "flat"), (torch.zeros(3, 64, 64).byte(), torch.zeros(3, 20, 90).byte()))
    with pytest.raises(ValueError, match=r"at least 32 x 32 pixels .* got 20 x 90 for flat"):
        PairCrops(photos, crop=32, seed=0)
    with pytest.raises(ValueError, match="crop of at least 1 pixel, got 0"):
        PairCrops(photos, crop=0, seed=0)
    with pytest.raises(ValueError, match="at least two photos, got 1"):
        PairCrops(constant_photos(1), crop=8, seed=0)
    with pytest.raises(ValueError, match="size of at least 1, got 0"):
        PairCrops(photos, crop=8, seed=0).batch(0, 0)


def test_seeded_generators_do_not_mix_up_their_keys() -> None:
    """Different keys, such as (0, 1) and (1, 0), give different numbers; equal keys give equal numbers."""
    keys = [(0, 1), (1, 0), (1,), (0,), (0, 1, 0), (10,), (1, 0, 0)]
    draws = {tuple(torch.rand(4, generator=seeded_generator(*key)).tolist()) for key in keys}
    assert len(draws) == len(keys)
    assert torch.rand((), generator=seeded_generator(0, 1)) == torch.rand((), generator=seeded_generator(0, 1))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_pairs_are_consecutive(count: int) -> None:
    pairs = evaluation_pairs(constant_photos(count), swap=False)
    names = [(pair.secret_name, pair.cover_name) for pair in pairs]
    expected = [("photo0", "photo1"), ("photo2", "photo3" if count > 3 else "photo0"), ("photo4", "photo0")]
    assert names == expected[: (count + 1) // 2]
    both = evaluation_pairs(constant_photos(count))
    assert [(pair.secret_name, pair.cover_name) for pair in both] == names + [(b, a) for a, b in names]
    for pair in both:
        assert pair.secret.dtype == torch.float32
        assert float(255 * pair.secret.mean()) == pytest.approx(int(pair.secret_name[-1]), abs=1e-3)
        assert float(255 * pair.cover.mean()) == pytest.approx(int(pair.cover_name[-1]), abs=1e-3)


def test_common_centre_crop() -> None:
    columns = torch.arange(100, dtype=torch.uint8).expand(3, 50, 100)
    photos = Photos(("a", "b"), (columns, torch.zeros(3, 70, 33).byte()))
    pair = evaluation_pairs(photos)[0]
    assert pair.secret.shape == pair.cover.shape == (3, 48, 32)
    assert (255 * pair.secret[0, 0]).round().tolist() == list(range(34, 66))
    assert evaluation_pairs(photos, multiple=5)[0].secret.shape == (3, 50, 30)
    large = Photos(("a", "b"), (torch.zeros(3, 1100, 1030).byte(), torch.zeros(3, 1050, 1500).byte()))
    assert evaluation_pairs(large, swap=False)[0].cover.shape == (3, 1024, 1024)


def test_wrong_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="evaluation_pairs needs at least two photos, got 1"):
        evaluation_pairs(constant_photos(1))
    with pytest.raises(ValueError, match="a multiple from 1 to 1024, got 0"):
        evaluation_pairs(constant_photos(2), multiple=0)
    with pytest.raises(ValueError, match=r"at least 64 x 64 pixels .* got 24 x 80 for photo0, 24 x 80 for photo1"):
        evaluation_pairs(constant_photos(2, 24, 80), multiple=64)
