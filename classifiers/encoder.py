"""Embeddings of documents by a transformers encoder, from a folder on disk: nothing is ever downloaded.

A document's embedding must not depend on what is embedded beside it, or the same corpus in other batches would lose other documents.
Padding and the size of a batch may change sums in their last bits, so on a CPU each document goes through the model alone and unpadded,
which on one thread takes no longer. A GPU needs batches: there all have one of a few shapes, whatever is in them (see `batch_tokens`).
Other processors, GPUs and versions of PyTorch may still differ in last bits: the same bytes are promised on machines that are alike.
Cost: with all-MiniLM-L6-v2 a core embeds 6 documents of 476 tokens a second, 9 in bfloat16; each number that is kept is 2 bytes. At that
speed keep `engine.shard_bytes` small: a shard that is cut off is embedded again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from classifiers import cosine
from curate.batch import Array, Batch
from curate.errors import CurateError
from curate.stage import Model, Resources, Transform

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "sentencepiece.bpe.model", "spiece.model")
_SAFE, _OLD, _INDEX = "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"
_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"}
_CHARS = 32  # of text for each token that is asked for: what is behind is not looked at
_TOGETHER = 256  # documents that are tokenized in one go
_EVEN = 64  # lengths of batches on a GPU are multiples of it
_GPU_TOKENS = 32_768


@dataclass(frozen=True)
class Embed(Transform):
    """Adds `embedding`, of length 1: what the model makes of a document's first tokens. Without any token it is zeros."""

    model: Model  # a folder as transformers saves it, with its tokenizer; such as all-MiniLM-L6-v2 or multilingual-e5-small
    max_tokens: Annotated[int, Field(ge=1)] = 512  # of a document, its first, the model's own marks among them; ours
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"  # ours: as the model's 1_Pooling says, else mean; SemDeDup: last
    prefix: str = ""  # before each text, as some models want it; multilingual-e5: "query: "
    column: str = "embedding"
    precision: Literal["float16", "float32"] = "float16"  # of the column: a cosine changes by 1e-5, at most by 1e-4; ours
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # of the model; ours: float32 on a CPU, bfloat16 on a GPU
    gpus: Annotated[float, Field(ge=0)] = 0  # of a worker; a quarter: four workers share one, as a core tokenizes less than a GPU embeds
    batch_tokens: Annotated[int, Field(ge=0)] = 0  # of a batch, with padding; ours (0): a document by itself on a CPU, 32,768 on a GPU

    @property
    def adds(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        return Resources(gpus=self.gpus)

    def check(self) -> None:
        for package in ("torch", "transformers"):
            if find_spec(package) is None:
                raise CurateError(f"{self.name} needs the package {package}: pip install 'curate[encoder]'")
        if not self.model.path:
            return
        folder = self.model.path
        config = _read(folder, "config.json")
        if not any(os.path.isfile(os.path.join(folder, name)) for name in _TOKENIZERS):
            raise CurateError(f"{folder} has no tokenizer; expected one of {', '.join(_TOKENIZERS)} beside config.json")
        _check_weights(folder)
        tokenizer = _read(folder, "tokenizer_config.json") if os.path.exists(os.path.join(folder, "tokenizer_config.json")) else {}
        for name, most in (("max_position_embeddings", config), ("model_max_length", tokenizer)):
            if isinstance(most.get(name), int) and self.max_tokens > most[name]:
                raise CurateError(f"max_tokens is {self.max_tokens:,}, and {folder} takes {most[name]:,} ({name}); give no more")
        self._pooled  # noqa: B018  (reads the file)

    @cached_property
    def _pooled(self) -> str:
        """How tokens become one vector."""
        if self.pooling != "auto":
            return self.pooling
        if not os.path.exists(os.path.join(self.model.path, "1_Pooling", "config.json")):
            return "mean"
        config = _read(self.model.path, "1_Pooling/config.json")
        found = [known for name, known in _POOLINGS.items() if config.get(name)]
        others = [name for name, value in config.items() if name.startswith("pooling_mode_") and value and name not in _POOLINGS]
        if len(found) != 1 or others:
            asked = ", ".join(found + others) or "nothing known"
            raise CurateError(f"{self.model.path}/1_Pooling asks for {asked}; give pooling: mean, cls or last")
        return found[0]

    @cached_property
    def loaded(self) -> _Loaded:
        self.check()
        return _load(self.model.path, self.dtype, gpu=self.gpus > 0)

    def apply(self, batch: Batch) -> Batch:
        vectors = self._embedded(batch)
        good = np.isfinite(vectors).all(axis=1)
        if not good.all():
            where = batch["id"][int(np.flatnonzero(~good)[0])].as_py()
            raise CurateError(
                f"{self.model.path} makes of {where} what is no number, in {self.loaded.dtype}; try dtype: float32, or bfloat16 on a GPU"
            )
        cosine.normalise(vectors)
        flat = pa.array(vectors.astype(self.precision).reshape(-1))
        return batch.with_column(self.column, pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))

    def _embedded(self, batch: Batch) -> Array:
        """float32[document, number]; the longest documents first, so that those of a batch are as long."""
        tokens = [ids for low in range(0, len(batch), _TOGETHER) for ids in self._tokens(batch.text.slice(low, _TOGETHER))]
        out = np.zeros((len(batch), self.loaded.dim), np.float32)
        rows = np.array([row for row, ids in enumerate(tokens) if ids], np.int64)
        lengths = np.array([len(tokens[row]) for row in rows], np.int64)
        for some, length, places in self._batches(lengths):
            ids = np.full((places, length), self.loaded.pad, np.int64)
            mask = np.zeros((places, length), np.int64)
            mask[:, 0] = 1
            for at, row in enumerate(rows[some]):
                ids[at, : len(tokens[row])], mask[at, : len(tokens[row])] = tokens[row], 1
            out[rows[some]] = self.loaded.run(ids, mask, self._pooled)[: len(some)]
        return out

    def _batches(self, lengths: Array) -> Iterator[tuple[Array, int, int]]:
        """(which of the documents, the length that they are padded to, how many places there are).

        The shape of a batch follows from its length alone, and one place stays empty, so that libraries do for each batch what they do for
        one with padding.
        """
        most = self.batch_tokens or (_GPU_TOKENS if self.gpus else 0)
        order = np.argsort(-lengths, kind="stable")
        if not most:
            yield from ((order[n : n + 1], int(lengths[order[n]]), 1) for n in range(len(order)))
            return
        even = np.minimum(-(-lengths // _EVEN) * _EVEN, max(self.max_tokens, 1))
        for length in np.unique(even).tolist():
            mine = order[even[order] == length]
            places = max(2, most // length)
            yield from ((mine[low : low + places - 1], length, places) for low in range(0, len(mine), places - 1))

    def _tokens(self, texts: pa.Array) -> list[list[int]]:
        cut = pc.utf8_slice_codeunits(texts, 0, self.max_tokens * _CHARS).to_pylist()
        found = self.loaded.tokenizer([self.prefix + text for text in cut], truncation=True, max_length=self.max_tokens)
        return list(found["input_ids"])


class _Loaded(NamedTuple):
    """A model and what belongs to it."""

    model: Any
    tokenizer: Any
    device: str
    dtype: str
    dim: int
    pad: int

    def run(self, ids: Array, mask: Array, pooling: str) -> Array:
        """float32[document, number] of token ids int64[document, token]; `mask` is 0 where there is padding, which is behind."""
        import torch

        with torch.inference_mode():
            there = torch.from_numpy(mask).to(self.device)
            hidden = self.model(input_ids=torch.from_numpy(ids).to(self.device), attention_mask=there)[0].float()
            if pooling == "mean":
                weight = there[:, :, None].float()
                found = (hidden * weight).sum(1) / weight.sum(1)
            else:
                at = there.sum(1) - 1 if pooling == "last" else torch.zeros(len(ids), dtype=torch.int64, device=self.device)
                found = hidden[torch.arange(len(ids), device=self.device), at]
            array: Array = found.cpu().numpy()
            return array


def _load(folder: str, dtype: str, *, gpu: bool) -> _Loaded:
    import torch
    import transformers

    if gpu and not torch.cuda.is_available():
        raise CurateError("gpus is more than 0, and PyTorch sees no GPU where this worker runs; give gpus: 0, or start Ray where one is")
    if not gpu:
        torch.set_num_threads(1)  # a worker is a thread
    wanted = ("bfloat16" if gpu else "float32") if dtype == "auto" else dtype
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model, report = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, dtype=getattr(torch, wanted), output_loading_info=True
        )
    except Exception as error:  # whatever a library says of a folder
        reason = str(error).strip().split("\n")[0]
        raise CurateError(
            f"{folder} cannot be loaded by transformers {transformers.__version__}: {type(error).__name__}: {reason}"
        ) from None
    absent = sorted(name for name in report["missing_keys"] if "pooler" not in name)
    if absent:  # the library would make them up
        raise CurateError(f"{folder} has no weights for {len(absent)} parts of its model, such as {absent[0]}: it is not whole")
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    device = "cuda" if gpu else "cpu"
    tokenizer.truncation_side = "right"
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    made = _Loaded(model.eval().to(device), tokenizer, device, wanted, 0, int(pad))
    one = np.ones((1, 1), np.int64)
    return made._replace(dim=made.run(one * pad, one, "cls").shape[1])


def _read(folder: str, name: str) -> dict[str, Any]:
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CurateError(f"{path} cannot be read: {reason}; expected a folder as transformers saves a model") from None
    if not isinstance(found, dict):
        raise CurateError(f"{path} holds no settings; expected a folder as transformers saves a model")
    return found


def _check_weights(folder: str) -> None:
    """Raise CurateError unless all files of the weights are there, and those of safetensors are as long as their heads say."""
    names = [_SAFE] if os.path.exists(os.path.join(folder, _SAFE)) else []
    if not names and os.path.exists(os.path.join(folder, _INDEX)):
        names = sorted(set(_read(folder, _INDEX).get("weight_map", {}).values()))
    if not names and not os.path.exists(os.path.join(folder, _OLD)):
        raise CurateError(f"{folder} has no weights; expected {_SAFE}, or {_OLD}, beside config.json")
    for name in names:
        path = os.path.join(folder, name)
        try:
            size = os.path.getsize(path)
            with open(path, "rb") as file:
                length = int.from_bytes(file.read(8), "little")
                head = json.loads(file.read(length)) if length < size else {}
            ends = [value["data_offsets"][1] for key, value in head.items() if key != "__metadata__"]
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise CurateError(f"{path} cannot be read as weights: {error}; fetch it again") from None
        if 8 + length + max(ends, default=0) != size or not ends:
            raise CurateError(f"{path} is no whole file of weights: it may be a Git LFS pointer (git lfs pull), or cut off; fetch it again")
