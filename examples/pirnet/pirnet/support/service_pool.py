"""The processes of a service that restore: started at once, replaced if they are killed, and after many pictures."""

import asyncio
import logging
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from pirnet.support import service_worker

TASKS_PER_PROCESS = 1000  # then a new one replaces it, so that memory cannot grow without end

log = logging.getLogger("pirnet.service")


@dataclass(eq=False)
class _Worker:
    pool: ProcessPoolExecutor
    done: int = 0


class Workers:
    """Processes that restore. One that is killed is replaced, and what it worked on is tried once more.

    Each is a pool of its own, so that a killed process stops no other one. The pool's `max_tasks_per_child` is not
    used: in Python 3.11, it may leave a pool without a process, which then waits forever (python/cpython#115634).

    Args:
        weights: The file `lsr.safetensors`.
        count: How many processes; no more than as many calls of `restore` may run at the same time.
        max_pixels: The size of the largest picture.
        tasks_per_process: The pictures after which a process is replaced.
    """

    def __init__(
        self, weights: Path, count: int, *, max_pixels: float, tasks_per_process: int = TASKS_PER_PROCESS
    ) -> None:
        self._start = (weights, max_pixels)
        self._tasks_per_process = tasks_per_process
        self._idle = [_Worker(self._new_pool()) for _ in range(count)]
        self.lost = 0

    def _new_pool(self) -> ProcessPoolExecutor:
        context = get_context("spawn")
        return ProcessPoolExecutor(1, mp_context=context, initializer=service_worker.start, initargs=self._start)

    async def restore(self, content: bytes, task: str) -> bytes:
        """Restores in one of the processes; errors are those of `service_worker.restore`."""
        loop, worker = asyncio.get_running_loop(), self._idle.pop()
        try:
            try:
                return await loop.run_in_executor(worker.pool, service_worker.restore, content, task)
            except BrokenProcessPool:
                log.warning("a worker process was lost, another one replaces it")
                self.lost += 1
                worker.pool = self._new_pool()
                return await loop.run_in_executor(worker.pool, service_worker.restore, content, task)
        finally:
            worker.done += 1
            if worker.done >= self._tasks_per_process:
                worker.pool.shutdown(wait=False)
                worker.pool, worker.done = self._new_pool(), 0
                worker.pool.submit(service_worker.tasks)  # starts the process
            self._idle.append(worker)

    def tasks(self) -> tuple[str, ...]:
        """The tasks that the weights were trained for; starts all processes and waits for them.

        Raises:
            CheckpointError: If the weights are missing or damaged.
        """
        started = [worker.pool.submit(service_worker.tasks) for worker in self._idle]
        first, *_ = [each.result() for each in started]
        return first

    def end(self) -> None:
        """Ends the processes after their work."""
        for worker in self._idle:
            worker.pool.shutdown()
