"""Reads recordings for evaluation, training and centring as the service reads uploads, within the same limits."""

from pathlib import Path
from typing import TYPE_CHECKING

from cli.common.errors import CommandError
from service.settings import Settings, variable_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evaluation.pipeline import Listen
    from models.clap.base import Clap


def listener(clap: "Clap", settings: Settings) -> "Listen":
    """Return a function that reads a recording and cuts it into the CLAP's windows, float32 [samples] each.

    The function raises `CommandError` with the path of a recording that the service would refuse.
    """
    from service.audio.decoding import decode
    from service.errors import ServiceError

    def listen(path: Path) -> "list[NDArray[np.float32]]":
        try:
            size = path.stat().st_size
            if size > settings.audio.max_bytes:
                limit = f"{settings.audio.max_bytes:,} are allowed ({variable_name('audio', 'max_bytes')})"
                raise CommandError(f"{path}: the recording has {size:,} bytes; {limit}")
            recording = decode(path.read_bytes(), clap.sample_rate, settings.audio)
        except ServiceError as error:
            raise CommandError(f"{path}: {error}") from error
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from error
        return recording.windows(clap.window_seconds)

    return listen
