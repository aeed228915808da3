"""GET /v1/models: the domains, as clients of OpenAI's API look for models."""

from typing import Annotated

from fastapi import APIRouter, Depends

from service.auth.guard import Caller
from service.openai.answers import ModelAnswer, ModelList
from service.routes.dependencies import GUARDED, AppRuntime, problems, reading
from service.schemas import DomainName

router = APIRouter(prefix="/v1/models", tags=["openai"], responses=GUARDED)


@router.get("", summary="Every domain, as a model", responses=problems(503))
async def list_models(caller: Annotated[Caller, Depends(reading)], runtime: AppRuntime) -> ModelList:
    """The domains that the key reaches and the service can caption in, by name."""
    mine = runtime.parts.bundle.clap.fingerprint
    versions = [version for version in await runtime.parts.store.list() if caller.reaches(version.domain)]
    return ModelList(data=[ModelAnswer.of(version) for version in versions if version.fingerprint == mine])


# A path: models of others have names with slashes, and these are names like any other that is no domain's.
@router.get(
    "/{name:path}", summary="One domain, as a model", dependencies=[Depends(reading)], responses=problems(404, 409, 503)
)
async def show_model(name: DomainName, runtime: AppRuntime) -> ModelAnswer:
    """The model that a domain is; 409 while it waits to be registered again for the CLAP of the service."""
    return ModelAnswer.of(await runtime.parts.domains.resolve(name))
