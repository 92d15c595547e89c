"""Memory-saving training of an invertible chain: ours beside a plain loop, torch's checkpoint, MemCNN, revlib, FrEIA.

    pip install -c constraints.txt -e . FrEIA==0.2 revlib==1.7.2 && pip install --no-deps memcnn==1.5.2
    python benchmarks/invertible.py                 all figures; writes benchmarks/results/invertible-DEVICE.json
    python benchmarks/invertible.py --quick         depth 24 alone, fewer rounds

The stack: additive couplings y1 = x1 + F(x2), y2 = x2 + G(y1) on two streams of 12 channels, F and G three 3x3
convolutions 12-32-32-12 with leaky rectifiers. Figures of a training step, forward and backward: convolution FLOPs over
the plain loop's, bytes held after forward and allocator peak beyond parameters' gradients (each in a process of its
own, summed from the profiler's allocations), seconds as medians of interleaved rounds, gradient error against the same
stack in float64. What a variant cannot do is reported as the error it raises.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import liftlayers
from liftlayers import AdditiveCoupling, Sequential, Update

CHANNELS, HIDDEN = 12, 32
Step = Callable[[Tensor], Tensor]


def subnet(activation: Callable[[], nn.Module] = nn.LeakyReLU) -> nn.Sequential:
    """F or G: three convolutions."""
    return nn.Sequential(
        nn.Conv2d(CHANNELS, HIDDEN, 3, padding=1),
        activation(),
        nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1),
        activation(),
        nn.Conv2d(HIDDEN, CHANNELS, 3, padding=1),
    )


class Ours(nn.Module):
    """The stack as a `Sequential` of additive couplings, in one of its memory modes."""

    def __init__(self, pairs: list[tuple[nn.Module, nn.Module]], memory: str) -> None:
        super().__init__()
        steps = [step for f, g in pairs for step in (Update(f), AdditiveCoupling(g))]
        self.chain = Sequential(*steps, memory=memory)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.chain(*x.chunk(2, dim=1)), dim=1)


class Plain(nn.Module):
    """The stack as a loop; each block under torch's checkpoint if asked."""

    def __init__(self, pairs: list[tuple[nn.Module, nn.Module]], *, checkpointed: bool = False) -> None:
        super().__init__()
        self.pairs = nn.ModuleList(nn.ModuleList(pair) for pair in pairs)
        self.checkpointed = checkpointed

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = x.chunk(2, dim=1)
        for pair in self.pairs:
            if self.checkpointed:
                x1, x2 = checkpoint(self.block, pair, x1, x2, use_reentrant=False)
            else:
                x1, x2 = self.block(pair, x1, x2)
        return torch.cat((x1, x2), dim=1)

    @staticmethod
    def block(pair: nn.ModuleList, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        f, g = pair
        x1 = x1 + f(x2)
        return x1, x2 + g(x1)


def memcnn_stack(pairs: list[tuple[nn.Module, nn.Module]]) -> nn.Module:
    """MemCNN; it frees the stack's input, so it is handed a copy."""
    import memcnn

    class CopiesInput(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.clone())

    return CopiesInput(*(memcnn.InvertibleModuleWrapper(memcnn.AdditiveCoupling(Fm=f, Gm=g)) for f, g in pairs))


def revlib_stack(pairs: list[tuple[nn.Module, nn.Module]]) -> nn.Module:
    """revlib, in the mode that saves memory."""
    import revlib

    mode = revlib.MemoryModes.autograd_function
    return revlib.ReversibleSequential(*(net for pair in pairs for net in pair), memory_mode=mode)


def freia_stack(pairs: list[tuple[nn.Module, nn.Module]], size: int) -> nn.Module:
    """FrEIA, which stores activations."""
    import FrEIA.framework
    import FrEIA.modules

    chain = FrEIA.framework.SequenceINN(2 * CHANNELS, size, size)
    for f, g in pairs:
        nets = iter((f, g))
        chain.append(FrEIA.modules.NICECouplingBlock, subnet_constructor=lambda _i, _o, nets=nets: next(nets))

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.chain = chain

        def forward(self, x: Tensor) -> Tensor:
            return self.chain(x)[0]

    return Bare()


VARIANTS: dict[str, Callable[[list[tuple[nn.Module, nn.Module]], int], nn.Module]] = {
    "plain loop": lambda pairs, _size: Plain(pairs),
    "torch checkpoint": lambda pairs, _size: Plain(pairs, checkpointed=True),
    "liftlayers, store": lambda pairs, _size: Ours(pairs, "store"),
    "liftlayers, checkpoint": lambda pairs, _size: Ours(pairs, "checkpoint"),
    "liftlayers, reversible": lambda pairs, _size: Ours(pairs, "reversible"),
    "MemCNN": lambda pairs, _size: memcnn_stack(pairs),
    "revlib": lambda pairs, _size: revlib_stack(pairs),
    "FrEIA": freia_stack,
}


def build(name: str, depth: int, size: int, *, gain: float = 1.0, smooth: bool = False) -> nn.Module:
    """A variant with the same weights as every other of that depth; `weights` lists them in the same order."""
    torch.manual_seed(0)
    pairs = [tuple(subnet(nn.SiLU if smooth else nn.LeakyReLU) for _ in range(2)) for _ in range(depth)]
    with torch.no_grad():
        for pair in pairs:
            for net in pair:
                net[-1].weight.mul_(gain)
    model = VARIANTS[name](pairs, size)
    vars(model)["weights"] = [p for pair in pairs for net in pair for p in net.parameters()]
    return model


def take_step(model: nn.Module, x: Tensor) -> None:
    """Forward and backward of a training step."""
    model(x).square().mean().backward()


def conv_flops(name: str, depth: int) -> int:
    """Convolution FLOPs of a step at 16 x 16."""
    model, x = build(name, depth, 16), torch.rand(1, 2 * CHANNELS, 16, 16, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        take_step(model, x)
    return sum(count for op, count in counter.get_flop_counts()["Global"].items() if "convolution" in str(op))


def memory(name: str, depth: int, device: str) -> dict[str, float]:
    """Megabytes held after forward, and the peak of a step beyond parameters' gradients, at batch 2 and 64 x 64."""
    model, x = build(name, depth, 64).to(device), torch.rand(2, 2 * CHANNELS, 64, 64, device=device, requires_grad=True)
    gradients = sum(p.numel() * p.element_size() for p in model.parameters())
    take_step(model, x)  # warms up caches
    model.zero_grad(set_to_none=True)
    x.grad = None
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        start = torch.cuda.memory_allocated()
        loss = model(x).square().mean()
        held = torch.cuda.memory_allocated() - start
        loss.backward()
        peak = torch.cuda.max_memory_allocated() - start
    else:
        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
            loss = model(x).square().mean()
        held = sum(changes(profile))
        with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
            loss.backward()
        running, peak = held, held
        for change in changes(profile):
            running += change
            peak = max(peak, running)
    return {"held_mb": held / 2**20, "peak_mb": (peak - gradients) / 2**20}


def changes(profile: torch.profiler.profile) -> list[int]:
    """Allocations (positive) and releases (negative), in order."""
    events = profile.profiler.kineto_results.events()
    found = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    return [size for _, size in sorted(found, key=lambda pair: pair[0])]


def gradient_error(name: str, depth: int, gain: float) -> float:
    """Largest relative error of a parameter's gradient in float32, against the plain loop in float64."""
    torch.manual_seed(1)
    x = torch.rand(1, 2 * CHANNELS, 16, 16)
    exact = build("plain loop", depth, 16, gain=gain, smooth=True).double()
    take_step(exact, x.double().requires_grad_())
    model = build(name, depth, 16, gain=gain, smooth=True)
    take_step(model, x.requires_grad_())
    pairs = zip(exact.weights, model.weights, strict=True)
    return max(float((p.grad - q.grad.double()).norm() / p.grad.norm()) for p, q in pairs)  # type: ignore[union-attr,operator]


def seconds(names: list[str], depth: int, rounds: int, device: str) -> dict[str, float]:
    """Median seconds of a step at batch 2 and 64 x 64, variants taking turns."""
    models = {name: build(name, depth, 64).to(device) for name in names}
    x = torch.rand(2, 2 * CHANNELS, 64, 64, device=device)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name, model in models.items():
            begun = time.perf_counter()
            take_step(model, x.clone().requires_grad_())
            if device != "cpu":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in times.items()}


def attempt(function: Callable[..., object], *arguments: object) -> object:
    """The result, or the error in words."""
    try:
        return function(*arguments)
    except Exception as error:  # a peer may fail in any way; that is a result too
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def in_own_process(name: str, depth: int, device: str) -> object:
    """`memory` in a fresh process, where nothing is cached."""
    command = [sys.executable, __file__, "--memory-of", name, "--depth", str(depth), "--device", device]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else f"exit status {done.returncode}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="depth 24 alone, three rounds")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--depth", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' deprecations
    if options.memory_of:
        print(json.dumps(memory(options.memory_of, options.depth, options.device)))
        return
    rows: dict[str, dict[str, object]] = {}
    plain = conv_flops("plain loop", 24)
    for name in VARIANTS:
        row = rows[name] = {}
        flops = attempt(conv_flops, name, 24)
        row["conv_flops_ratio"] = flops / plain if isinstance(flops, int) else flops
        for depth in (24,) if options.quick else (24, 96):
            row[f"memory_depth_{depth}"] = in_own_process(name, depth, options.device)
            for gain in (1.0, 4.0):
                row[f"gradient_error_depth_{depth}_x{gain:g}"] = attempt(gradient_error, name, depth, gain)
        print(name, json.dumps(row))
    working = [name for name in rows if not isinstance(attempt(build, name, 1, 64), str)]
    times = seconds(working, 24, 3 if options.quick else 7, options.device)
    for name, value in times.items():
        rows[name] |= {"seconds": value, "seconds_ratio": value / times["plain loop"]}
    machine = (
        torch.cuda.get_device_name()
        if options.device != "cpu"
        else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    report = {
        "machine": machine,
        "date": date.today().isoformat(),
        "versions": {
            "liftlayers": liftlayers.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "rows": rows,
    }
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"invertible-{options.device.split(':')[0]}.json").write_text(json.dumps(report, indent=2) + "\n")
    print(table(rows))


def table(rows: dict[str, dict[str, object]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| variant | conv FLOPs | held MB | peak MB | gradient error, x1 | x4 | seconds, ratio |",
        "|---|" + "---|" * 6,
    ]
    for name, row in rows.items():
        held = row["memory_depth_24"]
        cells = [
            row["conv_flops_ratio"],
            *(held[key] if isinstance(held, dict) else held for key in ("held_mb", "peak_mb")),
        ]
        cells += [row["gradient_error_depth_24_x1"], row["gradient_error_depth_24_x4"], row.get("seconds_ratio")]
        texts = [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append(f"| {name} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
