import pytest

from models.device.cores import available_cores, share_cores


@pytest.mark.parametrize(
    ("count", "writers", "threads"), [(1, 1, 1), (2, 2, 1), (3, 2, 1), (4, 2, 2), (8, 2, 4), (16, 4, 4), (64, 16, 4)]
)
def test_two_batches_run_side_by_side_and_one_more_for_every_four_cores(count: int, writers: int, threads: int) -> None:
    cores = share_cores(count)
    assert (cores.writers, cores.threads) == (writers, threads)
    assert cores.writers * cores.threads <= count


def test_without_a_number_the_cores_of_this_process_are_shared() -> None:
    assert share_cores() == share_cores(available_cores())
