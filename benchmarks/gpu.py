"""Tests and measures everything on a GPU in one call of eight minutes: laws, speed, memory, three minutes of training.

    python benchmarks/gpu.py                        all sections, on a machine with one NVIDIA GPU
    python benchmarks/gpu.py --wheels FOLDER        the same, with packages that are missing there
    python benchmarks/gpu.py --sections haar        only these sections, which share the time
    python benchmarks/gpu.py --dry-run              all sections with tiny sizes on a CPU, in a minute

Writes gpu.json and gpu.md into --out, after each section. A section is a process with a share of the time; at the end
of it the process is killed, and the report lists the cases that it did not reach. --table regenerates the .md file
from the .json file. The exit status is 1 if a law does not hold, or if a section raised an error that is no result.

Needs torch for CUDA, einops, numpy, pytest, hypothesis, scikit-image, safetensors, torchmetrics and tqdm. Times are
medians of interleaved rounds; on a GPU they include the time in which it waits for Python, except in the section
`haar`. float32 is torch's default, with TF32 in convolutions. Peak memory is that of temporary tensors and gradients,
above weights and inputs.
"""

import argparse
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # the library need not be installed

import torch
from gpu_measure import Cases, Row, Setting, Skipped
from report import RESULTS, circumstances, markdown

ROOT = Path(__file__).parent.parent
SECTIONS = {  # the module of each section, and its seconds; what a section leaves is shared by those after it
    "tests": ("gpu_laws", 50),
    "bits": ("gpu_laws", 25),
    "haar": ("gpu_haar", 40),
    "stacks": ("gpu_stacks", 45),
    "pirnet": ("gpu_pirnet", 50),
    "training": ("gpu_pirnet", 200),
    "compiled": ("gpu_stacks", 70),  # the last one, since it can use what the others leave
}
MOST = 60 * 2**20  # bytes of all wheels
PEERS = ("triton", "FrEIA", "revlib", "memcnn")


def main() -> None:
    options = parsed()
    if options.run:
        work(options)
        return
    file = (options.out or (Path(tempfile.mkdtemp()) if options.dry_run else RESULTS)) / "gpu.json"
    if options.table:
        file.with_suffix(".md").write_text(tables(json.loads(file.read_text())))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that sections are killed, too
    end = time.time() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as scratch:
        report = measure(options, file, scratch=Path(scratch), end=end)
    print(f"look at {file.with_suffix('.md')}", file=sys.stderr)
    sys.exit(any(report["rows"][name]["status"] == "failed" for name in options.sections))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on a CPU; writes to a temporary folder")
    parser.add_argument("--table", action="store_true", help="regenerate the tables from the JSON file")
    parser.add_argument("--out", type=Path, help="folder for gpu.json and gpu.md, by default benchmarks/results")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install for this run, at most 60 MB")
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="folders of photos to train on")
    parser.add_argument("--set5", type=Path, help="folder of photos to test on")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections to run")
    parser.add_argument("--minutes", type=float, default=8.0, help="time of all sections together")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (options.dry_run or options.table or torch.cuda.is_available()):
        parser.error("a GPU is needed, and torch finds none; --dry-run goes through all sections on a CPU")
    if options.dry_run and options.table and options.out is None:
        parser.error("a dry run writes to a temporary folder: name the folder of its report with --out")
    return options


def measure(options: argparse.Namespace, file: Path, *, scratch: Path, end: float) -> dict:
    """Runs the sections one after the other, and writes the report after each."""
    packages = installed(options.wheels, scratch / "packages")
    sys.path[:0] = packages  # for the versions in the report
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([*packages, str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),  # nothing has been compiled before
        "TRITON_CACHE_DIR": str(scratch / "triton"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # several processes compile at the same time
    }
    report = described(options.dry_run)
    if file.exists():
        earlier = json.loads(file.read_text())
        if all(earlier[key] == report[key] for key in ("machine", "driver", "versions")):
            report["rows"] = earlier["rows"]  # a call for some sections keeps the others
    file.parent.mkdir(parents=True, exist_ok=True)
    chosen = [name for name in SECTIONS if name in options.sections]
    for number, name in enumerate(chosen):
        shares = [SECTIONS[other][1] for other in chosen[number:]]
        until = time.time() + (end - time.time()) * shares[0] / sum(shares)
        found = section(name, until, scratch=scratch, environment=environment)
        report["rows"][name] = found
        file.write_text(json.dumps(report, indent=1) + "\n")
        file.with_suffix(".md").write_text(tables(report))
        line = f"{name}: {found['status']}, {found['seconds']} s, {len(found['rows'])} rows"
        print(line, file=sys.stderr, flush=True)
    return report


def installed(wheels: Path | None, target: Path) -> list[str]:
    """Installs wheels into a temporary folder, and returns what to add to Python's path."""
    if wheels is None:
        return []
    files = sorted(wheels.glob("*.whl"))
    size = sum(file.stat().st_size for file in files)
    if not files or size > MOST:
        found = f"{len(files)} of {size / 2**20:.0f} MB"
        raise SystemExit(f"--wheels needs a folder with wheels of at most 60 MB together, got {found} in {wheels}")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-cache-dir"]
    subprocess.run([*pip, "--target", str(target), *map(str, files)], check=True)
    return [str(target)]


def described(dry_run: bool) -> dict:
    """The card, the driver, all versions and the date, and no rows."""
    report = circumstances("cpu" if dry_run else "cuda", *PEERS)
    driver = memory = None
    if not dry_run:
        memory = round(torch.cuda.get_device_properties(0).total_memory / 2**30)
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
            driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]
    report["versions"] |= {"CUDA": torch.version.cuda, "cuDNN": torch.backends.cudnn.version()}
    return report | {"driver": driver, "memory_gib": memory, "rows": {}}


