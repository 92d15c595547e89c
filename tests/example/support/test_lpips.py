"""LPIPS with random weights of the published shapes, and with the published weights if they are available."""

import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from pirnet.support.lpips import LPIPS, LPIPS_SIDE, load_lpips
from pirnet.weights import CheckpointError

from liftlayers.testing import randomise_
from tests.example.helpers import smooth_image


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights under the published names; those of the linear layers are positive, as in the published file."""
    network = randomise_(LPIPS())
    tensors = {name: t.abs() if name.startswith("lin") else t for name, t in network.state_dict().items()}
    path = tmp_path_factory.mktemp("lpips") / "random.safetensors"
    safetensors.torch.save_file(tensors, path)
    return path


def test_names_and_sizes_are_the_published_ones() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in LPIPS().state_dict().items()}
    assert len(shapes) == 57
    assert sum(parameter.numel() for parameter in LPIPS().features.parameters()) == 722_496  # SqueezeNet 1.1's features
    assert shapes["features.0.weight"] == (64, 3, 3, 3)
    assert shapes["features.12.expand3x3.weight"] == (256, 64, 3, 3)
    assert shapes["features.6.squeeze.bias"] == (32,)
    assert [shapes[f"lin{i}.weight"][1] for i in range(7)] == [64, 128, 256, 384, 384, 512, 512]


def test_a_distance_in_the_order_of_the_noise(weights: Path) -> None:
    """The distance is 0 for equal images, grows with the noise, and is symmetric; images of a batch are independent."""
    lpips = load_lpips(weights)
    image = torch.stack([smooth_image(0, 48, 64), smooth_image(1, 48, 64)])
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    distances = [lpips(image, image + strength * noise) for strength in (0, 0.3 / 255 / 6, 0.02, 0.1, 0.3)]
    assert distances[0].tolist() == [0, 0]
    assert distances[1].max() < distances[2].min()
    assert (torch.stack(distances).diff(dim=0)[1:] > 0).all()
    torch.testing.assert_close(distances[3][1:], lpips(image[1:], (image + 0.1 * noise)[1:]))  # each on its own
    assert torch.allclose(lpips(image, image.flip(-1)), lpips(image.flip(-1), image))
    assert not any(parameter.requires_grad for parameter in lpips.parameters())


def test_the_distance_by_hand(weights: Path) -> None:
    """With one active layer, the distance equals its definition."""
    lpips = load_lpips(weights)
    with torch.no_grad():
        for number in range(1, 7):
            lpips.get_parameter(f"lin{number}.weight").zero_()
    a, b = smooth_image(0, 32, 32)[None], smooth_image(1, 32, 32)[None]
    mean, std = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    units = []
    for image in (a, b):
        x = ((2 * (255 * image).round() / 255 - 1) - mean[:, None, None]) / std[:, None, None]
        y = torch.nn.functional.conv2d(
            x, lpips.get_parameter("features.0.weight"), lpips.get_parameter("features.0.bias"), stride=2
        ).relu()
        units.append(y / (y.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
    weighted = (units[0] - units[1]).square() * lpips.get_parameter("lin0.weight")[0][None]
    assert float(lpips(a, b)) == pytest.approx(float(weighted.sum(dim=1).mean()), rel=1e-4)


def test_the_published_check_value() -> None:
    """The published weights give 0.1005, the value that torchmetrics documents; PIRNET_LPIPS names their file."""
    path = os.environ.get("PIRNET_LPIPS")
    if path is None:
        pytest.skip("PIRNET_LPIPS names no file of published weights")
    torch.manual_seed(42)
    a, b = (torch.rand(10, 3, 100, 100) * 2 - 1 for _ in range(2))
    assert float(load_lpips(Path(path)).distance(a, b).mean()) == pytest.approx(0.1005, abs=5e-5)


def test_wrong_images_are_refused() -> None:
    lpips, good = LPIPS(), torch.zeros(1, 3, 32, 32)
    with pytest.raises(TypeError, match=r"LPIPS needs a floating-point image, got torch\.uint8"):
        lpips(good, good.byte())
    with pytest.raises(ValueError, match=r"LPIPS needs an RGB image .* got \(1, 1, 32, 32\)"):
        lpips(good[:, :1], good)
    with pytest.raises(ValueError, match=r"one shape, got \(1, 3, 32, 32\) and \(1, 3, 32, 1\)"):
        lpips(good, good[..., :1])
    with pytest.raises(ValueError, match="LPIPS needs at least 17 pixels a side, got 16 x 32"):
        lpips(good[:, :, :16], good[:, :, :16])
    assert lpips(good[:, :, :LPIPS_SIDE], good[:, :, :LPIPS_SIDE]).tolist() == [0]


def test_wrong_files_are_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no LPIPS weights at .*missing"):
        load_lpips(tmp_path / "missing.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"cannot read the LPIPS weights .*cut\.safetensors"):
        load_lpips(tmp_path / "cut.safetensors")
    safetensors.torch.save_file({"lin0.weight": torch.zeros(64)}, tmp_path / "part.safetensors")
    with pytest.raises(
        CheckpointError,
        match=r"part\.safetensors does not hold LPIPS with SqueezeNet 1\.1: 57 tensors .* such as features\.0",
    ):
        load_lpips(tmp_path / "part.safetensors")
