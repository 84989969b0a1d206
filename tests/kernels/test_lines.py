"""Lines in CCNet's normal form, their hashes, looking them up and taking them out: each kernel against what Python says."""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.kernels import lines, membership, unicode

kernel = settings(deadline=None, max_examples=200)  # numba may have to compile first
same_version = pytest.mark.skipif(
    not unicodedata.unidata_version.startswith("14."),
    reason=f"this Python knows Unicode {unicodedata.unidata_version}; the tables are 14.0",
)
anything = st.text(st.characters(exclude_categories=["Cs"]))
ODD = [
    *"aZΣσςİıſKÅßẞǅΆᾈaA", "\u0345", "\u0307", "\u0301", "\u00ad", "Ⓐ", "ª", "ʰ", "Ⅷ", "Ⱥ", "Ⱦ", "𐐀", "Ꭰ", "Ა", *"'.:·^`´’‘․-–—…١²½１𝟙９0",
    *" \t\x0b\x1c\x85\xa0\u1680\u2003\u2028\u200b\u3000\ufeff", *"\x00\x07\x7f\x9f", *"，。【】％《》", "中文", "abcdefgh", "ABCDEFG 12",
    "привет", "ПРИВЕТ", "ΟΔΟΣ",
]  # fmt: skip
rich = st.lists(st.sampled_from(ODD), max_size=30).map("".join)

# the 34 of cc_net's table, by number
PUNCTUATION = (
    "\uff0c\u3002\u3001\u201e\u201d\u201c\u00ab\u00bb\uff11\u300d\u300c\u300a\u300b\u00b4\u2019\u2236\uff1a\uff1f\uff01\uff08\uff09\uff1b"
    "\u2013\u2501\u25ba\u2014\uff0e\uff5e\u2026\u3008\u3009\u3010\u3011\uff05"
)
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def normal(line: str) -> str:
    """What normalize_for_dedup says of a line."""
    line = line.strip().lower()
    line = re.sub(r"\d", "0", line)
    line = re.sub(f"[{PUNCTUATION}]", "", line)
    return CONTROL.sub("", line)


def sha1(line: bytes) -> int:
    return int.from_bytes(hashlib.sha1(line).digest()[:8], "little")


