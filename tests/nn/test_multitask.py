"""MultiTaskNAFUNet: PIRNet's sizes, routing, batches of mixed tasks, an identity start, errors."""

import re
from collections.abc import Sequence
from typing import Any, TypedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import MultiTaskNAFUNet
from liftlayers.testing import randomise_
from tests.devices import on_each_device
from tests.strategies import images, seeds, tensor

TASKS = ("denoise", "deblur", "sr")


class Depths(TypedDict):
    encoder: tuple[int, ...]
    middles: tuple[int, ...]
    decoder_middle: int
    decoder: tuple[int, ...]


SRM = Depths(encoder=(2, 2, 4), middles=(0, 2, 2), decoder_middle=2, decoder=(2, 2, 2))


def srm(decoder_middle: int = 2) -> MultiTaskNAFUNet:
    depths = SRM.copy()
    depths["decoder_middle"] = decoder_middle
    with torch.device("meta"):
        return MultiTaskNAFUNet(9, 32, **depths, tasks=TASKS)


def small(channels: int = 3, dtype: torch.dtype = torch.float64, seed: int = 0) -> MultiTaskNAFUNet:
    """Three tasks that leave after none, one and two middle blocks, in random weights."""
    net = MultiTaskNAFUNet(
        channels, 2, encoder=(1, 1), middles=(0, 1, 1), decoder_middle=1, decoder=(1, 1), tasks=TASKS
    )
    return randomise_(net.to(dtype), seed)


def num_parameters(*parts: nn.Module) -> int:
    return sum(parameter.numel() for part in parts for parameter in part.parameters())


def test_srm_has_pirnets_size_part_by_part() -> None:
    net = srm()
    assert num_parameters(net) == 6_872_187
    assert num_parameters(net.encoder) == 728_768
    assert [num_parameters(middle) for middle in net.middles] == [0, 934_400, 934_400]
    for decoder_middle, decoder in zip(net.decoder_middles, net.decoders, strict=True):
        assert num_parameters(decoder_middle, decoder) == 1_424_873


@pytest.mark.parametrize(("decoder_middle", "expected"), [(1, 5_470_587), (8, 15_281_787), (12, 20_888_187)])
def test_srm_with_other_decoder_middles(decoder_middle: int, expected: int) -> None:
    assert num_parameters(srm(decoder_middle)) == expected


@on_each_device
@given(x=images(multiple=1), task=st.sampled_from(TASKS))
def test_starts_as_the_identity_at_any_size(device: str, x: Tensor, task: str) -> None:
    net = MultiTaskNAFUNet(
        x.shape[1], 2, encoder=(1, 1), middles=(0, 1, 1), decoder_middle=1, decoder=(1, 1), tasks=TASKS
    )
    x = x.to(device)
    assert torch.equal(net.to(x)(x, task), x)


