"""Embeddings: what transformers itself makes of a text, the same in any company; and folders that hold no encoder."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import support
from encoder_model import DIM, save

from classifiers import encoder
from classifiers.encoder import Embed
from curate import plan as planning
from curate import recipe as recipes
from curate.batch import Array, Batch
from curate.errors import CurateError, RecipeError
from curate.stage import Model

pytest.importorskip("transformers")

TEXTS = [*support.texts(4, 30), "", " \n", "word", "the river", "\x00\u202e\U0001f600", "x" * 5000, "of " * 3000]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save(tmp_path_factory.mktemp("encoder"))


def batch_of(texts: Sequence[str]) -> Batch:
    return Batch.of(pa.record_batch({"id": [str(n) for n in range(len(texts))], "text": pa.array(texts, pa.large_string())}))


def embedded(stage: Embed, texts: Sequence[str]) -> Array:
    column = stage.apply(batch_of(texts))[stage.column]
    assert column.type == pa.list_(pa.float16() if stage.precision == "float16" else pa.float32(), DIM)
    found: Array = column.flatten().to_numpy(zero_copy_only=False).reshape(len(texts), -1)
    return found


def exact(folder: str, **parameters: Any) -> Embed:
    return Embed(Model(folder), precision="float32", **parameters)


def plain(folder: str, text: str, pooling: str, most: int = 512) -> Array:
    """By transformers alone."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        hidden = model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=most)).last_hidden_state[0]
    found = {"mean": hidden.mean(0), "cls": hidden[0], "last": hidden[-1]}[pooling].numpy()
    normed: Array = found / np.linalg.norm(found)
    return normed


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("batch_tokens", [0, 1500])
def test_an_embedding_is_what_transformers_makes_of_the_text(folder: str, pooling: str, batch_tokens: int) -> None:
    found = embedded(exact(folder, pooling=pooling, batch_tokens=batch_tokens), TEXTS)
    wanted = np.stack([plain(folder, text, pooling) for text in TEXTS])
    assert np.abs(found - wanted).max() < 1e-5


@pytest.mark.parametrize("batch_tokens", [0, 200, 1500])
def test_a_document_is_embedded_as_if_alone(folder: str, batch_tokens: int) -> None:
    """Bit for bit, also in the batches that a GPU is given."""
    stage = exact(folder, batch_tokens=batch_tokens)
    together = embedded(stage, TEXTS)
    assert np.array_equal(np.concatenate([embedded(stage, [text]) for text in TEXTS]), together)
    assert np.array_equal(embedded(stage, TEXTS[::-1]), together[::-1])
    assert np.array_equal(embedded(stage, TEXTS[5:20]), together[5:20])


def test_only_the_first_tokens_count(folder: str) -> None:
    stage = exact(folder, max_tokens=20)
    head = "the river and the bridge " * 10
    assert np.array_equal(*embedded(stage, [head, f"{head} winter {head * 1000}"]))
    assert not np.array_equal(*embedded(stage, ["the river", "the bridge"]))
    assert np.abs(embedded(stage, [head])[0] - plain(folder, head, "mean", 20)).max() < 1e-5


def test_a_prefix_stands_before_each_text(folder: str) -> None:
    assert np.array_equal(embedded(exact(folder, prefix="the "), ["river"]), embedded(exact(folder), ["the river"]))


def test_vectors_have_length_1_in_the_precision_that_is_asked_for(folder: str) -> None:
    half, full = embedded(Embed(Model(folder), column="e"), TEXTS), embedded(exact(folder), TEXTS)
    assert np.abs(np.linalg.norm(full, axis=1) - 1).max() < 1e-6
    assert np.array_equal(half, full.astype(np.float16))
    assert np.abs(half.astype(np.float32) @ half.T.astype(np.float32) - full @ full.T).max() < 1e-3


