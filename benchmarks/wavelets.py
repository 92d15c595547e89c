"""Compares wavelet transforms of images and volumes: liftlayers, PyWavelets, ptwt, pytorch_wavelets, FrEIA, slicing.

    pip install -c constraints.txt -e . FrEIA==0.2 PyWavelets==1.9.0
    pip install -c constraints.txt --no-deps ptwt==1.0.1 pytorch_wavelets==1.3.0 "setuptools<80"
    python benchmarks/wavelets.py                   all figures, five to ten minutes on one core
    python benchmarks/wavelets.py --quick           only the Haar transform of one image; writes nothing

Writes benchmarks/results/wavelets-DEVICE.json and .md; the documentation shows the .md file. --table regenerates the
.md file from the .json file. Each figure is the time relative to `copy_` of the image in float32, as a median of
interleaved rounds. It is the CPU time of one thread, or the time on the GPU. A transform must move at least as many
bytes as `copy_`, and a forward and backward pass at least twice as many. On a GPU, the table therefore also shows the
share of the copy bandwidth, 1 / ratio or 2 / ratio. Each inverse starts from the bands of the same library. FrEIA's
inverse gets a copy of them, because it modifies its input. Boundary rules are in parentheses. If a variant fails, the
error that it raises is its result.
"""

import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from report import RESULTS, circumstances, error, markdown, new_parser, publish
from torch import Tensor
from torch.utils._pytree import tree_leaves

from liftlayers.functional import haar_analysis, haar_synthesis, iswt, swt, wavedec, wavedec2, waverec, waverec2

Figures = dict[str, dict[str, float | str]]  # variant -> pass -> ratio or error
Transform = tuple[Callable[[Any], Any], Callable[[Any], Any]]  # image to bands in any container, and the inverse
Builders = dict[str, Callable[..., Transform]]  # of any wavelet
Variants = dict[str, Callable[[Tensor], Transform]]

LARGE, BATCH, FEATURES, WIDE = (1, 3, 1024, 1024), (16, 3, 224, 224), (4, 16, 256, 256), (16, 12, 256, 256)
VOLUME, PHOTO, LINES = (1, 2, 96, 128, 128), (1, 3, 512, 512), (64, 1, 16384)
PASSES = ("forward", "inverse", "forward + backward")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
LAST_THREE = (-3, -2, -1)
PEERS = ("PyWavelets", "ptwt", "pytorch_wavelets", "FrEIA")
CALLS = 10  # calls between two timing events on a GPU


def ours_haar(x: Tensor) -> Transform:
    dims = x.ndim - 2
    return partial(haar_analysis, spatial_dims=dims), lambda bands: haar_synthesis(*bands, spatial_dims=dims)


def ours(_x: Tensor, *, wavelet: str, level: int) -> Transform:
    return lambda x: wavedec2(x, wavelet, level=level), lambda bands: waverec2(bands, wavelet)


def ours_volume(_x: Tensor, *, wavelet: str, level: int) -> Transform:
    return (
        lambda x: wavedec(x, wavelet, axes=LAST_THREE, level=level),
        lambda bands: waverec(bands, wavelet, axes=LAST_THREE),
    )


def ours_undecimated(x: Tensor, *, wavelet: str, level: int) -> Transform:
    axes = range(2 - x.ndim, 0)
    return lambda x: swt(x, wavelet, axes=axes, level=level), lambda bands: iswt(bands, wavelet, axes=axes)


