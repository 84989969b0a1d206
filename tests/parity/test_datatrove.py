"""datatrove's signatures, against the vectors that were computed with it (spec 3.5.2 and 6.2), and numpy and Python by hand."""

from __future__ import annotations

import hashlib
import importlib.util
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near_duplicates import corpus, dropped, shingles

from curate.batch import Batch
from curate.build import build
from curate.errors import CurateError
from stages.dedup import datatrove
from stages.dedup.datatrove import Datatrove

FIVE = "the quick brown fox jumps"


def batch(*texts: str) -> Batch:
    return Batch.of(pa.record_batch({"text": pa.array(texts, pa.large_string())}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World 3.14!", "hello world 0"),
        ("Café  NAÏVE\n\nline", "cafe naive line"),
        ("Price: $1,234.50 — 50%", "price 0 0 0"),
        ("a_b-c 12 34", "a b c 0 0"),
        ("２０２４年 12月", "0年 0月"),
        ("it's", "it s"),
    ],
)
def test_the_text_that_is_compared(text: str, expected: str):
    assert datatrove.normalised(text) == expected


def test_the_permutations():
    a, b = datatrove.permutations(112, 1)
    assert a[:3].tolist() == [775169054918279404, 1758426461858698313, 2109959069025162]
    assert b[:3].tolist() == [1062448801025099917, 1324811268927594100, 1217488311597731462]


def test_signatures_by_sha1():
    found, count, _ = Datatrove().signed(batch(FIVE, "The quick, brown fox jumps over the lazy dog!", "one two three four"))
    assert count.tolist() == [1, 5, 0]
    assert found[0, :8].tolist() == [
        1926946578595728186, 284080765670708113, 1962021756552065331, 551502801232856862,
        260096251360294309, 519689364167827743, 1355562476644468366, 1015959972100053577,
    ]  # fmt: skip
    assert found[1, :2].tolist() == [585594454516184072, 284080765670708113]


def test_signatures_by_xxhash():
    found, _, _ = Datatrove(hash="xxhash").signed(batch(FIVE))
    assert found[0, :3].tolist() == [85330943174081874, 1143695533022256009, 808565726784164903]


def test_the_shingle_s_hashes():
    data, start, end = batch(FIVE).utf8
    assert datatrove.xxh64(data, start, end).tolist() == [7797000677988824208]
    assert int.from_bytes(hashlib.sha1(FIVE.encode()).digest()[:8], "little") == 12313522834835307089


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_xxh64_is_xxh64(data: bytes):
    xxhash = pytest.importorskip("xxhash")
    found = datatrove.xxh64(np.frombuffer(data, np.uint8), np.zeros(1, np.int32), np.full(1, len(data), np.int32))
    assert int(found[0]) == xxhash.xxh64_intdigest(data)


def test_signatures_are_the_minima_that_python_finds():
    texts = corpus(1, 8)
    found, count, _ = Datatrove(bands=3, rows=2).signed(batch(*texts))
    a, b = (p.tolist() for p in datatrove.permutations(6, 1))
    for n, text in enumerate(texts):
        hashed = [int.from_bytes(hashlib.sha1(" ".join(s).encode()).digest()[:8], "little") for s in shingles(text)]
        assert count[n] == len(text.split()) - 4
        assert found[n, :6].tolist() == [min((x * p + q) % 2**64 % (2**61 - 1) for x in hashed) for p, q in zip(a, b, strict=True)]


def test_unverified_one_of_each_cluster_stays_and_short_texts_all_do(tmp_path: Path):
    text = " ".join(random.Random(1).choices(["alpha", "beta", "gamma", "delta", "epsilon", "zeta"], k=40))
    found = dropped(Datatrove(), [text, "a b c d", text, "a b c d", text], tmp_path)
    assert {d: k for d, (k, _) in found.items()} == {2: 0, 4: 0}


def test_what_is_datatrove_s_own_cannot_be_set():
    with pytest.raises(CurateError, match=r"dedup\.minhash\.MinHash"):
        build("dedup.datatrove.Datatrove", {"unit": "characters"}).check()


@pytest.mark.skipif(importlib.util.find_spec("spacy") is not None, reason="spaCy is installed")
def test_spacy_is_asked_for_before_anything_starts():
    with pytest.raises(CurateError, match="pip install spacy"):
        build("dedup.datatrove.Datatrove", {"words": "spacy"}).check()
