"""Captions of a running service, measured like those made here."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from rich.progress import Progress

from evaluation.arms import NEAREST
from evaluation.metrics import Said
from evaluation.pipeline import Sounds, measured
from evaluation.report import Report
from models.clap.base import Clap

CAPTIONED = "drcap"

_TRIES = 10
_LONGEST_WAIT = 10.0


class Refused(RuntimeError):
    """The service did not caption a clip; the message says which and why."""


def measure_service(
    client: httpx.Client, sounds: Sounds, fields: Mapping[str, str], clap: Clap, progress: Progress
) -> Report:
    """Send each recording to ``POST /caption``, one after the other, and measure the answers.

    Args:
        client: of the service.
        sounds: whose names are paths of audio files.
        fields: of every request, such as `domain`.
        clap: of this machine, for the metrics alone; it need not be the service's.
        progress: shows how far it is.

    Raises:
        NoReferences: a clip has no reference with a word.
        Refused: an answer that is no caption, or without the similar captions that the comparison needs.
        httpx.HTTPError: no answer at all.
    """
    references = sounds.tokenised()
    answers = [_caption(client, Path(name), fields) for name in progress.track(sounds.names, description=CAPTIONED)]
    shown = [tuple(one["caption"] for one in answer["similar_captions"]) for answer in answers]
    if not all(shown):
        raise Refused("the service shows no similar captions: its bundle has k 0, so nothing is there to compare with")
    said = {
        NEAREST: [Said(texts[0], texts) for texts in shown],
        CAPTIONED: [Said(answer["caption"], texts) for answer, texts in zip(answers, shown, strict=True)],
    }
    domains = sorted({f"{answer['domain']}, version {answer['domain_version']}" for answer in answers})
    facts: dict[str, str | int | float] = {
        "service": str(client.base_url),
        "LLM": answers[0]["model"],
        "domain": "; ".join(domains),
        "CLAP of the metrics": clap.fingerprint,
        "clips": len(sounds),
    }
    return measured("Captions of a service", said, {}, NEAREST, sounds, references, clap, facts)


def _caption(client: httpx.Client, path: Path, fields: Mapping[str, str]) -> dict[str, Any]:
    data = path.read_bytes()
    for tried in range(1, _TRIES + 1):
        answer = client.post("/caption", files={"file": (path.name, data)}, data={**fields, "response_format": "json"})
        # Busy with the requests of others, which is no reason to lose the clips captioned so far.
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or tried == _TRIES:
            break
        time.sleep(min(float(answer.headers.get("retry-after", "1")), _LONGEST_WAIT))
    try:
        said: dict[str, Any] = answer.json()
        if answer.is_success:
            return {name: said[name] for name in ("caption", "domain", "domain_version", "model", "similar_captions")}
        detail = said["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200] or answer.reason_phrase
    raise Refused(f"{path}: {answer.status_code}: {detail}")
