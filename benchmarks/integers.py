"""The time of networks of integers compared with the same network of floats.

    python benchmarks/integers.py               one minute on one core
    python benchmarks/integers.py --quick       one small image and few rounds; writes nothing

Writes benchmarks/results/integers-cpu.json and .md. `ConvPredictor` and `IntegerPredictor` map 12 channels to 12, with
24 in between, on one thread. Figures are medians over interleaved rounds of the time of each round relative to that of
`ConvPredictor` in the same round. In "int64" the convolutions are those of int64 tensors.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from report import circumstances, markdown, new_parser, publish
from torch import Tensor, nn
from torch.nn.functional import conv2d

from liftlayers import ConvPredictor, IntegerConv2d, IntegerPredictor
from liftlayers.testing import randomise_

CHANNELS, SIDES, SLOW = 12, (64, 256, 512), 256  # sides of images, and of the largest one for int64
ROUNDS, SECONDS = 15, 0.1  # rounds, and seconds of the network of floats in each


class Wide(nn.Module):
    """The network of integers with int64 convolutions."""

    def __init__(self, network: IntegerPredictor) -> None:
        super().__init__()
        layers = [layer for layer in network.modules() if isinstance(layer, IntegerConv2d)]
        self.states = [layer.frozen().state_dict() for layer in layers]

    def forward(self, x: Tensor) -> Tensor:
        codes, lowest = x.long(), -255
        for state in self.states:
            sums = conv2d(codes.clamp(lowest, 255), state["weight"].long(), state["bias"].long(), padding=1)
            codes, lowest = sums >> state["shift"].long()[:, None, None], 0
        return codes.to(x.dtype)


def networks() -> dict[str, nn.Module]:
    """The networks by their names in the table; all but the first return the same numbers."""
    floats, integers = (randomise_(kind(CHANNELS, CHANNELS)) for kind in (ConvPredictor, IntegerPredictor))
    return {
        "ConvPredictor": floats,
        "IntegerPredictor, frozen": integers.frozen(),
        "IntegerPredictor": integers,
        "int64": Wide(integers),
    }


def ratios(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The time of each run relative to the first one, as the median over interleaved rounds."""
    first = next(iter(runs))
    repeats = {name: max(1, round(SECONDS / seconds(run, 1))) for name, run in runs.items()}
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        times = {name: seconds(run, repeats[name]) for name, run in runs.items()}
        for name, spent in times.items():
            found[name].append(spent / times[first])
    return {name: round(statistics.median(values), 2) for name, values in found.items()}


def seconds(run: Callable[[], object], repeats: int) -> float:
    """Processor time of one run."""
    run()
    begun = time.process_time()
    for _ in range(repeats):
        run()
    return (time.process_time() - begun) / repeats


def step(network: nn.Module, x: Tensor) -> None:
    network(x).square().mean().backward()


def measure(sides: tuple[int, ...], rounds: int) -> dict[str, dict[str, float]]:
    """Ratios for each column of the table."""
    found = {}
    for side in sides:
        x = torch.randint(-255, 256, (1, CHANNELS, side, side)).float()
        every = {name: network for name, network in networks().items() if side <= SLOW or name != "int64"}
        assert torch.equal(every["IntegerPredictor"](x), every["IntegerPredictor, frozen"](x))
        with torch.no_grad():
            runs = {name: partial(network, x) for name, network in every.items()}
            found[f"{side} x {side}, forward"] = ratios(runs, rounds)
        trained = {name: every[name] for name in ("ConvPredictor", "IntegerPredictor")}
        runs = {name: partial(step, network, x) for name, network in trained.items()}
        found[f"{side} x {side}, training step"] = ratios(runs, rounds)
    return found


def tables(report: dict) -> str:
    """The figures as Markdown."""
    rows, columns = report["rows"], list(report["rows"])
    names = list(rows[columns[0]])
    lines = [[name, *(str(rows[column].get(name, "")) for column in columns)] for name in names]
    setting = f"{report['machine']}, torch {report['versions']['torch']}, {report['date']}"
    return f"{setting}\n\n{markdown(['network', *columns], lines)}\n"


def main() -> None:
    quick = new_parser(__doc__, quick="one small image and few rounds").parse_args().quick
    torch.set_num_threads(1)
    rows = measure((16,), 2) if quick else measure(SIDES, ROUNDS)
    report = circumstances("cpu") | {"rows": rows}
    publish("integers-cpu", report, tables(report), quick=quick)


if __name__ == "__main__":
    main()
