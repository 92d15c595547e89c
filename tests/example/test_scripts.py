"""The scripts together: photos that pass through all of them, their help, and their common errors."""

import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageCms
from pirnet.images import read_picture
from pirnet.metrics import psnr
from pirnet.model import LIH, LSR
from pirnet.pixels import smooth_borders, to_uint8
from pirnet.support import places
from pirnet.support.keys import read_key
from pirnet.weights import load_lsr, run_id, save_weights
from skimage import data

from tests.example.helpers import (
    EXAMPLE,
    TINY_LSR,
    Script,
    assert_refused,
    lih_of,
    listing,
    save_image,
    tiny,
)
from tests.example.processes import RUNNER, run_scripts

ALL = ("train.py", "conceal.py", "restore.py", "reveal.py")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (
            "train.py",
            "--preset --data --out --steps --minutes --seed --device --resume --held-out --stego --z --in-the-clear",
        ),
        (
            "conceal.py",
            "COVER SECRET -o --key --reuse-key --no-key --block --weights --resize --force --verbose lih.safetensors",
        ),
        ("restore.py", "STEGO -o --task denoise,deblur,sr --weights --force lsr.safetensors"),
        ("reveal.py", "STEGO -o --key --no-key --weights --force lih.safetensors"),
    ],
)
def test_help_names_every_option(name: str, options: str, script: Script) -> None:
    """The help of each script names its options and weight files."""
    result = script(name, "--help")
    assert result.status == 0
    assert result.err == ""
    assert [option for option in options.split() if option not in result.out] == []


@pytest.mark.parametrize("name", sorted(script.name for script in EXAMPLE.glob("*.py")))
def test_help_fits_a_screen_with_an_example(name: str, script: Script) -> None:
    message = script(name, "--help").out
    assert len(message.splitlines()) <= 45
    assert f"python examples/pirnet/{name}" in message


@pytest.mark.parametrize("name", ALL)
def test_unknown_options_are_refused(name: str, script: Script, tmp_path: Path) -> None:
    complete = {
        "train.py": (),
        "conceal.py": ("a.png", "b.png", "-o", "c.png"),
        "restore.py": ("a.png", "-o", "c.png", "--task", "sr"),
        "reveal.py": ("a.png", "-o", "c.png"),
    }
    result = script(name, *complete[name], "--nonsense", "3")
    assert result.status == 2
    assert "--nonsense" in result.err
    assert "Traceback" not in result.err
    assert listing(tmp_path) == {}


SCRIPTS = [*EXAMPLE.glob("*.py"), *(EXAMPLE / "reproduce").glob("[cf]*.py")]
SCRIPTS = sorted(str(path.relative_to(EXAMPLE)) for path in SCRIPTS if "cli.run(main)" in path.read_text())


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_and_wrong_options_need_no_torch(name: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    commands = [[str(EXAMPLE / name), option] for option in ("--help", "--nonsense")]
    command = [sys.executable, "-X", "importtime", "-c", RUNNER, json.dumps(commands)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert [status for status, *_ in json.loads(done.stdout)] == [0, 2], done.stderr
    assert "torch" not in done.stderr
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 1


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != "page.py"])  # which imports nothing large
def test_an_interrupted_import_is_one_line(name: str, tmp_path: Path) -> None:
    """Even where a module catches the exception, as some do that try to import others."""
    interrupted = "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    pass\n"
    first = {"serve.py": "uvicorn", "cluster.py": "ray", "export.py": "onnx"}  # what they import after their options
    large = first.get(name, "torch")
    (tmp_path / f"{large}.py").write_text(f"{interrupted}raise SystemExit('it was imported')")
    needed = {"conceal.py": "a.png b.png -o c.png", "restore.py": "a.png -o c.png --task sr"}
    needed |= {"reveal.py": "a.png -o c.png", "evaluate.py": "--data . --out report"}
    command = [sys.executable, EXAMPLE / name, *needed.get(name, "").split()]
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", f"{Path(name).name}: interrupted\n")


