"""The learning curve as a PNG, by matplotlib: the same series as the page, with no state outside the figure."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from embhub.cards.evaluation import EvaluationReport
from embhub.diffusion.evaluation.curve import Panel, limits, panels

_INCHES, _DPI = (8.6, 3.8), 200  # 1720 x 760 pixels
_GREY, _FAINT = "#999999", "#eeeeee"
_SHIFT = 0.06  # between series at one count, so that intervals stand beside each other


def to_png(report: EvaluationReport) -> bytes:
    """The learning curve.

    Args:
        report: what was evaluated.

    Returns:
        A PNG of 1720 x 760 pixels, the same bytes for the same report and version of matplotlib.
    """
    canvas = Canvas(figsize=_INCHES, dpi=_DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(canvas)
    both = panels(report)
    low, high = limits(both)
    for axes, panel in zip(canvas.subplots(1, 2), both, strict=True):
        axes.set_ylim(low, high)
        _draw(axes, panel)
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Axes, panel: Panel) -> None:
    counts = panel.counts
    handles = []
    for number, series in enumerate(panel.series):
        shift = (number - (len(panel.series) - 1) / 2) * _SHIFT
        places = [counts.index(panel.count(one)) + shift for one in series.figures]
        values = [one.auc for one in series.figures]
        # The mean lies outside its interval where rounding moved one of them: matplotlib refuses negative lengths.
        below = [max(0.0, one.auc - one.interval[0]) for one in series.figures]
        above = [max(0.0, one.interval[1] - one.auc) for one in series.figures]
        handles.append(
            axes.errorbar(
                places, values, yerr=[below, above], color=series.colour, linewidth=1.6, elinewidth=1.2, marker="o",
                markersize=4.5,
            )
        )  # fmt: skip
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_xlim(-0.5, max(1, len(counts)) - 0.5)
    axes.set_xlabel(panel.title.capitalize() if counts else f"No {panel.title}")
    axes.set_ylabel("AUC")
    axes.axhline(0.5, color=_GREY, linewidth=0.8, zorder=0)
    axes.grid(axis="y", color=_FAINT)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if not handles:
        return
    legend = axes.legend(
        handles[:4], ["series"] * len(handles[:4]), loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2,
        frameon=False,
    )  # fmt: skip
    for text, series in zip(legend.get_texts(), panel.series, strict=False):
        text.set_parse_math(False)  # names are people's words: neither a dollar nor a leading underscore is markup
        text.set_text(series.name)
