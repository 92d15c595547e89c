"""The networks: their exact sizes, inverses on random weights, what the cloud can change, 8 bit, and refusals."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pirnet.config import PRESETS, LIHConfig, LSRConfig, paper
from pirnet.model import LIH, LSR, PIRNet, PIRNetOutput
from pirnet.pixels import with_headroom
from pirnet.tasks import TASKS
from torch import Tensor, nn

from liftlayers.testing import assert_inverts, randomise_
from tests.example.helpers import TINY_LSR, tiny

N = TypeVar("N", bound=nn.Module)
SLIM = LIHConfig(num_blocks=3, predictor="conv", hidden_channels=6)
DEEP_LSR = replace(TINY_LSR, num_scales=3, middles=(1, 0, 1), decoder_middle=1)


def images(count: int, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(*shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(count)]


def randomised(build: Callable[[], N], seed: int = 0) -> N:
    """A network in double precision whose weights depend on the seed alone."""
    torch.manual_seed(seed)
    return randomise_(build(), seed).double()


def random_net(*, stego: Literal["uint8", "float"] = "uint8", z: Literal["zero", "gaussian"] = "zero") -> PIRNet:
    return randomised(lambda: PIRNet(replace(tiny(), stego=stego, z=z)))


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def nets() -> dict[str, PIRNet]:
    """The networks of all presets, without the values of their weights."""
    with torch.device("meta"):
        return {name: PIRNet(preset()) for name, preset in PRESETS.items()}


# Sizes


def test_paper_has_the_papers_size(nets: dict[str, PIRNet]) -> None:
    assert size(nets["paper"].lih) == 1_032_192
    assert size(nets["paper"]) == 1_032_192 + 21_049_713


@pytest.mark.parametrize(("num_scales", "expected"), [(3, 21_049_713), (2, 14_033_142), (1, 7_016_571)])
def test_each_scale_of_paper_has_its_size(num_scales: int, expected: int) -> None:
    with torch.device("meta"):
        lsr = LSR(replace(paper().lsr, num_scales=num_scales))
    assert size(lsr) == expected
    assert [size(restorer) for restorer in lsr.restorers] == [6_872_187] * num_scales


def test_quick_is_small(nets: dict[str, PIRNet]) -> None:
    net = nets["quick"]
    one_predictor = (12 * 9 + 1) * 24 + (24 * 9 + 1) * 12
    assert size(net.lih) == 4 * 2 * one_predictor == 41_760
    assert size(net.lsr) == 975_139


@pytest.mark.parametrize("name", PRESETS)
def test_key_and_cloud_share_nothing(name: str, nets: dict[str, PIRNet]) -> None:
    """The client's and the cloud's network share no weight, and revealing has no weight of its own."""
    net = nets[name]
    assert {key.split(".")[0] for key in net.state_dict()} == {"lih", "lsr"}
    assert not {*map(id, net.lih.parameters())} & {*map(id, net.lsr.parameters())}
    assert len({*map(id, net.parameters())}) == len(net.state_dict())  # revealing has no weight of its own


# The client's chain


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**31),
    batch=st.integers(1, 2),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    num_blocks=st.integers(1, 6),
    predictor=st.sampled_from(["conv", "residual"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_lih_inverts(
    seed: int,
    batch: int,
    rows: int,
    columns: int,
    num_blocks: int,
    predictor: Literal["conv", "residual"],
    dtype: torch.dtype,
) -> None:
    lih = randomised(lambda: LIH(LIHConfig(num_blocks, predictor, hidden_channels=6)), seed).to(dtype)
    assert_inverts(lih, *images(2, batch, 3, 2 * rows, 2 * columns, seed=seed, dtype=dtype))


def test_the_papers_lih_inverts() -> None:
    assert_inverts(randomised(lambda: LIH(paper().lih)).float(), *images(2, 1, 3, 16, 20, dtype=torch.float32))


class _Uncomposed(LIH):
    """LIH as in the code that was released with the paper: every block receives the original bands."""

    def forward(self, cover: Tensor, secret: Tensor) -> tuple[Tensor, Tensor]:
        stego, lost = self.blocks[-1](self.bands(cover), self.bands(secret))
        return self.bands.inverse(stego), self.bands.inverse(lost)

    def inverse(self, stego: Tensor, lost: Tensor) -> tuple[Tensor, Tensor]:
        cover, secret = self.blocks[0].inverse(self.bands(stego), self.bands(lost))
        return self.bands.inverse(cover), self.bands.inverse(secret)


def test_an_uncomposed_chain_is_caught() -> None:
    cover, secret = images(2, 1, 3, 8, 8)
    broken = _Uncomposed(SLIM).double()
    assert_inverts(broken, cover, secret)  # at the start every block is the identity, which hides the fault
    with pytest.raises(AssertionError, match=r"inverse\(forward\(x\)\) of _Uncomposed is off by"):
        assert_inverts(randomise_(broken), cover, secret)


def test_every_block_takes_part_in_hiding_and_in_revealing() -> None:
    lih = randomised(lambda: LIH(SLIM))
    cover, secret = images(2, 1, 3, 8, 8)
    for image in (lih(cover, secret)[0], lih.reveal(cover)):
        gradients = torch.autograd.grad(image.square().sum(), list(lih.parameters()), allow_unused=True)
        for block in range(SLIM.num_blocks):
            named = zip(lih.named_parameters(), gradients, strict=True)
            mine = [gradient for (name, _), gradient in named if name.startswith(f"blocks.{block}.")]
            assert mine
            assert any(gradient is not None and gradient.abs().max() > 1e-6 for gradient in mine)


def test_another_block_is_another_stego_and_another_secret() -> None:
    """A change of any block's weights changes the stego image and the revealed secret."""
    lih = randomised(lambda: LIH(SLIM))
    cover, secret = images(2, 1, 3, 8, 8)
    before = lih(cover, secret)[0], lih.reveal(cover)
    for block in range(SLIM.num_blocks):
        with torch.no_grad():
            for parameter in lih.blocks[block].parameters():
                parameter.add_(0.05)
        after = lih(cover, secret)[0], lih.reveal(cover)
        for old, new in zip(before, after, strict=True):
            assert (old - new).abs().max() > 1e-4
        before = after


