"""Arms: ways of captioning to compare with each other."""

from dataclasses import dataclass, replace
from typing import Literal

from datastores.base import Statistics
from models.bundle.loaded import LoadedBundle
from models.conditioning.conditioning import Conditioning
from models.decoder import GenerationOptions

NEAREST = "nearest caption"
FULL = "projected + captions"
SHIPPED = "full method, as shipped"

_TAU_FACTORS = (0.5, 0.7, 1.4, 2.0)
_SIMILAR = (1, 2, 4, 8, 12, 16)
_SMALL_HEAD = 128


@dataclass(frozen=True)
class Arm:
    """One way of captioning.

    Attributes:
        name: in the tables.
        vector: kind of vector in the prompt, see `models.conditioning.conditioning.Conditioning`; None answers with the
            nearest caption, without an LLM.
        similar: number of similar captions in the prompt.
        temperature: tau of the projection.
        neighbours: captions that the projection sums one by one; None sums the whole domain, which is exact.
        sounds: whether the prompt names the sounds that the CLAP is sure of.
        tail: whether the captions beyond the neighbours are summed in closed form or omitted.
        decode: options of the decoder; None for the nearest caption.
        rerank: choose among the captions of a beam search, as the service does (see `models.conditioning.reranking`).
        note: explains the arm in a report.
    """

    name: str
    vector: Literal["projected", "raw", "none"] | None
    similar: int
    temperature: float
    neighbours: int | None
    sounds: bool = False
    tail: bool = True
    decode: GenerationOptions | None = None
    rerank: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if (self.vector is None) != (self.decode is None):
            raise ValueError(f"arm {self.name!r}: only the nearest caption has neither a vector nor decoding options")

    def conditioning(self, bundle: LoadedBundle, captions: int) -> Conditioning:
        """Return the conditioning of this arm in a domain with this number of captions.

        Raises `ValueError` for the nearest caption, which has no prompt.
        """
        if self.vector is None:
            raise ValueError(f"arm {self.name!r} has no prompt")
        head = captions if self.neighbours is None else min(self.neighbours, captions)
        return Conditioning(replace(bundle.projection, temperature=self.temperature), head, self.vector)

    def support(self, statistics: Statistics, head: int) -> Statistics:
        """Return the statistics that the projection sees; without a tail they count the head only."""
        return statistics if self.tail else replace(statistics, count=head)


def nearest_arm(bundle: LoadedBundle) -> Arm:
    """Return the arm that answers with the nearest caption of the domain."""
    return Arm(NEAREST, None, 1, bundle.projection.temperature, bundle.retrieval.neighbours)


def shipped_arm(bundle: LoadedBundle, beams: int | None = None) -> Arm:
    """Return the arm that does what the service does; `beams` replaces the bundle's, as a request can."""
    decode = bundle.generation if beams is None else _with_beams(bundle, beams)
    return replace(_full_arm(bundle, decode), name=SHIPPED, rerank=True, note=_writes(decode))


def ablation_arms(bundle: LoadedBundle, beams: int = 1, sweep: bool = True) -> list[Arm]:
    """Return the arms of the ablation; `FULL` is their baseline.

    Arms named "as shipped" decode with the bundle's beams and rerank; the others decode with `beams` and do not rerank.
    Arms of one kind differ only in the prompt.

    Args:
        bundle: gives the settings of the full method.
        beams: of the arms that are not as shipped.
        sweep: also vary tau, k and the ways to sum the projection.
    """
    full = _full_arm(bundle, _with_beams(bundle, beams))
    shipped = shipped_arm(bundle)
    # Guidance takes words from the domain's captions, which these arms do without.
    alone = replace(_with_beams(bundle, beams), guidance=0.0)
    pieces = [
        nearest_arm(bundle),
        replace(full, name="captions only", vector="none", sounds=False, note="the vector is zeros"),
        replace(full, name="vector only", similar=0, sounds=False, decode=alone, note="projected, unguided"),
        replace(full, name="raw vector only", similar=0, sounds=False, decode=alone, vector="raw", note="unguided"),
        replace(full, name="raw + captions", vector="raw"),
        full,
        # Compared with the shipped arm, these show the effect of the vector beside beams and reranking.
        replace(shipped, name="captions only, as shipped", vector="none", sounds=False),
        replace(shipped, name="vector and captions, as shipped", sounds=False),
        replace(shipped, name="raw + captions, as shipped", vector="raw"),
        shipped,
    ]
    return [*pieces, *_sweeps(bundle, full)] if sweep else pieces


def _sweeps(bundle: LoadedBundle, full: Arm) -> list[Arm]:
    return [
        *(
            replace(full, name=f"tau x {factor:g}", temperature=tau, note=f"tau {tau:.4g}")
            for factor in _TAU_FACTORS
            for tau in (full.temperature * factor,)
        ),
        *(replace(full, name=f"k = {similar}", similar=similar) for similar in _SIMILAR if similar != full.similar),
        *_projections(full, bundle.retrieval.neighbours),
    ]


def _projections(full: Arm, neighbours: int) -> list[Arm]:
    arms = [replace(full, name="exact projection", neighbours=None, note="over all captions of the domain")]
    if neighbours != _SMALL_HEAD:
        arms.append(replace(full, name=f"top-{_SMALL_HEAD}", neighbours=_SMALL_HEAD))
    arms += [
        replace(full, name=f"top-{head} without tail", neighbours=head, tail=False)
        for head in sorted({_SMALL_HEAD, neighbours})
    ]
    return arms


def _full_arm(bundle: LoadedBundle, decode: GenerationOptions) -> Arm:
    retrieval, tau = bundle.retrieval, bundle.projection.temperature
    note = f"k {retrieval.k}, tau {tau:.4g}, top-{retrieval.neighbours} with tail, {_writes(decode)}"
    return Arm(FULL, "projected", retrieval.k, tau, retrieval.neighbours, sounds=True, decode=decode, note=note)


def _with_beams(bundle: LoadedBundle, beams: int) -> GenerationOptions:
    # Sampling excludes beams, and one sample does not measure a prompt.
    return replace(bundle.generation, num_beams=beams, temperature=0.0)


def _writes(decode: GenerationOptions) -> str:
    if decode.temperature > 0:
        return f"sampled at temperature {decode.temperature:g}"
    return "greedy" if decode.num_beams == 1 else f"{decode.num_beams} beams"