@on_each_device
@given(tasks=st.lists(st.sampled_from(TASKS), min_size=1, max_size=6), seed=seeds(), data=st.data())
def test_a_mixed_batch_equals_its_images_one_by_one(
    device: str, tasks: list[str], seed: int, data: st.DataObject
) -> None:
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    net, x = small(seed=seed).to(device), tensor(seed, len(tasks), 3, height, width, dtype=torch.float64).to(device)
    together = net(x, tasks)
    assert together.shape == x.shape
    one_by_one = torch.cat([net(image[None], task) for image, task in zip(x, tasks, strict=True)])
    torch.testing.assert_close(together, one_by_one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("task", TASKS)
def test_one_name_stands_for_the_whole_batch(task: str) -> None:
    net, x = small(), tensor(0, 3, 3, 8, 8, dtype=torch.float64)
    assert torch.equal(net(x, task), net(x, [task] * 3))
    assert torch.equal(net(x, task), net(x, (task,) * 3))


@pytest.mark.parametrize(("position", "task"), list(enumerate(TASKS)))
def test_equation_task_by_task(position: int, task: str) -> None:
    net, x = small(), tensor(0, 2, 3, 8, 8, dtype=torch.float64)
    features, skips = net.encoder(x)
    for middle in list(net.middles)[: position + 1]:
        features = middle(features)
    decoded = net.decoders[position](net.decoder_middles[position](features), skips)
    torch.testing.assert_close(net(x, task), x + decoded, rtol=1e-12, atol=1e-12)


def reached(net: MultiTaskNAFUNet, tasks: str | Sequence[str]) -> set[str]:
    """Names of the parts that gradients reach."""
    x = tensor(0, 1 if isinstance(tasks, str) else len(tasks), 3, 8, 8, dtype=torch.float64)
    net.zero_grad(set_to_none=True)
    net(x, tasks).square().sum().backward()
    return {
        ".".join(name.split(".")[: 1 if name.startswith("encoder") else 2])
        for name, parameter in net.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().max() > 0
    }


def test_gradients_reach_the_parts_of_the_task_and_no_others() -> None:
    net = small()  # its first middle has no block, hence no parameter
    assert reached(net, "denoise") == {"encoder", "decoder_middles.0", "decoders.0"}
    assert reached(net, "deblur") == {"encoder", "middles.1", "decoder_middles.1", "decoders.1"}
    assert reached(net, "sr") == {"encoder", "middles.1", "middles.2", "decoder_middles.2", "decoders.2"}
    both = {"encoder", "middles.1", "decoder_middles.0", "decoder_middles.1", "decoders.0", "decoders.1"}
    assert reached(net, ("deblur", "denoise")) == both


def test_parts_of_other_tasks_change_nothing() -> None:
    net, x = small(), tensor(0, 1, 3, 8, 8, dtype=torch.float64)
    before = {task: net(x, task) for task in TASKS}
    randomise_(net.middles[1], seed=9)
    assert torch.equal(net(x, "denoise"), before["denoise"])
    assert not torch.equal(net(x, "deblur"), before["deblur"])
    assert not torch.equal(net(x, "sr"), before["sr"])
    randomise_(net.decoders[2], seed=9)
    assert torch.equal(net(x, "denoise"), before["denoise"])


def test_later_middles_are_not_run_for_earlier_tasks() -> None:
    net, ran = small(), []
    for position, middle in enumerate(net.middles):
        middle.register_forward_hook(lambda _m, _i, y, position=position: ran.append((position, len(y))))
    net(tensor(0, 4, 3, 8, 8, dtype=torch.float64), ("deblur", "denoise", "denoise", "deblur"))
    assert ran == [(0, 4), (1, 2)]  # the third is never run, the second for two images only


# Errors


@pytest.mark.parametrize("task", ["dehaze", ("denoise", "dehaze")])
def test_unknown_tasks_are_refused(task: str | tuple[str, ...]) -> None:
    message = "MultiTaskNAFUNet needs one of the tasks denoise, deblur, sr, got 'dehaze'"
    with pytest.raises(ValueError, match=message):
        small(dtype=torch.float32)(torch.zeros(2, 3, 8, 8), task)


@pytest.mark.parametrize("tasks", [(), ("denoise",), TASKS])
def test_other_numbers_of_tasks_than_images_are_refused(tasks: tuple[str, ...]) -> None:
    message = f"MultiTaskNAFUNet needs one task per image, got {len(tasks)} for 2 images"
    with pytest.raises(ValueError, match=message):
        small(dtype=torch.float32)(torch.zeros(2, 3, 8, 8), tasks)


@pytest.mark.parametrize(("middles", "tasks"), [((0, 1), TASKS), ((0, 1, 1, 1), TASKS), ((), ())])
def test_other_numbers_of_middles_than_tasks_are_refused(middles: tuple[int, ...], tasks: tuple[str, ...]) -> None:
    message = f"MultiTaskNAFUNet needs one middle per task, got {len(middles)} for {len(tasks)} tasks"
    with pytest.raises(ValueError, match=message):
        MultiTaskNAFUNet(3, 2, encoder=(1,), middles=middles, decoder_middle=1, decoder=(1,), tasks=tasks)


def test_tasks_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="MultiTaskNAFUNet needs tasks with different names, got sr, deblur, sr"):
        MultiTaskNAFUNet(
            3, 2, encoder=(1,), middles=(0, 1, 1), decoder_middle=1, decoder=(1,), tasks=("sr", "deblur", "sr")
        )


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="MultiTaskNAFUNet needs at least one image, got a batch of 0"):
        small(dtype=torch.float32)(torch.zeros(0, 3, 8, 8), "denoise")


def test_other_numbers_of_levels_are_refused() -> None:
    message = "MultiTaskNAFUNet needs as many encoder as decoder levels, at least one, got 2 and 1"
    with pytest.raises(ValueError, match=message):
        MultiTaskNAFUNet(3, 2, encoder=(1, 1), middles=(0,), decoder_middle=1, decoder=(1,), tasks=("denoise",))


@pytest.mark.parametrize(
    ("name", "number"), [("middles[0]", {"middles": (-1,)}), ("decoder_middle", {"decoder_middle": -1})]
)
def test_negative_numbers_of_blocks_are_refused(name: str, number: dict[str, Any]) -> None:
    depths: dict[str, Any] = {"encoder": (1,), "middles": (0,), "decoder_middle": 1, "decoder": (1,)} | number
    with pytest.raises(ValueError, match=f"MultiTaskNAFUNet needs {re.escape(name)} of at least 0, got -1$"):
        MultiTaskNAFUNet(3, 2, **depths, tasks=("denoise",))


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (3, 8, 8)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    numbers = re.escape(str(shape))
    with pytest.raises(ValueError, match=rf"MultiTaskNAFUNet needs a \(B, 3, H, W\) tensor, got {numbers}$"):
        small()(torch.zeros(shape), "denoise")


def test_integers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"MultiTaskNAFUNet needs floating-point tensors, got torch\.uint8"):
        small()(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "denoise")
