"""PIRNet on a GPU: time and memory of its passes, and what three minutes of training reach."""

__all__ = ["pirnet", "training"]

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from gpu_measure import Cases, Row, Setting, Skipped, captured, medians, peak_mib
from passes import INFERENCE, Case, Network
from pirnet.config import Config, base, scaled
from pirnet.data import FolderPairs, Pair, evaluation_pairs
from pirnet.evaluation import evaluate
from pirnet.images import ImageError
from pirnet.support.photo_cache import cached_folders
from pirnet.support.photos import HELD_OUT, Photos, bundled_photos, hold_out
from pirnet.trainer import Trainer
from report import error

from liftlayers import set_memory

EAGER = ("float32", "channels_last", "bf16")
GRAPH = "bf16, one CUDA graph"
MEMORIES = ("store", "reversible", "checkpoint")
MINUTES, SPARE = 3.0, 15.0  # of training; seconds for the evaluation
CALIBRATION = 60  # steps that find out how many fit into the time
BLOCK = 16  # side of the blocks that the evaluation scrambles, in pixels


def pirnet(setting: Setting) -> Cases:
    """Inference on a small and on a large photo, then a training step on crops."""
    photos, crops = (Case("paper", 1, 256), Case("paper", 1, 1024)), Case("paper", 16, 224)
    if setting.dry_run:
        photos, crops = (Case("quick", 1, 16),), Case("quick", 3, 16)
    cases: Cases = {str(case): partial(inference, case, setting) for case in photos}
    return {**cases, f"{crops}, training": partial(step, crops, setting)}


def inference(case: Case, setting: Setting) -> Iterator[Row]:
    """Each pass in eager mode, and recorded as one CUDA graph, which the GPU replays without waiting for Python."""
    networks = {name: Network(case, name, setting.device) for name in EAGER}
    for name in INFERENCE:
        jobs: dict[str, Callable[[], object]] = {key: getattr(network, name) for key, network in networks.items()}
        peaks = {key: peak_mib(job, setting.device) for key, job in jobs.items()}
        try:
            jobs[GRAPH] = captured(jobs["bf16"], setting.device)
        except Exception as problem:  # the error is the result
            peaks[GRAPH] = error(problem)
        yield from rows(f"{case}, {name}", jobs, peaks, setting)


def step(case: Case, setting: Setting) -> Iterator[Row]:
    """A training step in all memory modes. A mode that needs more memory than there is has the error as its figure."""
    jobs: dict[str, Callable[[], object]] = {}
    for precision in ("channels_last", "bf16"):
        for memory in MEMORIES:
            network = Network(case, precision, setting.device)
            set_memory(network.model, memory)
            jobs[f"{precision}, {memory}"] = network.training
    peaks = {name: peak_mib(job, setting.device) for name, job in jobs.items()}
    yield from rows(f"{case}, training step", jobs, peaks, setting)


def rows(
    title: str, jobs: dict[str, Callable[[], object]], peaks: dict[str, float | str | None], setting: Setting
) -> Iterator[Row]:
    """Times of the jobs that did not fail, relative to the first one."""
    working = {name: job for name, job in jobs.items() if not isinstance(peaks.get(name), str)}
    times = medians(working, setting.device, rounds=1 if setting.dry_run else 5)
    baseline = times.get(next(iter(jobs)))
    for name in dict.fromkeys((*jobs, *peaks)):
        value, peak = times.get(name, peaks.get(name)), peaks.get(name)
        row: Row = {"pass": title, "variant": name, "ms": 1000 * value if isinstance(value, float) else value}
        both = isinstance(value, float) and isinstance(baseline, float)
        yield row | {"speed-up": baseline / value if both else None, "peak, MiB": peak}  # type: ignore[operator]


def training(setting: Setting) -> Cases:
    """Training with the preset `base`, shortened to three minutes, and the quality that it reaches."""
    try:
        photos, held_out = hold_out(bundled_photos(), HELD_OUT)
        if setting.data:
            photos = cached_folders(setting.data, cache=setting.scratch, min_size=base().train.crop)
        pairs = FolderPairs(setting.test) if setting.test else evaluation_pairs(held_out)
    except ImageError as problem:
        raise Skipped(str(problem)) from problem
    return {"base": partial(train, photos, pairs, setting)}


def train(photos: Photos, pairs: Sequence[Pair], setting: Setting) -> Iterator[Row]:
    """Takes as many steps of all three stages as fit into the time, after a few that find out how many these are."""
    config = base()
    if setting.dry_run:
        config = replace(config, train=replace(config.train, crop=32))
    steps = 3 if setting.dry_run else CALIBRATION
    per_step = trained(scaled(config, steps), photos, setting, limit=setting.seconds_left)[1]
    limit = min(60 * MINUTES, setting.seconds_left - SPARE)
    steps = 3 if setting.dry_run else max(3, int(0.95 * limit / per_step))
    config = scaled(config, steps)
    begun = time.perf_counter()
    trainer, per_step = trained(config, photos, setting, limit=limit)
    row: Row = {"training": config.preset, "photos": len(photos), "steps": trainer.step, "of": steps}
    spent = time.perf_counter() - begun
    yield row | {"seconds": spent, "ms a step": 1000 * per_step, "pairs a second": config.train.batch_size / per_step}
    if setting.dry_run:
        pairs = [pairs[0].cropped(64)]
    tested = f"{setting.test.name if setting.test else 'scikit-image'}, {len(pairs)} pairs"
    for found in evaluate(trainer.average, pairs, block=BLOCK)[0]:
        names: Row = {"tested on": tested, "task": found.task, "row": found.row}
        yield names | {"stego, dB": found.stego_psnr, "secret, dB": found.secret_psnr}


def trained(config: Config, photos: Photos, setting: Setting, *, limit: float) -> tuple[Trainer, float]:
    """Trains until all steps are done or the time is over; returns the trainer, and the mean seconds of its steps.

    The mean leaves out the first step of each stage, which selects kernels and starts processes.
    """
    workers = 0 if setting.dry_run else min(8, os.cpu_count() or 1)
    trainer = Trainer(config, photos, device=torch.device(setting.device), workers=workers)
    end = time.monotonic() + limit
    times: dict[object, list[float]] = {}
    while trainer.step < trainer.total and time.monotonic() < end:
        begun = time.perf_counter()
        stage = trainer.take_step()["stage"]
        times.setdefault(stage, []).append(time.perf_counter() - begun)
    return trainer, statistics.fmean(value for values in times.values() for value in values[1:] or values)
