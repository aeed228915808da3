"""The checks of ``drcap doctor``, in the order they are shown."""

from collections.abc import Mapping
from functools import partial

from service.diagnosis import bundle, datastore, device, disk, hub, keys, memory, ports, variables, versions
from service.diagnosis.check import Check
from service.settings import Settings

# Importing torch from a cold disk.
_IMPORT_SECONDS = 30.0


def all_checks(settings: Settings, environment: Mapping[str, str], *, ask_hub: bool = False) -> list[Check]:
    """Each of them looks at these settings; `environment` is where unknown ones are looked for."""
    return [
        Check(versions.NAME, versions.look),
        Check(variables.NAME, partial(variables.look, environment)),
        Check(keys.NAME, partial(keys.look, settings)),
        Check(ports.NAME, partial(ports.look, settings.server)),
        Check(device.NAME, partial(device.look, settings), _IMPORT_SECONDS),
        Check(bundle.NAME, partial(bundle.look, settings), _IMPORT_SECONDS),
        Check(bundle.SUMS_NAME, partial(bundle.look_at_sums, settings), 10.0),
        Check(bundle.LICENCES, partial(bundle.look_at_licences, settings)),
        Check(memory.NAME, partial(memory.look, settings)),
        Check(hub.NAME, partial(hub.look, settings, asked=ask_hub)),
        Check(datastore.NAME, partial(datastore.look, settings), 10.0),
        Check(disk.NAME, partial(disk.look, settings)),
    ]