def laid_out(pieces: Sequence[str | bytes], before: bytes = b"", between: bytes = b"") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(bytes, start, end): lines somewhere in a buffer, with foreign bytes around them; the last one ends with the buffer."""
    out, start, end = bytearray(before), [], []
    for n, piece in enumerate(pieces):
        out += between if n else b""
        start.append(len(out))
        out += piece if isinstance(piece, bytes) else piece.encode()
        end.append(len(out))
    return np.frombuffer(bytes(out), np.uint8), np.array(start, np.int32), np.array(end, np.int32)


def normal_bytes(pieces: Sequence[str | bytes], before: bytes = b"", between: bytes = b"") -> list[bytes]:
    form, offsets = lines.normal_lines(*laid_out(pieces, before, between))
    return [bytes(form[a:b]) for a, b in pairwise(offsets)]


def normals(*pieces: str) -> list[str]:
    return [form.decode() for form in normal_bytes(pieces, b"\xce", "Σa1".encode())]


def hashes(pieces: Sequence[str | bytes], sha1: bool, normalise: bool = True, before: bytes = b"") -> list[int]:
    return lines.hash_lines(*laid_out(pieces, before, b"\n"), sha1, normalise).tolist()


# -- the normal form ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("Hello, World! 2019", "hello, world! 0000"),
        ("", ""),
        ("don\u2019t stop", "dont stop"),
        ("don't stop", "don't stop"),
        ("Caf\u00e9", "caf\u00e9"),
        ("Cafe", "cafe"),
        ("a\tb", "ab"),
        ("a\u00a0b\u200bc", "a\u00a0b\u200bc"),
        ("a\u0085b\u007fc", "abc"),
        ("A\u2014B \u2013 C \u2026 D", "ab  c  d"),
        ("\u0664\u0662", "00"),
        ("\u00bd\u00b2", "\u00bd\u00b2"),
    ],
)
def test_the_normal_form_is_that_of_ccnet(line: str, form: str):
    assert normals(line) == [form]
    assert normal(line) == form


def test_the_sha1_hashes_are_those_of_ccnet():
    assert hashes(["Hello, World! 2019", ""], sha1=True) == [11674755562747009314, 957977401221134810]


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("Σ", "σ"),
        ("ΟΔΟΣ", "οδος"),
        ("ΟΔΟΣ.", "οδος."),
        ("ΟΔΟΣ.Α", "οδοσ.α"),  # the full stop may stand inside a word
        ("ΟΔΟΣ Α", "οδος α"),
        ("ΣΑΣ ΣΑΣ", "σας σας"),
        ("Α\u0301Σ", "α\u0301ς"),
        ("Σ\u0301Α", "σ\u0301α"),
        (".Σ", ".σ"),
        ("1Σ", "0σ"),
        ("aΣ", "aς"),
        ("ΑΣ…Α", "αςα"),  # decided before the ellipsis goes
        ("ΑΣ\u2019Α", "ασα"),
        ("ΑΣ\x00Α", "αςα"),
        (" ΑΣ \t", "ας"),
        ("ⓐΣ", "ⓐς"),
        ("ʰΣ", "ʰσ"),
    ],
)
def test_a_sigma_is_final_where_a_word_ends(line: str, form: str):
    assert normals(line) == [form]


def test_what_grows_when_lowered_has_room():
    assert normals("İ" * 1000, "ȺȾ" * 500, "İ") == ["i\u0307" * 1000, "ⱥⱦ" * 500, "i\u0307"]
    for is_sha1 in (False, True):
        assert hashes(["İ" * 100_000], is_sha1) == hashes(["i\u0307" * 100_000], is_sha1)


@same_version
def test_every_character_by_itself_and_within_a_word():
    points = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
    for before, behind in (("", ""), ("A", "b"), ("Ж", "Ж"), ("A", "Σ"), ("AΣ", ""), ("AΣ", "A")):
        pieces = [before + c + behind for c in points]
        wrong = [p for p, form in zip(pieces, normal_bytes(pieces), strict=True) if form != normal(p).encode()]
        assert wrong == []


@same_version
@kernel
@given(st.lists(anything | rich | st.text("aAΣ.\u0301 İ")), st.binary(max_size=9), st.binary(max_size=9))
def test_the_normal_form_of_any_lines(pieces: list[str], before: bytes, between: bytes):
    assert normal_bytes(pieces, before, between) == [normal(p).encode() for p in pieces]


@same_version
@kernel
@given(st.lists(anything | rich))
def test_sha1_hashes_of_any_lines(pieces: list[str]):
    assert hashes(pieces, sha1=True) == [sha1(normal(p).encode()) for p in pieces]
    assert hashes(pieces, sha1=True, normalise=False) == [sha1(p.strip().encode()) for p in pieces]


@pytest.mark.parametrize("step", [1, 1000])
def test_sha1_of_all_lengths_in_any_lane(step: int):
    pieces = [b"x" * (n * step) for n in range(300)]
    pieces += pieces[::-1] + [b""] * 40
    assert hashes(pieces, sha1=True) == [sha1(p) for p in pieces]


@kernel
@given(st.lists(anything | rich), st.binary(max_size=9))
def test_fast_hashes_are_equal_where_normal_forms_are_and_only_there(pieces: list[str], before: bytes):
    forms = normals(*pieces)
    found = hashes(pieces, sha1=False, before=before)
    assert len(set(found)) == len(set(forms))
    assert all(found[i] == found[forms.index(form)] for i, form in enumerate(forms))


def test_raw_hashes_tell_case_and_digits_apart():
    pieces = ["a1", "A1", "a2", " a1\u3000"]
    for is_sha1 in (False, True):
        found = hashes(pieces, is_sha1, normalise=False)
        assert len(set(found)) == 3
        assert found[0] == found[3]
        assert len(set(hashes(pieces, is_sha1))) == 1


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17, 63])
def test_a_fast_hash_depends_on_every_bit(length: int):
    line = bytes(range(0x41, 0x41 + length))
    others = [bytes(b ^ (1 << bit if n == at else 0) for n, b in enumerate(line)) for at in range(length) for bit in range(8)]
    first, *rest = hashes([line, *others], sha1=False, normalise=False)
    assert len({first, *rest}) == 1 + len(others)
    flipped = [(h ^ first).bit_count() for h in rest]
    assert min(flipped) >= 8  # a bit of input changes about half of the 64 bits of output
    assert 30 < sum(flipped) / len(flipped) < 34


def test_fast_hashes_of_near_lines_collide_no_more_than_chance():
    """In the upper and lower halves of the hash, 2^18 lines that differ in few characters: eight pairs are to be expected."""
    letters = "abcdefghijklmnop"
    pieces = [
        f"{a}{b}tem of the list {c} and so on{d}{e}, more"
        for a in letters
        for b in letters
        for c in letters
        for d in letters
        for e in "abcd"
    ]
    found = lines.hash_lines(*laid_out(pieces), False)
    for half in (found >> np.uint64(32), found & np.uint64(0xFFFFFFFF)):
        assert len(pieces) - len(np.unique(half)) < 8 + 5 * 8**0.5


@kernel
@given(st.lists(st.binary(max_size=20)), st.binary(max_size=9), st.binary(max_size=9))
@example([b"A\xce"], b"", b"\xa3")
@example([b"\xf0\x90\x90"], b"", b"\x80")
@example([b"\xe3"], b"\xe3", b"")
def test_ill_formed_bytes_stay_within_their_line(pieces: list[bytes], around: bytes, other: bytes):
    """A line's form and hashes are the same whatever stands around it."""
    assert normal_bytes(pieces, around, other) == normal_bytes(pieces, other, around) == [f for p in pieces for f in normal_bytes([p])]
    for is_sha1 in (False, True):
        assert hashes(pieces, is_sha1, before=around) == [h for p in pieces for h in hashes([p], is_sha1)]


