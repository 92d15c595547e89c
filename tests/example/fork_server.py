"""Starts the example's scripts in milliseconds: a process that has imported torch forks once for each of them.

The children are real processes with groups of their own, so that they can be sent signals and have closed streams.
"""

import gc
import json
import os
import runpy
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.example.helpers import EXAMPLE

STREAMS = {"stdin": os.devnull, "stdout": "out", "stderr": "err"}


class ForkServer:
    """Runs scripts in forks of one process; use it as a context manager."""

    def __enter__(self) -> Self:
        root = str(Path(__file__).parents[2])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.example.fork_server"],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{root}{os.pathsep}{EXAMPLE}", "COLUMNS": "120"},
        )
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.communicate(timeout=60)

    def __call__(
        self,
        name: str,
        *arguments: object,
        cwd: Path,
        closed: tuple[str, ...] = (),
        kill: tuple[int, float] | None = None,
        once: Path | None = None,
        group: bool = False,
    ) -> int:
        """The exit status of a script, negative for a signal; its output is in the files `out` and `err` of `cwd`.

        Args:
            name: The script.
            arguments: Its command line.
            cwd: The folder to run it in.
            closed: The streams among stdin, stdout, stderr that are closed.
            kill: A signal, and the seconds after which it is sent.
            once: A file; the seconds count from the time when it exists.
            group: Whether the signal goes to the whole group of processes.
        """
        job = {"argv": [str(EXAMPLE / name), *map(str, arguments)], "cwd": str(cwd), "closed": closed}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job |= {"kill": kill, "group": group, "once": str(once or cwd)}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


def _serve() -> None:
    import pirnet.evaluation
    import pirnet.support.train_options  # noqa: F401

    gc.freeze()  # else each child would go through all that was imported when it ends
    while line := sys.stdin.readline():
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(job)
        with suppress(OSError):
            os.setpgid(child, child)  # in both processes, since either may be first
        if job["kill"]:
            number, seconds = job["kill"]
            while not Path(job["once"]).exists() and _runs(child):
                time.sleep(0.01)
            time.sleep(seconds)
            if _runs(child):
                (os.killpg if job["group"] else os.kill)(child, number)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _runs(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None


def _become(job: dict) -> None:
    """Turns this process into the script."""
    os.setpgid(0, 0)
    os.chdir(job["cwd"])
    for number, (stream, path) in enumerate(STREAMS.items()):
        if stream in job["closed"]:
            os.close(number)
            setattr(sys, stream, None)
        else:
            os.dup2(os.open(path, os.O_RDWR if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = job["argv"]
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    _serve()
