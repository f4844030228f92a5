"""Numbers and tables as plain text for people."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Return lines with columns of equal width and a rule under the first row.

    Args:
        rows: cells; the first row is the head.
        left: how many of the first columns are flush left; the others are flush right.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "  ".join("─" * width for width in widths), *lines[1:]]


def printable(text: str) -> str:
    """Return text in one line: line ends, control characters and broken bytes as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def size(count: float) -> str:
    """Return bytes for people: 999 B, 12.3 kB, 4.56 MB (powers of 1000)."""
    if count < 1000:
        return f"{count:,.0f} B"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 1000:
            return f"{count:.3g} {unit}"
    return f"{count / 1000:.3g} GB"


def amount(count: float) -> str:
    """Return a number for people: 999, 12.3 k, 4.56 M, 1.2 G."""
    for unit in ("", " k", " M"):
        if count < 999.5:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.3g} G"


def percent(share: float | None) -> str:
    """Return a share in percent with two digits behind the point, "–" for None."""
    return "–" if share is None else f"{100 * share:.2f} %"


def ratio(error: float | None) -> str:
    """Return a relative error with three digits, "–" for None."""
    return "–" if error is None else f"{error:.3f}"


def shortened(name: str) -> str:
    """Return the end of a name, 30 characters at most."""
    return name if len(name) <= 30 else f"…{name[-29:]}"
