"""The problem document of a failed job."""

import logging

from service.http.problems import as_service_error, problem_body
from service.jobs.records import JobRecord
from service.schemas import Problem

logger = logging.getLogger(__name__)


def problem_of(record: JobRecord, error: Exception) -> Problem:
    """Return the problem document that a waiting client gets. Logs unexpected errors."""
    known = as_service_error(error)
    if known.status == 500:
        logger.error("job %s of request %s failed", record.id, record.request_id, exc_info=error)
    body = problem_body(known.status, known.slug, known.detail, f"/domains/{record.domain}", record.request_id)
    return Problem(**body)
