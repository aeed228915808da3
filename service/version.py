"""Which drcap this is."""

from importlib.metadata import PackageNotFoundError, version


def drcap_version() -> str:
    """The version of the installed package."""
    try:
        return version("drcap")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "0+unknown"
