"""What becomes of jobs when the service stops, is killed, or finds its folder damaged."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge

from service.errors import JobCancelled, JobInterrupted, JobsFolderFailed, UnknownJob
from service.jobs import history
from service.jobs.jobs import Jobs, RunJob
from service.jobs.records import JobKind, JobProgress, JobRecord, JobState
from service.jobs.registration_tracker import RegistrationTracker
from service.schemas import RegistrationAnswer
from service.settings import AdmissionSettings, JobsSettings, Settings

NOW = datetime.now(UTC)
ANSWER = RegistrationAnswer(
    name="city",
    version="v1",
    captions=1,
    dimension=64,
    fingerprint="fake-1",
    usable=True,
    created=NOW,
    projection_temperature=0.05,
    neighbours=1,
    received=1,
    duplicates=0,
    empty=0,
    skipped=0,
    problems=[],
    embedded=1,
    reused=0,
    seconds=0.1,
)


def record(job: str, *, waited: bool = False, size: int = 5, **changes: object) -> JobRecord:
    made = JobRecord(
        id=job,
        kind=JobKind.register,
        domain=f"domain-{job}",
        progress=JobProgress(bytes_total=size),
        created=NOW,
        media_type="text/plain",
        filename="",
        column=None,
        on_error="refuse",
        waited=waited,
        request_id="r",
    )
    return made.model_copy(update=changes)


class Worker:
    """The work of a job, which goes on until it is let."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.gate = asyncio.Event()

    async def __call__(self, job: JobRecord, path: Path, tracker: RegistrationTracker) -> RegistrationAnswer:
        self.seen.append(path.read_text())  # noqa: ASYNC240 - a few bytes
        await self.gate.wait()
        return ANSWER


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(jobs=JobsSettings(path=tmp_path / "jobs"), admission=AdmissionSettings(registrations=1))


async def opened(run_job: RunJob, settings: Settings) -> Jobs:
    return await Jobs.open(run_job, settings, Gauge("running", "", registry=CollectorRegistry()))


async def submit(jobs: Jobs, domain: str = "city", *, waited: bool = False, **changes: object) -> str:
    with jobs.slots.reserve(domain) as job:
        jobs.files.part(job).write_text("a bus")
        await jobs.submit(record(job, waited=waited).model_copy(update={"domain": domain, **changes}))
    return job


async def until(reached: Callable[[], bool]) -> None:
    for _ in range(2000):
        if reached():
            return
        await asyncio.sleep(0.005)
    raise AssertionError


def names(settings: Settings) -> set[str]:
    return {path.name for path in settings.jobs.path.iterdir()} - {"lock"}


async def test_a_job_that_a_stop_interrupted_begins_again(settings: Settings) -> None:
    worker = Worker()
    jobs = await opened(worker, settings)
    job, waiting = await submit(jobs), await submit(jobs, "forest")
    await until(lambda: worker.seen == ["a bus"])
    await jobs.close()
    assert names(settings) == {f"{job}.json", f"{job}.corpus", f"{waiting}.json", f"{waiting}.corpus"}
    jobs = await opened(worker, settings)
    worker.gate.set()
    await until(lambda: jobs.get(job).state is jobs.get(waiting).state is JobState.succeeded)
    assert jobs.get(job).result == ANSWER
    assert names(settings) == {f"{job}.json", f"{waiting}.json"}
    await jobs.close()


async def test_an_interrupted_job_still_holds_its_domain(settings: Settings) -> None:
    jobs = await opened(Worker(), settings)
    job = await submit(jobs)
    await jobs.close()
    jobs = await opened(Worker(), settings)
    with pytest.raises(Exception, match=job):
        jobs.slots.check_free("city")
    await jobs.cancel(job)
    jobs.slots.check_free("city")
    await jobs.close()


async def test_a_job_that_a_client_waited_for_is_not_begun_again(settings: Settings) -> None:
    worker = Worker()
    jobs = await opened(worker, settings)
    job = await submit(jobs, waited=True)
    waiting = asyncio.create_task(jobs.outcome(job))
    await until(lambda: worker.seen == ["a bus"])
    await jobs.close()
    with pytest.raises(JobInterrupted):
        await waiting
    jobs = await opened(worker, settings)
    problem = jobs.get(job).problem
    assert jobs.get(job).state is JobState.failed
    assert problem is not None
    assert problem.type == "urn:drcap:problem:job-interrupted"
    assert names(settings) == {f"{job}.json"}
    await jobs.close()


