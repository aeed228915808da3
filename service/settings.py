"""Defines the settings of the service, one class for each concern. They are read from ``DRCAP_`` variables.

``__`` separates the levels: ``settings.audio.max_seconds`` is ``DRCAP_AUDIO__MAX_SECONDS``.
docs/settings.md lists them all.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "DRCAP_"
LEVEL = "__"


class SettingsError(ValueError):
    """A setting is unknown or has an invalid value. The message is for the person who set it."""


class _Concern(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _exclude(settings: BaseModel, concern: str, one: str, other: str) -> None:
    """Raise `ValueError` if both settings of a concern have a value."""
    if getattr(settings, one) is not None and getattr(settings, other) is not None:
        raise ValueError(
            f"{variable_name(concern, one)} and {variable_name(concern, other)} are both set; set one of them"
        )


class ServerSettings(_Concern):
    """Addresses, connections and shutdown of the service."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    ops_host: str | None = Field(
        None, description="Address of the port for operations. By default the address of the main port."
    )
    ops_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Separate port for `/metrics`, `/livez` and `/readyz`. The main port then has no `/metrics`.",
    )
    drain_seconds: int = Field(30, ge=1, description="Seconds after SIGTERM during which running requests may finish.")
    connections: int = Field(
        500,
        ge=1,
        description="Maximum number of open client connections. A new one replaces the one that is idle for longest.",
    )


class AuthSettings(_Concern):
    """Access to the service. Without keys, it listens to its own machine only."""

    keys_file: Path | None = Field(None, description="File of keys, as `drcap keys new --file` writes it.")
    keys: SecretStr | None = Field(None, description="Keys as JSON, in place of the file.")
    open: bool = Field(False, description="Permission for other machines to use the service without a key.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        _exclude(self, "auth", "keys_file", "keys")
        return self


class LogSettings(_Concern):
    """Log lines on stderr."""

    format: Literal["text", "json"] = Field("text", description="Format of a line: `text` or `json`.")
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is written: `debug`, `info`, `warning` or `error`."
    )


class TracingSettings(_Concern):
    """Traces of requests. The ``OTEL_`` variables of OpenTelemetry's SDK set everything else."""

    endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]",
        description="URL of an OpenTelemetry collector (OTLP over HTTP), such as `http://host:4318`.",
    )


class DatastoreSettings(_Concern):
    """Storage of the domains: a folder, or a Qdrant server if a URL is set."""

    path: Path = Field(Path("data/domains"), description="Folder of the embedded datastore. Unused if a URL is set.")
    url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]",
        description="URL of the Qdrant server, such as `https://host:6333`. The default port is 6333.",
    )
    read_key: SecretStr | None = Field(None, description="API key of the Qdrant server for reading.")
    read_key_file: Path | None = Field(None, description="File that holds the key for reading.")
    write_key: SecretStr | None = Field(
        None, description="API key of the Qdrant server for registrations. By default the key for reading."
    )
    write_key_file: Path | None = Field(None, description="File that holds the key for registrations.")
    ca_file: Path | None = Field(None, description="File of certificates that the Qdrant server must match.")
    prefix: str = Field(
        "drcap",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="Prefix of every collection and alias on the Qdrant server.",
    )
    timeout_seconds: float = Field(10.0, gt=0, description="Seconds within which the Qdrant server answers a read.")
    shards: int | None = Field(
        None, ge=1, description="Number of shards of a domain's version. By default the server decides."
    )
    replication: int = Field(1, ge=1, description="Number of copies of each shard.")
    write_consistency: int = Field(1, ge=1, description="Number of copies that confirm a write.")
    quantisation: Literal["none", "int8", "binary"] = Field(
        "none",
        description="Form of the vectors that an index searches before it rescores with full ones: `none`, `int8` or"
        " `binary`.",
    )
    memory: Literal["cached", "cold"] = Field(
        "cached", description="Place of vectors and index: `cached` in memory or `cold` on disk."
    )
    exact_below: int = Field(
        100_000, ge=0, description="Number of captions up to which the server searches without an index."
    )

    @property
    def folder(self) -> Path | None:
        """The folder of the embedded datastore; None where a server keeps the domains."""
        return self.path if self.url is None else None

    @model_validator(mode="after")
    def _one_source_a_key(self) -> Self:
        for name in ("read_key", "write_key"):
            _exclude(self, "datastore", name, f"{name}_file")
        return self


class AudioSettings(_Concern):
    """Size of a recording."""

    max_bytes: int = Field(64 * 1024 * 1024, ge=1, description="Maximum size of a request with a recording, in bytes.")
    max_seconds: float = Field(600.0, gt=0, description="Maximum length of a recording, in seconds.")


class CorpusSettings(_Concern):
    """Size of a domain's corpus."""

    max_bytes: int = Field(64 * 1024 * 1024, ge=1, description="Maximum size of a corpus as it is sent, in bytes.")
    max_unpacked_bytes: int = Field(
        1024 * 1024 * 1024, ge=1, description="Maximum size of a corpus after decompression, in bytes."
    )
    max_captions: int = Field(1_000_000, ge=1, description="Maximum number of captions of a domain.")
    max_caption_characters: int = Field(2_000, ge=1, description="Maximum length of a caption, in characters.")