def test_the_folder_says_how_tokens_are_pooled(folder: str, tmp_path: Path) -> None:
    home = Path(shutil.copytree(folder, tmp_path / "m"))
    (home / "1_Pooling").mkdir()

    def says(**modes: bool) -> None:
        config = {f"pooling_mode_{name}": value for name, value in modes.items()}
        (home / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": DIM, **config}))

    for name, pooling in (("mean_tokens", "mean"), ("cls_token", "cls"), ("lasttoken", "last")):
        says(**({"mean_tokens": False} | {name: True}))
        assert np.array_equal(embedded(exact(str(home)), TEXTS[:3]), embedded(exact(folder, pooling=pooling), TEXTS[:3]))
    for modes in ({"max_tokens": True}, {"mean_tokens": True, "cls_token": True}, {}):
        says(**modes)
        with pytest.raises(CurateError, match=r"1_Pooling asks for .*; give pooling: mean, cls or last"):
            exact(str(home)).check()
    exact(str(home), pooling="cls").check()


def test_a_text_of_which_nothing_is_left_is_zeros(folder: str, tmp_path: Path) -> None:
    home = Path(shutil.copytree(folder, tmp_path / "m"))
    made = json.loads((home / "tokenizer.json").read_text())
    (home / "tokenizer.json").write_text(json.dumps({**made, "post_processor": None}))  # without marks of its own
    found = embedded(exact(str(home)), ["", "the river", " "])
    assert not found[[0, 2]].any()
    assert found[1].any()


# -- what is no encoder -------------------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_no_whole_encoder_is_refused_before_anything_starts(folder: str, tmp_path: Path) -> None:
    def spoilt(name: str, content: bytes | None, **parameters: Any) -> str:
        home = Path(shutil.copytree(folder, tmp_path / "m", dirs_exist_ok=True))
        (home / name).unlink() if content is None else (home / name).write_bytes(content)
        with pytest.raises(CurateError) as error:
            Embed(Model(str(home)), **parameters).check()
        shutil.rmtree(home)
        assert "\n" not in str(error.value)
        return str(error.value)

    Embed(Model(folder)).check()
    weights = (Path(folder) / "model.safetensors").read_bytes()
    assert "config.json cannot be read: No such file" in spoilt("config.json", None)
    assert "config.json cannot be read" in spoilt("config.json", b"{")
    assert "config.json holds no settings" in spoilt("config.json", b"[]")
    assert "has no weights; expected model.safetensors" in spoilt("model.safetensors", None)
    for cut in (weights[:-1], weights[:9], weights + b"0", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"):
        assert "no whole file of weights" in spoilt("model.safetensors", cut)
    assert "cannot be read as weights" in spoilt("model.safetensors", (3).to_bytes(8, "little") + b"{}}" + weights)
    assert "has no tokenizer" in spoilt("tokenizer.json", None)
    assert "max_tokens is 513" in spoilt("extra", b"", max_tokens=513)


def test_weights_that_are_not_there_are_not_made_up(folder: str, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    home = Path(shutil.copytree(folder, tmp_path / "m"))
    weights = load_file(home / "model.safetensors")
    gone = next(name for name in weights if "attention" in name)
    save_file({name: value for name, value in weights.items() if name != gone}, home / "model.safetensors", {"format": "pt"})
    with pytest.raises(CurateError, match=r"has no weights for 1 parts of its model, such as encoder\.layer"):
        embedded(Embed(Model(str(home))), ["a"])


def test_numbers_that_are_none_name_the_document(folder: str, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    home = Path(shutil.copytree(folder, tmp_path / "m"))
    weights = load_file(home / "model.safetensors")
    words = weights["embeddings.word_embeddings.weight"].copy()
    words[len(words) // 2 :] = np.nan
    save_file({**weights, "embeddings.word_embeddings.weight": words}, home / "model.safetensors", {"format": "pt"})
    with pytest.raises(CurateError, match=r"makes of 1 what is no number, in float32; try dtype"):
        embedded(Embed(Model(str(home))), ["the river", "qqq"])


def test_a_package_that_is_missing_is_named_with_its_extra(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(CurateError, match=r"needs the package torch: pip install 'curate\[encoder\]'"):
        Embed(Model(folder)).check()


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = "import sys; from curate import build; assert 'encoder.Embed' in build.catalogue(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


def test_a_worker_with_a_gpu_has_passes_of_its_own(folder: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "the river"}\n')
    (tmp_path / "r.yaml").write_text(
        f"sources:\n  web:\n    - read.jsonl.Jsonl: {{paths: [{tmp_path}/a.jsonl]}}\n    - length.Chars\n"
        f"    - encoder.Embed: {{model: {folder}, gpus: 0.25}}\n    - length.Words\n"
    )
    passes = planning.plan(recipes.load(str(tmp_path / "r.yaml"))).passes
    assert [([s.name for s in p.stages], p.resources.gpus) for p in passes] == [
        (["length.Chars"], 0),
        (["encoder.Embed"], 0.25),
        (["length.Words"], 0),
    ]
    together = planning.plan(recipes.load(str(tmp_path / "r.yaml"), ["sources.web.2.gpus=0"])).passes
    assert [[s.name for s in p.stages] for p in together] == [["length.Chars", "encoder.Embed", "length.Words"]]
    with pytest.raises(RecipeError, match=r"config\.json cannot be read"):
        planning.plan(recipes.load(str(tmp_path / "r.yaml"), [f"sources.web.2.model={tmp_path}"]))


def test_a_gpu_that_is_not_there_is_a_message(folder: str) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(CurateError, match="PyTorch sees no GPU where this worker runs"):
        dataclasses.replace(exact(folder), gpus=1).apply(batch_of(["a"]))
