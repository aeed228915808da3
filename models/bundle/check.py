"""Checks that a bundle is whole and its parts fit each other. It reads headers and shapes only."""

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from models.bundle.checksums import SUMS, ChecksumsError, verify_bundle
from models.bundle.config import ADAPTER, BundleConfig
from models.bundle.parts import CENTRING, LLM, SOUNDS, parts_of
from models.checkpoints import read_shapes
from models.clap.backend import CLAP
from models.clap.centring import Centring
from models.clap.loading import find_backend
from models.clap.sounds import Sounds
from models.decoder import GenerationOptions
from models.llm.adapter import check_adapter, check_adapter_of_gguf, read_adapter, read_llm
from models.llm.gguf_header import NoGguf, read_header
from models.llm.projector import check_shapes
from models.llm.sizes import LlmSizes, read_llm_sizes
from models.weights import MissingWeights, Part, WrongWeights

CONFIG = "bundle.json"
_PICKLE = b"\x80"
_PROTOCOLS = range(2, 6)
_UNSTATED = frozenset({"", "not stated", "unknown", "none"})


@dataclass(frozen=True)
class BundleProblem:
    """A fault of a part and its remedy. A bundle with a `severe` one cannot be loaded."""

    part: str
    said: str
    remedy: str
    severe: bool = True


@dataclass
class Checked:
    """The result of looking at a bundle.

    Attributes:
        folder: the bundle's folder.
        problems: all problems, in the order they were found.
        config: content of bundle.json; None if it is not valid.
        parts: the parts that the config names.
        embedding_dim: d of the CLAP, if it is known.
        llm: sizes of the LLM, if they are known.
    """

    folder: Path
    problems: list[BundleProblem] = field(default_factory=list)
    config: BundleConfig | None = None
    parts: list[Part] = field(default_factory=list)
    embedding_dim: int | None = None
    llm: LlmSizes | None = None

    @property
    def good(self) -> bool:
        """Whether there is no severe problem."""
        return not any(problem.severe for problem in self.problems)

    def part(self, name: str) -> Path | None:
        """Return the path of a part; None if it is not there."""
        return next((one.path for one in self.parts if one.name == name), None)


def check_bundle(folder: Path, quantisation_setting: str = "quantisation") -> Checked:
    """Check everything but the values of the weights. Takes seconds. See `look_at` for the arguments."""
    checked = look_at(folder, quantisation_setting)
    if checked.config is not None:
        checked.problems += [*_wrong_sums(checked), *_pickles(checked), *_adapter_problems(checked)]
    return checked


def look_at(folder: Path, quantisation_setting: str = "quantisation") -> Checked:
    """Check quickly: bundle.json, which parts are there, and whether CLAP, projector and LLM fit each other.

    Args:
        folder: the bundle's folder.
        quantisation_setting: what messages call the setting that quantises the LLM.
    """
    checked = Checked(folder)
    checked.config = _read_config(folder / CONFIG, checked.problems)
    if checked.config is None:
        return checked
    checked.parts = parts_of(checked.config, folder)
    checked.problems += _odd_values(checked.config)
    checked.problems += [
        BundleProblem(part.name, part.missing, f"put it there, or name another in {CONFIG}")
        for part in checked.parts
        if part.missing is not None
    ]
    checked.problems += _licence_problems(checked.config)
    config = checked.config

    def sizes_of_clap(path: Path) -> None:
        checked.embedding_dim = find_backend(config.clap.backend).embedding_dim(path)

    def sizes_of_llm(path: Path) -> None:
        checked.llm = read_llm_sizes(path, quantisation_setting)

    _try(checked, CLAP, sizes_of_clap)
    _try(checked, LLM, sizes_of_llm)
    dim = checked.embedding_dim
    if dim is not None:
        _try(checked, CENTRING, lambda path: Centring.load(path, dim))
        _try(checked, SOUNDS, lambda path: Sounds.load(path, dim))
    hidden = None if checked.llm is None else checked.llm.hidden
    _try(checked, "projector", lambda path: check_shapes(read_shapes(path), path, dim, hidden))
    return checked


