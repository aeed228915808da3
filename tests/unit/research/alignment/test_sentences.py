from models.clap.categories import CATEGORIES
from models.clap.sounds import vocabulary
from models.clap.yamnet import CLASSES, SILENCE
from research.alignment.fit import UNSAID
from research.alignment.sentences import read_categories, read_classes, read_labels
from research.alignment.synthesis import RECIPES


def test_every_category_class_and_label_has_sentences() -> None:
    assert len(read_classes()) == CLASSES
    assert all(len(one.sentences) == 4 and len(one.phrases) == 2 for one in read_classes())
    assert read_classes()[SILENCE].name == "Silence"
    assert [one.name for one in read_classes()] == [kind.name for kind in vocabulary()]
    assert set(UNSAID) <= {one.name for one in read_classes()}
    assert set(read_categories()) == set(CATEGORIES)
    assert set(RECIPES) <= set(read_labels())
    assert all(label.captions and label.group for label in read_labels().values())
