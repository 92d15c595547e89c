"""The figures of the attacks as text: tables and sentences that stand between marks on a page."""

import re
import textwrap
from collections.abc import Callable, Mapping

from pirnet.support.text import counted, markdown_table, number
from pirnet.tasks import TASKS

from reproduce.attacks import LEAKED, ONE_PUZZLE, READ, SAME_COVER, SAME_SECRET, TWO_PUZZLES, TWO_SECRETS
from reproduce.security_pipeline import MODES

MARKS = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)
KEYED = tuple(name for name, block in MODES.items() if block is not None)
CLIENT, BAND = "LIH's weights and the key", "Haar band of the stego image"
WEIGHTS = "LIH's weights without the key"
USES = {
    SAME_SECRET: "the same secret in two covers, two keys: mean of both reveals",
    SAME_COVER: "the same secret in the same cover, two keys: Haar band of the difference",
    TWO_SECRETS: "two secrets in the same cover, two keys: Haar band of the difference",
    LEAKED: "one key for two secrets, one of them leaked: the other one",
    READ: "the same: share of blocks whose place is read off",
    ONE_PUZZLE: "a key for each secret: share of neighbours found",
    TWO_PUZZLES: "one key for two secrets: share of neighbours found",
}
SOURCES = {
    "truth": "the clean photo itself, as a perfect view",
    "revealed": "LIH's weights and the stego image",
    "restored": "LIH's weights and the restored stego image",
}


def filled(page: str, results: Mapping) -> str:
    """The page with the figures of the results between each pair of marks.

    Raises:
        ValueError: If the page has no marks, or names figures that do not exist.
    """
    if unknown := {name for _, name, _ in MARKS.findall(page)} - FIGURES.keys():
        raise ValueError(f"the page needs figures among {', '.join(FIGURES)}, got {', '.join(sorted(unknown))}")
    if not MARKS.search(page):
        raise ValueError("the page needs marks such as <!-- figures: attacks --> ... <!-- end of figures -->")
    return MARKS.sub(lambda found: f"{found[1]}\n{FIGURES[found[2]](results)}\n\n{found[3]}", page)


def highest(results: Mapping, mode: str, attack: str, figure: str = "correlation") -> float | None:
    """A figure of an attack at the task at which it is the highest; None if the mode has no such attack."""
    rows = [row for task in results["modes"][mode]["attacks"].values() for row in task if row["attack"] == attack]
    return max((row[figure] for row in rows), default=None)


def _attacks(results: Mapping) -> str:
    tasks = [rows for mode in results["modes"].values() for rows in mode["attacks"].values()]
    names = dict.fromkeys(row["attack"] for rows in tasks for row in rows)
    lines = []
    for name in names:
        cells = []
        for mode, block in MODES.items():
            photo, blocks = (highest(results, mode, name, figure) for figure in ("correlation", "blocks_correlation"))
            both = block is not None and photo is not None and name != CLIENT
            cells.append(f"{number(photo)} ({number(blocks)})" if both else number(photo))
        lines.append((name, *cells))
    return markdown_table(("attack", *MODES), lines)


def _protected(results: Mapping) -> str:
    bands, weights = ([highest(results, mode, attack) or 0 for mode in MODES] for attack in (BAND, WEIGHTS))
    lines = [
        f"- The best Haar band of the stego image has a correlation of {bands[0]:.2f} with the photo if there is no "
        f"key, and at most {max(bands[1:]):.2f} if there is one.",
        f"- An attacker with LIH's weights obtains a correlation of {weights[0]:.2f} if the photo was hidden without a "
        f"key, and at most {max(weights[1:]):.2f} if it was scrambled with one.",
    ]
    return "\n".join(map(_wrapped, lines))


def _jigsaw(results: Mapping) -> str:
    puzzles = {mode: results["modes"][mode]["jigsaw"] for mode in KEYED}
    lines = []
    for source, title in SOURCES.items():
        for task in next(iter(puzzles.values())):
            shares = [(found[task]["found"].get(source), found[task]["kept"].get(source)) for found in puzzles.values()]
            if shares[0][0] is not None:  # the clean photo is the same for all tasks
                damage = "" if source == "truth" else TASKS[task].title
                cells = (" / ".join(number(share) for share in pair if share is not None) for pair in shares)
                lines.append((title, damage, *cells))
    return markdown_table(("blocks are seen through", "damage", *KEYED), lines)


def _repeated(results: Mapping) -> str:
    lines = []
    for figure, title in USES.items():
        cells = []
        for mode in results["modes"].values():
            values = [task[figure] for task in mode["repeated"].values() if figure in task]
            cells.append(number(max(values)) if values else "")
        lines.append((title, *cells))
    return markdown_table(("use", *MODES), lines)


def _detection(results: Mapping) -> str:
    rows = results["detection"]
    if not rows:
        return "Not measured: sealwatch and conseal were not installed."
    counts = list(dict.fromkeys(row["pairs"] for row in rows))
    found = {(row["trained_on"], row["stego"], row["pairs"]): row["accuracy"] for row in rows}
    lines = []
    for trained_on, stego in dict.fromkeys((row["trained_on"], row["stego"]) for row in rows):
        title = stego if trained_on == stego else f"{stego}, judged after training on {trained_on}"
        lines.append((title, *(f"{100 * found[trained_on, stego, count]:.0f} %" for count in counts)))
    return markdown_table(("stego images", *(counted(count, "pair") for count in counts)), lines)


def _traces(results: Mapping) -> str:
    lines = []
    for name, mode in results["modes"].items():
        traces = list(mode["traces"].values())
        right = [100 * trace["detector_accuracy"] for trace in traces if trace["detector_accuracy"] is not None]
        ends = dict.fromkeys(f"{value:.0f}" for value in (min(right), max(right))) if right else {}
        accuracy = f"{' to '.join(ends)} %" if right else "not measured on so few pairs"
        distances = [trace["histogram"]["stego_cover"] for trace in traces]
        spread = f"{min(distances):.2f} to {max(distances):.2f}"
        lines.append((name, accuracy, spread, f"{traces[0]['histogram']['cover_halves']:.2f}"))
    head = ("stego images", "right", "histogram, stego and cover", "histogram, halves of one cover")
    return markdown_table(head, lines)


def _setting(results: Mapping) -> str:
    settings = results["settings"]
    tasks = counted(len(settings["tasks"]), "kind of damage", "kinds of damage")
    pairs, few = counted(results["pairs"], "pair"), min(settings["few"], results["pairs"])
    return _wrapped(
        f"Measured with the weights that come with the example on {pairs} of {results['data']}, in 8 bit, with {tasks}."
        f" Leaked pairs are crops of {' and '.join(results['train_data'])}. "
        f"Solved puzzles and repeated use: {few} of the pairs, the first by name."
    )


def _wrapped(text: str) -> str:
    """Wraps a paragraph or an item of a list at 120 letters."""
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


FIGURES: dict[str, Callable[[Mapping], str]] = {
    "setting": _setting,
    "protected": _protected,
    "attacks": _attacks,
    "jigsaw": _jigsaw,
    "repeated": _repeated,
    "detection": _detection,
    "traces": _traces,
}