@pytest.mark.parametrize("damage", ["missing", "short"])
async def test_a_job_whose_upload_is_damaged_fails_and_says_so(settings: Settings, damage: str) -> None:
    jobs = await opened(Worker(), settings)
    job = await submit(jobs)
    await jobs.close()
    corpus = settings.jobs.path / f"{job}.corpus"
    corpus.unlink() if damage == "missing" else corpus.write_text("a")
    jobs = await opened(Worker(), settings)
    problem = jobs.get(job).problem
    assert jobs.get(job).state is JobState.failed
    assert problem is not None
    assert "send the corpus again" in problem.detail
    assert names(settings) == {f"{job}.json"}
    jobs.slots.check_free("city")
    await jobs.close()


async def test_what_a_kill_leaves_is_removed_at_the_next_start(settings: Settings) -> None:
    folder = settings.jobs.path
    await (await opened(Worker(), settings)).close()
    for name in ("a.part", "b.corpus", "c.new", "c.corpus"):
        (folder / name).write_text("half")
    done = record("d", state=JobState.succeeded, finished=NOW)
    (folder / "d.json").write_text(done.model_dump_json())
    (folder / "d.corpus").write_text("a bus")
    (folder / "e.json").write_text('{"id": "e", "sta')
    (folder / "e.corpus").write_text("a bus")
    jobs = await opened(Worker(), settings)
    assert names(settings) == {"d.json"}
    assert [one.id for one in jobs.list()] == ["d"]
    await jobs.close()


async def test_finished_jobs_are_forgotten_by_number_and_age(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "KEPT", 2)
    monkeypatch.setattr(history, "KEPT_DAYS", 1)
    worker = Worker()
    worker.gate.set()
    await (await opened(worker, settings)).close()
    for name, age in (("new", 0), ("aged", 2)):
        old = record(name, state=JobState.failed, finished=NOW - timedelta(days=age))
        (settings.jobs.path / f"{name}.json").write_text(old.model_dump_json())
    jobs = await opened(worker, settings)
    assert [one.id for one in jobs.list()] == ["new"]
    made = []
    for _ in range(3):
        made.append(await submit(jobs))
        await until(lambda: not any(job in made[-1:] and not jobs.get(job).state.finished for job in made[-1:]))
    await until(lambda: len(jobs.list()) == 2)
    assert {one.id for one in jobs.list()} == set(made[1:])
    with pytest.raises(UnknownJob):
        jobs.get(made[0])
    await until(lambda: names(settings) == {f"{job}.json" for job in made[1:]})
    await jobs.close()


async def test_a_job_cancelled_before_its_first_step_ends(settings: Settings) -> None:
    jobs = await opened(Worker(), settings)
    job = await submit(jobs)
    waiting = asyncio.create_task(jobs.outcome(job))
    assert (await jobs.cancel(job)).state is JobState.cancelled
    with pytest.raises(JobCancelled):
        await waiting
    await jobs.close()


async def test_whoever_stops_waiting_cancels_the_job(settings: Settings) -> None:
    worker = Worker()
    jobs = await opened(worker, settings)
    job = await submit(jobs, waited=True)
    waiting = asyncio.create_task(jobs.outcome(job))
    await until(lambda: worker.seen == ["a bus"])
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert jobs.get(job).state is JobState.cancelled
    await jobs.close()


async def test_two_processes_do_not_share_a_folder(settings: Settings) -> None:
    jobs = await opened(Worker(), settings)
    with pytest.raises(JobsFolderFailed, match=r"another process.*DRCAP_JOBS__PATH"):
        await opened(Worker(), settings)
    await jobs.close()
    await (await opened(Worker(), settings)).close()


async def test_a_folder_that_cannot_be_made_is_named(settings: Settings) -> None:
    settings.jobs.path.write_text("")
    with pytest.raises(JobsFolderFailed, match=r"jobs.*DRCAP_JOBS__PATH"):
        await opened(Worker(), settings)


async def test_a_record_holds_everything_to_begin_again(settings: Settings) -> None:
    jobs = await opened(Worker(), settings)
    job = await submit(jobs, column="words", on_error="skip", media_type="text/csv", filename="a.csv")
    written = json.loads((settings.jobs.path / f"{job}.json").read_bytes())
    kept = {key: written[key] for key in ("column", "on_error", "media_type", "filename", "domain")}
    assert kept == {
        "column": "words",
        "on_error": "skip",
        "media_type": "text/csv",
        "filename": "a.csv",
        "domain": "city",
    }
    await jobs.close()