def test_the_start_is_the_identity() -> None:
    net = PIRNet(tiny()).double()
    cover, secret = images(2, 1, 3, 8, 12)
    stego, lost = net.lih(cover, secret)
    assert (stego - cover).abs().max() < 1e-14
    assert (lost - secret).abs().max() < 1e-14
    for task in TASKS:
        assert (net.lsr(cover, task) - cover).abs().max() < 1e-14


@pytest.mark.parametrize("predictor", ["conv", "residual"])
def test_predictors_are_what_the_config_names(predictor: Literal["conv", "residual"]) -> None:
    lih = LIH(LIHConfig(num_blocks=1, predictor=predictor))
    names = {type(module).__name__ for module in lih.modules()}
    assert names & {"ConvPredictor", "ResidualPredictor"} == {f"{predictor.title()}Predictor"}


def test_only_the_scales_after_the_first_dilate(nets: dict[str, PIRNet]) -> None:
    """The depthwise convolutions of the paper's first scale have dilation 1, those of the others 2."""
    dilations = [
        {conv.dilation[0] for conv in level.modules() if isinstance(conv, nn.Conv2d) and conv.groups > 1}
        for level in nets["paper"].lsr.pyramid.levels
    ]
    assert dilations == [{1}, {2}, {2}]


# The cloud


@torch.no_grad()
@settings(deadline=None, max_examples=10)
@given(
    seed=st.integers(0, 2**31),
    num_scales=st.integers(1, 3),
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
    task=st.sampled_from(sorted(TASKS)),
)
def test_the_coarsest_approximation_is_left_alone(
    seed: int, num_scales: int, rows: int, columns: int, task: str
) -> None:
    lsr = randomised(lambda: LSR(replace(DEEP_LSR, num_scales=num_scales)), seed)
    (stego,) = images(1, 1, 3, rows * 2**num_scales, columns * 2**num_scales, seed=seed)
    before, after = lsr.pyramid(stego), lsr.pyramid(lsr(stego, task))
    assert (before[0] - after[0]).abs().max() <= 1e-12 * max(1, float(before[0].abs().max()))
    for detail, restored in zip(before[1:], after[1:], strict=True):
        assert (detail - restored).abs().max() > 1e-3


@pytest.mark.parametrize("scale", range(3))
def test_each_restorer_has_the_details_of_its_own_scale(scale: int) -> None:
    lsr = LSR(DEEP_LSR).double()
    randomise_(lsr.pyramid)
    randomise_(lsr.restorers[scale])
    (stego,) = images(1, 1, 3, 16, 24)
    _, *before = lsr.pyramid(stego)
    _, *after = lsr.pyramid(lsr(stego, "sr"))
    changed = [bool((a - b).abs().max() > 1e-6) for a, b in zip(before, after, strict=True)]
    assert changed[::-1] == [number == scale for number in range(3)]  # finest first, as the restorers


