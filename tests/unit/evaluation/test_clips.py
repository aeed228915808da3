"""Lists of clips in several layouts, and the errors for damaged ones."""

from pathlib import Path

import pytest

from evaluation.clips import ClipsError, read_clips


def write(folder: Path, text: str, files: tuple[str, ...] = ("a.wav", "b.wav")) -> Path:
    for name in files:
        (folder / name).touch()
    path = folder / "clips.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_references_come_from_a_json_list(tmp_path: Path) -> None:
    path = write(tmp_path, 'file,captions_json\na.wav,"[""A dog."", ""A bark, loud.""]"\n')
    clips = read_clips(path)
    assert [(clip.path, clip.references) for clip in clips] == [(tmp_path / "a.wav", ("A dog.", "A bark, loud."))]


def test_numbered_columns_are_references_of_one_clip(tmp_path: Path) -> None:
    path = write(tmp_path, "file_name,caption_1,caption_2,caption_3\na.wav,One,,Three\n")
    assert read_clips(path)[0].references == ("One", "Three")


def test_rows_of_one_file_become_one_clip_at_its_first_place(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufefffilename,caption\na.wav,One\nb.wav,Other\na.wav,Two\n")
    assert [clip.references for clip in read_clips(path)] == [("One", "Two"), ("Other",)]


def test_rows_without_references_are_left_out_even_where_their_file_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path, "path,captions_json,caption\nmissing.wav,,\na.wav,[],\nb.wav,,Rain\n")
    assert [clip.references for clip in read_clips(path)] == [("Rain",)]


def test_rows_are_filtered_by_the_values_of_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "file,caption,set,fold\na.wav,One,x,1\nb.wav,Two,x,2\nmissing.wav,Three,y,2\n")
    assert [clip.references for clip in read_clips(path, {"set": "x", "fold": "2"})] == [("Two",)]


def test_a_filter_that_leaves_nothing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "file,caption,set\na.wav,One,x\nb.wav,,y\n")
    with pytest.raises(ClipsError, match=r"set = y \(2 rows, 1 of them match\)"):
        read_clips(path, {"set": "y"})


def test_a_missing_audio_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, 'file,caption\na.wav,"One\nline more"\nmissing.wav,Two\n')
    with pytest.raises(ClipsError, match=r"line 4: there is no audio file .*missing\.wav"):
        read_clips(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sound,caption\na.wav,One\n", "line 1: no column of audio files"),
        ("file,words\na.wav,One\n", "line 1: no column of references .* it has file, words"),
        ("file,caption,caption\na.wav,One,Two\n", "line 1: a column's name stands twice"),
        ("", "it is empty"),
        ("file,captions_json\na.wav,[oops\n", "line 2: captions_json is not JSON"),
        ('file,captions_json\na.wav,"[1, 2]"\n', "line 2: captions_json is not a list of strings"),
        ('file,captions_json\na.wav,"""One"""\n', "line 2: captions_json is not a list of strings"),
        ("file,caption\na.wav,One\nb.wav\n", "line 3: not the 2 fields of the header"),
        ("file,caption\na.wav,One,Two\n", "line 2: not the 2 fields of the header"),
        ("file,caption\n ,One\n", "line 2: no audio file is named"),
        ('file,caption\na.wav,"One"x\n', "after line 1: ',' expected"),
        ("file,captions_json\na.wav," + "[" * 100_000 + "\n", "line 2: captions_json is not JSON"),
    ],
)
def test_damage_is_reported_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ClipsError, match=message):
        read_clips(write(tmp_path, text))


def test_a_filter_on_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClipsError, match="no column 'fold' to filter by; it has file, caption"):
        read_clips(write(tmp_path, "file,caption\na.wav,One\n"), {"fold": "5"})


def test_a_list_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClipsError, match="No such file"):
        read_clips(tmp_path / "none.csv")
    path = write(tmp_path, "")
    path.write_bytes(b"file,caption\na.wav,\xff\n")
    with pytest.raises(ClipsError, match="not UTF-8"):
        read_clips(path)