# A section is a process, which may be killed.


def section(name: str, until: float, *, scratch: Path, environment: dict[str, str]) -> dict:
    """Runs a section until a time, and returns its part of the report."""
    log, errors = scratch / f"{name}.jsonl", scratch / f"{name}.txt"
    own = ["--run", name, "--until", str(until), "--scratch", str(scratch)]
    command = [sys.executable, __file__, *sys.argv[1:], *own]
    begun = time.time()
    with errors.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, process_group=0)
        try:
            status = process.wait(max(0.0, until - time.time()))
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the processes that the section has started
            process.wait()
    lines = log.read_text().splitlines() if log.exists() else []
    last = (errors.read_text(errors="replace").splitlines() or [""])[-1]
    entries = [json.loads(line) for line in lines if line.endswith("}")]  # the last one may be incomplete
    return outcome(entries, status, last) | {"seconds": round(time.time() - begun, 1)}


def outcome(entries: Sequence[dict], status: int | None, last: str) -> dict:
    """What a section has logged: its cases, their rows, and each case when it ends; and how its process ended."""
    known = [name for entry in entries for name in entry.get("cases", ())]
    rows = [row for entry in entries for row in entry.get("rows", ())]
    errors = {entry["case"]: entry["error"] for entry in entries if "error" in entry}
    skipped = [entry["skipped"] for entry in entries if "skipped" in entry]
    cut = [name for name in known if name not in {entry.get("case") for entry in entries}]
    broken = [str(row.get("law", row)) for row in rows if row.get("holds") is False]
    if status:
        errors["process"] = f"exit status {status}: {last}"
    word = "failed" if errors or broken else "skipped" if skipped else "cut" if cut or status is None else "done"
    return {"status": word, "why": "; ".join(skipped), "errors": errors, "broken": broken, "cut": cut, "rows": rows}


def work(options: argparse.Namespace) -> None:
    """The process of a section: logs the names of all cases, then what each of them finds."""
    device = "cpu" if options.dry_run else "cuda"
    setting = Setting(device, options.dry_run, options.until, options.scratch, tuple(options.data), options.set5)
    with (options.scratch / f"{options.run}.jsonl").open("a") as file:

        def log(**entry: object) -> None:
            file.write(json.dumps(entry) + "\n")
            file.flush()

        try:
            cases: Cases = getattr(importlib.import_module(SECTIONS[options.run][0]), options.run)(setting)
        except Skipped as reason:
            log(skipped=str(reason))
            return
        log(cases=list(cases))
        for name, case in cases.items():
            try:
                for row in case():
                    log(rows=[row])
                log(case=name)
            except Exception as problem:  # the other cases go on
                log(case=name, error=traceback.format_exception_only(problem)[-1].strip())


# The report


def tables(report: dict) -> str:
    """The report as Markdown: a heading for each section, and a table for each kind of row."""
    known = {name: found for name, found in report["versions"].items() if found not in (None, "missing")}
    versions = ", ".join(f"{name} {found}" for name, found in known.items())
    driver = f"driver {report['driver']}, " if report["driver"] else ""
    parts = [f"{report['machine']}, {report['date']}; {driver}{versions}"]
    for name, found in report["rows"].items():
        parts.append(f"## {name}: {found['status']} after {found['seconds']} s")
        notes = {"skipped": [found["why"]] * bool(found["why"]), "broken": found["broken"], "not reached": found["cut"]}
        notes["errors"] = [f"{case}: {problem}" for case, problem in found["errors"].items()]
        parts += [f"{title}:\n\n" + "\n".join(f"- {line}" for line in lines) for title, lines in notes.items() if lines]
        kinds: dict[str, list[Row]] = {}
        for row in found["rows"]:
            kinds.setdefault(next(iter(row)), []).append(row)
        parts += map(table, kinds.values())
    return "\n\n".join(parts) + "\n"


def table(rows: list[Row]) -> str:
    heads = list(dict.fromkeys(name for row in rows for name in row))
    return markdown(heads, [[cell(row.get(name)) for name in heads] for row in rows])


def cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    return " ".join(text.replace("|", "/").split())


if __name__ == "__main__":
    main()
