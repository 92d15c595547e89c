"""Laws on a GPU: the tests marked `gpu`, the bits of exact chains, and the numbers of networks of integers."""

__all__ = ["bits", "tests"]

import copy
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from gpu_measure import Cases, Row, Setting
from torch import Tensor, nn

from liftlayers import (
    ConvPredictor,
    Haar,
    IntegerPredictor,
    Invertible,
    LiftingBlock,
    LiftingPyramid,
    LosslessWavelet,
    ResidualPredictor,
    Sequential,
    ToGrid,
    exact,
)
from liftlayers._bands import Bands, as_tuple
from liftlayers.exact.exact import Exact
from liftlayers.memory.container import Memory
from liftlayers.testing import randomise_
from tests.nn.integers import FIXED_SHA256, fixed_network, sha256

ROOT = Path(__file__).parent.parent
MARKED = re.compile(r"mark\.gpu|on_each_device|DEVICES")  # what a file with tests for a GPU contains
OUTCOMES = {"passed": ".", "failed": "F", "errors": "E", "skipped": "s"}
SPARE = 5.0  # seconds to report the tests that have run


# The tests


def tests(setting: Setting) -> Cases:
    """The tests marked `gpu`; in a dry run, those of one file, which are skipped."""
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if MARKED.search(path.read_text())]
    return {"marked gpu": partial(run_tests, [ROOT / "tests" / "test_gpu.py"] if setting.dry_run else files, setting)}


def run_tests(files: Sequence[Path], setting: Setting) -> Iterator[Row]:
    """Runs files with pytest, with several processes if pytest-xdist is there; counts and names what fails."""
    options = ["-m", "gpu", "-q", "-rfE", "--tb=short", "-p", "no:benchmark", "--continue-on-collection-errors"]
    if find_spec("xdist") and not setting.dry_run:
        options += ["-n", "4", "--dist", "loadfile"]
    command = [sys.executable, "-m", "pytest", *options, *map(str, files)]
    output = setting.scratch / "pytest.txt"
    with output.open("wb") as file, subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file) as process:
        try:
            finished = process.wait(setting.seconds_left - SPARE) in (0, 1)
        except subprocess.TimeoutExpired:
            process.kill()
            finished = False
    text = output.read_text(errors="replace")
    progress = "".join(re.findall(r"^([.FEsx]+)(?: +\[ *\d+%\])?$", text, re.MULTILINE))
    failing = re.findall(r"^(FAILED|ERROR) (\S+)(?: - (.*))?$", text, re.MULTILINE)
    counts = {name: progress.count(letter) for name, letter in OUTCOMES.items()}
    counts["errors"] = max(counts["errors"], sum(kind == "ERROR" for kind, _, _ in failing))  # also of imports
    holds = not counts["failed"] and not counts["errors"] and bool(counts["passed"] or setting.dry_run)
    row: Row = {"tests": "marked gpu", "finished": finished, **counts, "holds": holds}
    yield row if finished else row | {"last line": (text.splitlines() or [""])[-1]}
    for kind, name, message in failing:
        yield {"test": name, "outcome": kind.lower(), "message": message}


# The bits


def bits(setting: Setting) -> Cases:
    """Chains of floats against themselves, then networks of integers against the CPU."""
    cases: Cases = {}
    for network in (ConvPredictor, ResidualPredictor):
        for precision in ("TF32", "float32", "bfloat16"):
            name = f"exact, {network.__name__}, {precision}"
            cases[name] = partial(exact_chain, name, network, precision, setting)
    for tf32 in (True, False):
        for benchmark in (True, False):
            name = f"integers, TF32 {'on' if tf32 else 'off'}, cudnn.benchmark {'on' if benchmark else 'off'}"
            cases[name] = partial(integers, name, setting, tf32=tf32, benchmark=benchmark)
    return cases


def exact_chain(name: str, network: type[nn.Module], precision: str, setting: Setting) -> Iterator[Row]:
    """What `exact` promises on one device; and what it does not promise, with kernels that are chosen by their time."""
    depth, side = (2, 16) if setting.dry_run else (24, 128)
    chain = randomise_(Sequential(Haar(), *(LiftingBlock(network(3, 9), network(9, 3)) for _ in range(depth))))
    with torch.no_grad():
        for key, parameter in chain.named_parameters():
            if ".last." in key:
                parameter.mul_(0.5)  # otherwise the bands of random blocks leave the range of the grid
    chain.to(setting.device)
    x = ToGrid(16)(torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(0))).to(setting.device)
    tf32 = precision == "TF32"
    with torch.autocast(setting.device, torch.bfloat16, enabled=precision == "bfloat16"):
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32):
            for law, holds in exact_laws(chain, x, setting.device):
                yield {"law": f"{name}: {law}", "holds": holds}
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=tf32):
            found = same(exact(chain).inverse(*exact(chain)(x)), x)
    yield {"not promised": f"{name}: with cudnn.benchmark, the inverse returns every bit", "found": found}


