"""Networks in folders and repositories of the Hugging Face hub: bits come back, and what does not fit is refused.

Nothing is downloaded or uploaded: every test runs without sockets.
"""

import copy
import inspect
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import NAFUNet
from liftlayers.testing import randomise_
from tests.strategies import seeds, tensor

hf: Any = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub, from the extra `hub`")
safetensors: Any = pytest.importorskip("safetensors.torch", reason="needs safetensors, from the extra `hub`")
from liftlayers.interop import hub  # noqa: E402 (needs the packages)

blocks = st.lists(st.integers(0, 2), min_size=1, max_size=2)
FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture(autouse=True, scope="module")
def _no_network() -> Any:
    def refused(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a test opened a connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", refused)
        patch.setattr(socket, "getaddrinfo", refused)
        patch.setattr(hf.constants, "HF_HUB_OFFLINE", True)
        yield


def small(width: int = 4) -> hub.NAFUNet:
    return randomise_(hub.NAFUNet(3, width, encoder=(1,), middle=0, decoder=(0,)))


@settings(max_examples=12)
@given(st.integers(1, 3), st.integers(1, 4), blocks, st.integers(0, 1), seeds(), st.sampled_from(FLOATS))
def test_a_network_returns_to_the_bit(
    channels: int, width: int, encoder: list[int], middle: int, seed: int, dtype: torch.dtype
) -> None:
    """Also as a copy; it has the same config and dtype, and is a `NAFUNet` in evaluation mode."""
    saved = hub.NAFUNet(channels, width, encoder=encoder, middle=middle, decoder=tuple(reversed(encoder)))
    saved = copy.deepcopy(randomise_(saved, seed)).to(dtype)
    with TemporaryDirectory() as folder:
        saved.save_pretrained(folder)
        loaded = hub.NAFUNet.from_pretrained(folder)
        assert {path.name for path in Path(folder).iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert isinstance(loaded, NAFUNet)
    assert inspect.signature(hub.NAFUNet) == inspect.signature(NAFUNet)
    assert not loaded.training
    assert loaded.config == saved.config
    x = tensor(seed, 2, channels, 5, 7, dtype=torch.float32).to(dtype)
    y, expected = loaded(x), saved(x)
    assert y.dtype == dtype
    assert torch.equal(y, expected)


class Tied(hub.Pretrained, license="mit"):  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue]
    """A network of the user's own: two convolutions share a weight, one of two dtypes; a buffer has integers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.config = {"channels": channels}
        self.first, self.second = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1).double()
        self.second.weight = self.first.weight
        self.register_buffer("seen", torch.tensor(3))


def test_a_network_of_ones_own_keeps_shared_weights_dtypes_and_buffers(tmp_path: Path) -> None:
    saved = randomise_(Tied(2))
    saved.save_pretrained(tmp_path)
    loaded = Tied.from_pretrained(str(tmp_path))
    assert loaded.first.weight is loaded.second.weight
    for name, value in saved.state_dict().items():
        found = loaded.state_dict()[name]
        assert found.dtype == value.dtype
        assert torch.equal(found, value)
    assert hf.ModelCard.load(tmp_path / "README.md").data.license == "mit"


def test_an_argument_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    network = small()
    network.config = {"width": torch.tensor(4)}
    with pytest.raises(TypeError, match=r"NAFUNet.config needs values that JSON can hold: .*Tensor"):
        network.save_pretrained(tmp_path)


def config(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text())
        change(values)
        (folder / "config.json").write_text(json.dumps(values))

    return damage


def tensors(change: Callable[[dict[str, Tensor]], object], network: str = "NAFUNet") -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        values = safetensors.load_file(folder / "model.safetensors")
        change(values)
        safetensors.save_file(values, folder / "model.safetensors", {"network": network})

    return damage


BIAS = "encoder.first.bias"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "^no config.json in "),
    "half a config": (
        lambda folder: (folder / "config.json").write_text('{"width"'),
        "does not describe a NAFUNet: Expect",
    ),
    "a list": (lambda folder: (folder / "config.json").write_text("[4]"), "does not describe a NAFUNet: .*not list"),
    "an argument less": (
        config(lambda values: values.pop("middle")),
        "does not describe a NAFUNet: .*missing.*'middle'",
    ),
    "an argument more": (config(lambda values: values.update(depth=1)), "does not describe a NAFUNet: .*'depth'"),
    "a text": (config(lambda values: values.update(width="four")), "does not describe a NAFUNet: "),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "^no model.safetensors in "),
    "no tensors": (lambda folder: (folder / "model.safetensors").write_bytes(b"00"), "model.safetensors is damaged: "),
    "another class": (tensors(lambda _: None, "Tied"), "model.safetensors needs to hold a NAFUNet, got a Tied"),
    "a tensor less": (tensors(lambda values: values.pop(BIAS)), f"not fit its config: {BIAS} is missing$"),
    "a tensor more": (tensors(lambda values: values.update(a=torch.ones(1))), "not fit its config: a is unknown$"),
    "a shape": (
        tensors(lambda values: values.update({BIAS: torch.ones(5)})),
        rf"not fit its config: {BIAS} has shape \(5,\) instead of \(4,\)$",
    ),
    "integers": (
        tensors(lambda values: values.update({BIAS: torch.ones(4, dtype=torch.int64)})),
        f"not fit its config: {BIAS} has dtype torch.int64 instead of torch.float32$",
    ),
    "another width": (config(lambda values: values.update(width=5)), r"has shape .*(; .*){4}; and \d+ more$"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_what_does_not_fit_is_refused(what: str, tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    damage, message = DAMAGES[what]
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        hub.NAFUNet.from_pretrained(tmp_path)


def test_a_name_that_is_no_folder_and_no_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file", str(tmp_path / "file")):
        with pytest.raises(ValueError, match=rf"NAFUNet.from_pretrained needs a folder, got {path}, which is none"):
            hub.NAFUNet.from_pretrained(path)
    message = "NAFUNet.from_pretrained needs a folder or the id of a repository, got '{}', which is no folder: "
    for name in ("user/none", "a/b/c"):
        with pytest.raises(ValueError, match=message.format(name)) as caught:
            hub.NAFUNet.from_pretrained(name)
        assert "\n" not in str(caught.value)


def test_of_a_repository_only_the_needed_files_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, asked = small(), {}
    network.save_pretrained(tmp_path)

    def download(repository: str, **options: object) -> str:
        asked.update(options, repository=repository)
        return str(tmp_path)

    monkeypatch.setattr(hf, "snapshot_download", download)
    loaded = hub.NAFUNet.from_pretrained("user/name", revision="v1", local_files_only=True)
    assert torch.equal(loaded.encoder.first.weight, network.encoder.first.weight)
    assert asked["repository"] == "user/name"
    assert asked["allow_patterns"] == ["config.json", "model.safetensors"]
    assert (asked["revision"], asked["local_files_only"], asked["force_download"]) == ("v1", True, False)


def test_the_folder_is_what_is_uploaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub's own `push_to_hub`, with the two functions replaced that would use the network."""
    uploaded: dict[str, object] = {}

    def upload(_api: object, *, repo_id: str, folder_path: Path, **_options: object) -> str:
        uploaded.update({path.name: path.read_bytes() for path in folder_path.iterdir()}, id=repo_id)
        return "a link"

    monkeypatch.setattr(hf.HfApi, "create_repo", lambda _api, repo_id, **_options: hf.RepoUrl(f"models/{repo_id}"))
    monkeypatch.setattr(hf.HfApi, "upload_folder", upload)
    assert small().push_to_hub("user/name") == "a link"
    assert uploaded.keys() == {"id", "config.json", "model.safetensors", "README.md"}


def test_the_card_is_one_of_the_hub_and_its_code_loads_the_network(tmp_path: Path) -> None:
    network = small()
    network.save_pretrained(tmp_path)
    card = hf.ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "liftlayers"
    assert f"A network of {sum(p.numel() for p in network.parameters()):,} parameters" in card.text
    (code,) = re.findall(r"```python\n(.+?)```", card.text, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(re.sub(r'\("the folder.+?"\)', f"({str(tmp_path)!r})", code), names)
    assert torch.equal(names["network"].encoder.first.weight, network.encoder.first.weight)
    (tmp_path / "README.md").write_text("edited")
    network.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "edited"


def test_a_network_is_loaded_on_the_cpu(tmp_path: Path) -> None:
    network = small()
    network.save_pretrained(tmp_path)
    with torch.device("meta"):
        loaded = type(network).from_pretrained(tmp_path)
    assert torch.equal(loaded.encoder.first.weight, network.encoder.first.weight)


def test_a_config_with_nan_is_refused(tmp_path: Path) -> None:
    network = small()
    network.config["width"] = float("nan")
    with pytest.raises(TypeError, match=r"NAFUNet\.config needs values that JSON can hold"):
        network.save_pretrained(tmp_path)
