"""Tells the version of drcap."""

from importlib.metadata import PackageNotFoundError, version


def drcap_version() -> str:
    """Return the version of the installed package."""
    try:
        return version("drcap")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0+unknown"