def _try(checked: Checked, name: str, look: Callable[[Path], object]) -> None:
    path = checked.part(name)
    if path is None:
        return
    try:
        look(path)
    except (WrongWeights, MissingWeights, OSError, ValueError) as error:
        checked.problems.append(
            BundleProblem(name, str(error), f"name a {name} that fits in {CONFIG}, or replace the file")
        )


def _read_config(path: Path, problems: list[BundleProblem]) -> BundleConfig | None:
    try:
        return BundleConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        for one in error.errors():
            name = ".".join(map(str, one["loc"]))
            problems.append(BundleProblem(CONFIG, f"{name}: {one['msg']}", f"correct {name} in {path}"))
    except OSError as error:
        said = f"there is no bundle at {path.parent}: {error.strerror}"
        problems.append(BundleProblem(CONFIG, said, "name a folder that has a bundle.json, or `embedded`"))
    except ValueError as error:
        problems.append(BundleProblem(CONFIG, f"it is not JSON: {error}", f"correct {path}"))
    return None


def _odd_values(config: BundleConfig) -> Iterator[BundleProblem]:
    for section, build in (
        ("prompt", config.prompt.as_template),
        ("generation", lambda: GenerationOptions(**config.generation.model_dump())),
    ):
        try:
            build()
        except ValueError as error:
            yield BundleProblem(CONFIG, f"{section}: {error}", f"correct {section} in {CONFIG}")


def _licence_problems(config: BundleConfig) -> Iterator[BundleProblem]:
    if not config.licences:
        yield BundleProblem(
            "licences", "no licence is named", f"name the licence of every weight under licences in {CONFIG}", False
        )
    for part, licence in config.licences.items():
        if licence.strip().lower() in _UNSTATED:
            yield BundleProblem("licences", f"that of {part} is not stated", f"state it in {CONFIG}", False)


def _wrong_sums(checked: Checked) -> Iterator[BundleProblem]:
    again = "copy or install it again, or `drcap bundle seal` if it was changed on purpose"
    try:
        found = verify_bundle(checked.folder, checked.parts)
    except (ChecksumsError, OSError) as error:
        yield BundleProblem(SUMS, str(error), "`drcap bundle seal` writes it again")
        return
    for name in found.changed:
        yield BundleProblem(SUMS, f"{name} is not the file that was sealed or installed", again)
    for name in found.missing:
        yield BundleProblem(SUMS, f"{name} was sealed or installed and is missing", again)


def _pickles(checked: Checked) -> Iterator[BundleProblem]:
    named = checked.part(CLAP)
    for path in sorted(checked.folder.rglob("*")):
        if not path.is_file() or not is_pickle(path):
            continue
        name = path.relative_to(checked.folder)
        if path != named:
            yield BundleProblem(str(name), "it is a pickle, which can run any code", "remove it; nothing reads it")
            continue
        # The backend has read its shapes and found nothing but weights in it.
        said = "it is a pickle; it is read without running the code in it"
        yield BundleProblem(str(name), said, "save it as .safetensors", False)


def is_pickle(path: Path) -> bool:
    """Return whether a file is a pickle, or a zip archive with a pickle, which torch writes."""
    with path.open("rb") as file:
        head = file.read(2)
    if head[:1] == _PICKLE and len(head) == 2:
        return head[1] in _PROTOCOLS
    if head != b"PK":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith((".pkl", ".pickle")) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _adapter_problems(checked: Checked) -> Iterator[BundleProblem]:
    llm, folder = checked.part(LLM), checked.folder / ADAPTER
    if llm is None or checked.part("adapter") is None or checked.part("adapter settings") is None:
        return
    try:
        if llm.suffix == ".gguf":
            check_adapter_of_gguf(read_shapes(folder / "adapter_model.safetensors"), read_header(llm).shapes, folder)
        else:
            settings, weights = read_adapter(folder)
            check_adapter(weights, settings, read_llm(str(llm)), folder)
    except (WrongWeights, MissingWeights, NoGguf, OSError) as error:
        yield BundleProblem("adapter", str(error), "use the adapter that was trained with this LLM")
