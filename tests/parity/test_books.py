"""Which books go: `dedup.minhash.Books` by what they have in common, `dedup.simhash.SimHash` as RedPajama's book/dedup.py.

Golden pairs B1 to B4 and B6 of spec llama1, 6.4; SimHash against ten lines of Python over hashlib.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import support
from hypothesis import example, given, settings
from hypothesis import strategies as st
from near_duplicates import shingles, vocabulary

from curate.batch import Batch
from curate.stage import Global
from stages.dedup import simhash_kernels as kernels
from stages.dedup.minhash import Books
from stages.dedup.simhash import SimHash

RECIPE = Books(bands=60, rows=3)  # as recipes/llama1.yaml: 9 x 13 proposes no book and its half
KNOWN = vocabulary(random.Random(8), 3000)


def prose(words: int, seed: int) -> list[str]:
    return random.Random(seed).choices(KNOWN, k=words)


def batch(texts: Sequence[str], number: int = 0) -> Batch:
    ids = [f"{number}:{n}" for n in range(len(texts))]
    return Batch.of(pa.record_batch({"id": ids, "text": pa.array(texts, pa.large_string()), "source": ["books"] * len(texts)}))


def goes(stage: Global, folder: Path, *shards: Sequence[str], partitions: int = 1) -> dict[str, str]:
    """{document: the one kept instead}, by `shard:row`; shards stand for the files of one source or of several."""
    batches = [batch(texts, number) for number, texts in enumerate(shards)]
    out = {}
    folder.mkdir(exist_ok=True)
    for one, verdict in zip(batches, support.decided(stage, [[b] for b in batches], folder, partitions=partitions), strict=True):
        check = stage.apply(one, verdict.rows(0, len(one)))["near_duplicate"]  # type: ignore[index,call-overload]
        for row in np.flatnonzero(~check.passed).tolist():
            out[one["id"][row].as_py()] = check.kept_id[row].as_py()
    return out


def features(text: str, width: int = 6) -> list[str]:
    """As RedPajama's book/dedup.py."""
    kept = re.sub(r"[^\w]+", "", text.lower())
    return [kept[i : i + width] for i in range(max(len(kept) - width + 1, 1))]


def simhash(text: str) -> int:
    """As the package `simhash`."""
    hashes = [int.from_bytes(hashlib.md5(f.encode()).digest()[8:], "big") for f in features(text)]
    return sum(1 << bit for bit in range(64) if 2 * sum(h >> bit & 1 for h in hashes) > len(hashes))


def of_kernel(text: str, width: int = 6) -> list[str]:
    data = np.frombuffer(text.encode(), np.uint8)
    out, places = np.empty(2 * len(data) + 8, np.uint8), np.empty(len(data) + 2, np.int64)
    count = kernels.word_characters(data, 0, len(data), kernels.table(), out, places)
    return [out[places[n] : places[min(n + width, count)]].tobytes().decode() for n in range(max(count - width + 1, 1))]


@pytest.mark.parametrize(("text", "expected"), [("Ab, c!", ["abc"]), ("Hello World", ["hellow", "ellowo", "llowor", "loworl", "oworld"])])
def test_b1_features(text: str, expected: list[str]) -> None:
    assert features(text) == of_kernel(text) == expected


@given(st.lists(st.binary(max_size=kernels.LONGEST), min_size=1, max_size=kernels.LANES))
@example([b"x" * n for n in range(56)])
@settings(max_examples=100, deadline=None)
def test_md5_of_short_messages_is_hashlibs(messages: list[bytes]) -> None:
    words, state = np.full((16, kernels.LANES), 7, np.uint32), np.empty((4, kernels.LANES), np.uint32)
    found = np.empty(kernels.LANES, np.uint64)
    for lane, message in enumerate(messages):
        kernels.fill(np.frombuffer(message, np.uint8), words, lane)
    kernels.md5(words, state, found)
    assert [int(h).to_bytes(8, "big") for h in found[: len(messages)]] == [hashlib.md5(m).digest()[8:] for m in messages]


@given(st.lists(st.text(max_size=80), min_size=1, max_size=4))
@example(["", "ΑΣ ΣΑΣ Σ", "İI ẞß ǅ", "a\u0301_½Ⅷ٣", "漢字\U00020000", "x" * 200])
@settings(max_examples=150, deadline=None)
def test_simhash_is_that_of_the_package(texts: list[str]) -> None:
    assert SimHash().hashes(batch(texts)).tolist() == [simhash(text) for text in texts]


def test_b2_other_case_and_punctuation_is_the_same_book(tmp_path: Path) -> None:
    words = prose(2000, 1)
    texts = [" ".join(words), ", ".join(words).upper() + "!", " ".join(prose(2000, 2))]
    assert simhash(texts[0]) == simhash(texts[1])
    assert goes(SimHash(), tmp_path / "a", texts) == {"0:1": "0:0"}
    assert goes(replace(RECIPE, keeper="first"), tmp_path / "b", texts) == {"0:1": "0:0"}
    assert goes(RECIPE, tmp_path / "c", texts) == {"0:0": "0:1"}, "the longest stays"


@pytest.mark.parametrize("stage", [RECIPE, SimHash()])
def test_b3_a_preface_makes_no_other_book_and_one_author_no_copy(stage: Global, tmp_path: Path) -> None:
    book, preface, other = prose(8000, 3), prose(300, 4), prose(8000, 5)
    texts = [" ".join(book), " ".join(preface + book), " ".join(other)]
    assert set(goes(stage, tmp_path, texts)) == ({"0:0"} if isinstance(stage, Books) else {"0:1"})


