"""bfloat16 where it is asked for, or where the device computes in it; float32 else."""

import pytest
import torch
from pirnet import precision
from pirnet.engine import Trainer
from pirnet.precision import Precision, chosen_precision, has_bfloat16
from torch import Tensor, nn

from tests.example.helpers import smooth_photos, tiny

CPU = torch.device("cpu")


@pytest.mark.parametrize(("has", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_asks_the_device(has: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: has)
    assert chosen_precision("auto", CPU) == expected
    assert chosen_precision("bfloat16", CPU) == "bfloat16"
    assert chosen_precision("float32", CPU) == "float32"
    assert Trainer(tiny(), smooth_photos(), device=CPU).precision == expected


@pytest.mark.parametrize(("avx512", "amx"), [(False, False), (True, False), (False, True)])
def test_processors_with_arithmetic_for_it(avx512: bool, amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert has_bfloat16(CPU) == (avx512 or amx)
    assert not has_bfloat16(torch.device("meta"))


@pytest.mark.gpu
def test_a_gpu_is_asked_too() -> None:
    assert has_bfloat16(torch.device("cuda")) == torch.cuda.is_bf16_supported(including_emulation=False)


@pytest.mark.parametrize("chosen", ["float32", "bfloat16"])
def test_networks_run_in_it(chosen: Precision) -> None:
    run = Trainer(tiny((1, 0, 0), precision=chosen), smooth_photos(), device=CPU)
    seen: set[torch.dtype] = set()

    def see(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.add(output.dtype)

    for module in run.model.lih.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(see)
    run.take_step()
    assert seen == {getattr(torch, chosen)}
