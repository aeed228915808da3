"""The swap: one bundle, nothing retrained, first with the source's captions and then with the target's."""

from rich.progress import Progress

from evaluation.arms import shipped_arm
from evaluation.domains import Domain
from evaluation.pipeline import Sounds, Trial, evaluate
from evaluation.reconstruction import NEAR_COPY, HeldOut
from evaluation.report import Report
from models.bundle.loaded import LoadedBundle

SOURCE = "source corpus"
TARGET = "target corpus"


async def swap(
    sounds: Sounds,
    source: Domain,
    target: Domain,
    bundle: LoadedBundle,
    beams: int | None,
    progress: Progress,
    facts: dict[str, str | int | float] | None = None,
) -> Report:
    """Caption the same sounds with each domain as datastore and as support of the projection.

    Args:
        sounds: with references in the target's words, where there are such.
        source: what the decoder was trained on, or any other domain.
        target: the domain that the sounds belong to.
        bundle: to caption with.
        beams: see `evaluation.arms.shipped_arm`.
        progress: shows how far it is.
        facts: more of them for the report.

    Raises:
        see `evaluation.pipeline.evaluate`.
    """
    arm = shipped_arm(bundle, beams)
    rows = [
        Trial(SOURCE, arm, source, f"{source.title}; {arm.note}"),
        Trial(TARGET, arm, target, f"{target.title}; {arm.note}"),
    ]
    return await evaluate("Cross-domain swap", rows, SOURCE, sounds, bundle, progress, facts)


async def swap_text(
    held: HeldOut, source: Domain, bundle: LoadedBundle, beams: int | None, progress: Progress, noise: float, seed: int
) -> Report:
    """The swap with drawn captions of the target in the place of recordings.

    A caption of the source that copies a drawn one stays there: it can only make the gain smaller.

    Raises:
        see `evaluation.pipeline.evaluate`.
    """
    facts: dict[str, str | int | float] = {
        "instead of recordings": f"text vectors of drawn captions of the target, with Gaussian noise of ratio {noise:g}"
        " to be about as far from the text as audio is",
        "near copies left out": held.copies,
        "similarity of a near copy": NEAR_COPY,
        "seed": seed,
    }
    return await swap(held.sounds, source, held.rest, bundle, beams, progress, facts)
