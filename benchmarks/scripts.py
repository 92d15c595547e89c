"""Photos of twelve megapixels with PIRNet's scripts: seconds and memory to hide, to restore and to reveal.

    python benchmarks/scripts.py              two minutes on one core
    python benchmarks/scripts.py --quick      photos of a tenth of a megapixel; writes nothing

Writes benchmarks/results/scripts-cpu.json and .md. Each script runs as a process on one thread, with the weights that
come with the example; cover and secret are enlarged photos of scikit-image. Memory is the peak of the process.
"""

import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from report import circumstances, markdown, new_parser, processor, publish
from skimage import data

EXAMPLE = Path(__file__).parent.parent / "examples" / "pirnet"
SIZE, SMALL = (4000, 3000), (400, 300)  # width, height
COMMANDS = {
    "conceal": ["conceal.py", "cover.png", "secret.png", "-o", "stego.png"],
    "restore": ["restore.py", "stego.png", "-o", "restored.png", "--task", "denoise"],
    "reveal": ["reveal.py", "restored.png", "-o", "revealed.png", "--key", "stego.key"],
}


def measure(folder: str, command: list[str]) -> dict[str, float]:
    """Time and memory of a script; call it in a process that has no other children."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, str(EXAMPLE / command[0]), *command[1:]], cwd=folder, check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": round(time.perf_counter() - begun, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": round(used.ru_maxrss / 2**10),  # Linux counts in KiB
    }


def tables(report: dict) -> str:
    """The figures as Markdown."""
    width, height = report["pixels"]
    setting = f"{width} x {height} pixels; {report['machine']}, torch {report['versions']['torch']}, {report['date']}"
    lines = [[name, *map(str, row.values())] for name, row in report["rows"].items()]
    return f"{setting}\n\n{markdown(['script', 'seconds', 'of processor time', 'peak, MiB'], lines)}\n"


def main() -> None:
    quick = new_parser(__doc__, quick="photos of a tenth of a megapixel").parse_args().quick
    size = SMALL if quick else SIZE
    os.environ["OMP_NUM_THREADS"] = "1"
    processes = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for name, pixels in (("cover", data.coffee()), ("secret", data.astronaut())):
            Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(Path(folder) / f"{name}.png")
        rows = {}
        for name, command in COMMANDS.items():
            with processes.Pool(1) as alone:
                rows[name] = alone.apply(measure, (folder, command))
            print(name, rows[name], flush=True)
    report = {**circumstances("cpu"), "machine": f"{processor()}, one thread", "pixels": size, "rows": rows}
    publish("scripts-cpu", report, tables(report), quick=quick)


if __name__ == "__main__":
    main()
