"""Jobs: routes that list, follow and cancel registrations."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from service.auth.access import following
from service.auth.guard import Caller
from service.jobs.records import JobAnswer, JobList, JobRecord
from service.routes.openapi_parts import GUARDED, problems
from service.runtime import AppRuntime, Runtime

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=GUARDED)

Follower = Annotated[Caller, Depends(following)]
JobId = Annotated[
    str,
    Path(description="The id of the job.", examples=["3f0c9a7be2d14c55"]),
]


@router.get("", summary="List the jobs", responses=problems(503))
async def list_jobs(caller: Follower, runtime: AppRuntime) -> JobList:
    """Lists waiting, running and finished registrations of domains that the key may use, newest first. Finished jobs
    are removed after some time.
    """
    return JobList(jobs=[record.answer() for record in runtime.parts.jobs.list() if caller.reaches(record.domain)])


@router.get("/{job}", summary="Show a job", responses=problems(404, 503))
async def show_job(job: JobId, caller: Follower, runtime: AppRuntime) -> JobAnswer:
    """Shows the progress of a registration. Once it has finished, `result` or `problem` holds the answer that a request
    with `wait=true` gets.
    """
    return _reached(job, caller, runtime).answer()


@router.delete("/{job}", summary="Cancel a job", responses=problems(404, 409, 503))
async def cancel_job(job: JobId, caller: Follower, runtime: AppRuntime) -> JobAnswer:
    """Stops a registration and answers once it has stopped. The domain stays unchanged. Cancelling a cancelled job
    again succeeds. A job that has succeeded or failed is answered with 409.
    """
    return (await runtime.parts.jobs.cancel(_reached(job, caller, runtime).id)).answer()


def _reached(job: str, caller: Caller, runtime: Runtime) -> JobRecord:
    record = runtime.parts.jobs.get(job)
    caller.check_reaches(record.domain)
    return record
