"""Weights and checkpoints on disk: they are read as written, refused with the expected messages, never written in
part."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from pirnet.config import LIHConfig, quick
from pirnet.model import LIH, LSR
from pirnet.support import files
from pirnet.support.places import SHIPPED
from pirnet.trainer import Trainer
from pirnet.weights import (
    CheckpointError,
    load_lih,
    load_lsr,
    load_other,
    load_state,
    run_id,
    run_warning,
    save_state,
    save_weights,
)
from safetensors import safe_open
from torch import Tensor

from liftlayers.testing import randomise_
from tests.example.helpers import TINY_LSR, same_weights, smooth_image, smooth_photos, tiny

LOST = "the cloud cannot restore well what this client hides"
SLIM = LIHConfig(num_blocks=2, predictor="conv", hidden_channels=4)
SLIM_AS = dataclasses.asdict(SLIM)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the weights of both networks."""
    save_weights(tmp_path / "lih.safetensors", randomise_(LIH(SLIM)), SLIM)
    save_weights(tmp_path / "lsr.safetensors", randomise_(LSR(TINY_LSR)), TINY_LSR)
    return tmp_path


def test_weights_come_back(tmp_path: Path) -> None:
    lih, lsr = randomise_(LIH(SLIM)), randomise_(LSR(TINY_LSR), 1)
    lih.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as the trainer keeps them
    save_weights(tmp_path / "lih.safetensors", lih, SLIM)
    save_weights(tmp_path / "lsr.safetensors", lsr, TINY_LSR)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lih.safetensors", "lsr.safetensors"]
    lih_again, lsr_again = load_lih(tmp_path / "lih.safetensors"), load_lsr(tmp_path / "lsr.safetensors")
    assert same_weights(lih, lih_again)
    assert same_weights(lsr, lsr_again)
    assert not lih_again.training
    assert not lsr_again.training
    cover, secret = smooth_image(0, 16, 16)[None], smooth_image(1, 16, 16)[None]
    assert torch.allclose(lih(cover, secret)[0], lih_again(cover, secret)[0], atol=1e-6)
    for task in ("denoise", "deblur", "sr"):
        assert torch.equal(lsr(cover, task), lsr_again(cover, task))


def test_the_config_is_inside(folder: Path) -> None:
    with safe_open(folder / "lih.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["network"] == "LIH"
    assert json.loads(metadata["config"]) == SLIM_AS
    assert len(load_lih(folder / "lih.safetensors").blocks) == 2
    assert load_lsr(folder / "lsr.safetensors").restorers[0].tasks == ("denoise", "deblur", "sr")


def test_the_clouds_file_holds_nothing_of_the_key(folder: Path) -> None:
    lih = set(LIH(SLIM).state_dict())
    with safe_open(folder / "lsr.safetensors", "pt") as file:
        keys = set(file.keys())
    assert keys == set(LSR(TINY_LSR).state_dict())
    assert not keys & lih
    assert {key.split(".")[0] for key in keys} == {"pyramid", "restorers"}


def test_files_may_be_read_as_others_are(folder: Path) -> None:
    """Weight files have the permissions of ordinary new files, not those of temporary ones."""
    (folder / "plain").touch()
    for name in ("lih.safetensors", "lsr.safetensors"):
        assert (folder / name).stat().st_mode == (folder / "plain").stat().st_mode


def test_weights_of_one_run_carry_its_id(tmp_path: Path) -> None:
    """Files without an id, such as those that come with the example, are of an unknown run, which is no warning."""
    paths = tmp_path / "lih.safetensors", tmp_path / "lsr.safetensors"
    first, second = (randomise_(LIH(SLIM), seed) for seed in (1, 2))
    assert run_id(first) == run_id(randomise_(LIH(SLIM), 1)) != run_id(second)
    assert run_warning(*paths) == []  # a missing file
    save_weights(paths[0], first, SLIM)
    save_weights(paths[1], LSR(TINY_LSR), TINY_LSR)
    assert run_warning(*paths) == []
    assert run_warning(SHIPPED / "lih.safetensors", SHIPPED / "lsr.safetensors") == []
    save_weights(paths[0], first, SLIM, run=run_id(first))
    assert "are of different runs" in run_warning(*paths)[0]  # only one of them is known
    save_weights(paths[1], LSR(TINY_LSR), TINY_LSR, run=run_id(first))
    assert run_warning(*paths) == []
    save_weights(paths[1], LSR(TINY_LSR), TINY_LSR, run=run_id(second))
    assert run_warning(*paths) == [f"{paths[0]} and {paths[1]} are of different runs: " + LOST]
    assert same_weights(first, load_lih(paths[0]))
    paths[1].write_bytes(b"damaged")
    assert run_warning(*paths) == []  # the script that needs it reports it


def test_missing_weights_are_named(tmp_path: Path) -> None:
    for load in (load_lih, load_lsr):
        with pytest.raises(CheckpointError, match=r"no weights at .*nothing.safetensors: train with train.py, or name"):
            load(tmp_path / "nothing.safetensors")
        with pytest.raises(CheckpointError, match="no weights at "):
            load(tmp_path)


@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "header"])
def test_damaged_weights_are_named(folder: Path, damage: str) -> None:
    path = folder / "lih.safetensors"
    content = path.read_bytes()
    path.write_bytes(
        {
            "text": b"these are no weights at all, only some text",
            "empty": b"",
            "truncated": content[: len(content) - 100],
            "header": content[:20],
        }[damage]
    )
    with pytest.raises(CheckpointError, match=r"cannot read the weights .*lih.safetensors: "):
        load_lih(path)


