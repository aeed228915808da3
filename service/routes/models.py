"""GET /v1/models: lists the domains as models, for clients of OpenAI's API."""

from typing import Annotated

from fastapi import APIRouter, Depends

from service.auth.access import reading
from service.auth.guard import Caller
from service.openai.answers import ModelAnswer, ModelList
from service.routes.openapi_parts import GUARDED, problems
from service.runtime import AppRuntime
from service.schemas import DomainName

router = APIRouter(prefix="/v1/models", tags=["openai"], responses=GUARDED)


@router.get("", summary="List the domains as models", responses=problems(503))
async def list_models(caller: Annotated[Caller, Depends(reading)], runtime: AppRuntime) -> ModelList:
    """Lists the domains that the key may use and the service can caption in, sorted by name."""
    mine = runtime.parts.bundle.clap.fingerprint
    versions = [version for version in await runtime.parts.store.list() if caller.reaches(version.domain)]
    return ModelList(data=[ModelAnswer.of(version) for version in versions if version.fingerprint == mine])


# The name is a path, because names of other models contain slashes; such a name is answered like an unknown domain.
@router.get(
    "/{name:path}",
    summary="Describe a domain as a model",
    dependencies=[Depends(reading)],
    responses=problems(404, 409, 503),
)
async def show_model(name: DomainName, runtime: AppRuntime) -> ModelAnswer:
    """Describes the domain as a model. Answers 409 if another CLAP has embedded the domain; register it again then."""
    return ModelAnswer.of(await runtime.parts.domains.resolve(name))
