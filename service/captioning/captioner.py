"""The caption pipeline: recordings -> captions. It knows nothing of HTTP."""

import asyncio
import math
from dataclasses import dataclass

import numpy as np

from datastores.base import DomainStore, DomainVersion
from models.bundle.loaded import LoadedBundle
from models.conditioning.conditioning import Retrieved
from models.conditioning.method import Written
from models.decoder import GenerationOptions
from models.vectors import FloatArray
from service.audio.decoding import Recording
from service.captioning.hearing import Heard, Part, hear, plan
from service.captioning.progress import Report, Tally, unreported
from service.captioning.segments import Segment, Timeline
from service.captioning.sounds import Sound
from service.captioning.stopwatch import Stopwatch
from service.captioning.working_models import WorkingModels
from service.captioning.writing import Writer
from service.settings import BatchingSettings, SegmentsSettings


@dataclass(frozen=True)
class CaptionOptions:
    """How one recording is captioned.

    Attributes:
        similar_captions: similar captions in the prompt and the answer; 0 for none.
        generation: how the text is written.
        by_window: also caption each part that sounds different, and tell which kinds of sound are heard when.
    """

    similar_captions: int
    generation: GenerationOptions
    by_window: bool = False


@dataclass(frozen=True)
class Caption:
    """A captioned recording.

    Attributes:
        text: the caption of the whole.
        version: the version of the domain.
        duration: seconds of the recording.
        similar: the similar captions of the prompt, best first.
        segments: captions of the parts, in order; empty unless asked for.
        sounds: kinds of sound that stand out; empty unless segments were asked for.
        tokens: tokens written, those of the segments included.
        seconds: seconds by stage.
    """

    text: str
    version: DomainVersion
    duration: float
    similar: tuple[Retrieved, ...]
    segments: tuple[Segment, ...]
    sounds: tuple[Sound, ...]
    tokens: int
    seconds: dict[str, float]


class Captioner:
    """Captions recordings in the words of a domain. Many may be under way at the same time."""

    def __init__(
        self,
        bundle: LoadedBundle,
        store: DomainStore,
        models: WorkingModels,
        segments: SegmentsSettings | None = None,
        batching: BatchingSettings | None = None,
    ) -> None:
        self.bundle = bundle
        self._models = models
        self._writer = Writer(bundle, store, models)
        wished, usual = segments or SegmentsSettings(), bundle.segments
        self._moment_seconds = usual.window_seconds if wished.window_seconds is None else wished.window_seconds
        self._similarity = usual.similarity if wished.similarity is None else wished.similarity
        self._captions_at_once = (batching or BatchingSettings()).prompts * len(bundle.decoders)

    async def caption(
        self,
        recording: Recording,
        version: DomainVersion,
        options: CaptionOptions,
        watch: Stopwatch,
        deadline: float = math.inf,
        report: Report = unreported,
    ) -> Caption:
        """Caption one recording, and each part of it that sounds different if asked to.

        Args:
            recording: the decoded recording.
            version: the version of the domain.
            options: how it is captioned.
            watch: times the stages.
            deadline: monotonic seconds; no model starts on the request afterwards.
            report: takes reports of the progress.

        Raises:
            DatastoreError: the domain does not answer.
            Expired, QueueFull, BatcherClosed, WorkerDied: see `service.batching.batcher.Batcher.run`.
        """
        moment_seconds = self._moment_seconds if options.by_window else math.inf
        planned = await asyncio.to_thread(plan, recording, self.bundle.clap, moment_seconds)
        tally = Tally(report, len(planned.windows), 1 + len(planned.moments))
        with watch.stage("embed_audio"):
            heard = await hear(planned, self.bundle.clap, self._models, self._similarity, deadline, tally.heard)
        asked = _asked(heard, options.by_window)
        tally.expect(len(asked))
        timeline, tokens, first = Timeline(), 0, Written("", 0, ())
        # In pieces, so that the neighbours of one piece and their vectors are freed before the next.
        for start in range(0, len(asked), self._captions_at_once):
            piece = asked[start : start + self._captions_at_once]
            queries = np.stack([vector for vector, _ in piece])
            written = await self._writer.write(
                queries, version, options.similar_captions, options.generation, watch, deadline
            )
            segments = [
                Segment(part.start, part.end, one.text)
                for (_, part), one in zip(piece, written, strict=True)
                if part is not None
            ]
            if start == 0:
                first = written[0]
            tokens += sum(one.tokens for one in written)
            finished = timeline.add(segments)
            last = start + len(piece) == len(asked)
            tally.wrote(len(written), (*finished, *timeline.rest) if last else finished)
        return Caption(
            text=first.text,
            version=version,
            duration=recording.duration,
            similar=first.similar,
            segments=timeline.segments,
            sounds=heard.sounds,
            tokens=tokens,
            seconds=watch.stop(),
        )


def _asked(heard: Heard, by_window: bool) -> list[tuple[FloatArray, Part | None]]:
    """Return the vectors to caption, the clip's first, each with the part it stands for.

    A recording that sounds the same throughout has the clip's caption only.
    """
    if not by_window:
        return [(heard.clip, None)]
    if len(heard.parts) == 1:
        return [(heard.clip, heard.parts[0])]
    return [(heard.clip, None), *((part.vector, part) for part in heard.parts)]