def test_a_changed_bit_is_noticed(tmp_path: Path) -> None:
    """In the client's weights, which have the id of their run, and in checkpoints; torch and safetensors accept it."""
    paths, lih = (tmp_path / "lih.safetensors", tmp_path / "checkpoint.pt"), randomise_(LIH(SLIM))
    save_weights(paths[0], lih, SLIM, run=run_id(lih))
    save_state(paths[1], {"weights": torch.ones(1000)})
    assert same_weights(load_lih(paths[0]), lih)
    for path, place in ((paths[0], -1), (paths[1], paths[1].read_bytes().index(torch.ones(9).numpy().tobytes()))):
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"lih.safetensors is damaged: its weights are not those that its id"):
        load_lih(paths[0])
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint .*checkpoint.pt: .*/data/0 is damaged"):
        load_state(paths[1])


def test_a_torch_file_is_not_weights(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "lih.safetensors")
    with pytest.raises(CheckpointError, match="cannot read the weights"):
        load_lih(tmp_path / "lih.safetensors")


def test_the_other_networks_weights_are_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lsr.safetensors needs to hold the weights of LIH, got LSR"):
        load_lih(folder / "lsr.safetensors")
    with pytest.raises(CheckpointError, match=r"lih.safetensors needs to hold the weights of LSR, got LIH"):
        load_lsr(folder / "lih.safetensors")
    safetensors.torch.save_file({"a": torch.zeros(3)}, folder / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other.safetensors needs to hold the weights of LIH, got no PIRNet"):
        load_lih(folder / "other.safetensors")


@pytest.mark.parametrize(
    ("config", "printed"),
    [
        (SLIM_AS | {"num_blocks": 3}, r"\d+ tensors .* such as blocks.2.predict"),
        (SLIM_AS | {"hidden_channels": 5}, r"\d+ tensors .* such as blocks.0.predict"),
        (SLIM_AS | {"predictor": "residual"}, r"\d+ tensors are missing, unknown or of"),
        (SLIM_AS | {"predictor": "dense"}, ""),
        ({"num_blocks": 2}, "LIHConfig has missing .* for this version: headroom, hidden_channels, predictor"),
        (SLIM_AS | {"num_blocks": "two"}, "needs a whole number, got 'two'"),
        (SLIM_AS | {"num_blocks": 2.0}, "num_blocks needs a whole number, got 2.0"),
        (SLIM_AS | {"num_blocks": 0}, "num_blocks needs at least 1, got 0"),
        (SLIM_AS | {"num_blocks": 10**9}, "num_blocks needs at most 16 tensors, got 1000000000"),
        (SLIM_AS | {"hidden_channels": 10**6}, r"\d+ tensors .* such as blocks.0.predict"),
        (SLIM_AS | {"hidden_channels": 10**18}, "Storage size calculation overflowed"),
        (SLIM_AS | {"headroom": -1}, "headroom needs at least 0 and at most 127, got -1"),
        (SLIM_AS | {"headroom": 128}, "headroom needs at least 0 and at most 127, got 128"),
        ([2], "LIHConfig needs fields with values, got"),
        (2, "LIHConfig needs fields with values, got 2"),
        ("not JSON", "Expecting value"),
        (None, "config"),
    ],
)
def test_weights_that_do_not_fit_their_config_are_named(folder: Path, config: object, printed: str) -> None:
    path = folder / "lih.safetensors"
    metadata = {"network": "LIH"} | (
        {} if config is None else {"config": config if isinstance(config, str) else json.dumps(config)}
    )
    safetensors.torch.save_file(dict(LIH(SLIM).state_dict()), path, metadata)
    with pytest.raises(
        CheckpointError, match=rf"(?s)the weights in .*lih.safetensors do not fit their own config: .*{printed}"
    ):
        load_lih(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weight: weight.int(), "needs torch.float32, got torch.int32"),
        (lambda weight: weight * float("nan"), "holds NaN or infinite values"),
    ],
)
def test_weights_of_other_numbers_are_refused(change: Callable[[Tensor], Tensor], message: str, folder: Path) -> None:
    path = folder / "lih.safetensors"
    save_weights(path, LIH(SLIM), SLIM)
    tensors = LIH(SLIM).state_dict()
    name = next(iter(tensors))
    metadata = {"network": "LIH", "config": json.dumps(dataclasses.asdict(SLIM))}
    safetensors.torch.save_file({**tensors, name: change(tensors[name])}, path, metadata)
    with pytest.raises(CheckpointError, match=f"{name} {message}"):
        load_lih(path)
    with pytest.raises(CheckpointError, match=f"{name} {message}"):
        load_other(path, LIH(SLIM))


