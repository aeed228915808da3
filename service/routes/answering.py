"""How a recording that was sent is answered, whatever its answer looks like: the bounds on it are the same."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from service.auth.guard import Caller
from service.captioning.captioner import Caption
from service.captioning.orders import Order, due_for, fulfil, take_order
from service.captioning.progress import Progress, Report
from service.errors import BadField
from service.http.deadlines import HEADER
from service.http.streaming import Event, EventStream
from service.routes.dependencies import deadline, while_connected
from service.runtime import Runtime, within
from service.schemas import CaptionFields


def untold(_: Progress) -> Sequence[Event]:
    """No events: nothing is told of the progress."""
    return ()


@dataclass(frozen=True)
class Streamed:
    """How an answer is told by events.

    Attributes:
        last: the events of the caption, which end the stream.
        progress: the events of a report.
    """

    last: Callable[[Caption, Order], Sequence[Event]]
    progress: Callable[[Progress], Sequence[Event]] = untold


@dataclass(frozen=True)
class Asked:
    """What a request asks for.

    Attributes:
        data: the recording, as it was sent.
        fields: how it is captioned.
        answer: the answer that the caption becomes.
        streamed: how it is told instead, if the client wants a stream.
        headers: of the answer, besides its own.
    """

    data: bytes
    fields: CaptionFields
    answer: Callable[[Caption, Order], Response]
    streamed: Streamed | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


async def answer_recording(
    request: Request, caller: Caller, runtime: Runtime, read: Callable[[], Awaitable[Asked]]
) -> Response:
    """Let a request in, read it, caption its recording and answer, all by the deadline and while the client is there.

    Args:
        request: whose body is still unread.
        caller: who may only reach some domains.
        runtime: with what captions.
        read: reads the body, once the request is let in.

    Raises:
        Overloaded, NotReady, DeadlinePassed, ClientGone, and what is wrong with the request; the errors of the models
        too, unless the answer is a stream, which they end.
    """
    bundle, due = runtime.parts.captioner.bundle, deadline(request, "caption")
    with ExitStack() as held:
        held.enter_context(runtime.captions.take())
        async with within(due):
            asked = await read()
            try:
                options = asked.fields.options(bundle)
            except ValueError as error:
                raise BadField(str(error)) from error
            taking = take_order(runtime, caller, asked.data, asked.fields.domain, options)
            order = await while_connected(request, taking)
        due = due_for(due, request.headers.get(HEADER), order.recording, runtime.settings.timeouts)
        if (streamed := asked.streamed) is not None:

            async def work(report: Report) -> Sequence[Event]:
                return streamed.last(await fulfil(runtime, order, due, report), order)

            answer: Response = EventStream(work, streamed.progress, due, held.pop_all())
        else:
            async with within(due):
                answer = asked.answer(await while_connected(request, fulfil(runtime, order, due)), order)
    answer.headers.update(asked.headers)
    return answer
