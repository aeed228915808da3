from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.clap.alignment import AlignmentHead, sounding
from models.clap.yamnet import SILENCE
from models.weights import WrongWeights
from tests.alignment_parts import CPU, fitted_head, heard_waveform

pytestmark = pytest.mark.slow


def test_what_was_never_heard_is_left_to_the_rest_of_the_head() -> None:
    head, item = fitted_head(), heard_waveform(9)
    frames = head.frames(item.posteriors, item.features, item.categories, item.blocks)
    frames[:, -head.landmarks.shape[1] :] = -50 * head.landmarks.mean(dim=0)
    assert float(head(frames) @ head.written(head.prior(frames))) > 0.95


def test_frames_in_which_nothing_sounds_have_no_part_in_a_vector() -> None:
    head, item = fitted_head(), heard_waveform(9)
    frames = head.frames(item.posteriors, item.features, item.categories, item.blocks)
    silent = frames[:2].clone()
    silent[:, SILENCE] = 0.9
    torch.testing.assert_close(head(torch.cat([frames, silent])), head(frames))
    assert sounding(silent).tolist() == [True, True], "where nothing sounds, all frames are heard"


def test_saved_weights_are_loaded_strictly(tmp_path: Path) -> None:
    head, path = fitted_head(), tmp_path / "clap.safetensors"
    save_file(head.state_dict(), path)
    assert AlignmentHead.from_file(path, CPU).fingerprint() == head.fingerprint()
    state = head.state_dict()
    del state["text_mean"]
    save_file(state, path)
    with pytest.raises(WrongWeights, match="text_mean"):
        AlignmentHead.from_file(path, CPU)
    path.write_bytes(b"not safetensors")
    with pytest.raises(WrongWeights, match="does not hold an alignment head"):
        AlignmentHead.from_file(path, CPU)


def test_other_weights_have_another_fingerprint() -> None:
    assert fitted_head(12).fingerprint() != fitted_head(11).fingerprint()
