"""What stands around each document, and how wide a token is.

The layout is part of the manifest, because a trainer cannot see it in the shards: `eos` for most formats, `bos_eos` where attention is kept
within documents, `none` where the boundaries are read from the sidecar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from curate.batch import Array
from curate.errors import CurateError, RecipeError
from curate.tokens.tokenizer import Encoded, Tokenizer

Layout = Literal["none", "eos", "bos", "bos_eos"]
Format = Literal["npy", "megatron"]


@dataclass(frozen=True)
class Edges:
    """The ids before and after every document; None where nothing is."""

    bos: int | None = None
    eos: int | None = None

    @property
    def count(self) -> int:
        """Tokens that each document gains."""
        return (self.bos is not None) + (self.eos is not None)


def edges(layout: Layout, tokenizer: Tokenizer) -> Edges:
    """Raises RecipeError if the tokenizer lacks a token that the layout needs."""
    if layout not in get_args(Layout):
        raise RecipeError(f"tokens.layout: {layout}; one of {', '.join(get_args(Layout))} is expected")
    needed = {"bos": "bos" in layout, "eos": "eos" in layout}
    for name, own in (("bos", tokenizer.bos), ("eos", tokenizer.eos)):
        if needed[name] and own is None:
            raise RecipeError(
                f"tokens.layout: {layout} needs a token for {name}, which {tokenizer.name} does not have; "
                f"name one of its tokens as tokenizer.{name}, or choose another layout"
            )
    return Edges(tokenizer.bos if needed["bos"] else None, tokenizer.eos if needed["eos"] else None)


def add_edges(documents: Encoded, around: Edges) -> Encoded:
    """The documents with BOS and EOS."""
    if not around.count:
        return documents
    lengths = documents.lengths + around.count
    ends = np.cumsum(lengths)
    ids = np.empty(int(ends[-1]) if len(ends) else 0, np.int32)
    inner = np.ones(len(ids), np.bool_)
    if around.bos is not None:
        ids[ends - lengths] = around.bos
        inner[ends - lengths] = False
    if around.eos is not None:
        ids[ends - 1] = around.eos
        inner[ends - 1] = False
    ids[inner] = documents.ids
    return Encoded(ids, lengths)


def token_type(form: Format, vocabulary: int) -> np.dtype[np.generic]:
    """Little-endian. npy: as OLMo and datatrove have it, 65,536; megatron: as its `optimal_dtype` has it, 65,500."""
    if form == "megatron":
        return np.dtype("<u2" if vocabulary < 65_500 else "<i4")
    return np.dtype("<u2" if vocabulary <= 65_536 else "<u4")


def narrow(ids: Array, vocabulary: int, dtype: np.dtype[np.generic]) -> Array:
    """The ids in the type of the shard. Raises CurateError for an id outside the vocabulary: none is ever cut to fit."""
    if len(ids):
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= vocabulary:
            raise CurateError(
                f"token id {low if low < 0 else high:,} outside the vocabulary of {vocabulary:,}: another tokenizer made these ids"
            )
        if high > np.iinfo(dtype.name).max:
            raise CurateError(f"token id {high:,} does not fit {dtype.name}")
    return ids.astype(dtype)
