import asyncio

from service.captioning.progress import CaptionProgress, ProgressMailbox, Stage
from service.captioning.segments import Segment


def segment(caption: str) -> Segment:
    return Segment(0.0, 1.0, caption)


async def test_reports_that_nobody_reads_are_merged_and_lose_no_segment() -> None:
    reports, reads, read = ProgressMailbox(), asyncio.Event(), list[CaptionProgress]()

    async def work() -> None:
        for number in range(1000):
            reports.put(CaptionProgress(Stage.generate, number / 1000, (segment(f"s{number}"),)))
            await asyncio.sleep(0)
        reads.set()

    task = asyncio.create_task(work())
    async for progress in reports.until(task):
        read.append(progress)
        await reads.wait()
    assert len(read) <= 2
    assert [one.caption for progress in read for one in progress.segments] == [f"s{number}" for number in range(1000)]
    assert read[-1].done == 0.999


async def test_reading_ends_when_the_work_fails() -> None:
    reports = ProgressMailbox()

    async def work() -> None:
        reports.put(CaptionProgress(Stage.generate, 0.5))
        raise ValueError("no")

    task = asyncio.create_task(work())
    assert [one.done async for one in reports.until(task)] == [0.5]
    assert isinstance(task.exception(), ValueError)
