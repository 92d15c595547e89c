"""bfloat16 is used if it is chosen, or if the device has arithmetic for it; otherwise float32 is used."""

from dataclasses import replace

import pytest
import torch
from pirnet.config import PRESETS, Config
from pirnet.losses import TrainStep
from pirnet.model import PIRNet
from pirnet.support import precision
from pirnet.support.precision import Precision, chosen_precision, has_bfloat16
from pirnet.trainer import Trainer
from torch import Tensor, nn

from liftlayers.testing import randomise_
from tests.example.helpers import smooth_image, smooth_photos, tiny

CPU = torch.device("cpu")


@pytest.mark.parametrize(("has", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_asks_the_device(has: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` becomes bfloat16 if the device supports it, else float32; other values stay."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: has)
    assert chosen_precision("auto", CPU) == expected
    assert chosen_precision("bfloat16", CPU) == "bfloat16"
    assert chosen_precision("float32", CPU) == "float32"
    assert Trainer(tiny(), smooth_photos(), device=CPU).precision == expected


@pytest.mark.parametrize(("avx512", "amx"), [(False, False), (True, False), (False, True)])
def test_processors_with_arithmetic_for_it(avx512: bool, amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU has bfloat16 arithmetic if it has AVX-512 BF16 or AMX."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert has_bfloat16(CPU) == (avx512 or amx)
    assert not has_bfloat16(torch.device("meta"))


@pytest.mark.gpu
def test_a_gpu_is_asked_too() -> None:
    """A GPU has bfloat16 arithmetic if torch reports it without emulation."""
    assert has_bfloat16(torch.device("cuda")) == torch.cuda.is_bf16_supported(including_emulation=False)


@pytest.mark.parametrize("chosen", ["float32", "bfloat16"])
def test_networks_run_in_it(chosen: Precision) -> None:
    """All convolutions of the hider run in the chosen precision."""
    run = Trainer(tiny((1, 0, 0), precision=chosen), smooth_photos(), device=CPU)
    seen: set[torch.dtype] = set()

    def see(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.add(output.dtype)

    for module in run.model.lih.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(see)
    run.take_step()
    assert seen == {getattr(torch, chosen)}


def gradients(config: Config, precision: str, layout: torch.memory_format) -> dict[str, Tensor]:
    """The gradients of a step of stage 3 with random weights, by name."""
    step = TrainStep(randomise_(PIRNet(config)), config)
    step.to(memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stubs
    cover, secret = (smooth_image(seed, 128, 128)[None].contiguous(memory_format=layout) for seed in range(2))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        loss, _ = step(cover, secret, secret, ["denoise"], 3)
    loss.backward()
    return {name: p.grad for name, p in step.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("preset", ["quick", "base", pytest.param("paper", marks=pytest.mark.slow)])
def test_its_gradients_are_float32s_but_for_rounding(preset: str, layout: torch.memory_format) -> None:
    """Gradients in bfloat16 differ from those in float32 only by rounding.

    The networks are as wide as the preset but not as deep, and the crops have 128 pixels, since torch chooses its
    kernels by these sizes.
    """
    config = PRESETS[preset]()
    config = replace(
        config,
        stego="float",
        lih=replace(config.lih, num_blocks=1),
        lsr=replace(config.lsr, num_blocks=1, encoder=(1, 1), middles=(1, 0, 0), decoder_middle=0, decoder=(1, 1)),
    )
    expected, found = gradients(config, "float32", layout), gradients(config, "bfloat16", layout)
    assert found.keys() == expected.keys()
    whole = torch.stack([gradient.norm() for gradient in expected.values()]).norm()
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= 0.1 * gradient.norm() + 1e-3 * whole, name