@pytest.mark.parametrize(("height", "width", "mode"), [(64, 64, "RGB"), (65, 47, "RGBA"), (16, 16, "L")])
def test_files_go_all_the_way(
    height: int, width: int, mode: str, random_weights: Path, script: Script, tmp_path: Path
) -> None:
    """Photos of any size and mode are hidden, restored and revealed; sizes and alpha channels are kept."""
    save_image(tmp_path / "cover.png", 0, height, width, mode)
    save_image(tmp_path / "secret.png", 1, height, width, "L" if mode == "L" else "RGB")
    weights = ("--weights", random_weights)
    hidden = script("conceal.py", "cover.png", "secret.png", "-o", "stego.png", *weights)
    assert (hidden.status, hidden.out) == (0, "")
    assert "stego.png: the secret is lost" in hidden.err  # random weights hide nothing
    assert script("restore.py", "stego.png", "-o", "restored.png", "--task", "sr", *weights) == (0, "", "")
    revealed = script("reveal.py", "restored.png", "-o", "revealed.png", "--key", "stego.key", *weights)
    assert (revealed.status, revealed.out) == (0, "")
    assert all(line.startswith("restored.png: ") for line in revealed.err.splitlines())  # at most a warning
    cover = read_picture(tmp_path / "cover.png")
    for name in ("stego.png", "restored.png", "revealed.png"):
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG"
            assert image.size == (width, height)
            assert image.mode == ("RGBA" if mode == "RGBA" and name != "revealed.png" else "RGB")
        alpha = read_picture(tmp_path / name).alpha
        assert (alpha is None) == (mode != "RGBA" or name == "revealed.png")
        if alpha is not None:
            assert cover.alpha is not None
            assert torch.equal(alpha, cover.alpha)
    assert {*listing(tmp_path)} == {"cover.png", "secret.png", "stego.png", "stego.key", "restored.png", "revealed.png"}


@pytest.mark.parametrize("apart", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["together", "apart"])
def test_processes_do_what_the_networks_do(apart: bool, random_weights: Path, tmp_path: Path) -> None:
    """A new process, or one for each script, imports nothing of training, evaluation or `reproduce/`."""
    save_image(tmp_path / "cover.png", 0, 32, 48)
    save_image(tmp_path / "secret.png", 1, 32, 48)
    (tmp_path / "modules.py").write_text("import sys\nprint(*sys.modules)")
    weights = ("--weights", random_weights)
    commands = [
        ("conceal.py", "cover.png", "secret.png", "-o", "stego.png", *weights),
        ("restore.py", "stego.png", "-o", "restored.png", "--task", "denoise", *weights),
        ("reveal.py", "restored.png", "-o", "revealed.png", "--key", "stego.key", *weights),
    ]
    for of_a_process in [[command] for command in commands] if apart else [commands]:
        *results, modules = run_scripts(EXAMPLE, *of_a_process, (tmp_path / "modules.py",), cwd=tmp_path)
        for status, out, warnings in results:
            assert (status, out) == (0, "")
            assert all(line.startswith(("stego.png: ", "restored.png: ")) for line in warnings.splitlines())
        assert_imports_for_use_only({*modules.out.split()})
    pixels = {name: read_picture(tmp_path / f"{name}.png").pixels for name in ("cover", "secret", "stego", "restored")}
    lih, lsr = lih_of(random_weights), load_lsr(random_weights / "lsr.safetensors")
    key = read_key(tmp_path / "stego.key")
    with torch.no_grad():
        expected = {
            "stego": lih.conceal(pixels["cover"][None], key.scramble(pixels["secret"])[None]),
            "restored": lsr(pixels["stego"][None], "denoise"),
            "revealed": smooth_borders(key.unscramble(lih.reveal(pixels["restored"][None])[0])[None], key.block),
        }
    for name, image in expected.items():
        levels = to_uint8(image[0]).int() - to_uint8(read_picture(tmp_path / f"{name}.png").pixels).int()
        assert levels.abs().max() <= 1  # another memory layout can round differently


