"""The ablation: captions the same sounds with one part of the method changed at a time."""

from rich.progress import Progress

from evaluation.arms import FULL, NEAREST, ablation_arms, nearest_arm, shipped_arm
from evaluation.domains import Domain
from evaluation.pipeline import EvaluatedSounds, Trial, evaluate, trials
from evaluation.report import Report
from models.bundle.loaded import LoadedBundle

CAPTIONED = "drcap"


async def ablate(
    sounds: EvaluatedSounds, domain: Domain, bundle: LoadedBundle, beams: int, progress: Progress, sweep: bool = True
) -> Report:
    """Compare all arms of `evaluation.arms.ablation_arms` with the full method, decoded in the same way.

    Args:
        sounds: to caption; all arms share one search of the domain for each sound.
        domain: to caption in.
        bundle: to caption with.
        beams: of all arms except those as shipped.
        progress: shows the progress.
        sweep: also sweep tau, k and the ways to sum the projection.

    Raises as `evaluation.pipeline.evaluate`.
    """
    rows = trials(ablation_arms(bundle, beams, sweep), domain)
    # The metrics in Java take longer than the captions of a row.
    return await evaluate("Ablation", rows, FULL, sounds, bundle, progress, java=False)


async def against_nearest(
    sounds: EvaluatedSounds, domain: Domain, bundle: LoadedBundle, beams: int | None, progress: Progress
) -> Report:
    """Compare captions as the service writes them with the nearest captions of the domain.

    `beams`: see `evaluation.arms.shipped_arm`. Raises as `evaluation.pipeline.evaluate`.
    """
    shipped = shipped_arm(bundle, beams)
    rows = [
        Trial(NEAREST, nearest_arm(bundle), domain),
        Trial(CAPTIONED, shipped, domain, shipped.note),
    ]
    return await evaluate("Captions", rows, NEAREST, sounds, bundle, progress)