def exact_laws(chain: Sequential, x: Tensor, device: str) -> Iterator[tuple[str, bool]]:
    """Each law, and whether it holds."""
    module, alone = exact(chain), exact(chain, batch_invariant=True)
    with torch.no_grad():
        bands = module(x)
        yield "the inverse returns every bit", same(module.inverse(*bands), x)
        yield "a second pass returns the same bits", same(module(x), bands)
        with other_stream(device):
            back = module.inverse(*bands)
        yield "the inverse on another stream returns every bit", same(back, x)
        yield "a batch of one has the same bits", same(alone(x[:1]), tuple(band[:1] for band in alone(x)))
    stored = gradients(module, x, "store")
    for memory in ("reversible", "checkpoint"):
        yield f'gradients with memory="{memory}" are those of "store"', same(gradients(module, x, memory), stored)


def same(found: Bands, wanted: Bands) -> bool:
    """Whether two results have the same bits, on whichever devices they are."""
    pairs = zip(as_tuple(found), as_tuple(wanted), strict=True)
    return all(a.dtype == b.dtype and torch.equal(a.cpu(), b.cpu()) for a, b in pairs)


def gradients(module: Exact, x: Tensor, memory: Memory) -> tuple[Tensor, ...]:
    module.memory = memory
    leaf = x.clone().requires_grad_()
    loss = torch.stack([band.square().mean() for band in as_tuple(module(leaf))]).sum()
    return torch.autograd.grad(loss, (leaf, *module.parameters()))


@contextmanager
def other_stream(device: str) -> Iterator[None]:
    """Inside, a GPU works on another stream than the current one; afterwards the current one waits for it."""
    if device == "cpu":
        yield
        return
    here, other = torch.cuda.current_stream(), torch.cuda.Stream()
    other.wait_stream(here)
    with torch.cuda.stream(other):
        yield
    here.wait_stream(other)


# Networks of integers


def subjects(setting: Setting) -> dict[str, tuple[nn.Module, Tensor]]:
    """Networks and chains of integers, with their input."""
    side = 16 if setting.dry_run else 128
    photo = torch.randint(256, (16, 3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.int16)
    predictor = randomise_(IntegerPredictor(3, 9, num_hidden=2))
    blocks = (LiftingBlock(IntegerPredictor(3, 9, bits=8), IntegerPredictor(9, 3, bits=8)) for _ in range(4))
    levels = (
        Sequential(LosslessWavelet(), LiftingBlock(IntegerPredictor(3, 9), IntegerPredictor(9, 3))) for _ in range(2)
    )
    return {
        "IntegerPredictor": (predictor, photo),
        "IntegerPredictor, frozen": (predictor.frozen(), photo),
        "exact with anywhere": (exact(randomise_(Sequential(Haar(), *blocks)), anywhere=True), ToGrid(16)(photo / 255)),
        "lossless pyramid": (randomise_(LiftingPyramid(levels)), photo),
    }


@torch.no_grad()
def integers(name: str, setting: Setting, *, tf32: bool, benchmark: bool) -> Iterator[Row]:
    """The numbers of the CPU, in both directions and with several batches, layouts and precisions."""
    device = setting.device
    with torch.backends.cudnn.flags(enabled=True, benchmark=benchmark, deterministic=False, allow_tf32=tf32):
        network, x = fixed_network()
        found = sha256(network.to(device)(x.to(device)))
        yield {"law": f"{name}: the SHA-256 of the fixed network is the known one", "holds": found == FIXED_SHA256}
        for title, (module, x) in subjects(setting).items():
            wanted, there, given = as_tuple(module(x)), copy.deepcopy(module).to(device), x.to(device)
            last = given.contiguous(memory_format=torch.channels_last)
            parts = [as_tuple(there(part)) for part in given.split(1)]
            ways = {
                "batch of 16": there(given),
                "batches of one": tuple(torch.cat(bands) for bands in zip(*parts, strict=True)),
                "channels last": there(last),
            }
            with torch.autocast(device, torch.bfloat16):
                ways["autocast"] = there(given)
            holds = {way: same(found, wanted) for way, found in ways.items()}
            if isinstance(module, Invertible) and isinstance(there, Invertible):
                holds["inverse on the GPU"] = same(there.inverse(*(band.to(device) for band in wanted)), x)
                holds["inverse on the CPU"] = same(module.inverse(*(band.cpu() for band in ways["batch of 16"])), x)
            where = ", ".join(way for way, equal in holds.items() if not equal)
            law = f"{name}: {title} returns the numbers of the CPU"
            yield {"law": law, "holds": not where, "where not": where}
