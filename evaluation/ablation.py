"""The method piece by piece: the same sounds captioned with one piece changed at a time."""

from rich.progress import Progress

from evaluation.arms import FULL, NEAREST, ablation_arms, nearest_arm, shipped_arm
from evaluation.domains import Domain
from evaluation.pipeline import Sounds, Trial, evaluate, trials
from evaluation.report import Report
from models.bundle.loaded import LoadedBundle

CAPTIONED = "drcap"


async def ablate(
    sounds: Sounds, domain: Domain, bundle: LoadedBundle, beams: int, progress: Progress, sweep: bool = True
) -> Report:
    """All arms of `evaluation.arms.ablation_arms`, against the full method decoded as they are.

    Args:
        sounds: heard once for all arms; the domain too is searched once a sound.
        domain: to caption in.
        bundle: to caption with.
        beams: of all arms but the one as shipped.
        progress: shows how far it is.
        sweep: also sweep tau, k and the ways to sum the projection.

    Raises:
        see `evaluation.pipeline.evaluate`.
    """
    rows = trials(ablation_arms(bundle, beams, sweep), domain)
    # Java's metrics would take longer than the captions of a row.
    return await evaluate("Ablation", rows, FULL, sounds, bundle, progress, java=False)


async def against_nearest(
    sounds: Sounds, domain: Domain, bundle: LoadedBundle, beams: int | None, progress: Progress
) -> Report:
    """The captions as the service writes them, against the nearest caption of the domain. `beams`: see `shipped_arm`.

    Raises:
        see `evaluation.pipeline.evaluate`.
    """
    shipped = shipped_arm(bundle, beams)
    rows = [
        Trial(NEAREST, nearest_arm(bundle), domain),
        Trial(CAPTIONED, shipped, domain, shipped.note),
    ]
    return await evaluate("Captions", rows, NEAREST, sounds, bundle, progress)
