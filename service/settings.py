"""Settings: every limit and path of the service, one class a concern, read from ``DRCAP_`` variables.

``__`` separates the levels, so ``settings.audio.max_seconds`` is ``DRCAP_AUDIO__MAX_SECONDS``.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "DRCAP_"
LEVEL = "__"


class SettingsError(ValueError):
    """A setting that is unknown or has no valid value; the message is for the person who set it."""


class _Concern(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Concern):
    """Where the service listens."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    ops_host: str | None = Field(None, description="address of the port for operations; by default the same")
    ops_port: int | None = Field(
        None, ge=1, le=65535, description="port of its own for /metrics, which the main one then lacks, and for probes"
    )
    drain_seconds: int = Field(30, ge=1, description="for what was let in, once the service is told to stop")
    connections: int = Field(
        500, ge=1, description="connections of clients open at a time; idle ones give way to new ones"
    )
    client_seconds: float = Field(
        15.0, gt=0, description="for a client to send the headers of a request, and to take more of an answer"
    )
    upload_rate: int = Field(
        500, ge=1, description="bytes a second that a body must bring, beyond its first client_seconds"
    )


class AuthSettings(_Concern):
    """Who may ask. Without keys everybody may, and the service listens to its own machine only."""

    keys_file: Path | None = Field(None, description="file of keys, as `drcap keys new --file` writes it")
    keys: SecretStr | None = Field(None, description="the same JSON, in the variable itself")
    open: bool = Field(False, description="serve other machines without keys")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.keys_file is not None and self.keys is not None:
            variables = (variable_name("auth", "keys_file"), variable_name("auth", "keys"))
            raise ValueError(f"{variables[0]} and {variables[1]} are both set; set one of them")
        return self


class LogSettings(_Concern):
    """What the service writes to stderr."""

    format: Literal["text", "json"] = Field("text", description="text for people or json, one object a line")
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error: the least that is written"
    )


class TracingSettings(_Concern):
    """Where traces go. The SDK's own ``OTEL_`` variables say the rest."""

    endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]",
        description="collector of traces (OTLP over HTTP), as http://host:4318",
    )


class DatastoreSettings(_Concern):
    """Where the domains are kept."""

    path: Path = Field(Path("data/domains"), description="folder of the embedded datastore, used without a URL")
    url: str | None = Field(
        None, pattern=r"^https?://[^\s/]", description="Qdrant server, as https://host:6333 (the port when left out)"
    )
    read_key: SecretStr | None = Field(None, description="API key of the Qdrant server for serving")
    read_key_file: Path | None = Field(None, description="file that holds the read key")
    write_key: SecretStr | None = Field(None, description="API key for registering; without one the read key")
    write_key_file: Path | None = Field(None, description="file that holds the write key")
    ca_file: Path | None = Field(None, description="certificates to check the Qdrant server's against")
    prefix: str = Field(
        "drcap",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="start of the name of every collection and alias on the Qdrant server",
    )
    timeout_seconds: float = Field(10.0, gt=0, description="for one answer to a search")
    retry_seconds: float = Field(3.0, ge=0, description="for how long a failed read is tried again")
    write_timeout_seconds: float = Field(60.0, gt=0, description="for one answer to a registration")
    write_retry_seconds: float = Field(60.0, ge=0, description="for how long a failed write is tried again")
    probe_seconds: float = Field(2.0, gt=0, description="within which the datastore answers /readyz")
    upload_parallel: int = Field(4, ge=1, le=64, description="requests of one registration under way at a time")
    shards: int | None = Field(None, ge=1, description="shards of a version; by default what the server chooses")
    replication: int = Field(1, ge=1, description="copies of each shard")
    write_consistency: int = Field(1, ge=1, description="copies that must confirm a write")
    quantisation: Literal["none", "int8", "binary"] = Field(
        "none", description="none, int8 or binary: what an index searches in before full vectors rescore"
    )
    memory: Literal["cached", "cold"] = Field(
        "cached", description="cached or cold: vectors and index in memory or on disk"
    )
    exact_below: int = Field(100_000, ge=0, description="captions up to which the server searches a version exactly")
    index_wait_seconds: float = Field(
        600.0, ge=0, description="for how long a switch waits for the index of a larger version"
    )

    @model_validator(mode="after")
    def _one_source_a_key(self) -> Self:
        for name in ("read_key", "write_key"):
            if getattr(self, name) is not None and getattr(self, f"{name}_file") is not None:
                variables = (variable_name("datastore", name), variable_name("datastore", f"{name}_file"))
                raise ValueError(f"{variables[0]} and {variables[1]} are both set; set one of them")
        return self


class AudioSettings(_Concern):
    """What a recording may be."""

    max_bytes: int = Field(64 * 1024 * 1024, ge=1, description="bytes of the body of POST /caption")
    max_seconds: float = Field(600.0, gt=0, description="seconds of audio once decoded")
    min_seconds: float = Field(0.05, ge=0, description="seconds of audio below which nothing is captioned")


class CorpusSettings(_Concern):
    """What the captions of a domain may be."""

    max_bytes: int = Field(
        64 * 1024 * 1024,
        ge=1,
        description="bytes of a corpus, as it is sent",
    )
    max_unpacked_bytes: int = Field(1024 * 1024 * 1024, ge=1, description="bytes of a corpus once unpacked")
    max_captions: int = Field(1_000_000, ge=1, description="captions of one domain")
    max_caption_characters: int = Field(2_000, ge=1, description="characters of one caption")


