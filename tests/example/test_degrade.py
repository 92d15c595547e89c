"""Noise, blur and low resolution are compared with their equations, and their random parameters with their ranges."""

import math
from collections.abc import Callable

import pytest
import torch
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st
from pirnet.degrade import Degradation, add_noise, gaussian_blur, low_resolution
from pirnet.tasks import TASKS, degrade
from skimage.filters import gaussian
from skimage.util import img_as_float
from torch import Tensor


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_image(seed: int, height: int = 24, width: int = 20, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=generator(seed), dtype=torch.float64)


@settings(deadline=None)
@given(sigma=st.floats(0.5, 80), seed=st.integers(0, 2**31))
def test_noise_has_the_asked_deviation_unclipped(sigma: float, seed: int) -> None:
    x = torch.full((2, 3, 64, 64), 0.98)
    noise = 255 * (add_noise(x, sigma, generator=generator(seed)) - x).double()
    count = noise.numel()
    assert float(noise.std()) == pytest.approx(sigma, rel=5 / math.sqrt(2 * count))
    assert abs(float(noise.mean())) < 5 * sigma / math.sqrt(count)
    assert float((noise > 0).double().mean()) == pytest.approx(0.5, abs=2.5 / math.sqrt(count))


def test_noise_is_the_same_in_every_precision() -> None:
    x = random_image(0)
    single = add_noise(x.float(), 25, generator=generator(3))
    double = add_noise(x, 25, generator=generator(3))
    assert torch.allclose(single.double(), double, atol=1e-6)
    assert torch.equal(add_noise(x, 0, generator=generator()), x)


@settings(deadline=None)
@given(radius=st.integers(0, 7), sigma=st.floats(0.3, 5), level=st.floats(-1, 2))
def test_blur_keeps_constants(radius: int, sigma: float, level: float) -> None:
    x = torch.full((1, 3, 9, 11), level, dtype=torch.float64)
    assert torch.allclose(gaussian_blur(x, 2 * radius + 1, sigma), x, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(radius=st.integers(0, 4), sigma=st.floats(0.3, 4), seed=st.integers(0, 2**31))
def test_blur_equals_the_double_sum(radius: int, sigma: float, seed: int) -> None:
    x = random_image(seed, 6, 7)
    height, width = x.shape[-2:]

    def mirrored(index: int, size: int) -> int:
        index = abs(index)
        return 2 * (size - 1) - index if index >= size else index

    offsets = range(-radius, radius + 1)
    weight = {s: math.exp(-(s**2) / (2 * sigma**2)) for s in offsets}
    total = sum(weight.values()) ** 2
    expected = torch.zeros_like(x)
    for i in range(height):
        for j in range(width):
            for s in offsets:
                for t in offsets:
                    value = x[:, :, mirrored(i + s, height), mirrored(j + t, width)]
                    expected[:, :, i, j] += weight[s] * weight[t] / total * value
    assert torch.allclose(gaussian_blur(x, 2 * radius + 1, sigma), expected, rtol=0, atol=1e-12)


def test_blur_agrees_with_scikit_image() -> None:
    x = random_image(1, 40, 33)
    # truncate 7 / 1.6 gives 15 taps; their "mirror" is our border
    expected = gaussian(img_as_float(x[0].numpy()), 1.6, mode="mirror", truncate=7 / 1.6, channel_axis=0)
    assert torch.allclose(gaussian_blur(x, 15, 1.6)[0], torch.from_numpy(expected), rtol=0, atol=1e-12)


def test_blur_keeps_its_precision_under_autocast() -> None:
    x = random_image(1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = gaussian_blur(x, 5, 1)
    assert torch.equal(inside, gaussian_blur(x, 5, 1))


@settings(deadline=None)
@given(
    factor=st.integers(1, 6),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    level=st.floats(-1, 2),
    antialias=st.booleans(),
)
def test_low_resolution_keeps_size_and_constants(
    factor: int, height: int, width: int, level: float, antialias: bool
) -> None:
    x = torch.full((2, 3, height, width), level, dtype=torch.float64)
    y = low_resolution(x, factor, antialias=antialias)
    assert y.shape == x.shape
    assert torch.allclose(y, x, rtol=0, atol=1e-9)


def test_low_resolution_forgets_what_is_too_fine() -> None:
    """Low resolution removes fine stripes, keeps slow waves, and shows aliasing if it is not antialiased."""
    stripes = (torch.arange(64) % 2).double().expand(1, 3, 64, 64)
    smooth = low_resolution(stripes, 4)[..., 8:-8]
    assert torch.allclose(smooth, torch.full_like(smooth, 0.5), rtol=0, atol=0.01)
    slow = torch.sin(torch.arange(64).double() * (2 * math.pi / 64)).expand(1, 3, 64, 64)
    assert (low_resolution(slow, 2) - slow)[..., 8:-8].abs().max() < 0.02
    # period 4 at factor 4 without antialiasing: each window sees the same phase, so that stripes become a flat image
    aliased = low_resolution((torch.arange(64) % 4 == 1).double().expand(1, 3, 64, 64), 4, antialias=False)
    assert aliased.std() < 1e-3
    assert aliased.mean() > 0.4


def test_fixed_test_degradation() -> None:
    """Sigma 25, 15 x 15 at 1.6, x4, rounded to grey levels; noise may be darker than black and brighter than white."""
    x = random_image(2)
    noisy = x + _noise_after_one_draw(x) * (25.0 / 255)
    assert noisy.min() < 0
    assert noisy.max() > 1
    assert torch.equal(degrade(x, "denoise", Degradation(), generator=generator(5)), grey(noisy))
    assert torch.equal(degrade(x, "deblur", Degradation(), generator=generator()), grey(gaussian_blur(x, 15, 1.6)))
    assert torch.equal(degrade(x, "sr", Degradation(), generator=generator()), grey(low_resolution(x, 4)))
    released = Degradation(protocol="released")
    aliased = low_resolution(x, 4, antialias=False)
    assert torch.equal(degrade(x, "sr", released, generator=generator()), grey(aliased))


def grey(x: Tensor) -> Tensor:
    """Rounds to 8-bit grey levels."""
    return torch.round(x * 255) / 255


def _noise_after_one_draw(x: Tensor) -> Tensor:
    drawing = generator(5)
    torch.rand((), generator=drawing)  # sigma is drawn first
    return torch.randn(x.shape, generator=drawing).to(x)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), task=st.sampled_from(sorted(TASKS)))
