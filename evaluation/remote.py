"""Measures the captions of a running service."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from rich.progress import Progress

from evaluation.ablation import CAPTIONED
from evaluation.arms import NEAREST
from evaluation.metrics import Said
from evaluation.pipeline import EvaluatedSounds, measured
from evaluation.report import Report
from models.clap.base import Clap

_TRIES = 10
_LONGEST_WAIT = 10.0


class ServiceRefused(RuntimeError):
    """The service did not caption a clip; the message says which and why."""


def measure_service(
    client: httpx.Client, sounds: EvaluatedSounds, fields: Mapping[str, str], clap: Clap, progress: Progress
) -> Report:
    """Send each recording to ``POST /caption``, one after the other, and measure the answers.

    Args:
        client: of the service.
        sounds: their names are paths of audio files.
        fields: of each request, such as `domain`.
        clap: computes the metrics; it need not be the service's.
        progress: shows the progress.

    Raises:
        NoReferences: no reference of a clip has a word.
        ServiceRefused: an answer is no caption, or lacks the similar captions that the comparison needs.
        httpx.HTTPError: the service does not answer.
    """
    references = sounds.tokenised()
    answers = [_caption(client, Path(name), fields) for name in progress.track(sounds.names, description=CAPTIONED)]
    shown = [tuple(one["caption"] for one in answer["similar_captions"]) for answer in answers]
    if not all(shown):
        raise ServiceRefused("the service shows no similar captions to compare with: its bundle has k 0")
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
        # The service is busy with other requests; the clips captioned so far must not be lost.
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
    raise ServiceRefused(f"{path}: {answer.status_code}: {detail}")
