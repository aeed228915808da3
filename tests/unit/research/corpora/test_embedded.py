import gzip
from pathlib import Path

from research.corpora.embedded import SHIPPABLE, corpora


def test_remarks_on_the_recording_are_cut_or_dropped(tmp_path: Path) -> None:
    for name in SHIPPABLE:
        with gzip.open(tmp_path / f"{name}.csv.gz", "wt", encoding="utf-8") as file:
            file.write(
                "audio_id,caption\n"
                "1,Waves break on rocks with heavy audio artifacts.\n"
                "2,Poor recording quality of something noisy.\n"
                "3,A dog barks at night.\n"
                "4,a dog barks at night\n"
            )
    read = dict(corpora(tmp_path, seed=0))
    assert read["mecat_sound"] == ["Waves break on rocks.", "A dog barks at night."]