def sliced_haar(_x: Tensor) -> Transform:
    """Strided slicing with halved samples, as in HiNet and its successors."""

    def analyse(x: Tensor) -> Tensor:
        top, bottom = x[:, :, 0::2] / 2, x[:, :, 1::2] / 2
        a, b, c, d = top[..., 0::2], bottom[..., 0::2], top[..., 1::2], bottom[..., 1::2]
        return torch.cat((a + b + c + d, -a - b + c + d, -a + b - c + d, a - b - c + d), dim=1)

    def synthesise(bands: Tensor) -> Tensor:
        batch, channels, height, width = bands.shape
        a, b, c, d = (band / 2 for band in bands.split(channels // 4, dim=1))
        x = torch.zeros((batch, channels // 4, 2 * height, 2 * width), device=bands.device)
        x[:, :, 0::2, 0::2] = a - b - c + d
        x[:, :, 1::2, 0::2] = a - b + c - d
        x[:, :, 0::2, 1::2] = a + b - c - d
        x[:, :, 1::2, 1::2] = a + b + c + d
        return x

    return analyse, synthesise


def freia_haar(x: Tensor) -> Transform:
    import FrEIA.modules

    module = FrEIA.modules.HaarDownsampling([tuple(x.shape[1:])]).to(x.device)
    return lambda x: module([x])[0], lambda bands: module([bands[0].clone()], rev=True)[0]


def pywavelets(_x: Tensor, *, wavelet: str, level: int) -> Transform:
    import pywt

    return (
        lambda x: pywt.wavedec2(x.numpy(), wavelet, "periodization", level),  # an error on a GPU, and with gradients
        lambda bands: pywt.waverec2(bands, wavelet, "periodization"),
    )


def pywavelets_volume(_x: Tensor, *, wavelet: str, level: int) -> Transform:
    import pywt

    return (
        lambda x: pywt.wavedecn(x.numpy(), wavelet, "periodization", level, LAST_THREE),
        lambda bands: pywt.waverecn(bands, wavelet, "periodization", LAST_THREE),
    )


def pywavelets_undecimated(x: Tensor, *, wavelet: str, level: int) -> Transform:
    import pywt

    if x.ndim == 3:  # lines
        return (
            lambda x: pywt.swt(x.numpy(), wavelet, level, trim_approx=True),
            lambda bands: pywt.iswt(bands, wavelet),
        )
    return (
        lambda x: pywt.swt2(x.numpy(), wavelet, level, trim_approx=True),
        lambda bands: pywt.iswt2(bands, wavelet),
    )


def ptwt_volume(_x: Tensor, *, wavelet: str, level: int) -> Transform:
    import ptwt  # pyright: ignore[reportMissingImports]

    return (
        lambda x: ptwt.wavedec3(x, wavelet, mode="periodic", level=level),
        lambda bands: ptwt.waverec3(bands, wavelet),
    )


def ptwt_undecimated(x: Tensor, *, wavelet: str, level: int) -> Transform:
    import ptwt  # pyright: ignore[reportMissingImports]

    if x.ndim != 3:
        raise NotImplementedError("ptwt transforms lines only")
    return lambda x: ptwt.swt(x, wavelet, level=level), lambda bands: ptwt.iswt(bands, wavelet)


def pytorch_wavelets_undecimated(x: Tensor, *, wavelet: str, level: int) -> Transform:
    from pytorch_wavelets.dwt.transform2d import SWTForward  # pyright: ignore[reportMissingImports]

    def missing(_bands: Any) -> Any:
        raise NotImplementedError("pytorch_wavelets has no inverse")

    return SWTForward(J=level, wave=wavelet, mode="periodic").to(x.device), missing


def ptwt(_x: Tensor, *, wavelet: str, level: int) -> Transform:
    import ptwt  # pyright: ignore[reportMissingImports]

    return (
        lambda x: ptwt.wavedec2(x, wavelet, mode="periodic", level=level),
        lambda bands: ptwt.waverec2(bands, wavelet),
    )


def pytorch_wavelets(x: Tensor, *, wavelet: str, level: int) -> Transform:
    import pytorch_wavelets  # pyright: ignore[reportMissingImports]

    analyse = pytorch_wavelets.DWTForward(J=level, wave=wavelet, mode="periodization").to(x.device)
    return analyse, pytorch_wavelets.DWTInverse(wave=wavelet, mode="periodization").to(x.device)


IMAGES: Builders = {
    "PyWavelets (periodization)": pywavelets,
    "ptwt (periodic)": ptwt,
    "pytorch_wavelets (periodization)": pytorch_wavelets,
}
VOLUMES: Builders = {"PyWavelets (periodization)": pywavelets_volume, "ptwt (periodic)": ptwt_volume}


def of_wavelet(wavelet: str, level: int, builders: Builders) -> Variants:
    """Returns the variants of one wavelet, with so many levels."""
    return {name: partial(build, wavelet=wavelet, level=level) for name, build in builders.items()}


HAAR: Variants = {
    "liftlayers": ours_haar,
    "strided slicing": sliced_haar,
    "FrEIA": freia_haar,
    **of_wavelet("haar", 1, IMAGES),
}
CDF_9_7 = of_wavelet("bior4.4", 3, {"liftlayers": ours, **IMAGES})
HAAR_VOLUME: Variants = {"liftlayers": ours_haar, **of_wavelet("haar", 1, VOLUMES)}
CDF_VOLUME = of_wavelet("bior4.4", 2, {"liftlayers": ours_volume, **VOLUMES})
UNDECIMATED = of_wavelet(
    "db2",
    3,
    {
        "liftlayers": ours_undecimated,
        "PyWavelets (periodization)": pywavelets_undecimated,
        "ptwt (periodic)": ptwt_undecimated,
        "pytorch_wavelets (periodic)": pytorch_wavelets_undecimated,
    },
)


def tensors(bands: Any) -> list[Tensor]:
    """Returns the tensors in nested tuples, lists and dictionaries."""
    return [leaf for leaf in tree_leaves(bands) if isinstance(leaf, Tensor)]


def passes(build: Callable[[Tensor], Transform], x: Tensor) -> dict[str, Callable[[], object]]:
    """Returns the passes to time, as functions without arguments."""
    analyse, synthesise = build(x)
    with torch.no_grad():
        bands = analyse(x)
    gradients = [torch.rand_like(band) for band in tensors(bands)]
    leaf = x.detach().requires_grad_()

    def forward() -> None:
        with torch.no_grad():
            analyse(x)

    def inverse() -> None:
        with torch.no_grad():
            synthesise(bands)

    def both() -> None:
        torch.autograd.grad(tensors(analyse(leaf)), leaf, gradients)

    return dict(zip(PASSES, (forward, inverse, both), strict=True))


def seconds(function: Callable[[], object], device: str) -> float:
    """Measures the CPU time of this thread; on a GPU, the mean time of several calls, queued while the GPU sleeps."""
    if device == "cpu":
        begun = time.thread_time()
        function()
        return time.thread_time() - begun
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(50_000_000)  # otherwise this would measure how fast Python queues calls
    start.record()
    for _ in range(CALLS):
        function()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000 / CALLS


def measure(variants: Variants, x: Tensor, *, rounds: int) -> Figures:
    """Returns the time of every pass of every variant relative to `copy_`, or its error."""
    target = torch.empty_like(x)
    jobs: dict[tuple[str, str], Callable[[], object]] = {("copy_", PASSES[0]): lambda: target.copy_(x)}
    jobs["clone", PASSES[0]] = x.clone
    rows: Figures = {name: {} for name in ("copy_", "clone", *variants)}
    for name, build in variants.items():
        try:
            jobs |= {(name, which): function for which, function in passes(build, x).items()}
        except Exception as problem:  # other libraries may fail in any way; the error is the result
            rows[name] = dict.fromkeys(PASSES, error(problem))
    times: dict[tuple[str, str], list[float]] = {job: [] for job in jobs}
    for number in range(rounds + 1):
        for (name, which), function in jobs.items():
            if which in rows[name]:
                continue
            try:
                duration = seconds(function, x.device.type)
            except Exception as problem:
                rows[name][which] = error(problem)
                continue
            if number:  # the first round warms up
                times[name, which].append(duration)
    copy_seconds = statistics.median(times["copy_", PASSES[0]])
    for (name, which), values in times.items():
        if values:
            rows[name][which] = statistics.median(values) / copy_seconds
    return rows


def cases(device: str, *, quick: bool) -> Iterator[tuple[str, Figures]]:
    """Yields the figures for each transform, image size and memory format."""
    plans = [("Haar", HAAR, LARGE)]
    if not quick:
        plans += [("Haar", HAAR, BATCH), ("Haar", HAAR, FEATURES), ("9/7 of three levels", CDF_9_7, LARGE)]
        plans += [("Haar", HAAR, WIDE)] if device != "cpu" else []
        plans += [("Haar", HAAR_VOLUME, VOLUME), ("9/7 of two levels", CDF_VOLUME, VOLUME)]
        plans += [("undecimated db2 of three levels", UNDECIMATED, shape) for shape in (PHOTO, LINES)]
    for title, variants, shape in plans:
        for layout, memory_format in LAYOUTS.items():
            if layout != "contiguous" and variants not in (HAAR, CDF_9_7):
                continue
            x = torch.rand(shape, device=device).contiguous(memory_format=memory_format)
            yield f"{title}, {'x'.join(map(str, shape))}, {layout}", measure(variants, x, rounds=11)


def tables(report: dict) -> str:
    """Returns one Markdown table for each transform, image size and memory format."""
    parts = [f"{report['machine']}, torch {report['versions']['torch']}, {report['date']}; time relative to copy_"]
    for case, rows in report["rows"].items():
        lines = []
        for name, figures in rows.items():
            lines.append([name, *(cell(figures.get(which, ""), which, report["machine"]) for which in PASSES)])
        parts += [f"<!-- {case} -->", markdown([case, *PASSES], lines)]
    return "\n\n".join([*parts, "<!-- end -->"]) + "\n"


def cell(figure: float | str, which: str, machine: str) -> str:
    """Formats a ratio, on a GPU with the share of copy bandwidth, or returns the type of the error."""
    if isinstance(figure, str):
        return figure.partition(":")[0]
    least = 2 if which == PASSES[2] else 1
    return f"{figure:.2f}" if "one thread" in machine else f"{figure:.2f} ({least / figure:.0%})"


def main() -> None:
    parser = new_parser(__doc__, quick="only the Haar transform of one image")
    parser.add_argument("--table", action="store_true", help="regenerate the tables from the JSON file")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # deprecation warnings of the other libraries
    torch.set_num_threads(1)
    torch.manual_seed(0)
    name = f"wavelets-{options.device.split(':')[0]}"
    if options.table:
        report = json.loads((RESULTS / f"{name}.json").read_text())
    else:
        rows = {}
        for case, figures in cases(options.device, quick=options.quick):
            print(case, flush=True)
            rows[case] = figures
        report = {**circumstances(options.device, *PEERS), "rows": rows}
    publish(name, report, tables(report), quick=options.quick)


if __name__ == "__main__":
    main()
