"""``drcap bundle`` and ``drcap import`` on tiny bundles."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cli import app as cli
from models.bundle.checksums import read_sums, verify
from models.bundle.config import read_config
from models.bundle.load import load_clap
from tests.recordings import encode, tone
from tests.tiny_bundle import tiny_captions
from tests.whole_bundle import edit_config, projector, write_whole_bundle

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whole_bundle(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def bundle(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRCAP_DEVICE", "cpu")
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str:
    """What the process would exit with: a code, or a line for stderr, which means 1."""
    monkeypatch.setattr(sys, "argv", ["drcap", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def test_a_bundle_is_shown(bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "bundle", "show", "bundle") == 0
    shown = capsys.readouterr().out
    for said in (
        *("name: tiny", "  backend: huggingface", "  embedding dim: 16", "  hidden: 16", "  audio tokens: 1", "  r: 4"),
        *(r'  template: "{similar}\n{audio}:"', "  renormalise: yes", "  CLAP: free", "  k: 2", "sealed: no"),
    ):
        assert said in shown
    assert run(monkeypatch, "bundle", "show", "bundle", "--json") == 0
    assert json.loads(capsys.readouterr().out)["parts"]["LLM"]["kind"] == "path"


def test_the_embedded_bundle_is_shown_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "bundle", "show", "embedded") == 0
    assert "SmolLM2-135M-Instruct: Apache-2.0" in capsys.readouterr().out


def test_a_bundle_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(run(monkeypatch, "bundle", "show", "nowhere")).startswith("drcap: there is no bundle at nowhere")


def test_a_whole_bundle_passes_and_captions_a_fixed_vector_the_same_each_time(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for _ in range(2):
        assert run(monkeypatch, "bundle", "check", "bundle", "--load", "--json") == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0]["good"] is True
    assert answers[0]["loaded"]["tokens"] > 0
    assert answers[0]["loaded"]["caption"] == answers[1]["loaded"]["caption"]


def test_what_does_not_fit_fails_with_what_to_do(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    save_file(projector(inputs=20), bundle / "projector.safetensors")
    assert run(monkeypatch, "bundle", "check", "bundle", "--load") == 1
    said = capsys.readouterr().out
    assert "FAIL  projector: " in said
    assert "linear1 takes 20 numbers, the CLAP gives 16. To do: " in said
    assert said.endswith("bundle: not usable\n")


def test_what_only_loading_shows_fails_too(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_config(bundle, projection={"temperature": 1e-9})
    (bundle / "clap" / "preprocessor_config.json").write_text("{", encoding="utf-8")
    assert run(monkeypatch, "bundle", "check", "bundle") == 0
    assert run(monkeypatch, "bundle", "check", "bundle", "--load") == 1
    assert "FAIL  loading: it cannot be loaded" in capsys.readouterr().out


def test_sealing_makes_a_change_known(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "bundle", "seal", "bundle") == 0
    assert run(monkeypatch, "bundle", "check", "bundle") == 0
    with (bundle / "adapter" / "adapter_model.safetensors").open("ab") as file:
        file.write(b" ")
    capsys.readouterr()
    assert run(monkeypatch, "bundle", "check", "bundle") == 1
    assert "adapter_model.safetensors is not the file that was sealed" in capsys.readouterr().out
    assert "no bundle at nowhere" in str(run(monkeypatch, "bundle", "seal", "nowhere"))


def _recordings(folder: Path, count: int = 3) -> list[Path]:
    (folder / "deep").mkdir(parents=True)
    (folder / "notes.txt").write_text("no recording")
    paths = [folder / "deep" / f"{number}.wav" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(encode(tone(0.5, hertz=200.0 * (number + 1))))
    return paths


def test_a_bundle_is_centred_on_what_it_hears_and_reads(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _recordings(tmp_path / "sounds")
    captions = tiny_captions(20)
    (tmp_path / "captions.txt").write_text("\n".join(captions))
    given = ["--clips", "sounds", "--captions", "captions.txt", "--out", "centred"]
    assert run(monkeypatch, "bundle", "centre", "bundle", *given) == 0
    assert "3 recordings and 20 captions" in capsys.readouterr().out
    before, after = read_config(bundle), read_config(tmp_path / "centred")
    assert after.name == "centred"
    about = after.provenance["centring"]
    assert (about["recordings"], about["captions"]) == (3, 20)
    assert len(about["recordings_sha256"]) == len(about["captions_sha256"]) == 64
    plain, centred = load_clap(before.clap, bundle, CPU), load_clap(after.clap, tmp_path / "centred", CPU)
    assert about["clap"] == plain.fingerprint
    assert centred.fingerprint.startswith(f"{plain.fingerprint}-centred-")
    wanted = plain.embed_text(captions) - plain.embed_text(captions).mean(axis=0)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(centred.embed_text(captions), wanted, atol=1e-4)
    said = centred.embed_text([f"the sound of {name}" for name in centred.sound_names])
    [frames] = centred.hear([tone(1.0, hertz=300.0, rate=centred.sample_rate)])
    shares = np.exp(centred.embed_frames([frames]) @ said.T / centred.temperature)
    np.testing.assert_allclose(centred.score_sounds(frames), shares / shares.sum(), atol=1e-4)
    sums = read_sums(tmp_path / "centred")
    assert sums is not None
    assert {"centring.safetensors", "sounds.safetensors"} <= set(verify(tmp_path / "centred", sums).intact)
    assert run(monkeypatch, "bundle", "check", "centred", "--load") == 0
    # Centred once more, it is measured as if it were not.
    given[-1] = "again"
    assert run(monkeypatch, "bundle", "centre", "centred", *given) == 0
    assert read_config(tmp_path / "again").provenance["centring"] == about


def test_recordings_may_come_from_a_list_of_clips(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = _recordings(tmp_path / "sounds")
    rows = "\n".join(f"{path.relative_to(tmp_path)},A tone." for path in paths[:2])
    (tmp_path / "clips.csv").write_text(f"file,caption\n{rows}\n")
    (tmp_path / "captions.txt").write_text("A tone.\nRain falls.\n")
    given = ["--clips", "clips.csv", "--captions", "captions.txt", "--out", "centred"]
    assert run(monkeypatch, "bundle", "centre", "bundle", *given) == 0
    assert read_config(tmp_path / "centred").provenance["centring"]["recordings"] == 2


def test_what_cannot_be_centred_is_refused_in_one_line_and_nothing_is_written(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = _recordings(tmp_path / "sounds")
    (tmp_path / "captions.txt").write_text("\n".join(tiny_captions(5)))
    (tmp_path / "empty").mkdir()
    (tmp_path / "clips.csv").write_text("file\na.wav\n")
    (tmp_path / "nothing.txt").write_text("")

    def refused(clips: str = "sounds", captions: str = "captions.txt", out: str = "new") -> str:
        said = run(monkeypatch, "bundle", "centre", "bundle", "--clips", clips, "--captions", captions, "--out", out)
        assert isinstance(said, str)
        assert "\n" not in said
        assert not (tmp_path / "new").exists()
        return said

    assert "0 recordings" in refused("empty")
    assert "a folder of recordings needs no captions" in refused("clips.csv")
    assert "caption" in refused(captions="nothing.txt")
    assert "exists and is not empty" in refused(out="sounds")
    paths[1].write_bytes(b"no audio")
    assert "1.wav" in refused()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"--projector": "clap"}, r"lacks encoder_projector.linear1"),
        ({"--clap": "projector"}, "has no embeddings.word_embeddings"),
        ({"--llm": "nowhere"}, "no LLM at nowhere"),
    ],
)
def test_importing_a_wrong_file_is_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], said: str
) -> None:
    from tests.unit.models.bundle.test_drcap_import import _release

    release = _release(tmp_path)
    places = {"clap": str(release.clap), "projector": str(release.projector)}
    given = {
        "--clap": places["clap"], "--projector": places["projector"], "--adapter": str(release.adapter),
        "--llm": release.llm, "--tokenizer": str(release.tokenizer), "--out": str(tmp_path / "out"),
    }  # fmt: skip
    given |= {option: places.get(name, name) for option, name in options.items()}
    ended = run(monkeypatch, "import", "drcap", *(word for pair in given.items() for word in pair))
    assert isinstance(ended, str)
    assert said in ended
    assert not (tmp_path / "out").exists()