def test_a_writer_that_fails_leaves_the_old_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: Path, _content: bytes) -> None:
        path.write_text("half")
        raise OSError("No space left on device")

    def no_rename(*_: object) -> None:
        raise OSError("No space left on device")

    save_state(folder / "checkpoint.pt", {"step": 3})
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", no_rename)
        with pytest.raises(OSError, match="No space left"):
            save_weights(folder / "lih.safetensors", LIH(SLIM), SLIM)
        with pytest.raises(OSError, match="No space left"):
            save_weights(folder / "new.safetensors", LIH(SLIM), SLIM)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full_disk)
        for name in ("checkpoint.pt", "new.pt"):
            with pytest.raises(OSError, match="No space left"):
                save_state(folder / name, {"step": 4})
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_states_come_back(tmp_path: Path) -> None:
    state: dict[str, object] = {"step": 3, "names": ["a"], "nested": {"weights": torch.arange(3.0), "none": None}}
    save_state(tmp_path / "checkpoint.pt", state)
    again = load_state(tmp_path / "checkpoint.pt")
    assert again.keys() == state.keys()
    assert again["nested"]["weights"].tolist() == [0, 1, 2]  # type: ignore[index]


def test_missing_states_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*checkpoint.pt: there is nothing to resume"):
        load_state(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_damaged_states_are_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "checkpoint.pt"
    save_state(path, {"weights": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:-2000] if content is None else content)
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint .*checkpoint.pt: "):
        load_state(path)


@pytest.mark.parametrize("content", [[1, 2], {"step": 3}, torch.zeros(2)])
def test_other_files_are_no_states(tmp_path: Path, content: object) -> None:
    """A torch file that is no checkpoint is refused with a message about the checkpoint."""
    torch.save(content, tmp_path / "checkpoint.pt")
    run = Trainer(tiny(), smooth_photos(), device=torch.device("cpu"))
    with pytest.raises(ValueError, match="checkpoint"):
        run.load_state_dict(load_state(tmp_path / "checkpoint.pt"))


def test_states_hold_no_code(tmp_path: Path) -> None:
    """A checkpoint with a pickled object of our own is refused: only tensors and plain values are loaded."""
    torch.save({"config": quick()}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="cannot read the checkpoint"):
        load_state(tmp_path / "checkpoint.pt")


def test_a_full_disk_is_named_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    """torch would raise a RuntimeError that says nothing of a disk."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "checkpoint.pt"
    save_state(path, {"step": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"too large: '.*checkpoint.pt'"):
            save_state(path, {"step": 2, "weights": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_state(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_equal_weights_are_equal_files(tmp_path: Path) -> None:
    """safetensors alone writes the metadata in random order."""
    network = LIH(SLIM)
    for number in range(20):
        save_weights(tmp_path / f"{number}.safetensors", network, SLIM, run=run_id(network))
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1
    assert same_weights(load_lih(tmp_path / "0.safetensors"), network)


def test_a_config_of_nested_brackets_is_an_error_of_one_line(tmp_path: Path) -> None:
    """Python's parser of JSON gives up at some depth, by an error of another kind."""
    path = tmp_path / "lih.safetensors"
    metadata = {"network": "LIH", "config": "[" * 100_000}
    safetensors.torch.save_file(LIH(SLIM).state_dict(), path, metadata)
    with pytest.raises(CheckpointError, match=r"lih\.safetensors do not fit their own config"):
        load_lih(path)
