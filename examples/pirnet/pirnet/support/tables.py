"""Tables in Markdown."""

from collections.abc import Sequence


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table without its empty columns; a bar inside a cell is escaped.

    Example:
        >>> print(markdown(("task", "SSIM", "PSNR"), [("blur", "", "30.1")]))
        | task | PSNR |
        | --- | --- |
        | blur | 30.1 |
    """
    columns = [column for column in zip(head, *lines, strict=True) if any(column[1:])]
    head, *lines = ([cell.replace("|", r"\|") for cell in line] for line in zip(*columns, strict=True))
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines))


def number(value: float | None, digits: int = 2) -> str:
    """A number with that many decimals; nothing for None."""
    return "" if value is None else f"{value:.{digits}f}"
