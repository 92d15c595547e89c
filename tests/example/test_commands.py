"""Every command in the README, the docs and the help of the scripts runs as it is typed, on small photos and
networks.

The commands of a block run in their order in one folder, so that each finds the files of the earlier ones. Options
at the end make long commands short; they override earlier options. The CPU replaces a GPU that is missing.
Installing, linting and building are steps of .ci/run; tests/test_benchmarks.py runs brief benchmarks.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import safetensors.torch
import torch
from pirnet.model import LIH
from pirnet.support.keys import new_key, new_key_file
from pirnet.support.lpips import LPIPS
from pirnet.weights import save_weights

from liftlayers.testing import randomise_
from tests.example.helpers import EXAMPLE, TINY, Script, save_image, tiny

ROOT = EXAMPLE.parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted(EXAMPLE.rglob("*.md"))]
PAGES = [page for page in PAGES if "node_modules" not in page.parts]  # packages of the page have pages of their own
PAGES.remove(ROOT / "docs" / "lossless.md")  # about another example, whose scripts have tests of their own
SCRIPTS = [
    *sorted(EXAMPLE.glob("*.py")),
    *(EXAMPLE / "reproduce" / f"{name}.py" for name in ("compare", "finding", "security")),
]
SCRIPT_PATHS = {str(script.relative_to(ROOT)): str(script.relative_to(EXAMPLE)) for script in SCRIPTS}
FOLDERS = ("PHOTOS", "BSDS500", "CBSD68", "CLIC", "CID22", "DIV2K_valid_HR")
DNCNN, LPIPS_FILE = "kair_dncnn_color_blind.safetensors", "lpips.safetensors"
BRIEF = ("--minutes", "0.001", "--crop", "32", "--device", "cpu")
# Their commands run in tests of their own.
ELSEWHERE = ("serve.py", "cluster.py", "page.py", "export.py", "reproduce/security.py")
REPEATED: set[tuple[str, ...]] = set()  # commands that have run: several pages have some of them
ROW = {"1": "sr-hidden-rlfn", "2": "sr-pirnet-k-2", "3": "sr-not-reversible"}


def commands(text: str) -> list[list[str]]:
    """The words of each command without comments; commands that are joined by && are separate."""
    found: list[list[str]] = []
    for line in text.splitlines():
        found.append([])
        for word in shlex.split(line, comments=True):
            found[-1] += [word] if word != "&&" else []
            if word == "&&":
                found.append([])
    return [words for words in found if words]


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def shown_by_help(script: Path) -> str:
    """The example commands in the docstring of a script."""
    return "\n".join(re.findall(r"^    (python .*)$", script.read_text().partition('"""\n')[0], re.MULTILINE))


BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}: {block.splitlines()[-1][:50]}")
    for page in PAGES
    for block in blocks(page)
    if any(SCRIPT_PATHS.keys() & set(words) for words in commands(block))
]
HELP = [pytest.param(shown_by_help(script), id=script.name) for script in SCRIPTS if script.exists()]


