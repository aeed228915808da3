"""The swap: one bundle captions with a source domain and then, without retraining, with a target domain."""

from rich.progress import Progress

from evaluation.arms import shipped_arm
from evaluation.domains import Domain
from evaluation.pipeline import EvaluatedSounds, Trial, evaluate
from evaluation.reconstruction import NEAR_COPY, HeldOut
from evaluation.report import Report
from models.bundle.loaded import LoadedBundle

SOURCE = "source corpus"
TARGET = "target corpus"


async def swap(
    sounds: EvaluatedSounds,
    source: Domain,
    target: Domain,
    bundle: LoadedBundle,
    beams: int | None,
    progress: Progress,
    facts: dict[str, str | int | float] | None = None,
) -> Report:
    """Caption the same sounds with each domain as datastore and support of the projection.

    Args:
        sounds: with references in the target's words, if possible.
        source: the captions the decoder was trained on, or any other domain.
        target: the domain of the sounds.
        bundle: to caption with.
        beams: see `evaluation.arms.shipped_arm`.
        progress: shows the progress.
        facts: further ones for the report.

    Raises as `evaluation.pipeline.evaluate`.
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
    """Run the swap with drawn captions of the target in place of recordings.

    The source keeps captions that copy a drawn one: they can only make the gain smaller. Raises as
    `evaluation.pipeline.evaluate`.
    """
    facts: dict[str, str | int | float] = {
        "instead of recordings": f"text vectors of drawn captions of the target, with Gaussian noise of ratio {noise:g}"
        " to be about as far from the text as audio is",
        "near copies omitted": held.copies,
        "similarity of a near copy": NEAR_COPY,
        "seed": seed,
    }
    return await swap(held.sounds, source, held.rest, bundle, beams, progress, facts)