class AdmissionSettings(_Concern):
    """How much work is let in; what comes on top is answered with 503 and Retry-After."""

    captions: int = Field(16, ge=1, description="caption requests under way or waiting")
    registrations: int = Field(2, ge=1, description="registrations of domains under way; more wait as jobs")
    decoders: int = Field(2, ge=1, description="recordings decoded at the same time")
    retry_after_seconds: int = Field(2, ge=1, description="value of Retry-After where nothing was measured")


class JobsSettings(_Concern):
    """Where registrations are kept until they are done, and how many."""

    path: Path = Field(Path("data/jobs"), description="folder of uploaded corpora and of the records of jobs")
    waiting: int = Field(16, ge=0, description="registrations that wait, or are uploaded, beside those under way")
    kept: int = Field(200, ge=0, description="finished jobs that are remembered")
    kept_days: float = Field(7.0, gt=0, description="days a finished job is remembered")


class ClapSettings(_Concern):
    """How the CLAP is run, where that is not as DRCAP_DEVICE says."""

    device: str | None = Field(None, min_length=1, description="device of the CLAP; by default DRCAP_DEVICE")


class LlmSettings(_Concern):
    """How the LLM is run, where that is not as DRCAP_DEVICE and the bundle say."""

    device: str | None = Field(
        None, min_length=1, description="device of the LLM, or GPUs with commas between for a copy on each"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None = Field(
        None, description="auto, float32, bfloat16 or float16; by default what the bundle says"
    )
    quantisation: Literal["none", "int8", "int4", "fp8"] | None = Field(
        None, description="none, int8, int4 or fp8; by default what the bundle says, on a GPU none"
    )


class BatchingSettings(_Concern):
    """How much runs through a model at a time when many requests wait."""

    audio_seconds: float = Field(20.0, gt=0, description="seconds of audio the CLAP hears in one batch")
    prompts: int = Field(8, ge=1, description="captions the LLM writes in one batch; a GPU takes more")
    tokens: float = Field(2_500.0, gt=0, description="tokens of one batch of the LLM, read and expected")
    writers: int | None = Field(
        None,
        ge=1,
        description="batches that LLM and CLAP compute at a time on a CPU; by default 2, or one for every 4 cores",
    )


class SegmentsSettings(_Concern):
    """How a recording is divided where its answer has times."""

    window_seconds: float | None = Field(
        None,
        ge=1.0,
        description="of a recording that are compared with the next, at most what the CLAP hears at once;"
        " by default what the bundle says",
    )
    similarity: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="cosine from which what follows each other is one segment with one caption;"
        " by default what the bundle says",
    )


class TimeoutSettings(_Concern):
    """How long a request may take, upload included; then it is answered with 504."""

    caption_seconds: float = Field(120.0, gt=0, description="for POST /caption")
    audio_minute_seconds: float = Field(
        30.0, ge=0, description="more for POST /caption, for each minute of the recording"
    )
    registration_seconds: float = Field(
        3_600.0, gt=0, description="for the upload of a corpus, and with wait=true until it serves"
    )
    search_seconds: float = Field(30.0, gt=0, description="for GET /domains/{name}/search")
    stall_seconds: float = Field(300.0, gt=0, description="without progress of a busy model until /livez fails")


class Settings(BaseSettings):
    """All settings of the service."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter=LEVEL, extra="forbid", frozen=True)

    bundle: str = Field("embedded", min_length=1, description="folder or name of the bundle that captions")
    device: str = Field("auto", min_length=1, description="auto, cpu, cuda, cuda:0, or cuda:0,cuda:1 and so on")
    cache: Path | None = Field(None, description="folder for converted weights; by default ~/.cache/drcap")
    key: SecretStr | None = Field(None, description="key that the drcap command itself presents to a service")
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
    segments: SegmentsSettings = SegmentsSettings()
    timeouts: TimeoutSettings = TimeoutSettings()


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the process environment.

    Args:
        environment: the names checked for unknown ones; the process environment when left out.

    Raises:
        SettingsError: a variable starts with ``DRCAP_`` and is no setting, or has no valid value.
    """
    _refuse_unknown(os.environ if environment is None else environment)
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(f"{variable_name(*map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise SettingsError(problems) from error


def variable_name(*path: str) -> str:
    """The variable that sets a setting: ``("audio", "max_seconds")`` -> ``DRCAP_AUDIO__MAX_SECONDS``."""
    return PREFIX + LEVEL.join(path).upper()


def known_variables() -> list[str]:
    """Every variable the service reads, in the order of the classes."""
    return [variable_name(*path) for path in _paths(Settings, ())]


def _paths(model: type[BaseModel], prefix: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _paths(field.annotation, (*prefix, name))
        else:
            yield (*prefix, name)


def unknown_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Each name that starts with ``DRCAP_`` and is no setting -> the nearest that is one."""
    known = known_variables()
    odd = (name for name in sorted(environment) if name.upper().startswith(PREFIX) and name.upper() not in known)
    return {name: difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)[0] for name in odd}


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    for name, nearest in unknown_variables(environment).items():
        raise SettingsError(f"{name} is no setting of drcap; the nearest one is {nearest}")
