"""The compatibility matrix: checks by name, the cells that fail and why, and the table of the docs."""

__all__ = ["CHECKS", "DASHES", "EXCEPTIONS", "PAGE", "REASONS", "SLOW", "Refusal", "updated"]

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch.autograd.gradcheck import GradcheckError
from torch.onnx import OnnxExporterError

from tests.compatibility import compiled, eager
from tests.registry import REGISTRY, ROWS

ROOT = Path(__file__).parents[2]
PAGE, CONSTRAINTS = ROOT / "docs" / "compatibility.md", ROOT / "constraints.txt"

# The columns of the two tables: title -> the check that a layer has to pass.
IN_GRAPHS: dict[str, Callable[[str], None]] = {
    "compile": compiled.compiles_in_one_graph,
    "compile, any size": compiled.compiles_for_changing_sizes,
    "export": compiled.exports,
    "ONNX": compiled.goes_to_onnx,
    "ONNX of the inverse": compiled.goes_to_onnx_and_back,
}
IN_EAGER_MODE: dict[str, Callable[[str], None]] = {
    "channels last": eager.runs_in_channels_last,
    "layout kept": eager.keeps_channels_last,
    "bfloat16": eager.runs_in_bfloat16,
    "float16": eager.runs_in_float16,
    "autocast": eager.runs_under_autocast,
    "vmap": eager.batches_under_vmap,
    "forward mode": eager.has_forward_derivatives,
    "second derivative": eager.has_a_second_derivative,
}
CHECKS = IN_GRAPHS | IN_EAGER_MODE


class Refusal(NamedTuple):
    """A cell that fails: its error, and the key of its reason."""

    error: type[Exception]
    match: str
    reason: str


CONTIGUOUS = Refusal(AssertionError, "bands came out in another layout", "contiguous")
REREAD = Refusal(AssertionError, "is off by .*, where 32 are allowed", "reread")
EXCEPTIONS: dict[tuple[str, str], Refusal] = {
    ("compile, any size", "LearnedWavelet"): Refusal(RuntimeError, "< 16", "sixteen"),
    ("ONNX of the inverse", "InvertibleConv1x1"): Refusal(OnnxExporterError, "linalg_solve_triangular", "solve"),
    ("compile, any size", "liftlayers.interop.from_transform"): Refusal(RuntimeError, "_inv is None", "remembered"),
    ("compile, any size", "BlockScrambling"): Refusal(RuntimeError, "Detected recompile", "drawn"),
    ("export", "BlockScrambling"): Refusal(Exception, "specialized it to be a constant|inferred ranges", "drawn"),
    ("ONNX", "BlockScrambling"): Refusal(OnnxExporterError, "specialized it to be a constant|inferred ranges", "drawn"),
    ("ONNX of the inverse", "BlockScrambling"): Refusal(
        OnnxExporterError, "specialized it to be a constant|inferred ranges", "drawn"
    ),
    ("layout kept", "BlockScrambling"): CONTIGUOUS,
    ("layout kept", "Haar"): CONTIGUOUS,
    ("layout kept", "Wavelet"): CONTIGUOUS,
    ("layout kept", "UndecimatedWavelet"): CONTIGUOUS,
    ("layout kept", "LearnedWavelet"): CONTIGUOUS,
    ("layout kept", "NonseparableLearnedWavelet"): CONTIGUOUS,
    ("layout kept", "LosslessWavelet"): CONTIGUOUS,
    ("layout kept", "LosslessColour"): CONTIGUOUS,
    ("layout kept", "LiftingPyramid"): CONTIGUOUS,
    ("layout kept", "InvertibleConv1x1"): CONTIGUOUS,
    ("layout kept", "Sequential"): CONTIGUOUS,
    ("layout kept", "Inverse"): CONTIGUOUS,
    ("layout kept", "exact"): CONTIGUOUS,
    ("bfloat16", "InvertibleConv1x1"): Refusal(TypeError, "float32 or float64 parameters, got torch.bfloat16", "half"),
    ("bfloat16", "IntegerPredictor"): Refusal(TypeError, "float32 or float64, got torch.bfloat16", "integers"),
    ("float16", "IntegerPredictor"): Refusal(TypeError, "float32 or float64, got torch.float16", "integers"),
    ("ONNX", "IntegerPredictor"): Refusal(OnnxExporterError, "frexp", "frozen"),
    ("second derivative", "IntegerPredictor"): Refusal(GradcheckError, "Jacobian mismatch", "rounding"),
    ("bfloat16", "exact"): Refusal(TypeError, "float32 or float64 tensor, got torch.bfloat16", "half"),
    ("float16", "InvertibleConv1x1"): Refusal(TypeError, "float32 or float64 parameters, got torch.float16", "half"),
    ("float16", "exact"): Refusal(TypeError, "float32 or float64 tensor, got torch.float16", "half"),
    ("autocast", "LearnedWavelet"): REREAD,
    ("autocast", "NonseparableLearnedWavelet"): REREAD,
    ("vmap", "exact"): Refusal(RuntimeError, r"calling \.item\(\) on a Tensor", "range"),
    ("second derivative", "exact"): Refusal(GradcheckError, "numerical:0.0", "rounding"),
}
REASONS = {
    "contiguous": "The inverses of all wavelets, both directions of `Wavelet`, `UndecimatedWavelet`, `LosslessColour` "
    "and `BlockScrambling`, and the solver in `InvertibleConv1x1.inverse` return contiguous tensors. The values are "
    "the same.",
    "drawn": "The order of the blocks is drawn for one image size. The layer is compiled once more for another size, "
    "and exported for a fixed one.",
    "frozen": "Export `frozen(network)`, as a test does: it has integers where the trained network has floats.",
    "half": "The inverse needs float32 precision, so this layer refuses lower-precision inputs with an error. Under "
    "autocast it computes in float32.",
    "integers": "Half precision does not hold the sums. The layer refuses it, and computes in float32 under autocast.",
    "range": "Every pass compares its largest value with its range, but Python cannot read values under `vmap`.",
    "remembered": "A transform of torch remembers its inverse from the first call on, so the second call "
    "compiles once more.",
    "reread": "Multiplications by the fixed taps and scales round. In the inverse, networks therefore get inputs that "
    "differ in the last digit of float32, and after conversion to bfloat16 some of them differ more. With "
    "`scale=None`, `exact` returns every bit.",
    "rounding": "The gradient treats the rounding as the identity, but finite differences see the steps of the "
    "rounding function.",
    "sixteen": "PyTorch uses another convolution algorithm for batches of 16 or more, and compiles a graph for each. "
    "The networks of this layer get the channels as part of the batch, which is then $2C$ times as large.",
    "solve": "ONNX has no triangular solver. Export a convolution with the inverse matrix instead, as shown below.",
}
# Cells in which a column does not apply: layers without an inverse, columns of floats for layers of integers, and
# channels last, which is a layout of images.
FLOATS = ("bfloat16", "float16", "autocast", "forward mode", "second derivative")
LAYOUT = ("channels last", "layout kept")
THRESHOLDS = [name for name in ROWS if name.endswith("_threshold")]
ONE_WAY = ("UndecimatedWavelet", "IntegerPredictor", "NAFBlock", "NAFUNet", "MultiTaskNAFUNet", *THRESHOLDS)
DASHES = {("ONNX of the inverse", name) for name in ONE_WAY}
DASHES |= {(check, name) for check in FLOATS for name in ROWS if REGISTRY[name].integers}
DASHES |= {(check, name) for check in LAYOUT for name in ROWS if REGISTRY[name].rank != 2}
# Compiling or exporting a layer takes a second or more, so the default tests keep one layer of each kind. `Sequential`
# contains a Haar transform, a block of Predict and Update, and two swaps; `Parallel` contains PixelUnshuffle and
# ActNorm; `NAFUNet` contains NAFBlocks. An exact chain is compiled in tests/compatibility/test_graphs.py, and
# docs/compatibility.md compiles and exports a chain.
EXPORTED = ("AffineCoupling", "Split", "Parallel", "InvertibleConv1x1")
LONG = (
    "Haar",
    "UndecimatedWavelet",
    "LearnedWavelet",
    "NonseparableLearnedWavelet",
    "LosslessWavelet",
    "LiftingPyramid",
    "NAFBlock",
    "MultiTaskNAFUNet",
    "Inverse",
    "exact",
    *(name for name in ROWS if "," in name or "." in name),
)
SLOW = {("compile", name) for name in LONG}
SLOW |= {
    (check, name)
    for check in ("compile, any size", "ONNX", "ONNX of the inverse")
    for name in ROWS
    if name != "AffineCoupling"
}
SLOW |= {("export", name) for name in ROWS if name not in EXPORTED}
SLOW |= {("second derivative", "exact")}  # where it fails, gradgradcheck checks every number


