"""Several scripts in one new process, since a process for each would import PyTorch every time."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.example.helpers import Result

# Runs scripts one after another, with the folder of the first on the path, and prints what each did as JSON.
RUNNER = """
import contextlib, io, json, os, runpy, sys

commands, results = json.loads(sys.argv[1]), []
sys.path[0] = os.path.dirname(commands[0][0])
for command in commands:
    sys.argv, status = command, 0
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            runpy.run_path(command[0], run_name="__main__")
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    results.append((status, out.getvalue(), err.getvalue()))
print(json.dumps(results))
"""


def run_scripts(folder: Path, *commands: tuple[object, ...], cwd: Path) -> list[Result]:
    """Runs scripts of a copy of the example, each a name and its arguments; an exception they let through fails."""
    full = [[str(folder / str(name)), *map(str, arguments)] for name, *arguments in commands]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps(full)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "120"},
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [Result(*result) for result in json.loads(done.stdout)]
