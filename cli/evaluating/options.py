"""The options of ``drcap evaluate``, and which of them go together."""

from dataclasses import dataclass
from pathlib import Path

from cli.common.errors import CommandError


@dataclass(frozen=True)
class EvaluateOptions:
    """The options of one run; the help of the command explains each."""

    clips: Path | None
    where: dict[str, str]
    domain: str | None
    corpus: Path | None
    ablate: bool
    sweep: bool
    beams: int | None
    limit: int | None
    seed: int
    cache: Path
    url: str | None
    reconstruct: Path | None
    swap_from: Path | None
    noise: float

    def check(self) -> None:
        """Raise `CommandError` for options that exclude or need each other."""
        if (self.clips is None) == (self.reconstruct is None):
            raise CommandError("name what to caption: either --clips CSV or --reconstruct FILE")
        if self.where and self.clips is None:
            raise CommandError("--where chooses among the rows of --clips")
        if self.reconstruct is not None:
            self._exclude("--reconstruct brings its own corpus", "domain", "corpus", "url", "ablate")
        if self.url is not None:
            self._exclude("--url measures a running service", "corpus", "ablate", "swap_from")
        if self.corpus is not None:
            self._exclude("--corpus makes its own domain", "domain")
        if self.swap_from is not None:
            self._exclude("--swap-from compares two corpora", "ablate")
            if self.corpus is None and self.reconstruct is None:
                raise CommandError("--swap-from needs the target's captions too: --corpus FILE or --reconstruct FILE")

    def _exclude(self, reason: str, *names: str) -> None:
        for name in names:
            if getattr(self, name):
                raise CommandError(f"{reason}: omit --{name.replace('_', '-')}")