def test_no_lines_and_empty_lines_at_the_ends_of_a_buffer():
    assert hashes([], sha1=True) == hashes([], sha1=False) == []
    for is_sha1 in (False, True):
        data, start, end = np.frombuffer(b"abc", np.uint8), np.array([0, 0, 3, 1], np.int32), np.array([0, 3, 3, 2], np.int32)
        found = lines.hash_lines(data, start, end, is_sha1).tolist()
        assert found == hashes(["", "abc", "", "b"], is_sha1)
    assert normal_bytes([b"", b" ", b"\n", "\u3000\u3000".encode()]) == [b""] * 4


@pytest.mark.parametrize("line", ["AΣ" + "'" * 200_000, "Σ'" * 100_000, "AΣ." * 70_000, " " * 200_000, "\x00" * 200_000])
def test_no_line_costs_more_than_its_length(line: str):
    assert normals(line) == [normal(line)]


@same_version
def test_the_tables_are_those_of_this_python():
    lower = unicode.lower()
    context = unicode.sigma_context()
    for c in range(sys.maxunicode + 1):
        point = chr(c)
        assert chr(lower[c]) == point.lower()[0]
        cased = (point + "Σ").lower()[-1] == "ς"
        ignorable = not cased and ("A" + point + "Σ").lower()[-1] == "ς"
        assert context[c] == (unicode.CASED if cased else unicode.IGNORABLE if ignorable else 0)


def test_tables_are_read_only():
    assert not unicode.lower().flags.writeable
    assert not unicode.sigma_context().flags.writeable


# -- membership ---------------------------------------------------------------------------------------------------------------------

MOST = 2**64 - 1
number = st.integers(0, MOST) | st.integers(0, 40) | st.integers(MOST - 40, MOST) | st.sampled_from([0, 1, 2**63, 2**63 - 1, MOST])


@kernel
@given(st.lists(number, max_size=60), st.lists(number, max_size=60), st.integers(1, 40))
@example([], [0, 5, MOST], 1)
@example([5], [4, 5, 6, 0, MOST], 1)
@example([0], [0, 1, MOST], 20)
@example([MOST], [0, MOST - 1, MOST], 20)
@example([0, MOST], [0, 1, 2**63, MOST - 1, MOST], 20)
def test_member_finds_the_first_place_of_what_is_there(entries: list[int], others: list[int], times: int):
    table = sorted(entries * times)
    keys = entries + others
    found = membership.member(np.array(table, np.uint64), np.array(keys, np.uint64)).tolist()
    assert found == [table.index(k) if k in table else -1 for k in keys]


