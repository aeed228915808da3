from pathlib import Path

import pytest

from research.corpora.samples import write


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for name, sound in (("one", "rain"), ("two", "wind")):
        (tmp_path / f"{name}.txt").write_text("\n".join(f"{sound} number {i}" for i in range(50)))
    return [tmp_path / "one.txt", tmp_path / "two.txt"]


def test_a_sample_repeats_with_its_seed_and_has_each_caption_once(files: list[Path], tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        write(files, tmp_path / folder, None, 20, seed)
    a, b, c = ((tmp_path / folder / "one.txt").read_text() for folder in "abc")
    assert a == b != c
    assert len(set(a.splitlines())) == 20
    assert set(a.splitlines()) < set(files[0].read_text().splitlines())


def test_files_are_drawn_from_together_when_mixed(files: list[Path], tmp_path: Path) -> None:
    write(files, tmp_path / "out", "all", 40, 0)
    drawn = (tmp_path / "out" / "all.txt").read_text()
    assert len(drawn.splitlines()) == 40
    assert "rain" in drawn
    assert "wind" in drawn
