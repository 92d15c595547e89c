"""export.py: the graphs compute what LIH computes, and say which weights they are of."""

from pathlib import Path

import pytest
import torch
from pirnet.pixels import to_uint8
from pirnet.support.web_page import CONCEAL, MANIFEST, REVEAL, digest, read_manifest
from pirnet.weights import load_lih

from tests.example.helpers import Script, assert_refused, run_script

onnx = pytest.importorskip("onnx", reason="needs the extra web")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra web")
pytest.importorskip("onnxscript", reason="needs the extra web")
from pirnet.support.exporting import Conceal, difference  # noqa: E402 (it imports onnxruntime)


@pytest.fixture(scope="module")
def graphs(random_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `export.py` writes for random weights."""
    folder = tmp_path_factory.mktemp("desk")
    done = run_script("export.py", "--weights", random_weights, "-o", "new/graphs", cwd=folder)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"new/graphs/{CONCEAL}", f"new/graphs/{REVEAL}"]
    assert all(": differs from PyTorch by " in line for line in lines)
    return folder / "new" / "graphs"


def run(graph: Path, *images: torch.Tensor) -> list[torch.Tensor]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    outputs = session.run(None, {name: image.numpy() for name, image in zip(names, images, strict=True)})
    return [torch.from_numpy(output) for output in outputs]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(16, 18), (50, 34), (128, 96)])
@torch.inference_mode()
def test_graphs_compute_what_the_network_computes(size: tuple[int, int], graphs: Path, random_weights: Path) -> None:
    """Covers of black and white too, which headroom moves inwards."""
    lih = load_lih(random_weights / "lih.safetensors")
    cover = torch.randint(2, (1, 3, *size)).mul(255).to(torch.uint8)
    secret = torch.randint(256, (1, 3, *size), dtype=torch.uint8)
    (stego,) = run(graphs / CONCEAL, cover, secret)
    expected = to_uint8(lih.conceal(cover / 255, secret / 255))
    assert stego.dtype == torch.uint8
    assert (stego.int() - expected.int()).abs().max() <= 1
    assert (stego != expected).float().mean() < 1e-3
    revealed, values = run(graphs / REVEAL, stego)
    torch.testing.assert_close(values, lih.reveal(stego / 255), rtol=0, atol=1e-4)
    assert torch.equal(revealed, to_uint8(values))


@pytest.mark.slow
def test_values_are_rounded_to_the_even_level(graphs: Path) -> None:
    rounding = [node.op_type for node in onnx.load(graphs / CONCEAL).graph.node][-4:]
    assert rounding == ["Clip", "Mul", "Round", "Cast"]  # Round of ONNX rounds halves to the even number


@pytest.mark.slow
def test_graphs_of_other_weights_are_refused(graphs: Path, half_and_double: Path) -> None:
    other = Conceal(load_lih(half_and_double / "lih.safetensors"))
    with pytest.raises(ValueError, match=r"Conceal needs a graph within 1 grey level of PyTorch in all but 0\.1%"):
        difference((graphs / CONCEAL).read_bytes(), other)


@pytest.mark.slow
def test_graphs_say_which_weights_they_are_of_and_name_no_folder(graphs: Path, random_weights: Path) -> None:
    assert read_manifest(graphs) == {"weights": digest(random_weights), "run": "", "overlap": 16, "opset": 20}
    for name in (CONCEAL, REVEAL):
        assert b".py" not in (graphs / name).read_bytes()


def test_a_manifest_is_of_complete_graphs(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == {}
    (tmp_path / CONCEAL).touch()
    (tmp_path / REVEAL).touch()
    for damaged in ("{}{", "[" * 100_000):
        (tmp_path / MANIFEST).write_text(damaged)
        assert read_manifest(tmp_path) == {}
    (tmp_path / MANIFEST).write_text('{"run": ""}')
    assert read_manifest(tmp_path) == {"run": ""}
    (tmp_path / REVEAL).unlink()
    assert read_manifest(tmp_path) == {}


def test_mistakes_are_one_line(script: Script, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_refused(script("export.py", "--weights", tmp_path), "export.py", "no weights at .*lih.safetensors")
    assert_refused(script("export.py", "-o", "file"), "export.py", "File exists: 'file'")
    with pytest.raises(ValueError, match=r"no weights at .*lih.safetensors: train with train.py"):
        digest(tmp_path)
