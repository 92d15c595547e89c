"""Measures time, memory and arithmetic of PIRNet: conceal, restore, reveal and a training step, in every variant.

    python benchmarks/pirnet.py                             all cases, half an hour on two cores
    python benchmarks/pirnet.py --cases paper-1x256         only these cases; the file keeps the figures of the others
    python benchmarks/pirnet.py --quick                     a short run of quick-1x64; writes nothing

Writes benchmarks/results/pirnet-DEVICE.json after every case and the .md file at the end. --table regenerates the .md
file from the .json file. `passes.py` defines the networks and variants. A case is a preset, a batch size and an image
size.

Times are medians of interleaved rounds, without a short first round, which warms up. The speed-up is relative to eager
float32 NCHW in the same rounds; on a GPU, float32 is torch's default, with TF32 in convolutions. The FLOPs of a
training step are three times those of its forward pass, without the recomputation of a memory mode. The share of the
peak is relative to matrix products in the same precision, measured before each case. Peak memory includes weights,
images, Adam's moment estimates in training and all temporary tensors; each variant is measured in a process of its own.
A figure that is skipped or fails is null, with the reason.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import torch
from passes import INFERENCE, PASSES, TRAINING, VARIANTS, Case, Network, keep_memory
from report import RESULTS, circumstances, error, markdown, new_parser, publish
from torch.utils.flop_counter import FlopCounterMode

Row = dict[str, object]

CASES = tuple(Case(preset, 1, pixels) for preset in ("quick", "base", "paper") for pixels in (256, 1024))
TARGET = Case("paper", 16, 224)  # training of this case should fit a small GPU; on a CPU it needs --cases
QUICK = (Case("quick", 1, 64),)
ENOUGH, BRIEF = 5.0, 0.5  # seconds of measurement per pass, and in a quick run
MOST, PEAK_SECONDS = 15, 0.5  # largest number of rounds; seconds after which the size of matmuls is not increased
UNASKED = "with --compile"
LONG = 2.0  # a first round longer than this many seconds counts, since warming up a CPU is faster
LARGE = 2**19  # from this many pixels, stored activations of the paper preset need tens of GiB
TOO_LARGE = "tens of GiB"
TOO_LONG = "minutes of compilation"  # more than ten, for a training step of the paper preset on a CPU


def left_out(case: Case, name: str) -> str | None:
    """Returns the reason why a pass is not measured, or None."""
    return "measured at batch 1" if case.batch > 1 and name in INFERENCE else None


def variants(case: Case, name: str, device: str, *, compiled: bool) -> dict[str, str | None]:
    """Returns the variants of a pass, each with the reason why it is not measured, or None."""
    names = TRAINING if name == "training" else tuple(key for key, v in VARIANTS.items() if v.memory == "store")
    known = [key for key in names if device != "cpu" or VARIANTS[key].compiled != "reduce-overhead"]
    large = device == "cpu" and case.preset == "paper" and case.batch * case.pixels**2 > LARGE
    found: dict[str, str | None] = {key: None if compiled or not VARIANTS[key].compiled else UNASKED for key in known}
    if name == "training" and device == "cpu" and case.preset == "paper":
        found |= {key: TOO_LONG for key in known if VARIANTS[key].compiled}
    if name == "training" and large:
        found |= {key: TOO_LARGE for key in known if VARIANTS[key].memory == "store" and found[key] is None}
    return found


def gflops_peak(dtype: torch.dtype, device: str) -> float:
    """Measures the throughput of matmuls in GFLOP/s. On a GPU, float32 uses TF32 as in convolutions."""
    sides, calls = ((256, 512, 1024, 2048), 1) if device == "cpu" else ((8192,), 10)
    rate = 0.0
    for side in sides:
        a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
        times = []
        for _ in range(8):
            begun = time.perf_counter()
            for _ in range(calls):
                torch.matmul(a, b)
            synchronise(device)
            times.append((time.perf_counter() - begun) / calls)
        rate = 2 * side**3 / statistics.median(times[1:]) / 1e9
        if sum(times) > PEAK_SECONDS:  # the next size would take a minute on a processor without bfloat16
            break
    return rate


def flops(network: Network, name: str) -> int:
    """Counts the operations of convolutions and matmuls.

    The backward pass counts twice the forward pass, because torch's counter ignores groups there.
    """
    with FlopCounterMode(display=False) as counter:
        network.loss() if name == "training" else getattr(network, name)()
    return counter.get_total_flops() * (3 if name == "training" else 1)


def seconds(networks: dict[str, Network], name: str, device: str, *, enough: float) -> dict[str, float | str]:
    """Returns the median seconds of a pass in each variant, or its error. The variants alternate."""
    errors: dict[str, float | str] = {}
    times: dict[str, list[float]] = {key: [] for key in networks}
    begun = time.perf_counter()
    for number in range(MOST + 1):
        for key, network in networks.items():
            if key in errors:
                continue
            try:
                duration = timed(getattr(network, name), device)
            except Exception as problem:  # compilers and allocators may fail in any way; the error is the result
                errors[key] = error(problem)
                continue
            warming_up = number == 0 and (duration < LONG or device != "cpu" or network.variant.compiled)
            if not warming_up:
                times[key].append(duration)
        measured = all(times[key] or key in errors for key in networks)
        if measured and time.perf_counter() - begun > enough:
            break
    return {key: statistics.median(values) for key, values in times.items() if values} | errors


def timed(function: Callable[[], object], device: str) -> float:
    synchronise(device)
    begun = time.perf_counter()
    function()
    synchronise(device)
    return time.perf_counter() - begun


def synchronise(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def peaks(case: Case, key: str, device: str) -> dict[str, float | str]:
    """Returns the peak MiB of each pass in one variant, or its error. Call it in a new process."""
    network = Network(case, key, device)
    found: dict[str, float | str] = {}
    for name in PASSES:
        if left_out(case, name) or variants(case, name, device, compiled=True).get(key, UNASKED) is not None:
            continue
        try:
            found[name] = network.peak_bytes(name) / 2**20
        except Exception as problem:
            found[name] = error(problem)
    return found


def in_own_process(case: Case, key: str, device: str) -> dict[str, float | str]:
    """Runs `peaks` in a new process, where nothing is cached."""
    command = [sys.executable, __file__, "--memory-of", key, "--cases", str(case), "--device", device]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return dict.fromkeys(PASSES, f"exit status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(case: Case, device: str, *, compiled: bool, enough: float) -> Row:
    """Measures all passes and variants of a case."""
    peak = {"float32": gflops_peak(torch.float32, device), "bf16": gflops_peak(torch.bfloat16, device)}
    chosen = {name: variants(case, name, device, compiled=compiled) for name in PASSES if not left_out(case, name)}
    keys = [key for key in VARIANTS if any(key in found and found[key] is None for found in chosen.values())]
    memory = {key: in_own_process(case, key, device) for key in keys}
    networks = {key: Network(case, key, device) for key in keys}
    counted = Network(case, "float32", "meta")
    passes: dict[str, Row] = {}
    for name in PASSES:
        if name not in chosen:
            passes[name] = {"flops": None, "variants": None, "why": left_out(case, name)}
            continue
        run = {key: networks[key] for key, why in chosen[name].items() if why is None}
        times = seconds(run, name, device, enough=enough)
        found = {
            key: {**figure("seconds", why or times[key]), **figure("peak_mib", why or memory[key][name])}
            for key, why in chosen[name].items()
        }
        passes[name] = {"flops": flops(counted, name), "variants": found}
        if compiled:
            torch.compiler.reset()  # torch recompiles a function only a few times before it gives up
        if device != "cpu":
            torch.cuda.empty_cache()
    return {"matmul_gflops": peak, "passes": passes}


def figure(name: str, value: float | str) -> Row:
    """Returns a named figure; if it is missing, null and the reason."""
    return {name: None, f"{name}_why": value} if isinstance(value, str) else {name: value}


def tables(report: dict) -> str:
    """Returns one Markdown table per case."""
    parts = [f"{report['machine']}, torch {report['versions']['torch']}"]
    heads = ["pass", "variant", "seconds", "speed-up", "share of matmul peak", "peak memory, MiB"]
    for case, row in report["rows"].items():
        peak = row["matmul_gflops"]
        lines = []
        for name, found in row["passes"].items():
            if found["variants"] is None:
                lines.append([name, "", found["why"], "", "", ""])
                continue
            title = f"{name}, {found['flops'] / 1e9:.3g} GFLOP"
            for key, figures in found["variants"].items():
                if figures.get("seconds_why") == UNASKED:
                    continue
                lines.append([title, key, *cells(figures, found, peak["bf16" if "bf16" in key else "float32"])])
                title = ""
        matmul = f"matmul: float32 {peak['float32']:.0f}, bf16 {peak['bf16']:.0f} GFLOP/s"
        parts += [f"<!-- {case} -->", f"{case}, {row['date']}; {matmul}", markdown(heads, lines)]
    return "\n\n".join([*parts, "<!-- end -->"]) + "\n"


def cells(figures: dict, found: dict, peak: float) -> list[str]:
    """Formats seconds, speed-up over float32 NCHW, share of matmul peak and peak memory, or the reasons why missing."""
    value, baseline = figures["seconds"], found["variants"]["float32"]["seconds"]
    if value is None:
        texts = [figures["seconds_why"].partition(":")[0], "", ""]
    else:
        ratio = "" if baseline is None else f"{baseline / value:.2f}"
        texts = [f"{value:.3g}", ratio, f"{found['flops'] / value / 1e9 / peak:.0%}"]
    memory = figures["peak_mib"]
    return [*texts, figures["peak_mib_why"].partition(":")[0] if memory is None else f"{memory:.0f}"]


def main() -> None:
    parser = new_parser(__doc__, quick="a short run of quick-1x64")
    parser.add_argument("--cases", nargs="+", type=Case.parse, help="preset, batch size, image size, as in quick-1x256")
    parser.add_argument("--table", action="store_true", help="regenerate the tables from the JSON file")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="takes minutes on a CPU; off there")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # warnings of torch's compiler
    keep_memory()  # as the scripts do
    if options.device != "cpu":
        torch.set_float32_matmul_precision("high")
    if options.memory_of:
        print(json.dumps(peaks(options.cases[0], options.memory_of, options.device)))
        return
    name = f"pirnet-{options.device.split(':')[0]}"
    file = RESULTS / f"{name}.json"
    report = json.loads(file.read_text()) if file.exists() else {"rows": {}}
    if not options.table:
        now = circumstances(options.device)
        if options.quick or any(report.get(key) != now[key] for key in ("machine", "versions")):
            report["rows"] = {}
        report = {**now, "rows": report["rows"]}
        compiled = options.device != "cpu" if options.compile is None else options.compile
        target = () if options.device == "cpu" else (TARGET,)
        for case in options.cases or (QUICK if options.quick else (*CASES, *target)):
            print(case, flush=True)
            enough = BRIEF if options.quick else ENOUGH
            found = measure(case, options.device, compiled=compiled, enough=enough)
            report["rows"][str(case)] = {"date": now["date"], **found}
            if not options.quick:
                file.write_text(json.dumps(report, indent=2) + "\n")
    publish(name, report, tables(report), quick=options.quick)


if __name__ == "__main__":
    main()