def test_degrading_is_deterministic_by_generator(seed: int, task: str) -> None:
    ranges = Degradation((5, 50), (3, 15), (0.5, 3), (2, 3, 4))
    x = random_image(0)
    state = torch.random.get_rng_state()
    first = degrade(x, task, ranges, generator=generator(seed))
    assert torch.equal(first, degrade(x, task, ranges, generator=generator(seed)))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.shape == x.shape


def test_parameters_cover_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, list[tuple[float, ...]]] = {"add_noise": [], "gaussian_blur": [], "low_resolution": []}

    def spy(name: str) -> Callable[..., Tensor]:
        def record(x: Tensor, *parameters: float, **_: object) -> Tensor:
            drawn[name].append(parameters)
            return x

        return record

    for name in drawn:
        monkeypatch.setattr(f"pirnet.degrade.{name}", spy(name))
    drawing = generator()
    for _ in range(300):
        for task in TASKS:
            degrade(random_image(0), task, Degradation((10, 20), (4, 10), (1, 2), (2, 4)), generator=drawing)
    sigmas = [parameters[0] for parameters in drawn["add_noise"]]
    assert 10 <= min(sigmas) < 10.5 < 19.5 < max(sigmas) <= 20
    assert {parameters[0] for parameters in drawn["gaussian_blur"]} == {5, 7, 9}
    blurs = [parameters[1] for parameters in drawn["gaussian_blur"]]
    assert 1 <= min(blurs) < 1.05 < 1.95 < max(blurs) <= 2
    assert {parameters[0] for parameters in drawn["low_resolution"]} == {2, 4}


def test_every_field_explains_itself_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tyro.cli(Degradation, args=["--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in ("standard deviation of the noise", "odd sizes are drawn", "Gaussian blur", "one of which", "MATLAB"):
        assert words in text
    chosen = tyro.cli(Degradation, args=["--noise-sigma", "5", "50", "--factors", "2", "3", "--protocol", "released"])
    assert chosen == Degradation(noise_sigma=(5, 50), factors=(2, 3), protocol="released")


def test_wrong_ranges_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0 <= lowest <= highest noise_sigma, got 30, 20"):
        Degradation(noise_sigma=(30, 20))
    with pytest.raises(ValueError, match=r"0 < lowest <= highest blur_sigma, got 0, 1"):
        Degradation(blur_sigma=(0, 1))
    with pytest.raises(ValueError, match=r"an odd size from 1 up, got 4, 4"):
        Degradation(blur_kernel=(4, 4))
    with pytest.raises(ValueError, match=r"one or more factors of at least 1, got none"):
        Degradation(factors=())


def test_wrong_parameters_are_refused() -> None:
    x = random_image(0, 6, 9)
    with pytest.raises(ValueError, match=r"task among denoise, deblur, sr, got 'colour'"):
        degrade(x, "colour", Degradation(), generator=generator())
    with pytest.raises(ValueError, match="finite sigma of at least 0, got -1"):
        add_noise(x, -1, generator=generator())
    with pytest.raises(ValueError, match="an odd kernel size, got 4"):
        gaussian_blur(x, 4, 1)
    with pytest.raises(ValueError, match="finite sigma above 0, got 0"):
        gaussian_blur(x, 3, 0)
    with pytest.raises(ValueError, match="kernel of 15 needs more than 7 pixels a side, got 6 x 9"):
        gaussian_blur(x, 15, 1.6)
    with pytest.raises(ValueError, match="factor of at least 1, got 0"):
        low_resolution(x, 0)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("add_noise", lambda x: add_noise(x, 25, generator=generator())),
        ("gaussian_blur", lambda x: gaussian_blur(x, 3, 1)),
        ("low_resolution", lambda x: low_resolution(x, 2)),
    ],
)
def test_wrong_images_are_refused(name: str, call: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(TypeError, match=rf"{name} needs a floating-point image, got torch.uint8"):
        call(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=rf"{name} needs an RGB image of shape \(B, 3, H, W\), got \(3, 8, 8\)"):
        call(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match=rf"{name} needs an RGB image of shape \(B, 3, H, W\), got \(1, 4, 8, 8\)"):
        call(torch.zeros(1, 4, 8, 8))
