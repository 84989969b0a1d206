"""What papers and other reproductions report of a corpus: a recipe's `published:`, for `curate stats --faithful`. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import Field

Amount = Annotated[float, Field(gt=0)]
Part = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Published:
    """Figures of one source, from one place."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}
    by: str  # who says so, and where: "Llama 1, Table 1"
    share: Part | None = None  # of the tokens that are trained on
    epochs: Amount | None = None  # how often the source is seen
    tokens: Amount | None = None  # of the source itself, each document once
    bytes: Amount | None = None  # likewise, of UTF-8 text
    documents: Amount | None = None  # likewise
    stage: str = ""  # of which the next two speak
    documents_kept: Part | None = None  # share of those that came to the stage
    characters_kept: Part | None = None
    languages: dict[str, Part] = field(default_factory=dict)  # share of the documents