def clustered(kind: str, size: int) -> np.ndarray:
    n = np.arange(size, dtype=np.uint64)
    match kind:
        case "even":
            return n * np.uint64(MOST // size)
        case "low":
            return n
        case "high":
            return np.uint64(MOST) - n[::-1]
        case "squares":
            return n * n * np.uint64(3)
        case "powers":
            return np.unique((np.float64(2) ** (np.arange(size) * 63 / size)).astype(np.uint64))
        case "equal":
            return np.full(size, 7, np.uint64)
        case _:
            return np.concatenate((np.zeros(size // 2, np.uint64), np.full(size // 2, MOST, np.uint64)))


@pytest.mark.parametrize("kind", ["even", "low", "high", "squares", "powers", "equal", "extremes"])
def test_a_table_of_any_shape_is_searched(kind: str):
    """300,000 keys in 300,000 entries: a search that went entry by entry would take minutes."""
    table = clustered(kind, 300_000)
    keys = np.concatenate((table, table + np.uint64(1), np.arange(10, dtype=np.uint64)))
    at = np.searchsorted(table, keys)
    there = table[np.minimum(at, len(table) - 1)] == keys
    np.testing.assert_array_equal(membership.member(table, keys), np.where(there & (at < len(table)), at, -1))


# -- lines within a document --------------------------------------------------------------------------------------------------------


def ragged(documents: list[list[int]], gap: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first, last, hashes) with `gap` lines of no document behind each."""
    first, last, out = [], [], []
    for document in documents:
        first.append(len(out))
        out += document
        last.append(len(out))
        out += [3] * gap
    return np.array(first, np.int64), np.array(last, np.int64), np.array(out, np.uint64)


documents = st.lists(st.lists(st.integers(0, 5) | number, max_size=30), max_size=8)


@kernel
@given(documents)
def test_first_and_distinct_lines_of_documents(given: list[list[int]]):
    first, last, values = ragged(given)
    marks = membership.first_in_document(first, last, values).tolist()
    want = [[h not in document[:n] for n, h in enumerate(document)] for document in given]
    assert [marks[a:b] for a, b in zip(first, last, strict=True)] == want
    assert sum(marks) == sum(map(sum, want))  # none of no document
    row, found = membership.distinct_in_documents(first, last, values)
    assert list(zip(row.tolist(), found.tolist(), strict=True)) == [(d, h) for d, hs in enumerate(given) for h in dict.fromkeys(hs)]


def unmixed(h: int) -> int:
    """What the finaliser of MurmurHash3 makes h of."""
    h ^= h >> 33
    h = h * pow(0xC4CEB9FE1A85EC53, -1, 2**64) % 2**64
    h ^= h >> 33
    h = h * pow(0xFF51AFD7ED558CCD, -1, 2**64) % 2**64
    return h ^ h >> 33


def test_hashes_made_to_meet_cost_no_more_than_a_sort():
    """200,000 hashes whose mixed low bits are equal, each twice: one after another they would take 10^10 steps."""
    meeting = [unmixed(n << 24) for n in range(1, 200_001)]
    first, last, values = ragged([[1, 2, 1], meeting + meeting, [2, 2]])
    marks = membership.first_in_document(first, last, values)
    assert marks[first[1] : last[1]].tolist() == [True] * 200_000 + [False] * 200_000
    assert marks[:3].tolist() == [True, True, False]
    assert marks[first[2] : last[2]].tolist() == [True, False]


def test_a_document_of_a_million_lines():
    values = np.arange(1_000_000, dtype=np.uint64) % np.uint64(700_000)
    marks = membership.first_in_document(np.array([0]), np.array([len(values)]), values)
    assert marks.sum() == 700_000
    assert marks[:700_000].all()


@kernel
@given(st.lists(st.lists(st.tuples(st.text("aé\r", max_size=4), st.booleans()), max_size=8)), st.sampled_from([b"\n", b"", b"??"]))
@example([[("", True), ("a", False), ("b", True)]], b"\n")
@example([[("", True)], [("", True), ("", True)], []], b"\n")
def test_rewritten_documents_are_their_kept_lines_joined(given: list[list[tuple[str, bool]]], between: bytes):
    flat = [line for document in given for line in document]
    data, start, end = laid_out([text for text, _ in flat], b"??", between)
    bounds = np.cumsum([0, *map(len, given)])
    keep = np.array([kept for _, kept in flat], np.bool_)
    out, offsets, kept = lines.rewrite(data, bounds[:-1], bounds[1:], start, end, keep)
    found = [bytes(out[a:b]).decode() for a, b in pairwise(offsets)]
    assert found == ["\n".join(text for text, kept in document if kept) for document in given]
    assert kept.tolist() == [sum(kept for _, kept in document) for document in given]
