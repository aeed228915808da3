"""Parquet files become NDJSON that every reader of a corpus takes."""

import builtins
from pathlib import Path
from typing import Any

import pytest

from cli.common.errors import CommandError
from cli.common.parquet import readable
from datastores.corpus.error import CorpusError
from tests.parquet import write_parquet
from tests.storage import read_corpus


def read(file: Path, column: str | None = None) -> list[str]:
    with readable(file, column) as corpus:
        return list(read_corpus(corpus, column=column))


@pytest.mark.parametrize(
    "columns",
    [
        {"id": [1, 2, 3], "caption": ["rain", None, "wind"]},
        {"captions": [["rain", "wind"], []]},
        {"caption_1": ["rain"], "id": [1], "caption_2": ["wind"]},
        {"caption": ["rain", "rain", "wind"]},
    ],
)
def test_the_text_columns_are_read(tmp_path: Path, columns: dict[str, Any]) -> None:
    write_parquet(tmp_path / "c.parquet", columns)
    assert read(tmp_path / "c.parquet") == ["rain", "wind"]


def test_a_column_is_taken_by_name(tmp_path: Path) -> None:
    write_parquet(tmp_path / "c.PQ", {"caption": ["no"], "my.text": ["rain"]})
    assert read(tmp_path / "c.PQ", "My.Text") == ["rain"]


def test_row_groups_are_read_in_order(tmp_path: Path) -> None:
    captions = [f"rain number {at}" for at in range(2_500)]
    write_parquet(tmp_path / "c.parquet", {"caption": captions}, row_group_size=700)
    assert read(tmp_path / "c.parquet") == captions


def test_another_file_is_passed_as_it_is(tmp_path: Path) -> None:
    with readable(tmp_path / "c.csv") as corpus:
        assert corpus == tmp_path / "c.csv"


def test_the_ndjson_keeps_the_name_and_is_gone_afterwards(tmp_path: Path) -> None:
    write_parquet(tmp_path / "city.parquet", {"caption": ["rain"]})
    with readable(tmp_path / "city.parquet") as corpus:
        assert corpus.name == "city.ndjson"
    assert not corpus.exists()


@pytest.mark.parametrize(
    ("columns", "column", "message"),
    [
        ({"text": ["rain"], "id": [1]}, None, "no column is called caption.* it has text, id"),
        ({"text": ["rain"]}, "caption", "no column is called 'caption'; it has text"),
        ({"caption": [1]}, None, "column 'caption' holds int64, not text"),
    ],
)
def test_a_file_without_captions_is_refused(
    tmp_path: Path, columns: dict[str, Any], column: str | None, message: str
) -> None:
    write_parquet(tmp_path / "c.parquet", columns)
    with pytest.raises(CommandError, match=message):
        read(tmp_path / "c.parquet", column)


@pytest.mark.parametrize("body", [b"PAR1", b"PAR1" + b"\0" * 40 + b"PAR1", b"rain\n", b""])
def test_a_damaged_file_is_refused_with_its_path(tmp_path: Path, body: bytes) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "c.parquet").write_bytes(body)
    with pytest.raises(CommandError, match=r"c\.parquet cannot be read as Parquet"):
        read(tmp_path / "c.parquet")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.parquet"
    write_parquet(file, {"caption": ["rain", "wiind"]}, compression="none", use_dictionary=False)
    file.write_bytes(file.read_bytes().replace(b"wiind", b"wi\xefnd"))
    with pytest.raises(CommandError, match=r"c\.parquet cannot be read as Parquet: .*utf-8"):
        read(file)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = builtins.__import__

    def without(name: str, *given: Any) -> Any:
        if name == "pyarrow":
            raise ImportError(name)
        return honest(name, *given)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CommandError, match=r"drcap\[parquet\]"):
        read(tmp_path / "c.parquet")


def named(file: Path) -> None:
    """Read a corpus; its error begins with the path that was read."""
    with readable(file) as ndjson:
        try:
            list(read_corpus(ndjson))
        except CorpusError as error:
            raise CorpusError(f"{ndjson}: {error}", error.kind) from error


def test_an_error_in_a_row_names_the_file_that_was_given(tmp_path: Path) -> None:
    write_parquet(tmp_path / "mine.parquet", {"caption": ["rain", "wind " * 500]})
    with pytest.raises(CorpusError, match=r"mine\.parquet: line 2"):
        named(tmp_path / "mine.parquet")
