"""A tokenizer small enough to train in a test, and a folder of shards as a run leaves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import mix
from curate.tokens import formats, manifest
from curate.tokens.layout import add_edges, edges, token_type
from curate.tokens.tokenizer import Encoded, Tokenizer, TokenizerSpec, keep, load
from curate.tokens.training import Training, train

WORDS = [
    *("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while"),
    *("seven", "wizards", "brew", "bitter", "tea", "near", "old", "stone", "walls"),
]


def prose(seed: int, words: int) -> str:
    rng = np.random.default_rng(seed)
    return " ".join(rng.choice(WORDS, words)).capitalize() + f" {seed}.\n"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("tokenizer") / "tiny.model")
    train((prose(i, 30) for i in range(200)), Training(vocabulary=360), path)
    return path


@pytest.fixture(scope="session")
def tokenizer(model: str) -> Tokenizer:
    return load(TokenizerSpec(sentencepiece=model))


Change = Callable[[int, Encoded], Encoded]


@pytest.fixture
def write_run(tmp_path: Path, tokenizer: Tokenizer) -> Callable[..., str]:
    """Writes OUT: text of two sources, three shards. `change` may spoil a shard's tokens before they are written."""

    def write(
        form: str = "npy",
        layout: str = "bos_eos",
        by: Tokenizer = tokenizer,
        change: Change = lambda _, documents: documents,
        text: Callable[[int], str] = lambda i: prose(i, 5 + i % 60),
        order: Callable[[list], list] = lambda rows: rows,
    ) -> str:
        out = tmp_path / "out"
        rows = []
        for source, first in (("web", 0), ("books", 1000)):
            texts = [text(first + i) for i in range(45)]
            ids = [f"{source}.jsonl:{i * 100}" for i in range(45)]
            for file in range(2):
                part = slice(file * 23, (file + 1) * 23)
                path = out / "documents" / source / f"{file:05d}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(pa.table({"id": ids[part], "text": pa.array(texts[part], pa.large_string())}), path, row_group_size=7)
            rows += [(source, ids[i], texts[i], i // 23, i % 23) for i in range(45)]
        keys = [int(mix.shuffle_key(1, r[0], pa.array([r[1]]), 0)[0]) for r in rows]
        folder = str(out / "tokens")
        around, dtype = edges(layout, by), token_type(form, by.vocabulary)  # type: ignore[arg-type]
        shards, counts = [], {"web": [0, 0], "books": [0, 0]}
        for number in range(3):
            mine = order([r for key, r in sorted(zip(keys, rows, strict=True)) if key % 3 == number])
            documents = change(number, add_edges(by.encode([r[2] for r in mine]), around))
            about = pa.RecordBatch.from_pydict(
                {
                    "id": [r[1] for r in mine],
                    "source": [r[0] for r in mine],
                    "copy": [0] * len(mine),
                    "file": [r[3] for r in mine],
                    "row": [r[4] for r in mine],
                }
            )
            shard = formats.write(form, folder, number, dtype, by.vocabulary, [formats.Documents(*documents, about)])  # type: ignore[arg-type]
            shards.append(shard)
            for r, n in zip(mine, documents.lengths.tolist(), strict=True):
                counts[r[0]][0] += n
                counts[r[0]][1] += 1
        available = {s: n for s, (n, _) in counts.items()}
        shares = mix.budgets(mix.Mix(available, "all", 1.0), available)
        table = mix.achieved(shares, {s: (n, d) for s, (n, d) in counts.items()})
        manifest.write(
            folder,
            manifest.Manifest.of(
                shards,
                recipe="test",
                fingerprint="0" * 12,
                seed=1,
                format=form,
                dtype=dtype.name,
                doc_layout=layout,
                tokenizer=manifest.TokenizerOf.of(by, keep(by, folder)),
                mix=table,
            ),
        )
        return str(out)

    return write
