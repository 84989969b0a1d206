"""Line dedup against CCNet: the golden pairs, its set definition restated, and what Llama 3 asks for."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import pytest
import support
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.dedup.lines import Lines

CCNET = Lines(hash="sha1")
PUNCTUATION = (
    "\uff0c\u3002\u3001\u201e\u201d\u201c\u00ab\u00bb\uff11\u300d\u300c\u300a\u300b\u00b4\u2019\u2236\uff1a\uff1f\uff01"
    "\uff08\uff09\uff1b\u2013\u2501\u25ba\u2014\uff0e\uff5e\u2026\u3008\u3009\u3010\u3011\uff05"
)


def normalised(line: str) -> str:
    """CCNet's normalisation of a line."""
    line = re.sub(r"\d", "0", line.strip().lower())
    line = "".join(c for c in line if c not in PUNCTUATION)
    return re.sub("[\x00-\x1f\x7f-\x9f]", "", line)


def expected(shards: list[list[str]], group: int) -> list[list[tuple[str | None, list[int]]]]:
    """CCNet's rule as a set definition: a line survives iff exactly one document of its group holds it, there its first occurrence."""
    out = []
    size = group or len(shards)
    for low in range(0, len(shards), size):
        members = [[[normalised(line) for line in text.split("\n")] for text in texts] for texts in shards[low : low + size]]
        held = Counter(line for texts in members for lines in texts for line in set(lines))
        for texts, keys in zip(shards[low : low + size], members, strict=True):
            shard = []
            for text, own in zip(texts, keys, strict=True):
                kept = [n for n, line in enumerate(own) if held[line] == 1 and line not in own[:n]]
                lines = text.split("\n")
                shard.append(("\n".join(lines[n] for n in kept) if kept else None, [n for n in range(len(own)) if n not in kept]))
            out.append(shard)
    return out


def deduped(stage: Lines, shards: list[list[str]], folder: Path, **cut: int) -> list[list[tuple[str | None, list[int]]]]:
    """What the stage leaves of each document, and the numbers of the lines it took."""
    return [[(text, lines) for text, lines, _ in shard] for shard in support.through_barrier(stage, shards, folder, **cut)]


@pytest.mark.parametrize("mode", ["sha1", "fast"])
@pytest.mark.parametrize(
    ("documents", "left"),
    [
        (["Hello\nWorld\nunique one", "world\nunique two\nHELLO"], [("unique one", [0, 1]), ("unique two", [0, 2])]),  # D1
        (["a\na\nb"], [("a\nb", [1])]),  # D2
        (["x\ny", "x\ny"], [(None, [0, 1]), (None, [0, 1])]),  # D3
        (["call 555-1234", "call 999-8765"], [(None, [0]), (None, [0])]),  # D4
        (["p1\n\np2\n\np3"], [("p1\n", [2, 3, 4])]),  # D5
        (["p\n\nq", "r\n\ns"], [("p\nq", [1]), ("r\ns", [1])]),  # D6
        (["a", "  A  "], [(None, [0]), (None, [0])]),  # D8
    ],
)
def test_the_golden_pairs_of_ccnet(mode: str, documents: list[str], left: list[tuple[str | None, list[int]]], tmp_path: Path):
    assert deduped(Lines(hash=mode), [documents], tmp_path) == [left]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("group", "menus"), [(1, [True, True, True]), (2, [False, False, True]), (3, [False, False, False]), (0, [False] * 3)]
)
def test_lines_are_only_compared_within_a_group_of_shards(group: int, menus: list[bool], tmp_path: Path):
    """D7: three shards with a menu each."""
    shards = [["menu\nfirst"], ["menu\nsecond"], ["menu\nthird"]]
    left = deduped(Lines(group=group), shards, tmp_path)
    assert ["menu" in (text or "") for [(text, _)] in left] == menus


LINE = st.one_of(st.sampled_from(["menu", "Menu ", "a 1", "A 2", "", " ", "\u2014", "x\u2026", "\u0130", "\u03a3"]), st.text(max_size=6))
TEXT = st.lists(LINE, min_size=1, max_size=6).map(lambda lines: "\n".join(line.replace("\n", "") for line in lines))


