"""manifest.json: what the token shards are, how they were made, and the hash of every file. Written last: with it, they are complete."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from curate import store
from curate.errors import CurateError
from curate.mix import Achieved
from curate.tokens.formats import Shard
from curate.tokens.layout import Format, Layout
from curate.tokens.tokenizer import Tokenizer

NAME = "manifest.json"
FOLDER = "tokens"  # below OUT


@dataclass(frozen=True)
class TokenizerOf:
    """Which tokenizer made the ids; `file` lies beside the shards."""

    kind: str
    name: str
    file: str
    sha256: str
    vocabulary: int
    bos: int | None
    eos: int | None
    bos_token: str | None  # as the tokenizer's file writes it
    eos_token: str | None

    @classmethod
    def of(cls, tokenizer: Tokenizer, file: str) -> TokenizerOf:
        """From the tokenizer itself."""
        t = tokenizer
        texts = [None if i is None else t.token(i) for i in (t.bos, t.eos)]
        return cls(t.kind, t.name, file, t.sha256, t.vocabulary, t.bos, t.eos, texts[0], texts[1])


@dataclass(frozen=True)
class Manifest:
    """A trainer needs no more than this; `curate verify` proves it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    recipe: str
    fingerprint: str  # of the recipe and its inputs
    seed: int
    format: Format
    dtype: str  # of numpy; little-endian
    doc_layout: Layout
    tokenizer: TokenizerOf
    mix: list[Achieved]
    shards: list[Shard]
    tokens: int = 0
    documents: int = 0
    version: int = 1

    @classmethod
    def of(cls, shards: Sequence[Shard], **fields: Any) -> Manifest:
        """With the totals of the shards."""
        return cls(shards=list(shards), tokens=sum(s.tokens for s in shards), documents=sum(s.documents for s in shards), **fields)


def write(folder: str, manifest: Manifest) -> None:
    """Into the folder of the shards."""
    store.write_json(store.join(folder, NAME), dataclasses.asdict(manifest))


def read(folder: str) -> Manifest:
    """Raises CurateError where there is none or it cannot be read."""
    from pydantic import TypeAdapter, ValidationError

    path = store.join(folder, NAME)
    if not store.exists(path):
        raise CurateError(
            f"{path} is not there: it is written last, so these shards are not complete, or this is no folder of token shards"
        )
    try:
        return TypeAdapter(Manifest).validate_json(store.read_bytes(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise CurateError(f"{path}: {'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}") from None
