"""Jobs: what registrations are under way, how far they are, and how to stop them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from service.auth.guard import Caller
from service.jobs.records import JobAnswer, JobList, JobRecord
from service.routes.dependencies import GUARDED, AppRuntime, following, problems
from service.runtime import Runtime

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=GUARDED)

Follower = Annotated[Caller, Depends(following)]
JobId = Annotated[str, Path(description="as in the Location of the registration", examples=["3f0c9a7be2d14c55"])]


@router.get("", summary="Every job", responses=problems(503))
async def list_jobs(caller: Follower, runtime: AppRuntime) -> JobList:
    """Registrations of domains that the key reaches, which wait, run or have finished, the newest first. Finished
    ones are forgotten after a while.
    """
    return JobList(jobs=[record.answer() for record in runtime.parts.jobs.list() if caller.reaches(record.domain)])


@router.get("/{job}", summary="One job", responses=problems(404, 503))
async def show_job(job: JobId, caller: Follower, runtime: AppRuntime) -> JobAnswer:
    """How far a registration is, and what became of it: `result` or `problem` is what wait=true would have answered."""
    return _reached(job, caller, runtime).answer()


@router.delete("/{job}", summary="Cancel a job", responses=problems(404, 409, 503))
async def cancel_job(job: JobId, caller: Follower, runtime: AppRuntime) -> JobAnswer:
    """Stop a registration; the domain stays as it was. Answers once it has stopped, and again when it is asked
    again. A job that has succeeded or failed is not touched: 409.
    """
    return (await runtime.parts.jobs.cancel(_reached(job, caller, runtime).id)).answer()


def _reached(job: str, caller: Caller, runtime: Runtime) -> JobRecord:
    record = runtime.parts.jobs.get(job)
    caller.check_reaches(record.domain)
    return record