class AdmissionSettings(_Concern):
    """Amount of work that the service accepts. It answers the rest with 503 and `Retry-After`."""

    captions: int = Field(16, ge=1, description="Maximum number of caption requests that run or wait.")
    registrations: int = Field(2, ge=1, description="Number of registrations that run at the same time.")


class JobsSettings(_Concern):
    """Storage and queue of registrations."""

    path: Path = Field(Path("data/jobs"), description="Folder of uploaded corpora and job records.")
    waiting: int = Field(
        16, ge=0, description="Maximum number of registrations that are uploaded or wait, beside the running ones."
    )


class ClapSettings(_Concern):
    """Device of the CLAP."""

    device: str | None = Field(None, min_length=1, description="Device of the CLAP. By default `DRCAP_DEVICE`.")


class LlmSettings(_Concern):
    """Device and precision of the LLM."""

    device: str | None = Field(
        None,
        min_length=1,
        description="Device of the LLM, or several GPUs separated by commas for a copy on each. By default"
        " `DRCAP_DEVICE`.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None = Field(
        None,
        description="Type of the weights: `auto`, `float32`, `bfloat16` or `float16`. By default the bundle's choice.",
    )
    quantisation: Literal["none", "int8", "int4", "fp8"] | None = Field(
        None,
        description="Quantisation of the weights: `none`, `int8`, `int4` or `fp8`. By default the bundle's choice on"
        " a CPU and `none` on a GPU.",
    )


class BatchingSettings(_Concern):
    """Amount of work that a model does at a time."""

    prompts: int = Field(
        8,
        ge=1,
        description="Maximum number of captions in a batch of the LLM. Batches of the CLAP scale with it. A GPU takes"
        " more.",
    )


class TimeoutSettings(_Concern):
    """Time limits. A request that takes longer, including its upload, is answered with 504."""

    caption_seconds: float = Field(
        120.0, gt=0, description="Seconds for a caption. Each minute of the recording adds 30 seconds."
    )
    registration_seconds: float = Field(
        3_600.0,
        gt=0,
        description="Seconds for the upload of a corpus, or with `wait=true` until it is registered.",
    )
    search_seconds: float = Field(30.0, gt=0, description="Seconds for a search in a domain.")
    stall_seconds: float = Field(
        300.0, gt=0, description="Seconds without progress of a busy model after which `/livez` fails."
    )


class Settings(BaseSettings):
    """The bundle, its device and its cache, and the key of the `drcap` command."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter=LEVEL, extra="forbid", frozen=True)

    bundle: str = Field("embedded", min_length=1, description="Folder or name of the bundle.")
    device: str = Field(
        "auto", min_length=1, description="Device of the models: `auto`, `cpu`, `cuda`, `cuda:0` or `cuda:0,cuda:1`."
    )
    cache: Path | None = Field(None, description="Folder of converted weights. By default `~/.cache/drcap`.")
    key: SecretStr | None = Field(None, description="API key with which the `drcap` command calls a service.")
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    datastore: DatastoreSettings = DatastoreSettings()
    audio: AudioSettings = AudioSettings()
    corpus: CorpusSettings = CorpusSettings()
    admission: AdmissionSettings = AdmissionSettings()
    jobs: JobsSettings = JobsSettings()
    clap: ClapSettings = ClapSettings()
    llm: LlmSettings = LlmSettings()
    batching: BatchingSettings = BatchingSettings()
    timeouts: TimeoutSettings = TimeoutSettings()


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the process environment.

    Args:
        environment: names that are checked for unknown variables, by default those of the process environment.

    Raises:
        SettingsError: a variable starts with ``DRCAP_`` and is unknown, or has an invalid value.
    """
    for name, nearest in unknown_variables(os.environ if environment is None else environment).items():
        raise SettingsError(f"{name} is no setting of drcap; the nearest one is {nearest}")
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(f"{variable_name(*map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise SettingsError(problems) from error


def variable_name(*path: str) -> str:
    """Return the variable of a setting: ``("audio", "max_seconds")`` -> ``DRCAP_AUDIO__MAX_SECONDS``."""
    return PREFIX + LEVEL.join(path).upper()


def known_variables() -> list[str]:
    """Return every variable that the service reads, in the order of the classes."""
    inner = concerns()
    return [
        variable_name(*path)
        for name in Settings.model_fields
        for path in (((name, one) for one in inner[name].model_fields) if name in inner else ((name,),))
    ]


def unknown_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return each unknown name that starts with ``DRCAP_``, with the nearest known one."""
    known = known_variables()
    odd = (name for name in sorted(environment) if name.upper().startswith(PREFIX) and name.upper() not in known)
    return {name: difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)[0] for name in odd}


def concerns() -> dict[str, type[BaseModel]]:
    """Return the class of each concern by its name in `Settings`."""
    kinds = ((name, field.annotation) for name, field in Settings.model_fields.items())
    return {name: kind for name, kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)}
