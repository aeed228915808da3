"""A report on systems measured on the same clips: JSON with everything, Markdown to read, one picture."""

import json
import logging
import math
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.intervals import Figure
from evaluation.metrics import Measures, compare
from evaluation.plots import Panel, PlotMissing, draw_bars

logger = logging.getLogger(__name__)

COMPARED = ("cider", "sentence_similarity")
"""Metrics with paired differences from the baseline."""

_COLUMNS = {
    "cider": "CIDEr",
    "rouge_l": "ROUGE-L",
    "bleu4": "BLEU-4",
    "meteor": "METEOR",
    "spice": "SPICE",
    "sentence_similarity": "sentence similarity",
    "clap_score": "CLAP score",
    "distinct2": "distinct-2",
    "words": "words",
    "verbatim": "verbatim",
}
_EXAMPLES = 20
_PICTURE = "report.png"


@dataclass(frozen=True)
class Row:
    """One system.

    Attributes:
        name: in the tables.
        measures: of its captions.
        note: explains the system to a reader.
    """

    name: str
    measures: Measures
    note: str = ""


@dataclass(frozen=True)
class Report:
    """Systems measured on the same clips.

    Attributes:
        title: heading.
        facts: about the measurement: bundle, domain, clips, seed, tokenizer.
        rows: the systems, in the order of the tables.
        baseline: name of the row to compare the others with; None for no comparison.
        clips: `file` and `references` of each clip, and the caption of each row under the row's name.
    """

    title: str
    facts: dict[str, str | int | float]
    rows: list[Row]
    baseline: str | None
    clips: list[dict[str, Any]]

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if not names:
            raise ValueError("a report needs a row")
        if len(set(names)) != len(names):
            raise ValueError(f"two rows of a report have one name: {', '.join(names)}")
        if self.baseline is not None and self.baseline not in names:
            raise ValueError(f"the baseline {self.baseline!r} is not among the rows: {', '.join(names)}")
        sizes = {len(values) for row in self.rows for values in row.measures.per_clip.values()}
        if len(sizes) > 1:
            raise ValueError(f"the rows of a report were measured on unlike numbers of clips: {sorted(sizes)}")

    @cached_property
    def differences(self) -> dict[str, dict[str, Figure]]:
        """Row name -> metric -> mean paired difference row - baseline, for metrics that both have."""
        against = next((row.measures for row in self.rows if row.name == self.baseline), None)
        if against is None:
            return {}
        return {
            row.name: {
                metric: compare(row.measures, against, metric)
                for metric in COMPARED
                if metric in row.measures.per_clip and metric in against.per_clip
            }
            for row in self.rows
            if row.name != self.baseline
        }

    def write(self, folder: Path) -> None:
        """Write report.json, report.md and report.png into the folder, each completely or not at all.

        The folder is created. Without matplotlib the picture is omitted with a warning.
        """
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_finite(self._everything()), indent=1, ensure_ascii=False, allow_nan=False)
        _write_whole(folder / "report.json", lambda path: path.write_text(text + "\n", encoding="utf-8"))
        picture = folder / _PICTURE
        try:
            _write_whole(picture, self._draw)
        except PlotMissing as error:
            logger.warning("%s is omitted: %s", _PICTURE, error)
            # The picture of an earlier report would show other numbers.
            picture.unlink(missing_ok=True)
        markdown = self.markdown(picture=picture.is_file())
        _write_whole(folder / "report.md", lambda path: path.write_text(markdown, encoding="utf-8"))

    def markdown(self, picture: bool = False) -> str:
        """Return the report as Markdown; with `picture` it shows the report.png beside it."""
        parts = [f"# {_cell(self.title)}", "\n".join(f"- {_cell(key)}: {_cell(self.facts[key])}" for key in self.facts)]
        if picture:
            parts.append(f"![CIDEr and sentence similarity by row]({_PICTURE})")
        parts += [self._measured(), self._compared(), self._examples()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _measured(self) -> str:
        columns = [metric for metric in _COLUMNS if any(metric in row.measures.overall for row in self.rows)]
        lines = [
            [_cell(row.name), *(_figure(row.measures.overall.get(metric)) for metric in columns)] for row in self.rows
        ]
        table = _table(["", *(_COLUMNS[metric] for metric in columns)], lines)
        left_out = {metric: reason for row in self.rows for metric, reason in row.measures.left_out.items()}
        notes = [f"{_cell(row.name)}: {_cell(row.note)}" for row in self.rows if row.note]
        notes += [f"{metric} is omitted: {_cell(reason)}" for metric, reason in left_out.items()]
        about = (
            "Brackets: the 95% bootstrap interval over clips. Higher is better, except for words (in a caption) and "
            "verbatim (share of captions that repeat a retrieved one). CIDEr takes its document frequencies from the "
            "references of these clips; BLEU and distinct-n are computed on all captions together."
        )
        return "\n\n".join(part for part in ("## Measures", table, about, "\n".join(f"- {n}" for n in notes)) if part)

    def _compared(self) -> str:
        if not self.differences:
            return ""
        lines = [
            [_cell(name), *(_difference(figures.get(metric)) for metric in COMPARED)]
            for name, figures in self.differences.items()
        ]
        table = _table(["", *(_COLUMNS[metric] for metric in COMPARED)], lines)
        about = "Mean difference over clips, the same clips drawn for both. **Bold**: the 95% interval excludes zero."
        return f"## Difference from {_cell(self.baseline)}\n\n{table}\n\n{about}"

    def _examples(self) -> str:
        if not self.clips:
            return ""
        parts = [f"## Examples\n\nThe first {min(_EXAMPLES, len(self.clips))} of {len(self.clips)} clips."]
        for clip in self.clips[:_EXAMPLES]:
            lines = [f"- {_cell(row.name)}: {_cell(clip[row.name])}" for row in self.rows if row.name in clip]
            lines += [f"- *reference*: {_cell(text)}" for text in clip.get("references", [])]
            parts.append("\n".join([f"**{_cell(clip.get('file', ''))}**", "", *lines]))
        return "\n\n".join(parts)

    def _everything(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "facts": self.facts,
            "baseline": self.baseline,
            "rows": [
                {
                    "name": row.name,
                    "note": row.note,
                    "tokenizer": row.measures.tokenizer,
                    "left_out": row.measures.left_out,
                    "overall": row.measures.overall,
                    "per_clip": row.measures.per_clip,
                }
                for row in self.rows
            ],
            "differences": self.differences,
            "clips": self.clips,
        }

    def _draw(self, path: Path) -> None:
        overall = [row.measures.overall for row in self.rows]
        panels = [Panel(_COLUMNS[metric], [of_row.get(metric) for of_row in overall]) for metric in COMPARED]
        draw_bars(path, self.title, [row.name for row in self.rows], panels, self.baseline)


def _finite(value: Any) -> Any:
    """Return the value in types of JSON; numbers that are not finite become null."""
    if isinstance(value, Figure):
        return {"value": _finite(value.value), "low": _finite(value.low), "high": _finite(value.high)}
    if isinstance(value, dict):
        return {str(key): _finite(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(held) for held in value]
    if isinstance(value, np.ndarray | np.generic):
        return _finite(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a temporary file beside `path`, which then takes its place."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        # mkstemp creates files that only their owner can read.
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))


def _figure(figure: Figure | None) -> str:
    if figure is None or math.isnan(figure.value):
        return "–"
    known = math.isfinite(figure.low) and math.isfinite(figure.high)
    return f"{figure.value:.3f} [{figure.low:.2f}, {figure.high:.2f}]" if known else f"{figure.value:.3f}"


def _difference(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    text = f"{figure.value:+.3f} [{figure.low:+.3f}, {figure.high:+.3f}]"
    return f"**{text}**" if figure.low > 0 or figure.high < 0 else text


def _cell(value: object) -> str:
    """Return text that is not Markdown and stays in its table cell."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(str(value).split()))
