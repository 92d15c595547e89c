"""PIRNet at work: seconds, memory and arithmetic of conceal, restore, reveal and a training step, in every variant.

    python benchmarks/pirnet.py                             all cases, half an hour on two cores
    python benchmarks/pirnet.py --cases paper-1x256         these cases; others stay as the file has them
    python benchmarks/pirnet.py --quick                     quick-1x64, briefly; writes nothing

Writes benchmarks/results/pirnet-DEVICE.json after every case and .md at the end; --table writes the second again from
the first. `passes.py` has the networks and variants. A case is a preset and a number and side of images.

Seconds are medians of interleaved rounds, less a quick first one. Speed-up is over eager float32 NCHW in the same
rounds; on a GPU that is float32 as torch has it there, TF32 in convolutions. FLOPs of a training step are three times
those of its forward half, whatever a memory mode computes again; the share of the peak is of matmuls in the same
precision, measured before each case. Peak memory is of weights, images, Adam's averages in training and everything
allocated beside them, in a process of its own for each variant. What is left out or fails is null, with the reason.
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
from invertible import RESULTS, circumstances, markdown
from passes import INFERENCE, PASSES, TRAINING, VARIANTS, Case, Network
from torch.utils.flop_counter import FlopCounterMode

Row = dict[str, object]

CASES = tuple(Case(preset, 1, pixels) for preset in ("quick", "base", "paper") for pixels in (256, 1024))
TARGET = Case("paper", 16, 224)  # whose training should fit a small GPU; on a CPU, with --cases
QUICK = (Case("quick", 1, 64),)
ENOUGH, BRIEF = 5.0, 0.5  # seconds after which a pass is measured well, or in a quick run
MOST, PEAK_SECONDS = 15, 0.5  # rounds; after which matmuls are not made larger
UNASKED = "with --compile"
LONG = 2.0  # seconds of a first round that is kept, as warming a CPU up takes far less
LARGE = 2**19  # pixels of which the paper's training would store tens of gibibytes
TOO_LARGE = "tens of GiB"


def left_out(case: Case, name: str) -> str | None:
    """Why a pass is not measured, if it is not."""
    return "measured at batch 1" if case.batch > 1 and name in INFERENCE else None


def variants(case: Case, name: str, device: str, *, compiled: bool) -> dict[str, str | None]:
    """The variants of a pass, and why one is not measured."""
    names = TRAINING if name == "training" else tuple(key for key, v in VARIANTS.items() if v.memory == "store")
    known = [key for key in names if device != "cpu" or VARIANTS[key].compiled != "reduce-overhead"]
    large = device == "cpu" and case.preset == "paper" and case.batch * case.pixels**2 > LARGE
    found: dict[str, str | None] = {key: None if compiled or not VARIANTS[key].compiled else UNASKED for key in known}
    if name == "training" and large:
        found |= {key: TOO_LARGE for key in known if VARIANTS[key].memory == "store" and found[key] is None}
    return found


def gflops_peak(dtype: torch.dtype, device: str) -> float:
    """Billions of operations a second in matmuls of this precision; of float32 as convolutions have it."""
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
        if sum(times) > PEAK_SECONDS:  # a processor without bfloat16 takes a minute for the next size
            break
    return rate


def flops(network: Network, name: str) -> int:
    """Operations of convolutions and matmuls; of backward twice forward's, since torch's count of it ignores groups."""
    with FlopCounterMode(display=False) as counter:
        network.loss() if name == "training" else getattr(network, name)()
    return counter.get_total_flops() * (3 if name == "training" else 1)


def seconds(networks: dict[str, Network], name: str, device: str, *, enough: float) -> dict[str, float | str]:
    """Median seconds of a pass in each variant, which take turns, or the error it raises."""
    errors: dict[str, float | str] = {}
    times: dict[str, list[float]] = {key: [] for key in networks}
    begun = time.perf_counter()
    for number in range(MOST + 1):
        for key, network in networks.items():
            if key in errors:
                continue
            try:
                duration = timed(getattr(network, name), device)
            except Exception as problem:  # a compiler or memory may fail in any way; that is a result too
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


def error(problem: Exception) -> str:
    return f"{type(problem).__name__}: {(str(problem) or '?').splitlines()[0]}"


def peaks(case: Case, key: str, device: str) -> dict[str, float | str]:
    """Peak mebibytes of each pass in one variant, or the error it raises; to be called in a fresh process."""
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
    """`peaks` in a fresh process, where nothing is cached."""
    command = [sys.executable, __file__, "--memory-of", key, "--cases", str(case), "--device", device]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return dict.fromkeys(PASSES, f"exit status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(case: Case, device: str, *, compiled: bool, enough: float) -> Row:
    """Everything of a case."""
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
            torch.compiler.reset()  # it compiles a function for a few networks only
        if device != "cpu":
            torch.cuda.empty_cache()
    return {"matmul_gflops": peak, "passes": passes}


def figure(name: str, value: float | str) -> Row:
    """A figure by its name; null, with the reason, where there is none."""
    return {name: None, f"{name}_why": value} if isinstance(value, str) else {name: value}


def tables(report: dict) -> str:
    """The figures as Markdown, a table for each case."""
    parts = [f"{report['machine']}, torch {report['versions']['torch']}"]
    heads = ["pass", "variant", "seconds", "speed-up", "of matmul peak", "peak, MiB"]
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
    """Seconds, speed-up over float32 NCHW, share of the matmul peak and peak memory; what is missing, by its reason."""
    value, baseline = figures["seconds"], found["variants"]["float32"]["seconds"]
    if value is None:
        texts = [figures["seconds_why"].partition(":")[0], "", ""]
    else:
        ratio = "" if baseline is None else f"{baseline / value:.2f}"
        texts = [f"{value:.3g}", ratio, f"{found['flops'] / value / 1e9 / peak:.0%}"]
    memory = figures["peak_mib"]
    return [*texts, figures["peak_mib_why"].partition(":")[0] if memory is None else f"{memory:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", type=Case.parse, help="such as quick-1x256: preset, images, their side")
    parser.add_argument("--quick", action="store_true", help="quick-1x64, briefly; writes nothing")
    parser.add_argument("--table", action="store_true", help="write the tables again from the JSON")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="minutes on a CPU, where it is off")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of torch's compiler
    if options.device != "cpu":
        torch.set_float32_matmul_precision("high")
    if options.memory_of:
        print(json.dumps(peaks(options.cases[0], options.memory_of, options.device)))
        return
    file = RESULTS / f"pirnet-{options.device.split(':')[0]}.json"
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
                RESULTS.mkdir(exist_ok=True)
                file.write_text(json.dumps(report, indent=2) + "\n")
    text = tables(report)
    if not options.quick:
        file.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
