"""What the sections of `gpu.py` share: their setting, and how they measure time and memory."""

__all__ = ["Cases", "Row", "Setting", "Skipped", "captured", "compiler", "medians", "peak_mib"]

import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from report import error

Row = dict[str, object]
"""A row of a table. A row with "holds" states a law: the script fails if it is false."""

Cases = dict[str, Callable[[], Iterable[Row]]]
"""The cases of a section in the order of their importance: what does not fit into its time is left out."""


class Skipped(Exception):
    """Raised by a section that cannot run here, with the reason."""


class Setting(NamedTuple):
    """How a section runs.

    Attributes:
        device: The device; a dry run is on the CPU.
        dry_run: Whether sizes are tiny.
        until: The time, as `time.time` counts it, at which the section is killed.
        scratch: A temporary folder.
        data: Folders of photos to train on; none for those of scikit-image.
        test: A folder of photos to test on; None for two photos of scikit-image.
    """

    device: str
    dry_run: bool
    until: float
    scratch: Path
    data: tuple[Path, ...] = ()
    test: Path | None = None

    @property
    def seconds_left(self) -> float:
        return self.until - time.time()


def seconds(function: Callable[[], object], device: str) -> float:
    """Measures one call. On a GPU, that includes the time in which it waits for Python."""
    if device == "cpu":
        begun = time.perf_counter()
        function()
        return time.perf_counter() - begun
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def medians(jobs: dict[str, Callable[[], object]], device: str, *, rounds: int) -> dict[str, float | str]:
    """Returns the median seconds of each job over interleaved rounds, or its error. A first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    errors: dict[str, float | str] = {}
    for _ in range(rounds + 1):
        for name, job in jobs.items():
            if name in errors:
                continue
            try:
                times[name].append(seconds(job, device))
            except Exception as problem:  # memory may be too small, or another library fail; the error is the result
                errors[name] = error(problem)
    return {name: errors.get(name) or statistics.median(values[1:]) for name, values in times.items()}


def peak_mib(function: Callable[[], object], device: str, *, warm: bool = False) -> float | str | None:
    """Returns the largest memory of two calls, in MiB above what was held before, or the error; None on a CPU.

    Unless it is `warm`, the function is called once before: it may compile, and libraries allocate their workspaces.
    A CUDA graph of torch.compile is recorded in the call after that.
    """
    try:
        if not warm:
            function()
        if device == "cpu":
            return None
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        for _ in range(2):
            function()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    except Exception as problem:
        return error(problem)


def compiler(device: str, mode: str = "default") -> dict[str, Any]:
    """Returns the options of torch.compile. On a CPU, where inductor takes a minute, it is another backend."""
    how: dict[str, Any] = {"backend": "aot_eager"} if device == "cpu" else {"mode": mode}
    return {"dynamic": False, **how}


def captured(function: Callable[[], object], device: str) -> Callable[[], object]:
    """Records a function as a CUDA graph, and returns what replays it. On a CPU it returns the function."""
    if device == "cpu":
        return function
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # libraries have to allocate their workspaces before
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay
