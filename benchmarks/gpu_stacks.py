"""Stacks of couplings on a GPU: memory and time of a training step, in eager mode and compiled.

The stacks are those of `stacks.py`. In bfloat16 a whole stack is in bfloat16; an exact one keeps its bands in float32
and runs its networks under autocast, as in `invertible.py`.
"""

__all__ = ["compiled", "stacks"]

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import torch
from gpu_measure import Cases, Row, Setting, compiler, medians, peak_mib
from invertible import DTYPES, precision
from report import error
from stacks import CHANNELS, VARIANTS, build
from torch import Tensor

from liftlayers import Coupling

Shape = tuple[int, int, int]  # pairs of couplings, images, pixels a side

EAGER = tuple(name for name in VARIANTS if name not in ("liftlayers, exact, store", "liftlayers, exact, 8 bits"))
OURS = ("liftlayers, store", "liftlayers, checkpoint", "liftlayers, reversible", "liftlayers, exact")
WHOLE = ("plain loop", *OURS, "revlib")
NETWORKS = "networks compiled"  # each network on its own, which keeps the memory mode of the chain
TOLERANCES = {"float32": 1e-2, "bfloat16": 0.2}  # TF32 and bfloat16 round; memory that was overwritten is off by more
SPARE = 20.0  # seconds to measure everything that has been compiled


def stacks(setting: Setting) -> Cases:
    """Small images, where the limit is the number of kernels that are launched, then crops of training."""
    shapes: list[Shape] = [(24, 2, 64), (96, 2, 64), (24, 16, 112), (96, 16, 112)]
    if setting.dry_run:
        shapes = [(2, 1, 8)]
    return {
        f"{described(shape)}, {dtype}": partial(eager, shape, dtype, setting)
        for shape in shapes
        for dtype in ("float32", "bfloat16")
    }


def described(shape: Shape) -> str:
    depth, batch, pixels = shape
    return f"depth {depth}, {batch} x {pixels} x {pixels}"


class Step:
    """A training step of a stack without an optimizer. Calling it leaves no gradients."""

    def __init__(self, name: str, shape: Shape, dtype: str, device: str) -> None:
        depth, batch, pixels = shape
        self.model = build(name, depth, pixels).to(device)
        self.x = torch.rand(batch, 2 * CHANNELS, pixels, pixels).to(device)
        self.context: Callable[[], AbstractContextManager[Any]] = nullcontext
        if "exact" in name:
            self.context = partial(precision, dtype, device)
        else:
            self.model, self.x = self.model.to(DTYPES[dtype]), self.x.to(DTYPES[dtype])
        self.x.requires_grad_()
        self.function: Callable[[Tensor], Tensor] = self.model

    def __call__(self) -> None:
        self._backward()
        self._drop_gradients()

    def gradients(self) -> list[Tensor]:
        """Returns copies of the gradients of all weights."""
        self._backward()
        found = [parameter.grad.float().clone() for parameter in self.model.weights]  # type: ignore[union-attr]
        self._drop_gradients()
        return found

    def _backward(self) -> None:
        with self.context():
            loss = self.function(self.x).square().mean()
        loss.backward()

    def _drop_gradients(self) -> None:
        self.model.zero_grad(set_to_none=True)
        self.x.grad = None

    def compile(self, mode: str) -> None:
        """Compiles the stack in a mode of torch.compile, or each of its networks."""
        device = self.x.device.type
        if mode != NETWORKS:
            self.function = torch.compile(self.model, **compiler(device, mode))
            return
        for module in list(self.model.modules()):
            if isinstance(module, Coupling):
                module.network = torch.compile(module.network, **compiler(device))  # type: ignore[assignment]


def eager(shape: Shape, dtype: str, setting: Setting) -> Iterator[Row]:
    """All libraries and memory modes in interleaved rounds."""
    steps: dict[str, Step] = {}
    for name in EAGER:
        try:
            steps[name] = Step(name, shape, dtype, setting.device)
        except Exception as problem:  # a library is missing
            yield {"stack": described(shape), "precision": dtype, "variant": name, "ms": error(problem)}
    peaks = {name: peak_mib(step, setting.device) for name, step in steps.items()}
    jobs: dict[str, Callable[[], object]] = {name: steps[name] for name in steps if not isinstance(peaks[name], str)}
    times = medians(jobs, setting.device, rounds=1 if setting.dry_run else 5)
    for name, peak in peaks.items():
        row: Row = {"stack": described(shape), "precision": dtype, "variant": name}
        yield row | figures(times.get(name, peak), times.get("plain loop")) | {"peak, MiB": peak}


def figures(value: float | str | None, baseline: float | str | None) -> Row:
    """Milliseconds, and the time relative to the plain loop; or the error."""
    if not isinstance(value, float):
        return {"ms": value}
    return {"ms": 1000 * value, "relative time": value / baseline if isinstance(baseline, float) else None}


# Compiled


class Compilation(NamedTuple):
    """A process that compiles a stack, and the connection to it."""

    process: BaseProcess
    connection: Connection


def compiled(setting: Setting) -> Cases:
    """Each stack in a process of its own: all compile at the same time, then each is measured alone."""
    shape: Shape = (2, 1, 8) if setting.dry_run else (24, 2, 64)
    plans = [(name, "bfloat16", mode) for mode in ("reduce-overhead", "default") for name in WHOLE]
    plans += [(name, "bfloat16", NETWORKS) for name in ("liftlayers, reversible", "liftlayers, exact")]
    plans += [(name, "float32", "reduce-overhead") for name in WHOLE[:-1]]
    if setting.dry_run:
        plans = [("liftlayers, reversible", "float32", mode) for mode in ("reduce-overhead", NETWORKS)]
    started = {" / ".join(plan): start(shape, *plan, setting.device) for plan in plans}
    return {label: partial(answer, label, started, setting) for label in started}


def start(shape: Shape, name: str, dtype: str, mode: str, device: str) -> Compilation:
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=compile_and_measure, args=(its, shape, name, dtype, mode, device), daemon=True)
    process.start()
    its.close()
    return Compilation(process, ours)


def answer(label: str, started: dict[str, Compilation], setting: Setting) -> Iterator[Row]:
    """Lets one process measure, once no process compiles any more."""
    name, dtype, mode = label.split(" / ")
    row: Row = {"compiled stack": name, "precision": dtype, "mode": mode}
    for process, connection in started.values():
        while not connection.poll(0.1) and setting.seconds_left > SPARE:
            pass
        if not connection.poll():
            process.kill()
    connection = started[label].connection
    try:
        outcome = connection.recv()
        if isinstance(outcome, str):
            yield row | {"ms": outcome}
            return
        connection.send(None)
        yield row | {"seconds to compile": outcome} | connection.recv()
    except EOFError:
        yield row | {"ms": "not compiled in time"}


def compile_and_measure(connection: Connection, shape: Shape, name: str, dtype: str, mode: str, device: str) -> None:
    """Sends the seconds that it took to compile, waits, and sends the figures; or the error."""
    torch.set_num_threads(1)
    try:
        plain, step = Step("plain loop", shape, dtype, device), Step(name, shape, dtype, device)
        expected = step.gradients()
        step.compile(mode)
        begun = time.perf_counter()
        step()
        spent = time.perf_counter() - begun
        peak = peak_mib(step, device, warm=True)
        found = step.gradients()  # the third call or a later one: with CUDA graphs it is a replay
        difference = float(max((x - y).norm() / x.norm() for x, y in zip(expected, found, strict=True)))
    except Exception as problem:
        connection.send(error(problem))
        return
    connection.send(spent)
    connection.recv()
    jobs: dict[str, Callable[[], object]] = {"plain loop": plain, name + " compiled": step}
    times = medians(jobs, device, rounds=1 if shape[0] < 24 else 10)
    row: Row = {**figures(times[name + " compiled"], times["plain loop"]), "peak, MiB": peak}
    law: Row = {"gradients differ by": difference, "holds": difference < TOLERANCES[dtype]}
    connection.send(row | law)
