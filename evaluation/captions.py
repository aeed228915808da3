"""Measure the captions of a running service on captioned clips, beside returning the nearest caption.

    drcap serve &
    python -m evaluation.captions --url http://127.0.0.1:8000 --audio-csv audio.csv --set SET \\
        --corpus clotho_train.csv.gz --domain clotho --json captions.json

`audio.csv` has the columns file, set and captions_json (a JSON list of references); paths are relative to it.
"""

import csv
import gzip
import json
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from evaluation.alignment_measures import Figure
from evaluation.scores import bleu4, bootstrap, cider, rouge_l, tokenizer_name
from models.clap.minilm import MiniLmTextTower

_TIMEOUT = httpx.Timeout(900.0, connect=10.0)


def evaluate(
    url: Annotated[str, typer.Option(help="Where the service answers.")],
    audio_csv: Annotated[Path, typer.Option(help="Clips and references.")],
    domain: Annotated[str, typer.Option(help="Domain to caption in.")],
    clip_set: Annotated[str, typer.Option("--set", help="Value of the column `set`.")] = "captioned:clotho_v2",
    corpus: Annotated[Path | None, typer.Option(help="Register this .csv.gz as the domain first.")] = None,
    beams: Annotated[int, typer.Option(help="num_beams of the request.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything there.")] = None,
) -> None:
    """Caption every clip of a set over HTTP; print metrics of the captions and of the nearest captions."""
    clips = _clips(audio_csv, clip_set)
    if not clips:
        raise typer.BadParameter(f"{audio_csv} has no captioned clip of the set {clip_set!r}")
    with httpx.Client(base_url=url, timeout=_TIMEOUT) as client:
        if corpus is not None:
            _register(client, domain, corpus)
        answers = [_caption(client, path, domain, beams) for path, _ in clips]
    references = [texts for _, texts in clips]
    predictions = [answer["caption"] for answer in answers]
    nearest = [answer["similar_captions"][0]["caption"] for answer in answers]
    report = {
        "clips": len(clips),
        "tokenizer": tokenizer_name(),
        "captions": _measure(predictions, references),
        "nearest": _measure(nearest, references),
        "cider_gain": asdict(bootstrap(cider(predictions, references) - cider(nearest, references))),
        "words": statistics.mean(len(text.split()) for text in predictions),
        "longest": max(len(text.split()) for text in predictions),
        "verbatim_similar": float(
            np.mean([a["caption"] in {s["caption"] for s in a["similar_captions"]} for a in answers])
        ),
        "median_seconds": statistics.median(answer["timings"]["total"] for answer in answers),
        "answers": [
            {
                "file": path.name,
                "caption": a["caption"],
                "similar": a["similar_captions"],
                "references": texts,
            }
            for (path, texts), a in zip(clips, answers, strict=True)
        ],
    }
    _show(report)
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=1), encoding="utf-8")


def _clips(audio_csv: Path, clip_set: str) -> list[tuple[Path, list[str]]]:
    with audio_csv.open(encoding="utf-8", newline="") as lines:
        return [
            (audio_csv.parent / row["file"], json.loads(row["captions_json"]))
            for row in csv.DictReader(lines)
            if row["set"] == clip_set and row["captions_json"]
        ]


def _register(client: httpx.Client, domain: str, corpus: Path) -> None:
    with gzip.open(corpus, "rt", encoding="utf-8", newline="") as lines:
        captions = [row["caption"] for row in csv.DictReader(lines)]
    answer = client.put(f"/domains/{domain}", json={"captions": captions})
    if answer.is_error:
        raise typer.BadParameter(f"the service refused the corpus: {answer.text}")


def _caption(client: httpx.Client, path: Path, domain: str, beams: int) -> dict[str, Any]:
    fields = {"domain": domain, "response_format": "verbose_json", "num_beams": str(beams)}
    answer = client.post("/caption", files={"file": (path.name, path.read_bytes())}, data=fields)
    if answer.is_error:
        raise typer.BadParameter(f"{path.name}: {answer.text}")
    result: dict[str, Any] = answer.json()
    return result


def _measure(texts: list[str], references: list[list[str]]) -> dict[str, Any]:
    return {
        "cider": asdict(bootstrap(cider(texts, references))),
        "rouge_l": asdict(bootstrap(rouge_l(texts, references))),
        "bleu4": bleu4(texts, references),
        "similarity": asdict(bootstrap(_similarity(texts, references))),
    }


def _similarity(texts: list[str], references: list[list[str]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Mean cosine of a caption's sentence vector to those of its clip's references."""
    tower = MiniLmTextTower.from_package(torch.device("cpu"))
    said = tower.embed(texts)
    return np.array([float((tower.embed(truth) @ v).mean()) for v, truth in zip(said, references, strict=True)])


def _show(report: dict[str, Any]) -> None:
    console = Console()
    table = Table(title=f"{report['clips']} clips, {report['tokenizer']} tokens, 95% bootstrap over clips")
    for column in ("", "CIDEr", "ROUGE-L", "BLEU-4", "sentence similarity"):
        table.add_column(column)
    for name in ("captions", "nearest"):
        row = report[name]
        cells = [str(Figure(**row[key])) for key in ("cider", "rouge_l", "similarity")]
        table.add_row(name, cells[0], cells[1], f"{row['bleu4']:.3f}", cells[2])
    console.print(table)
    console.print(
        f"CIDEr gain {Figure(**report['cider_gain'])}; words {report['words']:.1f} (longest {report['longest']}); "
        f"verbatim from the prompt {report['verbatim_similar']:.0%}; median {report['median_seconds']:.2f} s a clip"
    )
    for answer in report["answers"]:
        console.print(f"[bold]{answer['caption']}[/bold]  | {answer['references'][0]}", highlight=False)


if __name__ == "__main__":
    typer.run(evaluate)
