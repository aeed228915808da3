"""Captions sounds with the parts of the service, and measures the captions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from datastores.base import Neighbour, Statistics
from evaluation.arms import Arm
from evaluation.clips import Clip
from evaluation.domains import Domain
from evaluation.metrics import References, Said, measure
from evaluation.report import Report, Row
from models.bundle.loaded import LoadedBundle
from models.clap.base import Clap
from models.conditioning.method import Method
from models.conditioning.reranking import Reranker
from models.conditioning.sure_sounds import sure_sounds
from models.decoder import Generated, GenerationOptions
from models.prompt import Prompt, SoundGroups
from models.vectors import FloatArray

Listen = Callable[[Path], Sequence[FloatArray]]
"""An audio file -> at least one window for the CLAP."""

_WINDOWS_AT_ONCE = 16
# More than in the service: a caption does not depend on its batch, and nobody waits for the first one.
_PROMPTS_AT_ONCE = 32


class NoReferences(ValueError):
    """No reference of a sound has a word to compare with."""


@dataclass(frozen=True, eq=False)
class EvaluatedSounds:
    """The sounds to caption.

    Attributes:
        names: of the sounds, for a reader.
        references: at least one caption for each sound.
        vectors: unit vectors [n, d] to search the domain with.
        heard: whether the vectors are of audio; captions in place of audio have no CLAP score.
        named: what the CLAP is sure of in each sound; empty if it was not asked.
    """

    names: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    vectors: FloatArray
    heard: bool = True
    named: tuple[SoundGroups, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.references) == len(self.vectors):
            raise ValueError(
                f"{len(self.names)} names, {len(self.references)} lists of references, {len(self.vectors)} vectors"
            )

    def __len__(self) -> int:
        return len(self.names)

    def tokenised(self) -> References:
        """Return the references, tokenised. Raises `NoReferences` or `JavaFailed`."""
        try:
            return References(self.references)
        except ValueError as error:
            raise NoReferences(str(error)) from error


@dataclass(frozen=True)
class Trial:
    """A row of a report: an arm in a domain."""

    name: str
    arm: Arm
    domain: Domain
    note: str = ""


def trials(arms: Sequence[Arm], domain: Domain) -> list[Trial]:
    """Return a trial of each arm in one domain, under the arm's name."""
    return [Trial(arm.name, arm, domain, arm.note) for arm in arms]


def hear(clips: Sequence[Clip], listen: Listen, clap: Clap, progress: Progress) -> EvaluatedSounds:
    """Embed recordings as the service does: a clip's vector is the renormalised mean of its windows' vectors.

    Raises whatever `listen` raises.
    """
    vectors, named = [], []
    for clip in progress.track(clips, description="hearing"):
        windows = listen(clip.path)
        frames = np.concatenate([heard for some in _pieces(windows, _WINDOWS_AT_ONCE) for heard in clap.hear(some)])
        vectors.append(clap.embed_frames([frames])[0])
        named.append(sure_sounds(clap.score_sounds(frames), clap.sound_names))
    names = tuple(str(clip.path) for clip in clips)
    references = tuple(clip.references for clip in clips)
    return EvaluatedSounds(names, references, np.stack(vectors), named=tuple(named))


async def caption(
    rows: Sequence[Trial], sounds: EvaluatedSounds, bundle: LoadedBundle, progress: Progress
) -> dict[str, list[Said]]:
    """Return the captions of all sounds for each row, by the row's name.

    All rows of a domain share one search for each sound, except for projections over the whole domain. Batches of
    sounds pass through all rows, so that memory does not grow with the number of sounds.
    """
    said: dict[str, list[Said]] = {row.name: [] for row in rows}
    limits = _limits(rows, bundle)
    task = progress.add_task("captioning", total=len(rows) * len(sounds))
    for start in range(0, len(sounds), _PROMPTS_AT_ONCE):
        queries = sounds.vectors[start : start + _PROMPTS_AT_ONCE]
        named = (sounds.named or ((),) * len(sounds))[start : start + _PROMPTS_AT_ONCE]
        near = {domain: await domain.near(queries, limit) for domain, limit in limits.items()}
        for row in rows:
            progress.update(task, description=row.name)
            said[row.name] += await _answer(row, queries, named, near[row.domain], bundle)
            progress.advance(task, len(queries))
    return said


