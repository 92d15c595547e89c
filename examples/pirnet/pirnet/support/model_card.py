"""The model cards of PIRNet: what the networks are, how they are loaded, what they do not protect, and their figures.

`model_card.md` is the text, with gaps for what differs. The figures are those of reports that `evaluate.py` wrote. Only
the cards of the weights that come with the example state licence, data and attacks.
"""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData  # pyright: ignore[reportMissingImports]
from safetensors import safe_open
from torch import nn

from pirnet.support.places import LIH_WEIGHTS, LSR_WEIGHTS, SHIPPED
from pirnet.support.text import counted, filled_page, from_json, markdown_table, number
from pirnet.tasks import TASKS

PARTS = {"LIH": (LIH_WEIGHTS, "the client"), "LSR": (LSR_WEIGHTS, "the cloud")}  # the file and the owner of each
RESULTS = SHIPPED.parent / "results"
MEASURED = ("cbsd68", "set14", "set5")
MEASURES = {"stego_psnr": 2, "secret_psnr": 2, "secret_ssim": 3, "secret_lpips": 3}  # decimals of each
PAGE = Path(__file__).with_suffix(".md")
TAGS = ["image-hiding", "image-restoration", "invertible-networks", "liftlayers", "wavelets"]

UNKNOWN_DATA = "Write here which photos the weights were trained on, and what their licence is."
LEGEND = """## Figures

PSNR in dB, through 8 bit. *Stego* is compared with the cover, *secret* with the true photo. *Do nothing* is the
degraded photo itself, *no restoration* is what the client reveals without the cloud, and *no key* is for photos that
are not scrambled."""


def model_card(parts: Mapping[str, nn.Module], reports: Sequence[Path] | None = None) -> ModelCard:
    """The card of LIH, of LSR or of both, in the format of the Hugging Face hub.

    Args:
        parts: The networks by name, "LIH" and "LSR".
        reports: Files `results.json` that `evaluate.py` wrote for both. By default those of the weights that come with
            the example, and none for others.

    Raises:
        ValueError: If a file is no report of `evaluate.py`.
    """
    whole, shipped = len(parts) == len(PARTS), all(_is_shipped(*part) for part in parts.items())
    if reports is None:
        known = [RESULTS / f"{name}.json" for name in MEASURED] if shipped and whole else []
        reports = [path for path in known if path.is_file()]
    evaluated = [_report(path) for path in reports]
    results = [result for report in evaluated for result in _results(report)]
    name = "PIRNet" if whole else next(iter(parts))
    data = ModelCardData(
        license="apache-2.0" if shipped else None,
        library_name="liftlayers",
        pipeline_tag="image-to-image",
        tags=list(TAGS),
        metrics=["psnr", "ssim", "lpips"] if results else None,
        eval_results=results or None,
        model_name=name if results else None,
    )
    names = [*parts, *(["PIRNet"] if whole else [])]
    lines = [f"{'network' if each == 'PIRNet' else each.lower()} = {each}.from_pretrained(name)" for each in names]
    page = filled_page(
        PAGE,
        data=data.to_yaml(),
        name=name,
        networks=_networks(parts),
        names=", ".join(names),
        lines="\n".join(lines),
        attacks=_attacks() if shipped and (RESULTS / "attacks.json").is_file() else "",
        training=_training() if shipped else UNKNOWN_DATA,
        figures="\n\n".join([LEGEND, *map(_figures, evaluated)]) if evaluated else "",
    )
    return ModelCard(page)


def _is_shipped(name: str, network: nn.Module) -> bool:
    """Whether the weights are those that come with the example."""
    state = network.state_dict()
    with safe_open(SHIPPED / PARTS[name][0], "pt") as file:
        if set(file.keys()) != state.keys():
            return False
        pairs = ((state[each].cpu(), file.get_tensor(each)) for each in state)
        return all(own.dtype == shipped.dtype and torch.equal(own, shipped) for own, shipped in pairs)


def _networks(parts: Mapping[str, nn.Module]) -> str:
    sizes = {name: f"{sum(p.numel() for p in network.parameters()):,}" for name, network in parts.items()}
    lines = [(name, PARTS[name][1], f"`{PARTS[name][0]}`", size) for name, size in sizes.items()]
    return markdown_table(("network", "owner", "file", "parameters"), lines)


def _attacks() -> str:
    """What LIH's weights reveal of secrets that are scrambled and of others, at the worst kind of damage."""
    report = json.loads((RESULTS / "attacks.json").read_text(encoding="utf-8"))

    def found(mode: str, figure: str) -> float:
        attacks = [row for rows in report["modes"][mode]["attacks"].values() for row in rows]
        return max(row[figure] for row in attacks if row["attack"] == "LIH's weights without the key")

    plain, keyed = found("plain", "correlation"), found("keyed, t = 16", "correlation")
    blocks = found("keyed, t = 16", "blocks_correlation")
    text = (
        f"Measured on {counted(report['pairs'], 'pair')} of {report['data']}: what LIH's weights reveal without a key "
        f"has a correlation of {plain:.2f} with a photo that was not scrambled. For a photo that was scrambled in "
        f"blocks of 16 pixels it is {keyed:.2f}, and {blocks:.2f} with its scrambled form."
    )
    return textwrap.fill(text, 120)


def _training() -> str:
    """What the page of the weights that come with the example says of their photos."""
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    about = "**Data.**" + card.partition("**Data.**")[2].partition("**Figures**")[0]
    return f"**Licence.** Apache-2.0, as the code. The photos have terms of their own.\n\n{about.strip()}"


def _report(path: Path) -> Mapping:
    try:
        report = from_json(path.read_text(encoding="utf-8"))
        for row in report["rows"]:
            _ = [row[name] for name in ("task", "row", "pipeline", *MEASURES)]
        return {"data": report["data"], "pairs": report["pairs"], "block": report["block"], "rows": report["rows"]}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no report of evaluate.py: {error}") from error


def _results(report: Mapping) -> Iterator[EvalResult]:
    """The restored secrets, through 8 bit, as structured figures."""
    for row in report["rows"]:
        if (row["row"], row["pipeline"]) == ("ours", "uint8"):
            for measure in ("secret_psnr", "secret_ssim"):
                short = measure.removeprefix("secret_")
                yield EvalResult(
                    task_type="image-to-image",
                    task_name=TASKS[row["task"]].title,
                    dataset_type=report["data"].lower(),
                    dataset_name=report["data"],
                    dataset_config=row["task"],
                    metric_type=short,
                    metric_name=f"{short.upper()} of the restored secret",
                    metric_value=row[measure],
                )


def _figures(report: Mapping) -> str:
    head = ("task", "row", "stego PSNR", "secret PSNR", "secret SSIM", "secret LPIPS")
    rows = [row for row in report["rows"] if row["pipeline"] == "uint8"]
    lines = [
        (TASKS[row["task"]].title, row["row"], *(number(row[name], digits) for name, digits in MEASURES.items()))
        for row in rows
    ]
    scrambled = f"scrambled in blocks of {report['block']} pixels" if report["block"] else "not scrambled"
    title = f"### {report['data']}, {counted(report['pairs'], 'pair')}, {scrambled}"
    return f"{title}\n\n{markdown_table(head, lines)}"