@torch.no_grad()
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31), tasks=st.lists(st.sampled_from(sorted(TASKS)), min_size=1, max_size=5))
def test_mixed_tasks_are_as_one_by_one(seed: int, tasks: list[str]) -> None:
    """A batch of several tasks gives the same images as one call for each image."""
    lsr = randomised(lambda: LSR(DEEP_LSR), seed)
    (stego,) = images(1, len(tasks), 3, 16, 8, seed=seed)
    together = lsr(stego, tasks)
    for number, task in enumerate(tasks):
        alone = lsr(stego[number : number + 1], task)
        assert torch.allclose(together[number : number + 1], alone, rtol=1e-10, atol=1e-12)


def test_tasks_differ() -> None:
    """The three tasks restore the same image differently."""
    lsr = randomised(lambda: LSR(DEEP_LSR))
    (stego,) = images(1, 1, 3, 16, 8)
    a, b, c = (lsr(stego, task) for task in TASKS)
    assert min((a - b).abs().max(), (b - c).abs().max(), (a - c).abs().max()) > 1e-3


# The three verbs


def test_the_lost_part_makes_revealing_exact() -> None:
    net = random_net(stego="float")
    cover, secret = images(2, 2, 3, 8, 12)
    stego, lost = net.lih(with_headroom(cover, 8), secret)
    assert torch.equal(net.conceal(cover, secret), stego)
    assert (net.lih.inverse(stego, lost)[1] - secret).abs().max() < 1e-12


def test_headroom_moves_only_black_and_white_inwards() -> None:
    """An untrained LIH hides nothing, so its stego image is the cover with headroom."""
    config = LIHConfig(num_blocks=1, predictor="conv", hidden_channels=4, headroom=8)
    levels = torch.arange(256).view(1, 1, 16, 16).expand(1, 3, 16, 16) / 255
    stego = LIH(config).conceal(levels, torch.rand(1, 3, 16, 16))
    assert torch.equal((255 * stego).round(), (255 * levels).clamp(8, 247))
    assert LIHConfig().headroom == 8
    without = LIH(replace(config, headroom=0))
    assert torch.equal((255 * without.conceal(levels, levels)).round(), 255 * levels)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels last"])
def test_images_keep_their_memory_layout(layout: torch.memory_format) -> None:
    cover, secret = (image.contiguous(memory_format=layout) for image in images(2, 2, 3, 16, 16))
    for image in random_net()(cover, secret, "sr"):
        assert image.is_contiguous(memory_format=layout)


def test_reveal_takes_zeros_or_noise() -> None:
    net = random_net()
    stego, _ = images(2, 1, 3, 8, 12)
    zero = net.lih.inverse(stego, torch.zeros_like(stego))[1]
    assert torch.equal(net.lih.reveal(stego), zero)
    assert torch.equal(net.reveal(stego), zero)
    torch.manual_seed(3)
    noise = torch.randn_like(stego)
    gaussian = net.lih.inverse(stego, noise)[1]
    torch.manual_seed(3)
    assert torch.equal(net.lih.reveal(stego, "gaussian"), gaussian)
    torch.manual_seed(3)
    assert torch.equal(net.reveal(stego, z="gaussian"), gaussian)
    paper_net = random_net(z="gaussian")
    torch.manual_seed(3)
    assert torch.equal(paper_net.reveal(stego), gaussian)
    assert torch.equal(paper_net.reveal(stego, z="zero"), zero)
    assert (gaussian - zero).abs().max() > 0.1


def test_the_pipeline_of_files_is_on_the_8_bit_grid() -> None:
    """With `uint8`, stego images are in [0, 1] and multiples of 1/255."""
    net = random_net().float()
    cover, secret = images(2, 1, 3, 16, 16, dtype=torch.float32)
    stego = net.conceal(cover, secret)
    assert net.lih(cover, secret)[0].min() < 0  # so that clamping has an effect
    for image in (stego, net.restore(stego, "deblur")):
        assert image.min() >= 0
        assert image.max() <= 1
        assert torch.equal(image, (255 * image).round() / 255)


def test_the_pipeline_of_floats_is_not() -> None:
    """With `float`, stego images are neither clamped nor rounded."""
    net = random_net(stego="float").float()
    cover, secret = images(2, 1, 3, 16, 16, dtype=torch.float32)
    stego = net.conceal(cover, secret)
    assert torch.equal(stego, net.lih.conceal(cover, secret))
    assert torch.equal(net.restore(stego, "sr"), net.lsr(stego, "sr"))
    assert stego.min() < 0
    assert (255 * stego - (255 * stego).round()).abs().max() > 0.1