async def evaluate(
    title: str,
    rows: Sequence[Trial],
    baseline: str,
    sounds: EvaluatedSounds,
    bundle: LoadedBundle,
    progress: Progress,
    facts: Mapping[str, str | int | float] | None = None,
    java: bool | None = None,
) -> Report:
    """Caption, measure and report; the facts of the bundle and the domains come before `facts`.

    Args:
        java: whether to compute metrics in Java; None computes them if Java is found.

    Raises:
        NoReferences: no reference of a sound has a word.
        DatastoreError: a domain does not answer.
        MetricsMissing, JavaFailed: see `evaluation.metrics.measure`.
    """
    # First, so that an error in the references shows before the captions are written.
    references = sounds.tokenised()
    said = await caption(rows, sounds, bundle, progress)
    notes = {row.name: row.note for row in rows}
    described = bundle_facts(bundle) | _domain_facts(rows) | {"clips": len(sounds)} | dict(facts or {})
    return measured(title, said, notes, baseline, sounds, references, bundle.clap, described, java)


def measured(
    title: str,
    said: Mapping[str, Sequence[Said]],
    notes: Mapping[str, str],
    baseline: str | None,
    sounds: EvaluatedSounds,
    references: References,
    clap: Clap,
    facts: Mapping[str, str | int | float],
    java: bool | None = None,
) -> Report:
    """Measure existing captions, by row, and return the report."""
    heard = sounds.vectors if sounds.heard else None
    rows = [
        Row(name, measure(of_row, references, heard, clap.embed_text, java=java), notes.get(name, ""))
        for name, of_row in said.items()
    ]
    clips: list[dict[str, Any]] = [
        {"file": name, "references": list(texts), **{row: of_row[at].caption for row, of_row in said.items()}}
        for at, (name, texts) in enumerate(zip(sounds.names, sounds.references, strict=True))
    ]
    tokenizer: dict[str, str | int | float] = {"tokenizer": rows[0].measures.tokenizer}
    return Report(title, dict(facts) | tokenizer, rows, baseline, clips)


def bundle_facts(bundle: LoadedBundle) -> dict[str, str | int | float]:
    """Return what a report says about the bundle."""
    return {
        "bundle": bundle.name,
        "CLAP": bundle.clap.fingerprint,
        "LLM": bundle.decoder.model_name,
        "tau": bundle.projection.temperature,
        "neighbours": bundle.retrieval.neighbours,
        "similar captions": bundle.retrieval.k,
    }


def _domain_facts(rows: Sequence[Trial]) -> dict[str, str | int | float]:
    domains = list(dict.fromkeys(row.domain for row in rows))
    named = [f"{domain.title}, {domain.version.captions} captions" for domain in domains]
    return {"domain" if len(named) == 1 else "domains": "; ".join(named)}


def _limits(rows: Sequence[Trial], bundle: LoadedBundle) -> dict[Domain, int]:
    limits: dict[Domain, int] = {}
    for row in rows:
        needed = max(row.arm.neighbours or 0, row.arm.similar, bundle.retrieval.k, 1)
        limits[row.domain] = max(limits.get(row.domain, 0), needed)
    return limits


async def _answer(
    row: Trial,
    queries: FloatArray,
    named: Sequence[SoundGroups],
    near: Sequence[Sequence[Neighbour]],
    bundle: LoadedBundle,
) -> list[Said]:
    arm = row.arm
    # The captions in the prompt; an arm without captions is compared with those that the bundle would show.
    shown = [tuple(one.caption for one in found[: arm.similar or bundle.retrieval.k]) for found in near]
    if arm.decode is None:
        return [Said(found[0].caption, texts) for found, texts in zip(near, shown, strict=True)]
    method = _method(row, near, bundle)
    # The vectors of a whole domain are large, so arms that use all of them caption one sound at a time.
    size = 1 if arm.neighbours is None else len(queries)
    told: Sequence[SoundGroups] = named if arm.sounds else ((),) * len(queries)
    pieces = zip(_pieces(queries, size), _pieces(told, size), strict=True)
    written = [one for some, its in pieces for one in await method.caption(some, arm.similar, arm.decode, its)]
    return [Said(one.text, texts) for one, texts in zip(written, shown, strict=True)]


def _method(row: Trial, near: Sequence[Sequence[Neighbour]], bundle: LoadedBundle) -> Method:
    arm, domain = row.arm, row.domain
    conditioning = arm.conditioning(bundle, domain.version.captions)

    async def search(queries: FloatArray, _: int) -> tuple[Sequence[Sequence[Neighbour]], Statistics]:
        found = await domain.near(queries, None) if arm.neighbours is None else near
        return found, arm.support(domain.statistics, conditioning.neighbours)

    async def write(prompts: Sequence[Prompt], options: GenerationOptions) -> list[Generated]:
        return bundle.decoder.generate(prompts, options)

    async def embed_text(texts: Sequence[str]) -> FloatArray:
        return bundle.clap.embed_text(texts)

    return Method(conditioning, search, write, embed_text, Reranker() if arm.rerank else None)


def _pieces(items: Any, size: int) -> Iterator[Any]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
