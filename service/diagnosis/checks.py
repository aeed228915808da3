"""The checks of ``drcap doctor``, in the order of the report."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from service.diagnosis import bundle, datastore, device, disk, hub, keys, memory, ports, variables, versions
from service.diagnosis.finding import Finding, failure
from service.settings import Settings

# Importing torch from a cold disk takes this long.
_IMPORT_SECONDS = 30.0


@dataclass(frozen=True)
class Check:
    """A named check, with the time it may take."""

    name: str
    look: Callable[[], Iterable[Finding]]
    seconds: float = 5.0

    def run(self) -> list[Finding]:
        """Return the findings. An error of the check, or a check that takes too long, is a finding too."""
        found: list[Finding] = []

        def look() -> None:
            try:
                found.extend(self.look())
            except Exception as error:
                said = f"the check failed: {type(error).__name__}: {error}"
                found.append(failure(said, "fix what the message names"))

        # A thread that hangs stays behind; as a daemon it does not keep the process alive.
        thread = threading.Thread(target=look, name=f"check-{self.name}", daemon=True)
        thread.start()
        thread.join(self.seconds)
        if not thread.is_alive():
            return found
        said = f"there was no answer within {self.seconds:g} s"
        return [*found, failure(said, "look for a disk or network that hangs, and run the command again")]


def all_checks(settings: Settings, environment: Mapping[str, str], *, ask_hub: bool = False) -> list[Check]:
    """Return the checks of these settings. `environment` is searched for unknown variables."""
    return [
        Check("versions", versions.look),
        Check("settings", partial(variables.look, environment)),
        Check("keys", partial(keys.look, settings)),
        Check("port", partial(ports.look, settings.server)),
        Check("device", partial(device.look, settings), _IMPORT_SECONDS),
        Check("bundle", partial(bundle.look, settings), _IMPORT_SECONDS),
        Check("checksums", partial(bundle.look_at_sums, settings), 10.0),
        Check("licences", partial(bundle.look_at_licences, settings)),
        Check("memory", partial(memory.look, settings)),
        Check("hub", partial(hub.look, settings, asked=ask_hub)),
        Check("datastore", partial(datastore.look, settings), 10.0),
        Check("disk", partial(disk.look, settings)),
    ]