@pytest.mark.parametrize("stego", ["uint8", "float"])
def test_training_looks_at_what_the_verbs_give(stego: Literal["uint8", "float"]) -> None:
    """The output for training equals the results of conceal, restore and reveal."""
    net = random_net(stego=stego)
    cover, secret = images(2, 2, 3, 16, 8)
    tasks = ("sr", "denoise")
    output = net(cover, secret, tasks)
    sent = net.conceal(cover, secret)
    assert torch.equal(output.stego, net.lih.conceal(cover, secret))
    assert torch.equal(output.revealed, net.reveal(sent))
    assert torch.equal(output.restored_stego, net.lsr(sent, tasks))
    assert torch.equal(output.restored, net.reveal(net.restore(sent, tasks)))


def test_training_can_leave_out_what_a_stage_does_not_need() -> None:
    net = random_net()
    cover, secret = images(2, 1, 3, 8, 8)
    hidden: PIRNetOutput = net(cover, secret, "sr", restoring=False)
    assert hidden.revealed is not None
    assert (hidden.restored_stego, hidden.restored) == (None, None)
    restored: PIRNetOutput = net(cover, secret, "sr", revealing=False)
    assert restored.revealed is None
    assert restored.restored_stego is not None
    assert restored.restored is not None


def test_training_feels_values_out_of_range() -> None:
    """Both stego images of the training output are unclamped, and rounding passes every gradient on."""
    net = random_net().float()
    cover, secret = images(2, 1, 3, 16, 16, dtype=torch.float32)
    cover = cover.round()  # black and white, so that half of the stego image leaves the range
    output: PIRNetOutput = net(cover, secret, "denoise")
    assert output.restored is not None
    assert output.restored_stego is not None
    for stego in (output.stego, output.restored_stego):
        outside = (stego < 0) | (stego > 1)
        assert outside.float().mean() > 0.1
        (gradient,) = torch.autograd.grad((stego - cover).square().mean(), stego, retain_graph=True)
        assert gradient[outside].abs().min() > 0
    (through_rounding,) = torch.autograd.grad(output.restored.square().mean(), output.stego, retain_graph=True)
    assert through_rounding[(output.stego < 0) | (output.stego > 1)].abs().max() > 0
    (output.restored - secret).square().mean().backward()
    for name, parameter in net.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


# Refusals


def test_wrong_pairs_are_refused() -> None:
    lih = LIH(SLIM)
    good = torch.zeros(1, 3, 8, 8)
    wrong, shape = r"LIH needs images of one shape, got ", r"LIH needs an RGB image of shape \(B, 3, H, W\), got "
    with pytest.raises(ValueError, match=wrong + r"\(1, 3, 8, 8\) and \(1, 3, 8, 10\)"):
        lih(good, torch.zeros(1, 3, 8, 10))
    with pytest.raises(ValueError, match=wrong + r"\(1, 3, 8, 8\) and \(2, 3, 8, 8\)"):
        lih.inverse(good, torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match=shape + r"\(1, 1, 8, 8\)"):
        lih(good[:, :1], good[:, :1])
    with pytest.raises(ValueError, match=shape + r"\(3, 8, 8\)"):
        lih(good[0], good[0])
    with pytest.raises(ValueError, match="even height and width, got 7 x 8"):
        lih(good[:, :, :7], good[:, :, :7])
    with pytest.raises(TypeError, match="floating-point"):
        lih(good.byte(), good.byte())


def test_wrong_stegos_are_refused() -> None:
    lsr = LSR(DEEP_LSR)
    wrong = r"LSR needs an RGB image of shape \(B, 3, H, W\), got "
    with pytest.raises(ValueError, match="LSR needs sides divisible by 8, got 8 x 12"):
        lsr(torch.zeros(1, 3, 8, 12), "sr")
    with pytest.raises(ValueError, match="LSR needs sides divisible by 8, got 4 x 8"):
        lsr(torch.zeros(1, 3, 4, 8), "sr")
    with pytest.raises(ValueError, match=wrong + r"\(1, 4, 8, 8\)"):
        lsr(torch.zeros(1, 4, 8, 8), "sr")
    with pytest.raises(ValueError, match=wrong + r"\(3, 8, 8\)"):
        lsr(torch.zeros(3, 8, 8), "sr")


def test_wrong_tasks_are_refused() -> None:
    lsr = LSR(LSRConfig(1, 1, "conv", 4, 4, (1,), (0, 0, 0), 0, (1,)))
    stego = torch.zeros(2, 3, 8, 8)
    with pytest.raises(ValueError, match="one of the tasks denoise, deblur, sr, got 'dehaze'"):
        lsr(stego, "dehaze")
    with pytest.raises(ValueError, match="one task per image, got 1 for 2 images"):
        lsr(stego, ["sr"])


def test_wrong_z_is_refused() -> None:
    with pytest.raises(ValueError, match='reveal needs z="zero" or z="gaussian", got \'uniform\''):
        LIH(SLIM).reveal(torch.zeros(1, 3, 8, 8), "uniform")  # type: ignore[arg-type]