def sharing(share: float, words: int = 4000) -> tuple[str, str]:
    """Two books as long as each other, with that share of the five-word shingles in common."""
    a, b = prose(words + 4, 6), prose(words, 7)
    same = round(share * words)
    return " ".join(a), " ".join(a[: same + 4] + b[: words - same])


@pytest.mark.parametrize(("share", "dropped"), [(0.89, False), (0.90, False), (0.91, True)])
def test_b4_more_than_90_percent_of_the_shingles(share: float, dropped: bool, tmp_path: Path) -> None:
    a, b = sharing(share)
    assert len(shingles(a) & shingles(b)) == round(share * len(shingles(a)))
    assert bool(goes(RECIPE, tmp_path, [a, b])) is dropped


@pytest.mark.parametrize("part", [(0, 3000), (1500, 4500), (4000, 6000)])
def test_a_part_of_a_book_goes_and_the_whole_one_stays(part: tuple[int, int], tmp_path: Path) -> None:
    """The books of a collected edition; bands of 9 x 13 propose none of these."""
    book = prose(6000, 12)
    assert goes(RECIPE, tmp_path, [" ".join(book[slice(*part)]), " ".join(book)]) == {"0:0": "0:1"}


def test_tables_with_other_numbers_are_other_books(tmp_path: Path) -> None:
    """Of logarithms, of tides, of primes: what does not count in web pages is all there is in them."""
    numbers = [random.Random(seed) for seed in (21, 22)]
    first, second = ("\n".join(f"{n} {some.randrange(10**6):06d} {some.random():.5f}" for n in range(1500)) for some in numbers)
    assert goes(RECIPE, tmp_path, [first, second, first]) == {"0:2": "0:0"}


class Given(SimHash):
    """With the hashes written out as the texts."""

    def hashes(self, batch: Batch) -> np.ndarray:
        return np.array([int(text) for text in batch.text.to_pylist()], np.uint64)


def test_b6_of_a_chain_redpajamas_rule_leaves_the_first_whoever_it_is_near_to(tmp_path: Path) -> None:
    a, b, c = 0, 0b11111, 0b11111_11111
    assert goes(Given(), tmp_path / "a", [str(a), str(b), str(c)]) == {"0:1": "0:0", "0:2": "0:1"}
    assert goes(Given(), tmp_path / "b", [str(a), str(c), str(b)]) == {"0:2": "0:0"}  # nobody before c is near it


def test_b6_of_a_chain_united_bands_leave_one_and_comparing_with_kept_ones_leaves_both_ends(tmp_path: Path) -> None:
    first = prose(2000, 9)
    second = first[:1900] + prose(100, 10)
    third = prose(100, 11) + second[100:]
    chain = [" ".join(first), " ".join(second), " ".join(third)]
    sets = [shingles(text) for text in chain]
    assert [len(sets[i] & sets[j]) / min(len(sets[i]), len(sets[j])) > 0.9 for i, j in ((0, 1), (1, 2), (0, 2))] == [True, True, False]
    assert goes(replace(RECIPE, keeper="first", verify=False), tmp_path / "a", chain) == {"0:1": "0:0", "0:2": "0:0"}
    assert goes(replace(RECIPE, keeper="first"), tmp_path / "b", chain) == {"0:1": "0:0"}


@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 1023), min_size=1, max_size=6), min_size=1, max_size=3), st.data())
@settings(max_examples=60, deadline=None)
def test_a_book_goes_if_one_before_it_is_near_over_all_files(
    tmp_path_factory: pytest.TempPathFactory, shards: list[list[int]], data: st.DataObject
) -> None:
    bits = data.draw(st.sampled_from([0, 1, 3, 5, 7]))
    flipped = [[h ^ data.draw(st.sampled_from([0, 1 << 63, 0x1F, 0x8000_0001_0000_0107])) for h in shard] for shard in shards]
    everything = [[*a, *b] for a, b in zip(shards, flipped, strict=True)]
    flat = [(f"{n}:{row}", h) for n, shard in enumerate(everything) for row, h in enumerate(shard)]
    expected = {}
    for n, (name, h) in enumerate(flat):
        near = [other for other, o in flat[:n] if (h ^ o).bit_count() <= bits]
        if near:
            expected[name] = near[0]
    texts = [[str(h) for h in shard] for shard in everything]
    for partitions in (1, 3):
        assert goes(Given(bits=bits), tmp_path_factory.mktemp("near"), *texts, partitions=partitions) == expected


@pytest.mark.parametrize("stage", [RECIPE, SimHash()])
def test_books_of_several_sources_meet(stage: Global, tmp_path: Path) -> None:
    """One book in two sources: ids that begin anew in each do not mix them up (the reference's first fault)."""
    gutenberg, own = [" ".join(prose(3000, n)) for n in range(4)], [" ".join(prose(3000, n)) for n in (7, 2, 8)]
    assert goes(stage, tmp_path, gutenberg, own) == {"1:1": "0:2"}


def test_texts_without_a_word_are_one_and_the_same_to_simhash(tmp_path: Path) -> None:
    assert goes(SimHash(), tmp_path, ["...", "", "a"]) == {"0:1": "0:0"}
