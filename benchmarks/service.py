"""The service of PIRNet under load, and restore.py on the same pictures: throughput, latency, processor time, memory.

    python benchmarks/service.py              two and a half minutes on one core
    python benchmarks/service.py --quick      small pictures; writes nothing

Writes benchmarks/results/service-cpu.json and .md. serve.py runs with one and with two workers, each asked by two
clients per worker, so that one request is worked on while another one waits. In each round, every size is sent to both
services and given to restore.py, with the weights that come with the example. Answers are compared byte for byte.
"""

import http.client
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image
from report import circumstances, markdown, new_parser, processor, publish
from skimage import data

EXAMPLE = Path(__file__).parent.parent / "examples" / "pirnet"
REQUESTS = {256: 24, 512: 10, 1024: 4}  # side of the picture: requests a round
QUICK = {32: 4, 48: 4}
ROUNDS, WORKERS = 3, (1, 2)
TICK = os.sysconf("SC_CLK_TCK")
COLUMNS = ["pixels", "", "requests a second", "p50, s", "p99, s", "processor time a megapixel, s"]


class Service:
    """A service in a separate process."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process, self.address = process, address

    def pids(self) -> list[int]:
        """The parent and its workers."""
        parent = self.process.pid
        found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [parent, *(pid for pid in map(int, found) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())]

    def cpu_seconds(self) -> float:
        """Processor time of all its processes since they started."""
        fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.pids())
        return sum(int(user) + int(system) for user, system in (field[11:13] for field in fields)) / TICK

    def peaks(self) -> list[int]:
        """Peak memory of the parent and of each worker, in MiB."""
        status = (Path(f"/proc/{pid}/status").read_text() for pid in self.pids())
        return [int(re.findall(r"VmHWM:\s+(\d+) kB", text)[0]) // 2**10 for text in status]

    def ask(self, content: bytes) -> tuple[float, bytes]:
        """Seconds until the whole answer, and the answer."""
        begun = time.perf_counter()
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc)
        connection.request("POST", "/restore?task=denoise", content)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, body
        return time.perf_counter() - begun, body


@contextmanager
def service(workers: int) -> Iterator[Service]:
    """Runs serve.py on a free port."""
    command = [sys.executable, str(EXAMPLE / "serve.py"), "--port", "0", "--workers", str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield Service(process, process.stdout.readline().split()[0])
        finally:
            process.terminate()


def load(running: Service, content: bytes, *, clients: int, count: int) -> tuple[dict, set[bytes]]:
    """Sends the same picture many times: times of the requests and of all together, and the different answers."""
    cpu, begun = running.cpu_seconds(), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(running.ask, [content] * count))
    elapsed = time.perf_counter() - begun
    times = {"requests": [seconds for seconds, _ in answers], "elapsed": elapsed, "cpu": running.cpu_seconds() - cpu}
    return times, {body for _, body in answers}


def restore(folder: Path) -> tuple[dict, int]:
    """Runs restore.py once: its times, and its peak memory in MiB."""
    command = [sys.executable, str(EXAMPLE / "restore.py"), "stego.png", "-o", "restored.png", "--task", "denoise"]
    begun = time.perf_counter()
    process = subprocess.Popen([*command, "--force"], cwd=folder)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    seconds = time.perf_counter() - begun
    return {"requests": [seconds], "elapsed": seconds, "cpu": used.ru_utime + used.ru_stime}, used.ru_maxrss // 2**10


def row(rounds: list[dict], side: int) -> dict[str, float]:
    """The figures of one table row."""
    seconds = sorted(each for found in rounds for each in found["requests"])
    megapixels = len(seconds) * side**2 / 1e6
    return {
        "requests_per_second": round(len(seconds) / sum(found["elapsed"] for found in rounds), 2),
        "p50_seconds": round(statistics.median(seconds), 2),
        "p99_seconds": round(seconds[math.ceil(0.99 * len(seconds)) - 1], 2),
        "cpu_seconds_per_megapixel": round(sum(found["cpu"] for found in rounds) / megapixels, 2),
        "requests": len(seconds),
    }


def measure(sizes: dict[int, int], rounds: int) -> dict[str, dict]:
    """The rows by size and by what restored, and the peak memory of each process."""
    found: dict[int, dict[str, list]] = {side: defaultdict(list) for side in sizes}
    peaks = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        services = {f"serve.py, {n} worker{'s' * (n > 1)}": (n, stack.enter_context(service(n))) for n in WORKERS}
        for number in range(rounds):
            for side, count in sizes.items():
                Image.fromarray(data.coffee()).resize((side, side)).save(folder / "stego.png")
                times, peak = restore(folder)
                found[side]["restore.py"].append(times)
                peaks.append(peak)
                content, expected = ((folder / name).read_bytes() for name in ("stego.png", "restored.png"))
                for name, (workers, running) in services.items():
                    times, answers = load(running, content, clients=2 * workers, count=count)
                    assert answers == {expected}
                    found[side][name].append(times)
            print(f"round {number + 1} of {rounds}", flush=True)
        memory = {"restore.py": [max(peaks)], **{name: running.peaks() for name, (_, running) in services.items()}}
    rows = {f"{side} x {side}": {name: row(each, side) for name, each in by.items()} for side, by in found.items()}
    return {"rows": rows, "memory": memory}


def tables(report: dict) -> str:
    """The figures as Markdown."""
    setting = f"{report['machine']}, torch {report['versions']['torch']}, {report['date']}"
    lines = [
        [size, name, *(f"{value:.2f}" for value in list(figures.values())[:4])]
        for size, by_name in report["rows"].items()
        for name, figures in by_name.items()
    ]
    memory = [[name, *map(str, peaks), *[""] * (3 - len(peaks))] for name, peaks in report["memory"].items()]
    peaks = markdown(["peak memory, MiB", "process, or parent", "first worker", "second worker"], memory)
    return f"{setting}\n\n{markdown(COLUMNS, lines)}\n\n{peaks}\n"


def main() -> None:
    quick = new_parser(__doc__, quick="small pictures").parse_args().quick
    os.environ["OMP_NUM_THREADS"] = "1"
    measured = measure(QUICK if quick else REQUESTS, 1 if quick else ROUNDS)
    machine = f"{processor()}, {os.cpu_count()} hardware threads"
    report = {**circumstances("cpu"), "machine": machine, "rounds": ROUNDS, **measured}
    publish("service-cpu", report, tables(report), quick=quick)


if __name__ == "__main__":
    main()
