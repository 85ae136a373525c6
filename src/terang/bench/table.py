"""The table that a bench prints: what was measured, beside what, and the bar that it was to reach."""

from typing import NamedTuple

__all__ = ["Line", "render"]


class Line(NamedTuple):
    """One line: `figure` as text, `ratio` (or the figure that has a bar), the `bar`, and whether less is better."""

    what: str
    figure: str
    ratio: float | None = None
    bar: float | None = None
    less_is_better: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the bar was reached; None where there is none."""
        if self.ratio is None or self.bar is None:
            return None
        return self.ratio <= self.bar if self.less_is_better else self.ratio >= self.bar


def render(title: str, lines: list[Line]) -> str:
    """The table as text."""
    width = max(len(line.what) for line in lines)
    figures = max(len(line.figure) for line in lines)
    out = [title]
    for line in lines:
        text = f"  {line.what:<{width}}  {line.figure:>{figures}}"
        if line.ratio is not None and line.bar is not None:
            sign = "<=" if line.less_is_better else ">="
            text += f"  {line.ratio:>8.2f} {sign} {line.bar:g}  {'reached' if line.reached else 'MISSED'}"
        out.append(text)
    return "\n".join(out)
