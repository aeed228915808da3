"""Key watch: passes changes in the file of keys to the running service, so that a key can be revoked in seconds."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.auth.keys import Keyring, KeysError

SECONDS = 2.0

logger = logging.getLogger(__name__)


class KeyWatch:
    """Reads a file of keys again when it has changed. If the file cannot be read, the keys stay."""

    def __init__(self, path: Path, keyring: Keyring, take: Callable[[Keyring], None], stale: Callable[[bool], None]):
        """
        Args:
            path: path of the file.
            keyring: the keys read from it before.
            take: is called with the new keys after each change.
            stale: is called with whether the file has changed and cannot be read.
        """
        self._path = path
        self._keyring = keyring
        self._take = take
        self._stale = stale
        self._seen: tuple[int, ...] | None = None
        self._problem: str | None = None

    def check(self) -> None:
        """Check the file once, and pass on new keys. Blocks."""
        try:
            # Taken before the file is read, so that a change during the reading is seen next time.
            seen = _signature(self._path)
            if seen == self._seen:
                return
            keyring = Keyring.from_file(self._path)
        except (OSError, KeysError) as error:
            # The file may become readable without a change of its signature, so try again each time.
            self._seen = None
            self._fail(str(error))
            return
        self._seen, self._problem = seen, None
        self._stale(False)
        if keyring.keys != self._keyring.keys:
            logger.info("the keys in %s have changed: %s", self._path, _difference(self._keyring, keyring))
            self._keyring = keyring
            self._take(keyring)

    def _fail(self, problem: str) -> None:
        self._stale(True)
        if problem != self._problem:
            logger.error("the keys stay as they were, because the file has changed and cannot be read: %s", problem)
            self._problem = problem


@contextmanager
def watched(watch: KeyWatch, seconds: float = SECONDS) -> Iterator[None]:
    """Check the file every `seconds` during the block, in a separate thread so that no request waits."""
    stop = threading.Event()

    def check() -> None:
        while not stop.wait(seconds):
            try:
                watch.check()
            except Exception:
                # An error must not end the thread: a key that is revoked later would still work.
                logger.exception("the keys could not be checked")

    thread = threading.Thread(target=check, name="keys", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        # The timeout lets the service stop even if the file system hangs.
        thread.join(seconds)


def _signature(path: Path) -> tuple[int, ...]:
    """Return a signature of a file that changes with its content and with its permissions."""
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
