"""The `tokens:` of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from curate.tokens.layout import Format, Layout
from curate.tokens.tokenizer import TokenizerSpec


@dataclass(frozen=True)
class Tokens:
    """Which tokenizer, what stands around a document, and the files that come out."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}
    tokenizer: TokenizerSpec
    layout: Layout = "bos_eos"  # BOS + text + EOS per document; the Llama papers do not say
    format: Format = "npy"
    shard_tokens: float = 100e6  # about; ours: the size of llm.c's shards

    @property
    def summary(self) -> str:
        """One line for `curate plan`."""
        t = self.tokenizer
        which = t.sentencepiece or t.huggingface or f"SentencePiece of {t.train.vocabulary:,} pieces, trained in the run"  # type: ignore[union-attr]
        return f"{which}, layout {self.layout}, {self.format} shards of {self.shard_tokens:,.0f} tokens"
