"""Compares the memory, time and accuracy of invertible stacks in liftlayers, plain PyTorch, MemCNN, revlib and FrEIA.

    pip install -c constraints.txt -e . FrEIA==0.2 revlib==1.7.2 && pip install --no-deps memcnn==1.5.2
    python benchmarks/invertible.py                 all figures, fifteen minutes on two cores
    python benchmarks/invertible.py --times         only the times, ten minutes; keeps the other figures
    python benchmarks/invertible.py --times 8-24    only those for images of 8 x 8 and 24 pairs
    python benchmarks/invertible.py --quick         only depth 2 and fewer rounds; writes nothing

Writes benchmarks/results/invertible-DEVICE.json and .md; the documentation shows the .md file. --table regenerates the
.md file from the .json file. `stacks.py` defines the networks.

Measured for a training step, forward and backward:

- convolution FLOPs, relative to the plain loop;
- bytes held after the forward pass, and the allocator's peak without the gradients of the parameters. Each variant runs
  in a process of its own, and the profiler's allocations are added up;
- time, as the median of interleaved rounds, for images of 64 x 64 and 8 x 8, with one thread and with two. At 8 x 8 a
  convolution takes as long as a few dozen lines of Python, so this shows what a library adds to the networks. The
  allocator keeps freed memory: otherwise the figures change by a fifth from run to run, with the order of allocations;
- the error of the gradients, compared with the same stack in float64.

Also measured is the largest error of inverse(forward(x)). If a variant fails, the error that it raises is its result.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import torch
from passes import keep_memory
from report import RESULTS, changes, circumstances, error, markdown, new_parser, publish
from stacks import CHANNELS, VARIANTS, build
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from liftlayers import ToGrid

SHOWN = {  # the variants in each table of errors; the others would repeat these figures
    "gradient": ("plain loop", "FrEIA", "MemCNN", "revlib", "liftlayers, reversible", "liftlayers, exact"),
    "round trip": (
        "plain loop",
        "FrEIA",
        "MemCNN",
        "liftlayers, store",
        "liftlayers, exact",
        "liftlayers, exact, 8 bits",
    ),
}
TIMED = ("torch checkpoint", "revlib", "liftlayers, reversible", "liftlayers, exact")
ROUNDS = {"64-24": 15, "64-96": 5, "8-24": 41, "8-96": 21}  # for each size of the images and depth
GAINS = {"gradient": (1.0, 4.0), "round trip": (1.0, 4.0, 8.0)}
DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def take_step(model: nn.Module, x: Tensor) -> None:
    """Runs forward and backward of a training step."""
    model(x).square().mean().backward()


def conv_flops(name: str, depth: int) -> int:
    """Counts the convolution FLOPs of a step on a 16 x 16 image."""
    model, x = build(name, depth, 16), torch.rand(1, 2 * CHANNELS, 16, 16, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        take_step(model, x)
    return sum(count for op, count in counter.get_flop_counts()["Global"].items() if "convolution" in str(op))


def memory(name: str, depth: int, device: str) -> dict[str, float]:
    """Measures, in MiB at batch 2 and 64 x 64: memory held after forward, and the peak without parameter gradients."""
    model, x = build(name, depth, 64).to(device), torch.rand(2, 2 * CHANNELS, 64, 64, device=device, requires_grad=True)
    gradients = sum(p.numel() * p.element_size() for p in model.parameters())
    take_step(model, x)  # warm up caches
    model.zero_grad(set_to_none=True)
    x.grad = None
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        start = torch.cuda.memory_allocated()
        loss = model(x).square().mean()
        held = torch.cuda.memory_allocated() - start
        loss.backward()
        peak = torch.cuda.max_memory_allocated() - start
    else:
        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
            loss = model(x).square().mean()
        held = sum(changes(profile))
        with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
            loss.backward()
        peak = max(itertools.accumulate(changes(profile), initial=held))
    return {"held_mib": held / 2**20, "peak_mib": (peak - gradients) / 2**20}


def gradient_error(name: str, depth: int, gain: float, dtype: str, device: str) -> float:
    """Returns the largest relative error of a parameter's gradient.

    The reference is float64; for exact chains it is the same chain with stored activations.
    """
    exact = "exact" in name
    torch.manual_seed(1)
    x = torch.rand(1, 2 * CHANNELS, 16, 16).to(device)
    trusted = build("liftlayers, exact, store" if exact else "plain loop", depth, 16, gain=gain, smooth=True).to(device)
    model = build(name, depth, 16, gain=gain, smooth=True).to(device)
    if exact:
        with precision(dtype, device):
            take_step(trusted, x.clone().requires_grad_())
            take_step(model, x.clone().requires_grad_())
    else:
        take_step(trusted.double(), x.double().requires_grad_())
        take_step(model.to(DTYPES[dtype]), x.to(DTYPES[dtype]).requires_grad_())
    pairs = zip(trusted.weights, model.weights, strict=True)
    return max(float((p.grad - q.grad.to(p)).norm() / p.grad.norm()) for p, q in pairs)  # type: ignore[union-attr,operator]


@torch.no_grad()
def round_trip_error(name: str, depth: int, gain: float, dtype: str, device: str) -> float:
    """Returns the largest error of inverse(forward(x)) at 16 x 16. For exact chains, x is first rounded to the grid."""
    torch.manual_seed(1)
    x = torch.rand(1, 2 * CHANNELS, 16, 16).to(device)
    model = build(name, depth, 16, gain=gain).to(device)
    if "exact" not in name:
        model, x = model.to(DTYPES[dtype]), x.to(DTYPES[dtype])
    elif dtype == "float64":
        model, x = model.double(), x.double()
    with precision(dtype, device) if "exact" in name else nullcontext():
        again = model.inverse(model(x))  # type: ignore[operator]
    if "exact" in name:
        x = ToGrid(8 if "8 bits" in name else 16)(x)
    return float((again.double() - x.double()).abs().max())


def precision(dtype: str, device: str) -> torch.autocast:
    """Returns the autocast context of an exact chain: bands stay in float32, networks run in lower precision."""
    low = dtype in ("bfloat16", "float16")
    return torch.autocast(torch.device(device).type, DTYPES[dtype] if low else torch.bfloat16, enabled=low)


def times(rows: dict[str, dict[str, object]], settings: list[str], device: str) -> None:
    """Adds the seconds of a step, for each setting, number of threads and variant that can be timed."""
    keep_memory()
    most = torch.get_num_threads()
    for setting in settings:
        size, depth = map(int, setting.split("-"))
        for threads in range(1, most + 1) if device == "cpu" else (most,):
            main = size == 64 and depth < 96 and threads == most
            names = list(rows) if main else ["plain loop", *TIMED]
            working = [name for name in names if not isinstance(attempt(build, name, 1, size), str)]
            torch.set_num_threads(threads)
            found = seconds(working, depth, size, ROUNDS.get(setting, 3), device)
            for name, value in found.items():
                rows[name][f"seconds, {size}, {depth}, {threads}"] = value
                if main:
                    rows[name]["seconds"] = value
            print(setting, threads, found, flush=True)


def seconds(names: list[str], depth: int, size: int, rounds: int, device: str) -> dict[str, float]:
    """Returns the median seconds of a step at batch 2. The variants alternate."""
    models = {name: build(name, depth, size).to(device) for name in names}
    x = torch.rand(2, 2 * CHANNELS, size, size, device=device)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name, model in models.items():
            model.zero_grad(set_to_none=True)
            begun = time.perf_counter()
            take_step(model, x.clone().requires_grad_())
            if device != "cpu":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                found[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in found.items()}


def attempt(function: Callable[..., object], *arguments: object) -> object:
    """Returns the result of a call, or the error message if it fails."""
    try:
        return function(*arguments)
    except Exception as problem:  # other libraries may fail in any way; the error is the result
        return error(problem)


def in_own_process(name: str, depth: int, device: str) -> object:
    """Runs `memory` in a new process, where nothing is cached."""
    command = [sys.executable, __file__, "--memory-of", name, "--depth", str(depth), "--device", device]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else f"exit status {done.returncode}"


def measure(name: str, depths: tuple[int, ...], device: str) -> dict[str, object]:
    """Measures everything except time for one variant."""
    row: dict[str, object] = {"conv_flops": attempt(conv_flops, name, depths[0])}
    for depth in depths:
        row[f"memory, {depth}"] = in_own_process(name, depth, device)
        for dtype in DTYPES:
            for gain in GAINS["gradient"]:
                if dtype in ("float32", "bfloat16"):
                    key = f"gradient, {depth}, x{gain:g}, {dtype}"
                    row[key] = attempt(gradient_error, name, depth, gain, dtype, device)
            for gain in GAINS["round trip"]:
                key = f"round trip, {depth}, x{gain:g}, {dtype}"
                row[key] = attempt(round_trip_error, name, depth, gain, dtype, device)
    return row


def main() -> None:
    parser = new_parser(__doc__, quick="only depth 2 and three rounds")
    parser.add_argument("--times", nargs="*", metavar="SIZE-DEPTH", help="only times, all or some; keep other figures")
    parser.add_argument("--table", action="store_true", help="regenerate the tables from the JSON file")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--depth", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # deprecation warnings of the other libraries
    if options.memory_of:
        print(json.dumps(memory(options.memory_of, options.depth, options.device)))
        return
    name = f"invertible-{options.device.split(':')[0]}"
    only_times = options.times is not None
    report = json.loads((RESULTS / f"{name}.json").read_text()) if options.table or only_times else {"rows": {}}
    if not options.table:
        depths, rows = (2,) if options.quick else (24, 96), report["rows"]
        for variant in () if only_times else VARIANTS:
            print(variant, flush=True)
            rows[variant] = measure(variant, depths, options.device)
        report = {**circumstances(options.device), "rows": rows}
        times(rows, ["64-2", "8-2"] if options.quick else options.times or list(ROUNDS), options.device)
    publish(name, report, tables(report), quick=options.quick)


def tables(report: dict) -> str:
    """Returns Markdown tables: training step, its times, gradient errors, round-trip errors."""
    rows = report["rows"]
    depths = [int(key.partition(", ")[2]) for key in rows["plain loop"] if key.startswith("memory")]
    pairs = " / ".join(map(str, depths))
    heads = ["", "convolution FLOPs", f"held, depth {pairs}, MiB", f"peak, depth {pairs}, MiB", "relative time"]
    steps = []
    for name, row in rows.items():
        if "exact," in name:
            continue
        found = [row[f"memory, {depth}"] for depth in depths]
        held, peak = (
            " / ".join(f"{m[key]:.2f}" if isinstance(m, dict) else "fails" for m in found)
            for key in ("held_mib", "peak_mib")
        )
        flops, duration = (
            f"{row[key] / rows['plain loop'][key]:.3f}" if isinstance(row.get(key), (int, float)) else "fails"
            for key in ("conv_flops", "seconds")
        )
        steps.append([name, flops, held, peak, duration])
    parts = [f"{report['machine']}, torch {report['versions']['torch']}, {report['date']}"]
    parts += ["<!-- training step -->", markdown(heads, steps)]
    parts += ["<!-- times -->", markdown(["image, depth, threads", *TIMED], list(ratios(rows)))]
    for kind in ("gradient", "round trip"):
        settings = [key for key in rows["plain loop"] if key.startswith(kind)]
        lines = [[key.partition(", ")[2], *(number(rows[name][key]) for name in SHOWN[kind])] for key in settings]
        parts += [f"<!-- {kind} -->", markdown(["depth, gain, precision", *SHOWN[kind]], lines)]
    return "\n\n".join([*parts, "<!-- end -->"]) + "\n"


def ratios(rows: dict) -> Iterator[list[str]]:
    """Yields the lines of the table of times, which are relative to the plain loop."""
    for key in filter(lambda key: key.startswith("seconds, "), rows["plain loop"]):
        size, depth, threads = key.split(", ")[1:]
        found = [f"{rows[name][key] / rows['plain loop'][key]:.3f}" for name in TIMED if key in rows[name]]
        yield [f"{size} x {size}, {depth}, {threads}", *found]


def number(value: object) -> str:
    """Formats a number, or returns the type of the error."""
    return f"{value:.2g}" if isinstance(value, float) else str(value).partition(":")[0]


if __name__ == "__main__":
    main()
