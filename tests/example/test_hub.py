"""LIH, LSR and PIRNet in folders: weights and figures come back, and the scripts' files are read as they are."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pirnet import model
from pirnet.config import LIHConfig, quick
from pirnet.support.places import LIH_WEIGHTS, LSR_WEIGHTS, SHIPPED
from pirnet.weights import CheckpointError, load_lih, load_lsr, run_of, run_warning

from liftlayers.testing import randomise_
from tests.example.helpers import EXAMPLE, TINY_LSR, same_weights, smooth_image, tiny

hf: Any = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub, from the extra `hub`")
from pirnet.support.hub import LIH, LSR, PIRNet  # noqa: E402 (needs the package)

PREDICTORS = st.sampled_from(["conv", "residual"])


def random_pirnet(seed: int = 0, **changes: Any) -> PIRNet:
    return randomise_(PIRNet(replace(tiny(), **changes)), seed)


def images(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    return smooth_image(0, 16, 16)[None].to(dtype), smooth_image(1, 16, 16)[None].to(dtype)


@settings(max_examples=3)
@given(
    st.builds(LIHConfig, st.integers(1, 2), PREDICTORS, st.just(4), st.integers(0, 9)),
    st.builds(replace, st.just(TINY_LSR), num_scales=st.integers(1, 2), width=st.integers(1, 4), predictor=PREDICTORS),
    st.sampled_from(["uint8", "float"]),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 2**16),
)
def test_networks_return_to_the_bit(lih: LIHConfig, lsr: Any, stego: Any, dtype: torch.dtype, seed: int) -> None:
    """Client and cloud read their networks from the folder of both, or from one of their own."""
    saved = random_pirnet(seed, lih=lih, lsr=lsr, stego=stego).to(dtype)
    cover, secret = images(dtype)
    expected = saved(cover, secret, "deblur")
    with TemporaryDirectory() as name:
        folder = Path(name)
        saved.save_pretrained(folder)
        loaded = PIRNet.from_pretrained(folder)
        parts = [(LIH.from_pretrained(folder), LSR.from_pretrained(folder))]
        parts[0][0].save_pretrained(folder / "client")
        parts[0][1].save_pretrained(folder / "cloud")
        parts.append((LIH.from_pretrained(folder / "client"), LSR.from_pretrained(folder / "cloud")))
        assert run_warning(folder / "client" / LIH_WEIGHTS, folder / "cloud" / LSR_WEIGHTS) == []
    assert (loaded.config.lih, loaded.config.lsr, loaded.stego, loaded.z) == (lih, lsr, stego, saved.z)
    for found, wanted in zip(loaded(cover, secret, "deblur"), expected, strict=True):
        assert found.dtype == dtype
        assert torch.equal(found, wanted)
    for client, cloud in parts:
        assert (client.config, cloud.config) == (lih, lsr)
        assert torch.equal(client.conceal(cover, secret), expected.stego)
        assert same_weights(cloud, saved.lsr)


def test_the_weights_of_the_example_are_read_as_they_are(tmp_path: Path) -> None:
    """And what is saved of them is read by the scripts."""
    network = PIRNet.from_pretrained(SHIPPED)
    assert same_weights(network.lih, load_lih(SHIPPED / LIH_WEIGHTS))
    assert same_weights(network.lsr, load_lsr(SHIPPED / LSR_WEIGHTS))
    assert same_weights(network.lih, LIH.from_pretrained(SHIPPED))
    assert same_weights(network.lsr, LSR.from_pretrained(SHIPPED))
    assert (network.stego, network.z, network.training) == ("uint8", "zero", False)
    network.save_pretrained(tmp_path)
    assert same_weights(load_lsr(tmp_path / LSR_WEIGHTS), network.lsr)
    assert run_of(tmp_path / LIH_WEIGHTS) == run_of(tmp_path / LSR_WEIGHTS) == run_of(SHIPPED / LIH_WEIGHTS)


@pytest.fixture(scope="module")
def shipped_card(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("shipped")
    PIRNet.from_pretrained(SHIPPED).save_pretrained(folder)
    return hf.ModelCard.load(folder / "README.md")


def test_the_card_has_the_figures_of_the_reports(shipped_card: Any) -> None:
    listed = {(r.dataset_name, r.dataset_config, r.metric_type): r.metric_value for r in shipped_card.data.eval_results}
    for name in ("cbsd68", "set14", "set5"):
        report = json.loads((EXAMPLE / "results" / f"{name}.json").read_text())
        for row in (row for row in report["rows"] if row["pipeline"] == "uint8"):
            shown = ["" if row[name] is None else f"{row[name]:.2f}" for name in ("stego_psnr", "secret_psnr")]
            shown += [f"{row[name]:.3f}" for name in ("secret_ssim", "secret_lpips")]
            assert f"| {row['row']} | {' | '.join(shown)} |" in shipped_card.text
            for metric in ("psnr", "ssim") if row["row"] == "ours" else ():
                assert listed.pop((report["data"], row["task"], metric)) == row[f"secret_{metric}"]
    assert listed == {}


def test_the_card_has_the_facts_of_the_weights(shipped_card: Any) -> None:
    """Their licence, their data as their own page states it, and what they reveal of other people's photos."""
    about = (SHIPPED / "README.md").read_text().partition("**Data.**")[2].partition("**Figures**")[0]
    assert f"**Data.**{about.rstrip()}" in shipped_card.text
    assert shipped_card.data.license == "apache-2.0"
    modes = json.loads((EXAMPLE / "results" / "attacks.json").read_text())["modes"]
    rows = {
        mode: [row for rows in modes[mode]["attacks"].values() for row in rows if "weights without" in row["attack"]]
        for mode in ("plain", "keyed, t = 16")
    }
    plain, keyed = (max(row["correlation"] for row in found) for found in rows.values())
    text = " ".join(shipped_card.text.split())
    assert f"a correlation of {plain:.2f} with a photo that was not scrambled" in text
    assert f"in blocks of 16 pixels it is {keyed:.2f}, and" in text


