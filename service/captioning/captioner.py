"""The caption pipeline: recordings -> captions. It does not depend on HTTP."""

import asyncio
import math
from dataclasses import dataclass

import numpy as np

from datastores.base import DomainStore, DomainVersion
from models.bundle.loaded import LoadedBundle
from models.conditioning.conditioning import Retrieved
from models.conditioning.method import Written
from models.decoder import GenerationOptions
from service.audio.decoding import Recording
from service.captioning.batched_models import BatchedModels
from service.captioning.caption_writer import CaptionWriter
from service.captioning.hearing import HeardRecording, Stretch, hear, plan_hearing
from service.captioning.progress import ProgressCounter, ProgressListener, ignore_progress
from service.captioning.segments import Segment, Timeline
from service.captioning.sounds import Sound
from service.captioning.stopwatch import Stopwatch
from service.settings import BatchingSettings


@dataclass(frozen=True)
class CaptionOptions:
    """Options for the caption of one recording.

    Attributes:
        similar_captions: number of similar captions in the prompt and in the answer; may be 0.
        generation: options of the decoder.
        with_segments: also caption each stretch that sounds different, and list the sounds with their times.
    """

    similar_captions: int
    generation: GenerationOptions
    with_segments: bool = False


@dataclass(frozen=True)
class Caption:
    """A captioned recording.

    Attributes:
        text: the caption of the whole recording.
        version: the version of the domain.
        duration: seconds of the recording.
        similar: the similar captions in the prompt, best first.
        segments: captions of the stretches, in order; empty without the option `with_segments`.
        sounds: kinds of sound that stand out; empty without the option `with_segments`.
        tokens: tokens written, including those of the segments.
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


@dataclass(frozen=True)
class CaptionRequest:
    """A recording to caption.

    Attributes:
        recording: the decoded recording.
        version: the version of the domain.
        options: options of the caption.
        watch: times the stages.
    """

    recording: Recording
    version: DomainVersion
    options: CaptionOptions
    watch: Stopwatch


class Captioner:
    """Captions recordings in the words of a domain. It serves many recordings at the same time."""

    def __init__(
        self,
        bundle: LoadedBundle,
        store: DomainStore,
        models: BatchedModels,
        batching: BatchingSettings | None = None,
    ) -> None:
        self.bundle = bundle
        self._models = models
        self._writer = CaptionWriter(bundle, store, models)
        self._segment_seconds, self._similarity = bundle.segments.window_seconds, bundle.segments.similarity
        self._captions_at_once = (batching or BatchingSettings()).prompts * len(bundle.decoders)

    async def caption(
        self, wanted: CaptionRequest, deadline: float = math.inf, listener: ProgressListener = ignore_progress
    ) -> Caption:
        """Caption one recording, and with the option `with_segments` each stretch of it that sounds different.

        Args:
            wanted: the recording, and how it is captioned.
            deadline: monotonic seconds; afterwards no model starts work for this request.
            listener: receives the progress.

        Raises:
            DatastoreError: the datastore fails.
            Expired, QueueFull, BatcherClosed, WorkerDied: see `service.batching.batcher.Batcher.run`.
        """
        recording, options, watch = wanted.recording, wanted.options, wanted.watch
        segment_seconds = self._segment_seconds if options.with_segments else math.inf
        planned = await asyncio.to_thread(plan_hearing, recording, self.bundle.clap, segment_seconds)
        counter = ProgressCounter(listener, len(planned.windows), 1 + len(planned.segment_windows))
        with watch.stage("embed_audio"):
            heard = await hear(planned, self.bundle.clap, self._models, self._similarity, deadline, counter.heard)
        targets = _stretches_to_caption(heard, options.with_segments)
        counter.expect(len(targets))
        timeline, tokens, first = Timeline(), 0, Written("", 0, ())
        # In pieces, so that the neighbours of a piece and their vectors are freed before the next piece.
        for start in range(0, len(targets), self._captions_at_once):
            piece = targets[start : start + self._captions_at_once]
            queries = np.stack([one.vector for one, _ in piece])
            sounds = [one.named for one, _ in piece]
            written = await self._writer.write(
                queries, sounds, wanted.version, options.similar_captions, options.generation, watch, deadline
            )
            segments = [
                Segment(stretch.start, stretch.end, one.text)
                for (_, stretch), one in zip(piece, written, strict=True)
                if stretch is not None
            ]
            if start == 0:
                first = written[0]
            tokens += sum(one.tokens for one in written)
            finished = timeline.add(segments)
            last = start + len(piece) == len(targets)
            counter.wrote(len(written), (*finished, *timeline.rest) if last else finished)
        return Caption(
            text=first.text,
            version=wanted.version,
            duration=recording.duration,
            similar=first.similar,
            segments=timeline.segments,
            sounds=heard.sounds,
            tokens=tokens,
            seconds=watch.stop(),
        )


def _stretches_to_caption(heard: HeardRecording, with_segments: bool) -> list[tuple[Stretch, Stretch | None]]:
    """Return the stretches to caption, the clip first, each again if its caption becomes a segment.

    A recording with only one stretch needs only the caption of the clip.
    """
    if not with_segments:
        return [(heard.clip, None)]
    if len(heard.stretches) == 1:
        return [(heard.clip, heard.stretches[0])]
    return [(heard.clip, None), *((stretch, stretch) for stretch in heard.stretches)]
