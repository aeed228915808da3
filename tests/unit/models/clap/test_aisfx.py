from pathlib import Path

import numpy as np
import pytest
import torch

from models.clap.aisfx import BANDS, BLOCK, FEATURES, HOP, SAMPLE_RATE, AisfxTower, mel_filters, split_blocks
from models.weights import WrongWeights


@pytest.fixture(scope="module")
def tower() -> AisfxTower:
    torch.manual_seed(0)
    return AisfxTower().eval()


def _noise(length: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(scale=0.1, size=length).astype(np.float32))


def test_every_mel_filter_sums_to_one_or_is_empty() -> None:
    sums = mel_filters().sum(dim=0)
    assert sums.shape == (BANDS,)
    assert bool(((sums - 1).abs().lt(1e-5) | sums.eq(0)).all())


def test_a_tone_lies_in_the_band_of_its_frequency(tower: AisfxTower) -> None:
    t = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    mel = tower.log_mel(torch.sin(2 * torch.pi * 1_000 * t))
    # 1000 Hz is 1000 mel; edges lie 40.45 mel apart, so edge 25, the peak of band 24, is nearest.
    assert int(mel[10].argmax()) == 24


def test_gain_does_not_change_what_is_heard(tower: AisfxTower) -> None:
    loud = _noise(30_000)
    torch.testing.assert_close(tower.log_mel(loud), tower.log_mel(loud * 0.001), atol=1e-4, rtol=0)


def test_silence_and_a_single_sample_give_finite_values(tower: AisfxTower) -> None:
    assert tower.log_mel(torch.zeros(SAMPLE_RATE)).eq(0).all()
    assert tower.log_mel(torch.ones(1)).isfinite().all()
    assert tower.log_mel(torch.ones(1)).shape == (1, BANDS)


@pytest.mark.parametrize(
    ("frames", "blocks", "length"),
    [(1, 1, BLOCK), (100, 1, 100), (101, 1, 101), (160, 2, 80), (200, 2, 100), (431, 4, 108)],
)
def test_blocks_cover_every_frame_and_hardly_any_twice(frames: int, blocks: int, length: int) -> None:
    mel = torch.arange(frames, dtype=torch.float32).unsqueeze(1).expand(frames, BANDS) + 1
    cut = split_blocks(mel)
    assert cut.shape == (blocks, length, BANDS)
    assert set(cut[..., 0].flatten().tolist()) == set(mel[:, 0].tolist())


def test_a_clip_shorter_than_a_block_is_repeated_until_it_fills_it() -> None:
    mel = torch.arange(40.0).unsqueeze(1).expand(40, BANDS)
    assert split_blocks(mel)[0, :, 0].tolist() == [*range(40), *range(40), *range(20)]


def test_features_do_not_depend_on_how_many_blocks_are_computed_together(tower: AisfxTower) -> None:
    samples = _noise(HOP * 250)
    blocks = split_blocks(tower.log_mel(samples))
    with torch.inference_mode():
        alone = torch.cat([tower.embedding_net(block.unsqueeze(0)) for block in blocks])
        together = tower.features(samples)
    assert together.shape == (len(blocks), FEATURES)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"embedding_net.weight": torch.zeros(1)}, path)
    with pytest.raises(WrongWeights, match="not a checkpoint of aisfx"):
        AisfxTower.from_file(path, torch.device("cpu"))


def test_a_checkpoint_without_the_heads_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(({}, {"prosfx": (0, 10)}), path)
    with pytest.raises(WrongWeights, match="no head prosfx of 78 classes"):
        AisfxTower.from_file(path, torch.device("cpu"))
