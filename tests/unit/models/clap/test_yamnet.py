import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from models.clap.onnx_tensors import read_tensors
from models.clap.yamnet import BANDS, CLASSES, FEATURES, PATCH, SAMPLE_RATE, SILENCE, YamnetTower, split_patches
from models.weights import WrongWeights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tower() -> YamnetTower:
    return YamnetTower.from_package(CPU)


def _tone(hertz: float, seconds: float = 2.0) -> torch.Tensor:
    return torch.sin(2 * torch.pi * hertz * torch.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)


def test_patches_cover_all_steps_at_even_distances() -> None:
    mel = torch.arange(1_000.0)[:, None].expand(-1, BANDS)
    starts = split_patches(mel)[:, 0, 0]
    assert starts[0] == 0
    assert starts[-1] == 1_000 - PATCH
    assert set((starts[1:] - starts[:-1]).tolist()) <= {47.0, 48.0}


@pytest.mark.parametrize("steps", [1, 7, 95, 96])
def test_what_is_shorter_than_a_patch_is_repeated(steps: int) -> None:
    mel = torch.arange(float(steps))[:, None].expand(-1, BANDS)
    assert split_patches(mel)[0, :, 0].tolist() == [float(step % steps) for step in range(PATCH)]


@pytest.mark.parametrize("samples", [1, 399, 400, 15_600, 40_000])
def test_a_window_of_any_length_is_heard(tower: YamnetTower, samples: int) -> None:
    features = tower.features(torch.linspace(-0.5, 0.5, samples))
    assert features.shape[1] == FEATURES
    assert torch.isfinite(tower.logits(features)).all()


def test_gain_does_not_matter(tower: YamnetTower) -> None:
    torch.testing.assert_close(tower.log_mel(_tone(440.0)), tower.log_mel(0.001 * _tone(440.0)), atol=1e-3, rtol=1e-3)


def test_nothing_is_heard_as_silence(tower: YamnetTower) -> None:
    posteriors = torch.sigmoid(tower.logits(tower.features(torch.zeros(2 * SAMPLE_RATE))))
    assert posteriors.shape[1] == CLASSES
    assert (posteriors.argmax(dim=1) == SILENCE).all()


def test_a_tone_raises_the_band_of_its_frequency(tower: YamnetTower) -> None:
    bands = [int(tower.log_mel(_tone(hertz)).mean(dim=0).argmax()) for hertz in (200.0, 1_000.0, 5_000.0)]
    assert bands == sorted(set(bands))
    assert bands[0] < BANDS // 4 < bands[1] < 3 * BANDS // 4 < bands[2]


def _varint(number: int) -> bytes:
    low = number & 0x7F
    return bytes([low]) if number < 0x80 else bytes([low | 0x80]) + _varint(number >> 7)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _model(*initializers: bytes) -> bytes:
    return _field(7, _field(1, b"a node, which is skipped") + b"".join(_field(5, one) for one in initializers))


def _stored(name: str, dims: list[int], *parts: bytes) -> bytes:
    return (
        b"".join(_varint(1 << 3) + _varint(dim) for dim in dims)
        + b"\x10\x01"
        + _field(8, name.encode())
        + b"".join(parts)
    )


def test_tensors_inside_and_beside_an_onnx_file_are_read() -> None:
    numbers = np.arange(6, dtype="<f4")
    place = [_field(13, _field(1, key) + _field(2, value)) for key, value in ((b"offset", b"4"), (b"length", b"24"))]
    model = _model(_stored("inside", [6], _field(9, numbers.tobytes())), _stored("beside", [2, 3], *place))
    found = read_tensors(model, b"1234" + numbers.tobytes())
    assert found["inside"].tolist() == numbers.tolist()
    assert found["beside"].tolist() == numbers.reshape(2, 3).tolist()


def test_a_tensor_that_is_not_all_there_is_refused() -> None:
    place = [_field(13, _field(1, key) + _field(2, value)) for key, value in ((b"offset", b"4"), (b"length", b"24"))]
    with pytest.raises(ValueError, match="holds 2 numbers"):
        read_tensors(_model(_stored("beside", [2, 3], *place)), bytes(12))


def test_what_is_no_onnx_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not an ONNX file"):
        read_tensors(b"\xff\xff\xff", b"")


def test_a_zip_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(WrongWeights, match="does not hold YAMNet"):
        YamnetTower.from_file(path, CPU)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("model.onnx", _model())
        archive.writestr("model.data", b"")
    path.write_bytes(packed.getvalue())
    with pytest.raises(WrongWeights, match="does not hold YAMNet"):
        YamnetTower.from_file(path, CPU)