def made_small(script: str, words: list[str]) -> list[str]:
    """Options that are added to a command and override its own, so that it takes little time."""
    if script == "train.py":
        large = ("--data", "PHOTOS") if "--hider" in words else ()  # the bundled photos are large: too slow
        return [*TINY, *large, "--steps", "3"]
    if script == "reproduce/compare.py":
        table = words[words.index("--table") + 1] if "--table" in words else "1"
        return [*BRIEF, "--rows", ROW[table], "--batch-size", "2", "--pairs", "1", "--side", "48"]
    return {"reproduce/finding.py": [*BRIEF, "--test", "PHOTOS"], "evaluate.py": ["--device", "cpu"]}.get(script, [])


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with all the files that the commands read."""
    for number, name in enumerate(FOLDERS):
        (tmp_path / name).mkdir()
        for seed in range(4):
            save_image(tmp_path / name / f"{seed}.png", 10 * number + seed, 48, 64)
    save_image(tmp_path / "cover.png", 0, 48, 64)
    save_image(tmp_path / "secret.jpg", 1, 48, 64)
    (tmp_path / "ANOTHER_RUN").mkdir()
    save_weights(tmp_path / "ANOTHER_RUN" / "lih.safetensors", randomise_(LIH(tiny().lih)), tiny().lih)
    return tmp_path


def given(words: list[str], desk: Path) -> None:
    """Writes the files that a single command of a script's help needs, such as a stego image."""
    for name in {"stego.png", "restored.png"} & {word for word in words if words[words.index(word) - 1] != "-o"}:
        if not (desk / name).exists():
            save_image(desk / name, 2, 48, 64)
    if "stego.key" in words and not (desk / "stego.key").exists():
        with new_key_file(new_key(desk / "stego.key", torch.zeros(3, 48, 64), block=16, weights="")):
            pass
    if DNCNN in words:
        from reproduce.baselines.dncnn import DnCNN
        from reproduce.baselines.published import DNCNN as LAYERS

        names = {ours: theirs for theirs, ours in LAYERS.items()}
        tensors = {tuple(name.rsplit(".", 1)): tensor for name, tensor in DnCNN(batch_norm=False).state_dict().items()}
        published = {f"{names[layer]}.{kind}": tensor for (layer, kind), tensor in tensors.items()}
        safetensors.torch.save_file(published, desk / DNCNN)
    if LPIPS_FILE in words:
        safetensors.torch.save_file(randomise_(LPIPS()).state_dict(), desk / LPIPS_FILE)


def run(words: list[str], script: Script, desk: Path) -> None:
    """Runs one command of a script and asserts that it succeeds."""
    shutil.rmtree(desk / "runs", ignore_errors=True)  # a comparison would continue there
    (path,) = SCRIPT_PATHS.keys() & set(words)
    if not (ROOT / path).exists() or ("--hider" in words and not find_spec("reproduce")):
        pytest.skip("reproduce/ was deleted")
    name = SCRIPT_PATHS[path]
    arguments = [*words[words.index(path) + 1 :], *made_small(name, words)]
    if name in ELSEWHERE or "--server" in words or (name, *arguments) in REPEATED:
        return
    given(words, desk)
    if words[0] == "python":
        message = script(name, *arguments)
        assert message.status == 0, message.err
        if not {"-o", "--out"} & {*words}:  # no later command of its block reads what it writes
            REPEATED.add((name, *arguments))
        return
    assert words[0] == "torchrun"
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", *words[1 : words.index(path)])
    done = subprocess.run(
        [*launcher, str(EXAMPLE / name), *arguments],
        cwd=desk,
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_commands_of_the_pages_run(block: str, script: Script, desk: Path) -> None:
    for words in commands(block):
        if words[0] != "pip":
            run(words, script, desk)


@pytest.mark.slow
@pytest.mark.parametrize("block", HELP)
def test_commands_of_the_help_run(block: str, script: Script, desk: Path) -> None:
    assert block
    for words in commands(block):
        run(words, script, desk)


def test_extras_that_pages_install_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installing = [words for page in PAGES for block in blocks(page) for words in commands(block) if words[0] == "pip"]
    assert len(installing) > 3
    for words in installing:
        assert words[:5] == ["pip", "install", "-c", "constraints.txt", "-e"]
        extra = re.fullmatch(r"\.(?:\[(\w+)\])?", words[5])
        assert extra is not None
        assert extra[1] is None or extra[1] in extras
    assert (ROOT / "constraints.txt").exists()


def test_every_other_command_is_a_step_of_ci() -> None:
    """Commands without a script of the example, on the pages and in CONTRIBUTING.md, are in .ci/run, except for the
    folder of the built docs and the benchmark of a GPU."""
    table = re.findall(r"^\| `([^`]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    pages = [block for page in PAGES for block in blocks(page)]
    plain = [block for block in pages if not any(set(words) & SCRIPT_PATHS.keys() for words in commands(block))]
    steps = [line.split() for line in (ROOT / ".ci" / "run").read_text().splitlines() if not line.startswith("#")]
    steps += [words for block in blocks(ROOT / "README.md") for words in commands(block)]  # tested in CI
    others = [
        words
        for words in commands("\n".join([*table, *plain]))
        if words[0] != "pip" and not {".ci/run", "benchmarks/gpu.py"} & {*words}
    ]
    assert len(others) > 6
    for words in others:
        assert any({*words} - {"docs/_build/html"} <= {*step} for step in steps), shlex.join(words)
