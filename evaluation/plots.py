"""Draws the picture of a report: bars with 95% intervals, one for each arm."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.intervals import Figure

_DPI = 100
_WIDTH = 12.0
_BAR, _BASELINE, _ERROR, _GRID = "#4c78a8", "#b4b9c1", "#222222", "#e6e6e6"


class PlotMissing(ImportError):
    """matplotlib is not installed."""


@dataclass(frozen=True)
class Panel:
    """Bars of one measure.

    Attributes:
        title: of the axis.
        figures: of each arm, or None.
    """

    title: str
    figures: Sequence[Figure | None]


def draw_bars(path: Path, title: str, names: Sequence[str], panels: Sequence[Panel], baseline: str | None) -> None:
    """Write a PNG, 1,200 pixels wide: horizontal bars by name, the first on top, the baseline grey.

    Raises:
        PlotMissing: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Sheet
    except ImportError:
        raise PlotMissing("the picture needs matplotlib: pip install drcap[eval]") from None
    # Without pyplot: it needs a display and changes the state of the process.
    sheet = Sheet(figsize=(_WIDTH, 1.7 + 0.42 * len(names)), dpi=_DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(sheet)
    sheet.suptitle(_plain(title, 100), fontsize=13, x=0.01, ha="left")
    for axes, panel in zip(sheet.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
        reach = 0.0
        least = 0.0
        for row, (name, figure) in enumerate(zip(names, panel.figures, strict=True)):
            if figure is None or figure.value != figure.value:
                continue
            known = figure.low == figure.low and figure.high == figure.high
            low, high = (figure.low, figure.high) if known else (figure.value, figure.value)
            reach, least = max(reach, high, figure.value), min(least, low, figure.value)
            axes.barh(row, figure.value, height=0.62, color=_BASELINE if name == baseline else _BAR, zorder=2)
            if known:
                axes.plot([low, high], [row, row], color=_ERROR, linewidth=1.4, zorder=3)
                axes.plot([low, high], [row, row], color=_ERROR, marker="|", markersize=7, linestyle="", zorder=3)
            axes.annotate(
                f"{figure.value:.3f}",
                (max(high, figure.value, 0.0), row),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
            )
            if name == baseline:
                axes.axvline(figure.value, color="#777777", linewidth=1.0, linestyle="--", zorder=1)
        # Leave room for the numbers to the right of the bars.
        axes.set_xlim(least * 1.1, (reach or 1.0) * 1.22)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_yticks(range(len(names)), [_plain(name, 44) for name in names], fontsize=10)
        axes.set_xlabel(f"{panel.title}, 95% interval over clips", fontsize=10)
        axes.grid(axis="x", color=_GRID, zorder=0)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    # The format is explicit because a temporary file need not end in .png.
    sheet.savefig(path, format="png", facecolor="white")


def _plain(text: str, longest: int) -> str:
    # matplotlib reads text between dollars as mathematics.
    short = text if len(text) <= longest else text[: longest - 1] + "…"
    return short.replace("$", r"\$")
