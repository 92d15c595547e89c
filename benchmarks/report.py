"""What the benchmarks share: options, the machine and versions, the files of results, errors, and allocations."""

__all__ = ["RESULTS", "changes", "circumstances", "error", "markdown", "new_parser", "processor", "publish"]

import argparse
import json
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import liftlayers

RESULTS = Path(__file__).parent / "results"


def new_parser(description: str | None, *, quick: str) -> argparse.ArgumentParser:
    """Returns the parser of a script with the option --quick, whose help says what a quick run measures."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{quick}; writes nothing")
    return parser


def processor() -> str:
    """Returns the name of the processor, if known, and the instruction set that torch uses."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def circumstances(device: str, *packages: str) -> dict:
    """Returns machine, date and versions, also those of other packages that a script names."""
    versions = {"liftlayers": liftlayers.__version__, "torch": torch.__version__, "python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "missing"
    threads = torch.get_num_threads()
    cpu = f"{processor()}, {'one thread' if threads == 1 else f'{threads} threads'}"
    machine = cpu if device == "cpu" else torch.cuda.get_device_name()
    return {"machine": machine, "date": date.today().isoformat(), "versions": versions}


def publish(name: str, report: dict, text: str, *, quick: bool) -> None:
    """Prints the tables of a report. Unless the run was quick, writes both into the folder of results."""
    if not quick:
        (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=2) + "\n")
        (RESULTS / f"{name}.md").write_text(text)
    print(text)


def markdown(heads: list[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def error(problem: Exception) -> str:
    """Returns the type and the first line of an error, as the result of what raised it."""
    return f"{type(problem).__name__}: {(str(problem) or '?').splitlines()[0]}"


def changes(profile: torch.profiler.profile) -> list[int]:
    """Returns the sizes of all allocations (positive) and releases (negative), in order."""
    events = profile.profiler.kineto_results.events()
    found = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    return [size for _, size in sorted(found, key=lambda pair: pair[0])]