@pytest.mark.parametrize("kind", [LIH, LSR, PIRNet])
def test_the_card_of_other_weights_claims_nothing_and_its_code_loads_them(kind: Any, tmp_path: Path) -> None:
    configs: dict[Any, Any] = {LIH: tiny().lih, LSR: TINY_LSR, PIRNet: tiny()}
    network = randomise_(kind(configs[kind]))
    network.save_pretrained(tmp_path)
    card = hf.ModelCard.load(tmp_path / "README.md")
    assert (card.data.license, card.data.eval_results) == (None, None)
    assert "Figures" not in card.text
    assert "CBSD68" not in card.text
    (code,) = re.findall(r"```python\n(.+?)```", card.text, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(re.sub(r'"the folder.+?"', repr(str(tmp_path)), code), names)
    assert same_weights(names["network" if kind is PIRNet else kind.__name__.lower()], network)


def test_the_card_takes_the_reports_of_ones_own(tmp_path: Path) -> None:
    report = EXAMPLE / "results" / "set5.json"
    random_pirnet().save_pretrained(tmp_path / "a", model_card_kwargs={"reports": [str(report)]})
    card = hf.ModelCard.load(tmp_path / "a" / "README.md")
    assert {result.dataset_name for result in card.data.eval_results} == {"Set5"}
    assert "### Set5, 6 pairs, scrambled in blocks of 16 pixels" in card.text
    (tmp_path / "deep.json").write_text("[" * 100_000)
    for wrong, reason in ((tmp_path / "a" / "config.json", "'rows'"), (tmp_path / "deep.json", "its brackets are")):
        with pytest.raises(ValueError, match=rf"{wrong.name} is no report of evaluate.py: {reason}"):
            random_pirnet().save_pretrained(tmp_path / "b", model_card_kwargs={"reports": [wrong]})


DAMAGES: dict[str, tuple[Callable[[Path], object], Any, str]] = {
    "no weights of the cloud": (
        lambda folder: (folder / LSR_WEIGHTS).unlink(),
        PIRNet,
        f"no weights at .*{LSR_WEIGHTS}",
    ),
    "damaged weights": (lambda folder: (folder / LIH_WEIGHTS).write_bytes(b"00"), LIH, "cannot read the weights .*lih"),
    "the other network": (
        lambda folder: (folder / LSR_WEIGHTS).rename(folder / LIH_WEIGHTS),
        LIH,
        "needs to hold the weights of LIH, got LSR",
    ),
    "half a config": (
        lambda folder: (folder / "config.json").write_text("{"),
        PIRNet,
        "config.json is damaged or of another version: Expecting",
    ),
    "another config": (
        lambda folder: (folder / "config.json").write_text('{"config": {"stego": "png", "z": "zero"}}'),
        PIRNet,
        "config.json is damaged or of another version: stego needs one of uint8, float, got 'png'",
    ),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_what_does_not_fit_is_refused(what: str, tmp_path: Path) -> None:
    random_pirnet().save_pretrained(tmp_path)
    damage, kind, message = DAMAGES[what]
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        kind.from_pretrained(tmp_path)


def test_client_and_cloud_of_two_runs_are_noticed(tmp_path: Path) -> None:
    random_pirnet().save_pretrained(tmp_path)
    randomise_(LIH(tiny().lih), 1).save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="are of different runs: the cloud cannot restore well"):
        PIRNet.from_pretrained(tmp_path)


def test_the_folder_of_a_run_can_be_read(tmp_path: Path) -> None:
    """`train.py` writes more into config.json, of which the network reads how it is used."""
    saved = random_pirnet(z="gaussian")
    saved.save_pretrained(tmp_path)
    whole = {"config": asdict(saved.config), "data": ["photos"], "device": "cpu"}
    (tmp_path / "config.json").write_text(json.dumps(whole))
    loaded = PIRNet.from_pretrained(tmp_path)
    assert isinstance(loaded, model.PIRNet)
    assert (loaded.stego, loaded.z) == ("uint8", "gaussian")
    assert same_weights(loaded, saved)


def test_other_systems_are_refused() -> None:
    with pytest.raises(ValueError, match=r"PIRNet needs lih and lsr, got hinet and lsr"):
        PIRNet(replace(quick(), hider="hinet"))


def test_the_client_downloads_nothing_of_the_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_pirnet().save_pretrained(tmp_path)
    asked = []
    monkeypatch.setattr(hf, "snapshot_download", lambda _id, **options: asked.append(options) or str(tmp_path))
    LIH.from_pretrained("user/name")
    LSR.from_pretrained("user/name")
    assert [options["allow_patterns"] for options in asked] == [[LIH_WEIGHTS], [LSR_WEIGHTS]]