def assert_imports_for_use_only(loaded: set[str]) -> None:
    ours = {module for module in loaded if module.startswith(("pirnet", "reproduce"))}
    assert "pirnet.model" in ours
    assert not ours & {f"pirnet.{module}" for module in ("trainer", "losses", "evaluation", "data")}
    assert not ours & {f"pirnet.support.{module}" for module in ("distributed", "runs", "sheets", "report", "lpips")}
    assert not {module for module in ours if module.startswith("reproduce")}
    assert "torchmetrics" not in loaded
    assert "matplotlib" not in loaded


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 47), (17, 16)])
def test_what_is_hidden_is_revealed(
    height: int, width: int, half_and_double: Path, script: Script, tmp_path: Path
) -> None:
    Image.new("RGB", (width, height)).save(tmp_path / "cover.png")
    save_image(tmp_path / "secret.png", 1, height, width)
    weights = ("--weights", half_and_double)
    assert script("conceal.py", "cover.png", "secret.png", "-o", "stego.png", "--no-key", *weights).status == 0
    assert script("restore.py", "stego.png", "-o", "restored.png", "--task", "deblur", *weights).status == 0
    assert script("reveal.py", "restored.png", "-o", "revealed.png", "--no-key", *weights).status == 0
    levels = {name: to_uint8(read_picture(tmp_path / f"{name}.png").pixels) for name in ("secret", "stego", "revealed")}
    half, whole = levels["stego"].int(), levels["secret"].int()
    inside = (..., slice(height // 2 * 2), slice(width // 2 * 2))
    assert (2 * half - whole)[inside].abs().max() <= 1
    assert (levels["revealed"].int() - whole)[inside].abs().max() <= 1
    assert half[:, height // 2 * 2 :].sum() == half[:, :, width // 2 * 2 :].sum() == 0  # as in the cover
    assert (tmp_path / "restored.png").read_bytes() == (tmp_path / "stego.png").read_bytes()  # an untrained network


def test_odd_sides_lose_no_row_or_column(script: Script, tmp_path: Path) -> None:
    """The shipped weights on photos of 129 x 127 pixels, and on the same photos without the last row and column."""
    for name, pixels in (("cover", data.coffee()[60:189, 180:307]), ("secret", data.astronaut()[:129, 180:307])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        Image.fromarray(pixels[:128, :126].copy()).save(tmp_path / f"even-{name}.png")
    for even in ("", "even-"):
        stego, restored = f"{even}stego.png", f"{even}restored.png"
        hidden = script("conceal.py", f"{even}cover.png", f"{even}secret.png", "-o", stego, "--no-key")
        assert hidden.status == 0
        assert script("restore.py", stego, "-o", restored, "--task", "denoise").status == 0
        assert script("reveal.py", restored, "-o", f"{even}revealed.png", "--no-key").status == 0
    for name in ("stego", "restored", "revealed"):
        odd, even = (read_picture(tmp_path / f"{prefix}{name}.png").pixels for prefix in ("", "even-"))
        assert torch.equal(odd[:, :128, :126], even)
        for last in ((..., slice(128, 129), slice(None)), (..., slice(None), slice(126, 127))):
            original = read_picture(tmp_path / ("secret.png" if name == "revealed" else "cover.png")).pixels
            assert float(psnr(odd[last][None], original[last][None])) > (22 if name == "revealed" else 99)


def test_a_stego_file_that_a_gallery_turned_is_revealed_upright(
    half_and_double: Path, script: Script, tmp_path: Path
) -> None:
    """The gallery only adds an EXIF tag; the pixels, and what is hidden in them, stay as they are."""
    Image.new("RGB", (32, 24)).save(tmp_path / "cover.png")
    save_image(tmp_path / "secret.png", 1, 24, 32)
    weights = ("--weights", half_and_double)
    assert script("conceal.py", "cover.png", "secret.png", "-o", "stego.png", "--no-key", *weights).status == 0
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(tmp_path / "stego.png") as stego:
        stego.save(tmp_path / "turned.png", exif=exif)
    assert script("restore.py", "turned.png", "-o", "restored.png", "--task", "sr", *weights).status == 0
    assert script("reveal.py", "restored.png", "-o", "revealed.png", "--no-key", *weights).status == 0
    with Image.open(tmp_path / "restored.png") as restored:
        assert restored.size == (32, 24)
        assert restored.getexif()[0x0112] == 6
    with Image.open(tmp_path / "revealed.png") as revealed:
        assert 0x0112 not in revealed.getexif()
    secret, found = (to_uint8(read_picture(tmp_path / f"{name}.png").pixels).int() for name in ("secret", "revealed"))
    assert (secret.rot90(-1, (1, 2)) - found).abs().max() <= 1


def test_the_colour_profile_of_the_cover_is_kept(half_and_double: Path, script: Script, tmp_path: Path) -> None:
    """A secret is converted to sRGB, which is printed."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "Mine".encode("utf-16-be"))
    profile = profile.replace(b"gXYZ", b"none").replace(b"bXYZ", b"gXYZ").replace(b"none", b"bXYZ")  # exchanges colours
    Image.new("RGB", (80, 64)).save(tmp_path / "cover.png", icc_profile=profile)
    Image.new("RGB", (80, 64), (90, 60, 30)).save(tmp_path / "secret.png", icc_profile=profile)
    weights = ("--weights", half_and_double)
    result = script("conceal.py", "cover.png", "secret.png", "-o", "stego.png", *weights)
    assert (result.status, result.out) == (0, "")
    assert re.fullmatch("secret.png: colours converted from Mine.* to sRGB\n", result.err)
    assert script("restore.py", "stego.png", "-o", "restored.png", "--task", "sr", *weights).status == 0
    assert script("reveal.py", "restored.png", "-o", "revealed.png", "--key", "stego.key", *weights).status == 0
    for name, kept in (("stego", profile), ("restored", profile), ("revealed", None)):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.info.get("icc_profile") == kept


def test_a_gray_profile_of_the_cover_is_dropped_with_a_notice(
    half_and_double: Path, script: Script, tmp_path: Path
) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"GRAY"
    Image.new("L", (80, 64)).save(tmp_path / "cover.png", icc_profile=bytes(profile))
    save_image(tmp_path / "secret.png", 1, 64, 80)
    result = script("conceal.py", "cover.png", "secret.png", "-o", "stego.png", "--weights", half_and_double)
    notice = "cover.png: its colour profile, which is not for RGB, is not kept: shades may change\n"
    assert result == (0, "", notice)
    with Image.open(tmp_path / "stego.png") as image:
        assert "icc_profile" not in image.info


def test_existing_files_need_force(half_and_double: Path, script: Script, tmp_path: Path) -> None:
    save_image(tmp_path / "cover.png", 0, 32, 32)
    save_image(tmp_path / "secret.png", 1, 32, 32)
    weights = ("--weights", half_and_double)
    for name, *arguments in (
        ("conceal.py", "cover.png", "secret.png", "-o", "stego.png"),
        ("restore.py", "stego.png", "-o", "restored.png", "--task", "sr"),
        ("reveal.py", "restored.png", "-o", "revealed.png", "--key", "stego.key"),
    ):
        again = ("--reuse-key",) if name == "conceal.py" else ()
        assert script(name, *arguments, *weights).status == 0
        before = listing(tmp_path)
        assert_refused(script(name, *arguments, *weights), name, "exists already; --force overwrites it")
        assert script(name, *arguments, *weights, *again, "--force").status == 0
        assert listing(tmp_path) == before


def test_existing_files_are_seen_first(script: Script, tmp_path: Path) -> None:
    """An existing output is refused before weights and photos are read."""
    (tmp_path / "good.png").touch()
    for name, *arguments in (
        ("conceal.py", "nothing.png", "nothing.png"),
        ("restore.py", "nothing.png", "--task", "sr"),
        ("reveal.py", "nothing.png", "--no-key"),
    ):
        refused = script(name, *arguments, "-o", "good.png", "--weights", "nowhere")
        assert_refused(refused, name, "good.png: exists already; --force overwrites it")


def test_the_examples_own_weights_are_the_default(
    half_and_double: Path, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert places.SHIPPED == EXAMPLE / "weights"
    for seed, name in enumerate(("cover.png", "secret.png")):
        save_image(tmp_path / name, seed, 32, 32)
    shutil.copytree(half_and_double, tmp_path / "shipped")
    (tmp_path / "runs" / "quick").mkdir(parents=True)
    (tmp_path / "runs" / "quick" / "lih.safetensors").write_text("not looked at")
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "shipped")
    assert script("conceal.py", "cover.png", "secret.png", "-o", "stego.png").status == 0
    assert script("restore.py", "stego.png", "-o", "restored.png", "--task", "sr").status == 0
    (tmp_path / "shipped" / "lsr.safetensors").unlink()  # the client needs only its own file
    assert script("reveal.py", "stego.png", "-o", "revealed.png", "--key", "stego.key").status == 0
    message = r"no weights at .*/shipped/lsr.safetensors: train with train.py, or name another folder with --weights"
    assert_refused(script("restore.py", "stego.png", "-o", "again.png", "--task", "sr"), "restore.py", message)


def piped(script: Script, patch: pytest.MonkeyPatch, name: str, *arguments: object, content: bytes = b"") -> bytes:
    """The standard output of a script that reads the given standard input."""
    result = io.BytesIO()
    with patch.context() as streams:
        streams.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        streams.setattr(sys, "stdout", io.TextIOWrapper(result))
        assert script(name, *arguments).status == 0
        return result.getvalue()


def test_streams_carry_what_files_do(
    half_and_double: Path, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard input and output carry the same bytes as files."""
    save_image(tmp_path / "cover.png", 0, 33, 40, "RGBA")
    save_image(tmp_path / "secret.png", 1, 33, 40)
    weights = ("--weights", half_and_double)
    assert script("conceal.py", "cover.png", "secret.png", "-o", "stego.png", *weights).status == 0
    assert script("reveal.py", "stego.png", "-o", "revealed.png", "--key", "stego.key", *weights).status == 0
    before = listing(tmp_path)
    secret = (tmp_path / "secret.png").read_bytes()
    key = ("--key", "stego.key")
    again = ("cover.png", "-", "-o", "-", *key, "--reuse-key", *weights)
    stego = piped(script, monkeypatch, "conceal.py", *again, content=secret)
    assert stego == before["stego.png"]
    restored = piped(script, monkeypatch, "restore.py", "-", "-o", "-", "--task", "sr", *weights, content=stego)
    assert restored == stego  # the cloud's network is untrained
    revealed = piped(script, monkeypatch, "reveal.py", "-", "-o", "-", *key, *weights, content=restored)
    assert revealed == before["revealed.png"]
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", ["restore.py", "reveal.py"])
def test_weights_of_different_runs_are_mentioned(
    name: str, half_and_double: Path, script: Script, tmp_path: Path
) -> None:
    save_image(tmp_path / "stego.png", 0, 32, 32)
    run = tmp_path / "run"
    run.mkdir()
    lih = LIH(tiny().lih)
    save_weights(run / "lih.safetensors", lih, tiny().lih, run=run_id(lih))
    save_weights(run / "lsr.safetensors", LSR(TINY_LSR), TINY_LSR, run=run_id(lih))
    arguments = ("stego.png", "-o", "out.png", *(("--task", "sr") if name == "restore.py" else ("--no-key",)))
    assert "different runs" not in script(name, *arguments, "--weights", run).err
    for folder, part in ((run, "lih"), (half_and_double, "lsr")):
        shutil.copy(folder / f"{part}.safetensors", tmp_path)
    result = script(name, *arguments, "--weights", tmp_path, "--force")
    assert result.status == 0
    assert "lih.safetensors and" in result.err
    assert "are of different runs" in result.err


@pytest.mark.parametrize("name", ["conceal.py", "restore.py", "reveal.py"])
def test_wrong_weights_are_refused(name: str, pictures: Path, half_and_double: Path, script: Script) -> None:
    arguments = {
        "conceal.py": ("good.png", "good.png", "-o", "out.png"),
        "restore.py": ("good.png", "-o", "out.png", "--task", "sr"),
        "reveal.py": ("good.png", "-o", "out.png", "--no-key"),
    }[name]
    mine, other = ("lsr", "lih") if name == "restore.py" else ("lih", "lsr")
    refused = script(name, *arguments, "--weights", "nowhere")
    assert_refused(refused, name, f"no weights at nowhere/{mine}.safetensors: train with train.py, or name another")
    weights = pictures / "weights"
    weights.mkdir()
    shutil.copy(half_and_double / f"{other}.safetensors", weights / f"{mine}.safetensors")
    message = f"weights/{mine}.safetensors needs to hold the weights of {mine.upper()}, got {other.upper()}"
    assert_refused(script(name, *arguments, "--weights", "weights"), name, message)
    content = (half_and_double / f"{mine}.safetensors").read_bytes()
    (weights / f"{mine}.safetensors").write_bytes(content[:-50])
    message = f"cannot read the weights weights/{mine}.safetensors"
    assert_refused(script(name, *arguments, "--weights", "weights"), name, message)
    assert "out.png" not in listing(pictures)


def test_a_refusal_is_one_line(pictures: Path, half_and_double: Path, script: Script) -> None:
    result = script("conceal.py", "good.png", "small.png", "-o", "out.png", "--weights", half_and_double)
    message = "small.png: needs at least 16 x 16 pixels (height x width), got 16 x 15"
    assert result == (2, "", f"conceal.py: error: {message}\n")
    assert "out.png" not in listing(pictures)
