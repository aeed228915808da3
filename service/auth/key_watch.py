"""The file of keys while the service runs: what changes in it is taken over, so that a key is revoked in seconds."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.auth.keys import Keyring, KeysError

SECONDS = 2.0

logger = logging.getLogger(__name__)


class KeyWatch:
    """Reads a file of keys again when it has changed; one that cannot be read leaves the keys as they are."""

    def __init__(self, path: Path, keyring: Keyring, take: Callable[[Keyring], None], stale: Callable[[bool], None]):
        """
        Args:
            path: of the file.
            keyring: what was read of it so far.
            take: is given the keys whenever they are others than before.
            stale: is told whether the file has changed to what cannot be read.
        """
        self._path = path
        self._keyring = keyring
        self._take = take
        self._stale = stale
        self._seen: tuple[int, ...] | None = None
        self._problem: str | None = None

    def check(self) -> None:
        """Look at the file once, and take over what is new. Blocks."""
        try:
            # Before the file is read: what is written meanwhile is then seen the next time.
            seen = _signature(self._path)
            if seen == self._seen:
                return
            keyring = Keyring.from_file(self._path)
        except (OSError, KeysError) as error:
            # It may become readable by what leaves no trace in its signature, so it is tried again each time.
            self._seen = None
            self._fail(str(error))
            return
        self._seen, self._problem = seen, None
        self._stale(False)
        if keyring.keys != self._keyring.keys:
            logger.info("the keys of %s were read anew: %s", self._path, _difference(self._keyring, keyring))
            self._keyring = keyring
            self._take(keyring)

    def _fail(self, problem: str) -> None:
        self._stale(True)
        if problem != self._problem:
            logger.error("the keys stay as they were, for the file has changed and cannot be read: %s", problem)
            self._problem = problem


@contextmanager
def watched(watch: KeyWatch, seconds: float = SECONDS) -> Iterator[None]:
    """Check the file so often meanwhile, in a thread of its own, which no request waits for."""
    stop = threading.Event()

    def check() -> None:
        while not stop.wait(seconds):
            try:
                watch.check()
            except Exception:
                # The thread must not end of it: a key that is revoked later would go on working.
                logger.exception("the keys could not be checked")

    thread = threading.Thread(target=check, name="keys", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        # A file system that hangs keeps nobody from stopping.
        thread.join(seconds)


def _signature(path: Path) -> tuple[int, ...]:
    """Changes with the file's content, and with its permissions, whoever changes them and however."""
    about = path.stat()
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _difference(old: Keyring, new: Keyring) -> str:
    before, after = ({key.name: key for key in ring.keys} for ring in (old, new))
    changes = {
        "added": after.keys() - before.keys(),
        "removed": before.keys() - after.keys(),
        "changed": {name for name in after.keys() & before.keys() if after[name] != before[name]},
    }
    return "; ".join(f"{what} {', '.join(sorted(names))}" for what, names in changes.items() if names) or "in order"