def tables() -> str:
    """The meaning of each check, the matrix, its footnotes and the tested versions, in Markdown."""
    notes = "\n".join(f"[^{reason}]: {text}" for reason, text in REASONS.items())
    return "\n\n".join((_table(IN_GRAPHS), _table(IN_EAGER_MODE), f"Tested with {_versions()}.", notes))


def _table(checks: dict[str, Callable[[str], None]]) -> str:
    meaning = "\n".join(f"- *{title}*: {check.__doc__}" for title, check in checks.items())
    header = ["", *checks]
    rows = [[_label(name), *(_cell(check, name) for check in checks)] for name in ROWS]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))
    return f"{meaning}\n\n{lines}"


def _label(name: str) -> str:
    layer, comma, form = name.partition(",")
    return f"{{py:obj}}`{layer}`{comma}{form}"


def _cell(check: str, name: str) -> str:
    if (check, name) in DASHES:
        return "–"
    refusal = EXCEPTIONS.get((check, name))
    return "yes" if refusal is None else f"no[^{refusal.reason}]"


def _versions() -> str:
    pins = dict(line.split("==") for line in CONSTRAINTS.read_text().splitlines() if "==" in line)
    *others, last = (f"{name} {pins[name]}" for name in ("torch", "onnx", "onnxscript", "onnxruntime"))
    return f"{', '.join(others)} and {last}"


def updated(page: str) -> str:
    """The page with the current matrix between its two marks."""
    before, start, rest = page.partition("<!-- matrix -->\n\n")
    _, end, after = rest.partition("<!-- end of matrix -->")
    return f"{before}{start}{tables()}\n\n{end}{after}"


if __name__ == "__main__":  # python -m tests.compatibility.matrix
    PAGE.write_text(updated(PAGE.read_text()))
