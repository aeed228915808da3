"""What every CLAP keeps. Another backend is one more entry of `tests.clap_backends.WRITERS`."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from models.bundle.config import bundle_folder, read_config
from models.bundle.load import load_clap
from models.clap.base import Clap
from models.vectors import FloatArray
from tests.clap_backends import CAPTIONS, WRITERS, sounds, write_centred

# One of them as `drcap bundle centre` leaves it: with means taken off, and with the sounds that it reads.
CENTRED = "wavcaps-centred"


@pytest.fixture(scope="module", params=[*WRITERS, CENTRED, pytest.param("embedded", marks=pytest.mark.embedded)])
def clap(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Clap:
    folder: Path = tmp_path_factory.mktemp(request.param)
    if request.param == "embedded":
        folder = bundle_folder("embedded")
        return load_clap(read_config(folder).clap, folder, torch.device("cpu"))
    if request.param == CENTRED:
        return load_clap(write_centred(folder), folder, torch.device("cpu"))
    return load_clap(WRITERS[request.param](folder), folder, torch.device("cpu"))


def test_vectors_of_sounds_and_captions_are_of_one_length_and_unit_norm(clap: Clap) -> None:
    heard, read = clap.embed_audio(sounds(clap.sample_rate)), clap.embed_text(CAPTIONS)
    assert heard.shape == read.shape == (3, clap.embedding_dim)
    assert heard.dtype == read.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([heard, read]), axis=1), 1.0, atol=1e-5)


def test_different_sounds_and_captions_have_different_vectors(clap: Clap) -> None:
    for vectors in (clap.embed_audio(sounds(clap.sample_rate)), clap.embed_text(CAPTIONS)):
        assert (vectors @ vectors.T)[np.triu_indices(3, 1)].max() < 0.9999


@pytest.mark.kernels
def test_a_vector_does_not_depend_on_its_batch(clap: Clap) -> None:
    windows = sounds(clap.sample_rate)
    together = clap.embed_audio(windows)
    for row, window in enumerate(windows):
        np.testing.assert_allclose(clap.embed_audio([window])[0], together[row], atol=1e-5)
    captions = clap.embed_text([*CAPTIONS, "a dog " * 10])
    for row, caption in enumerate(CAPTIONS):
        np.testing.assert_allclose(clap.embed_text([caption])[0], captions[row], atol=1e-5)


def test_the_same_input_gives_the_same_vector_again(clap: Clap) -> None:
    [_, tone, _] = sounds(clap.sample_rate)
    np.testing.assert_array_equal(clap.embed_audio([tone]), clap.embed_audio([tone]))
    np.testing.assert_array_equal(clap.embed_text(CAPTIONS), clap.embed_text(CAPTIONS))


def test_more_windows_than_fit_a_batch_come_back_in_order(clap: Clap) -> None:
    [_, tone, click] = sounds(clap.sample_rate)
    vectors = clap.embed_audio([tone] * 8 + [click])
    np.testing.assert_allclose(vectors[7], vectors[0], atol=1e-5)
    np.testing.assert_allclose(vectors[8], clap.embed_audio([click])[0], atol=1e-5)


def test_more_captions_than_fit_a_batch_come_back_in_order(clap: Clap) -> None:
    vectors = clap.embed_text([CAPTIONS[row % 3] for row in range(70)])
    np.testing.assert_allclose(vectors, clap.embed_text(CAPTIONS)[np.arange(70) % 3], atol=1e-5)


@pytest.mark.kernels
def test_threads_that_embed_at_the_same_time_get_what_one_alone_does(clap: Clap) -> None:
    windows, long = sounds(clap.sample_rate), "the bell rings " * 200
    texts = [*CAPTIONS, long]
    heard, read = clap.embed_audio(windows), clap.embed_text(texts)

    def work(kind: int) -> None:
        for _ in range(10):
            if kind == 0:
                assert clap.reads_whole(texts) == [True, True, True, False]
            elif kind == 1:
                np.testing.assert_allclose(clap.embed_audio(windows[:1]), heard[:1], atol=1e-5)
            else:
                np.testing.assert_allclose(clap.embed_text(texts), read, atol=1e-5)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, [0, 1, 2, 2]))


def test_nothing_gives_nothing(clap: Clap) -> None:
    assert clap.embed_audio([]).shape == clap.embed_text([]).shape == (0, clap.embedding_dim)


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (np.zeros(0, np.float32), "1 to"),
        (np.zeros((2, 100), np.float32), "mono"),
        (np.asarray([0.0, np.nan], np.float32), "finite"),
        (np.asarray([np.inf, 0.0], np.float32), "finite"),
    ],
)
def test_what_is_no_window_is_refused(clap: Clap, window: FloatArray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        clap.embed_audio([window])
    with pytest.raises(ValueError, match=said):
        clap.hear([window])


def test_the_frames_of_a_window_embed_to_the_windows_vector(clap: Clap) -> None:
    windows = sounds(clap.sample_rate)
    frames = clap.hear(windows)
    assert all(one.ndim == 2 and len(one) >= 1 and one.dtype == np.float32 for one in frames)
    assert len({one.shape[1] for one in frames}) == 1
    np.testing.assert_allclose(clap.embed_frames(frames), clap.embed_audio(windows), atol=1e-5)


def test_no_frame_stands_for_more_than_it_may(clap: Clap) -> None:
    assert 0 < clap.frame_seconds <= clap.window_seconds
    for window, frames in zip(sounds(clap.sample_rate), clap.hear(sounds(clap.sample_rate)), strict=True):
        assert len(window) / clap.sample_rate / len(frames) <= clap.frame_seconds + 1e-6


@pytest.mark.kernels
def test_what_is_heard_of_a_window_does_not_depend_on_the_others(clap: Clap) -> None:
    windows = sounds(clap.sample_rate)
    for window, frames in zip(windows, clap.hear(windows), strict=True):
        [alone] = clap.hear([window])
        assert alone.shape == frames.shape
        np.testing.assert_allclose(clap.embed_frames([alone]), clap.embed_frames([frames]), atol=1e-5)
        np.testing.assert_allclose(clap.score_sounds(alone), clap.score_sounds(frames), atol=1e-3)


def test_frames_of_several_windows_are_embedded_as_one_stretch(clap: Clap) -> None:
    noise, tone, click = clap.hear(sounds(clap.sample_rate))
    stretches = [np.concatenate([noise, tone]), np.concatenate([tone, tone]), tone, click[:1]]
    vectors = clap.embed_frames(stretches)
    assert vectors.shape == (4, clap.embedding_dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(vectors[1], vectors[2], atol=1e-5)
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-4
    for stretch, vector in zip(stretches, vectors, strict=True):
        np.testing.assert_allclose(clap.embed_frames([stretch])[0], vector, atol=1e-5)
    assert clap.hear([]) == []
    assert clap.embed_frames([]).shape == (0, clap.embedding_dim)


def test_every_sound_has_a_score_in_every_frame(clap: Clap) -> None:
    frames = np.concatenate(clap.hear(sounds(clap.sample_rate)))
    scores = clap.score_sounds(frames)
    assert scores.shape == (len(frames), len(clap.sound_names))
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert clap.score_sounds(frames[:0]).shape == (0, len(clap.sound_names))
    assert all(name.strip() == name != "" for name in clap.sound_names)


def test_a_window_is_heard_whole_and_a_longer_one_is_refused(clap: Clap) -> None:
    longest = round(clap.window_seconds * clap.sample_rate)
    window = np.zeros(longest + 1, np.float32)
    window[: longest // 2 : 100] = 0.1
    changed = window.copy()
    changed[longest - longest // 20 : longest : 3] = 0.5
    first, last = clap.embed_audio([window[:-1], changed[:-1]])
    assert np.abs(first - last).max() > 1e-4
    with pytest.raises(ValueError, match=str(longest)):
        clap.embed_audio([window])


def test_a_caption_too_long_is_known_and_still_has_a_vector(clap: Clap) -> None:
    long = "the bell rings " * 200
    assert clap.reads_whole(["a dog barks", long]) == [True, False]
    assert np.linalg.norm(clap.embed_text([long])) == pytest.approx(1.0, abs=1e-5)


def test_backend_and_weights_are_in_the_fingerprint(clap: Clap) -> None:
    assert re.fullmatch(r"(embedded|huggingface|laion|wavcaps)-[0-9a-f]{8}(-centred-[0-9a-f]{8})?", clap.fingerprint)
    assert 0 < clap.temperature < 1