@given(st.lists(st.lists(TEXT, max_size=4), min_size=1, max_size=5), st.integers(0, 3), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_ccnets_mode_is_its_set_definition(tmp_path_factory, shards, group: int, partitions: int, rows: int):
    folder = tmp_path_factory.mktemp("lines")
    assert deduped(Lines(hash="sha1", group=group), shards, folder, partitions=partitions, rows=rows) == expected(shards, group)


@given(st.lists(st.lists(TEXT, max_size=4), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None)
def test_the_fast_hash_decides_as_sha1_does(tmp_path_factory, shards):
    assert deduped(Lines(), shards, tmp_path_factory.mktemp("a")) == deduped(CCNET, shards, tmp_path_factory.mktemp("b"))


def test_the_first_copies_may_stay(tmp_path: Path):
    shards = [["menu\na", "menu\nb"], ["menu\nc", "menu\nd"]]
    for number, (stay, menus) in enumerate([(0, "0000"), (1, "1000"), (2, "1100"), (3, "1110"), (4, "1111"), (9, "1111")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        left = deduped(Lines(keep_first=stay), shards, folder, rows=1)
        assert "".join(str(int("menu" in (text or ""))) for shard in left for text, _ in shard) == menus


@given(st.lists(st.lists(TEXT, max_size=5), min_size=1, max_size=4), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_the_first_copies_that_stay_are_the_first_in_corpus_order(tmp_path_factory, shards, stay: int, rows: int):
    left = deduped(Lines(keep_first=stay, group=0), shards, tmp_path_factory.mktemp("first"), rows=rows)
    documents = [text for shard in shards for text in shard]
    seen: Counter[str] = Counter()
    held = Counter(line for text in documents for line in {normalised(line) for line in text.split("\n")})
    for text, (_, gone) in zip(documents, [row for shard in left for row in shard], strict=True):
        keys = [normalised(line) for line in text.split("\n")]
        goes = [n for n, k in enumerate(keys) if (held[k] > 1 and seen[k] >= stay) or k in keys[:n]]
        assert gone == goes
        seen.update(set(keys))


def test_llama_3_takes_lines_of_more_than_six_documents_and_leaves_blank_ones(tmp_path: Path):
    stage = Lines(more_than=6, group_documents=30_000_000, blank="keep")
    six, seven = [f"six\n\nown {'abcdefg'[n]}" for n in range(6)], [f"seven\n\nmy {'abcdefg'[n]}" for n in range(7)]
    left = support.through_barrier(stage, [six + seven], tmp_path)[0]
    assert [text for text, _, _ in left[:6]] == six
    assert [text for text, _, _ in left[6:]] == [f"\nmy {'abcdefg'[n]}" for n in range(7)]
    assert all(lines == [0] and others == [6] for _, lines, others in left[6:])


def test_a_bucket_is_of_consecutive_shards_up_to_so_many_documents():
    assert Lines(group_documents=10).groups([4, 6, 1, 12, 3, 7, 0, 1]) == [0, 0, 1, 2, 3, 3, 3, 4]
    assert Lines(group=3).groups([1] * 7) == [0, 0, 0, 1, 1, 1, 2]
    assert Lines(group=0).groups([1] * 4) == [0] * 4


def test_occurrences_may_be_counted_instead_of_documents(tmp_path: Path):
    texts = ["a\na\na\nb", "c"]
    assert deduped(Lines(more_than=2, repeats="keep"), [texts], tmp_path)[0][0][0] == "a\na\na\nb"
    (tmp_path / "2").mkdir()
    assert deduped(Lines(more_than=2, repeats="keep", count="occurrences"), [texts], tmp_path / "2")[0][0][0] == "b"


def test_without_normalisation_lines_are_only_stripped(tmp_path: Path):
    left = deduped(Lines(normalise=False), [["Menu\na", " Menu\nb", "menu\nc"]], tmp_path)[0]
    assert [text for text, _ in left] == ["a", "b", "menu\nc"]


def test_the_fates_say_how_many_other_documents_held_a_line(tmp_path: Path):
    left = support.through_barrier(Lines(), [["menu\na\na", "menu\nb"], ["menu\nc"]], tmp_path)
    assert left[0][0] == ("a", [0, 2], [2, 0])
    assert left[1][0] == ("c", [0], [2])


def test_the_keys_are_ccnets_own():
    """N1, N2 of the normaliser's golden pairs: the first eight bytes of the SHA-1, little-endian."""
    batch = support._batch(0, ["Hello, World! 2019\n"], 0, 9)
    assert CCNET.emit(batch)["key"].to_pylist() == [11674755562747009314, 957977401221134810]
    assert int.from_bytes(hashlib.sha1(b"hello, world! 0000").digest()[:8], "little") == 11674755562747009314
