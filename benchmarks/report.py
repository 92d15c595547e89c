"""What the benchmarks share: the folder of results, the machine and versions, Markdown tables, and allocations."""

__all__ = ["RESULTS", "changes", "circumstances", "markdown", "processor"]

import platform
from datetime import date
from pathlib import Path

import torch

import liftlayers

RESULTS = Path(__file__).parent / "results"


def processor() -> str:
    """Returns the name of the processor, if known, and the instruction set that torch uses."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def circumstances(device: str) -> dict[str, object]:
    """Returns machine, date and versions."""
    threads = torch.get_num_threads()
    cpu = f"{processor()}, {'one thread' if threads == 1 else f'{threads} threads'}"
    return {
        "machine": cpu if device == "cpu" else torch.cuda.get_device_name(),
        "date": date.today().isoformat(),
        "versions": {
            "liftlayers": liftlayers.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def markdown(heads: list[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def changes(profile: torch.profiler.profile) -> list[int]:
    """Returns the sizes of all allocations (positive) and releases (negative), in order."""
    events = profile.profiler.kineto_results.events()
    found = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    return [size for _, size in sorted(found, key=lambda pair: pair[0])]
