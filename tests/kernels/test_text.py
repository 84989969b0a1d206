"""Characters, lines, words and hashes: each kernel against what Python says of the same text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.kernels import text, unicode

ODD = [
    *"abcdstmlvreASTM", *"éßЖд", "ŉ", "ll", "ve", "re", *"''’’..,,·", "...", "…", *"015٣²Ⅷ½_", "‿", *"/:;\"<>()-#•", *"，。“”、",
    "://", "http://", "https://a.b/c", *"\u0301\u0308\u00ad\u200d\ufe0f\u200e\ufeff\u20e3", *"中国々〇ひカーㄅ", "한글",
    *"กนาไเๆ", "\u0e34", "\u0e48", *"ກາໄ", "\u0eb0", "\u0eb5", *"កខ", "\u17d2", "\u17b6",
    "👩", "💻", "👩\u200d💻", "👍🏽", "❤\ufe0f", *" \n\t\r\u00a0\u3000\u200b\u2028\x85", *"\x00\x07\x7f", "\ufffd", "\ue000",
]  # fmt: skip

kernel = settings(deadline=None, max_examples=200)  # numba may have to compile first
anything = st.text(st.characters(exclude_categories=["Cs"]))
rich = st.lists(st.sampled_from(ODD), max_size=40).map("".join)


def laid_out(documents: Sequence[str | bytes], before: bytes = b"", between: bytes = b"") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(bytes, start, end): documents somewhere in a buffer, with foreign bytes around them."""
    out, start, end = bytearray(before), [], []
    for document in documents:
        start.append(len(out))
        out += document if isinstance(document, bytes) else document.encode()
        end.append(len(out))
        out += between
    return np.frombuffer(bytes(out), np.uint8), np.array(start, np.int32), np.array(end, np.int32)


def split(*documents: str) -> list[list[str]]:
    """The words of each document as strings."""
    data, start, end = laid_out(documents, b"before ", b"x")
    first, last, low, high, *_ = text.split_words(data, start, end, unicode.flags())
    return [[bytes(data[low[s] : high[s]]).decode() for s in range(a, b)] for a, b in zip(first, last, strict=True)]


# -- characters ---------------------------------------------------------------------------------------------------------------------


@kernel
@given(st.lists(anything))
def test_characters_are_code_points(documents: list[str]):
    assert text.count_chars(*laid_out(documents, b"ab", "é".encode())).tolist() == [len(d) for d in documents]


# -- lines --------------------------------------------------------------------------------------------------------------------------


@kernel
@given(st.lists(st.text("ab\n\r\u2028é")))
def test_lines_are_what_split_gives(documents: list[str]):
    data, start, end = laid_out(documents, b"\n\n", b"\n")
    first, last, low, high = text.split_lines(data, start, end)
    found = [[bytes(data[low[s] : high[s]]).decode() for s in range(a, b)] for a, b in zip(first, last, strict=True)]
    assert found == [d.split("\n") for d in documents]


# -- hashes -------------------------------------------------------------------------------------------------------------------------


def fnv_1a(data: bytes) -> int:
    h = 14695981039346656037
    for byte in data:
        h = (h ^ byte) * 1099511628211 % 2**64
    return h


def murmur_finaliser(h: int) -> int:
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD % 2**64
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 % 2**64
    return h ^ h >> 33


@pytest.mark.parametrize(("data", "known"), [(b"", 0xCBF29CE484222325), (b"a", 0xAF63DC4C8601EC8C), (b"foobar", 0x85944171F73967E8)])
def test_the_reference_is_fnv_1a(data: bytes, known: int):
    """Vectors of draft-eastlake-fnv, appendix C."""
    assert fnv_1a(data) == known


@kernel
@given(st.lists(st.binary(max_size=20)))
def test_spans_are_hashed_by_fnv_1a_and_the_finaliser_of_murmur_3(spans: list[bytes]):
    assert text.hash_spans(*laid_out(spans, b"?", b"!")).tolist() == [murmur_finaliser(fnv_1a(s)) for s in spans]


@kernel
@given(rich)
def test_a_word_has_the_hash_of_its_bytes(document: str):
    data, start, end = laid_out([document])
    _, _, low, high, *_, hashes = text.split_words(data, start, end, unicode.flags())
    np.testing.assert_array_equal(hashes, text.hash_spans(data, low, high))


@kernel
@given(st.lists(st.binary(max_size=30)), st.sampled_from([0, 1, 2**64 - 1]))
def test_equal_documents_and_only_they_have_equal_hashes(documents: list[bytes], seed: int):
    hashes = text.hash_documents(*laid_out(documents), np.uint64(seed))
    assert len(set(hashes.tolist())) == len(set(documents))


@kernel
@given(st.binary(max_size=40), st.binary(max_size=9), st.binary(max_size=9))
def test_a_documents_hash_is_the_same_anywhere_in_a_buffer(document: bytes, before: bytes, behind: bytes):
    seed = np.uint64(7)
    assert text.hash_documents(*laid_out([document], before, behind), seed) == text.hash_documents(*laid_out([document]), seed)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 63])
def test_a_documents_hash_depends_on_every_bit(length: int):
    document = bytes(range(1, length + 1))
    others = [bytes(b ^ (1 << bit if n == at else 0) for n, b in enumerate(document)) for at in range(length) for bit in range(8)]
    hashes = text.hash_documents(*laid_out([document, *others]), np.uint64(0))
    assert len(set(hashes.tolist())) == 1 + 8 * length
    flipped = np.bitwise_count(hashes[1:] ^ hashes[0])
    assert flipped.min() >= 8  # a bit of input changes about half of the 64 bits of output
    assert 30 < flipped.mean() < 34


def test_a_documents_hash_depends_on_its_length_and_on_the_seed():
    zeros = laid_out([b"\0" * n for n in range(40)])
    hashes = [h for seed in range(10) for h in text.hash_documents(*zeros, np.uint64(seed)).tolist()]
    assert len(set(hashes)) == len(hashes)


# -- words --------------------------------------------------------------------------------------------------------------------------

# of scripts without spaces
CONSONANTS, LEADING, TRAILING = "กขคงนมยรลวสหทษบภກຂສບຍດកខសភមរ", "เแโใไເແໂໃໄ", "ะาำๆ\u0eb0\u0eb2\u0eb3"
COENG = "\u17d2"
ALONE_BLOCKS = re.compile(
    "[\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
CLITIC = re.compile("['’](?:[stdm]|ll|[rv]e)", re.IGNORECASE | re.ASCII)


def is_mark(c: str) -> bool:
    return c != "\u200b" and (unicodedata.category(c)[0] == "M" or unicodedata.category(c) == "Cf")


def is_break(c: str) -> bool:
    return c.isspace() or c == "\u200b" or unicodedata.category(c) == "Cc"


def is_wordy(c: str) -> bool:
    return unicodedata.category(c)[0] in "LN" or unicodedata.category(c) == "Pc"


def is_alone(c: str) -> bool:
    return c.isalpha() and bool(ALONE_BLOCKS.match(c)) and not "\u30a0" <= c <= "\u30ff"  # not Katakana


def is_complex(c: str) -> bool:
    return c in CONSONANTS + LEADING + TRAILING


def is_spaced(c: str) -> bool:
    return c.isalpha() and not is_alone(c) and not is_complex(c)


def is_word(span: str) -> bool:
    return bool(span) and (is_wordy(span[0]) or (span[0] in "'’" and span[1:2].isalpha()))


def words_of(document: str) -> list[str]:
    """What `split_words` describes, character by character on str."""
    spans, at = [""], 0
    while at < len(document):
        rest, span = document[at:], spans[-1]
        base = ":" if "://" in span else next((c for c in reversed(span) if not is_mark(c)), "\0")
        clitic, url = clitic_in(rest), url_in(rest)
        if is_break(rest[0]):
            piece, joined = rest[0], False
        elif is_word(span) and is_spaced(base) and clitic:
            piece, joined = clitic, False
        elif is_word(span) and url:
            piece, joined = url, True
        else:
            piece, joined = rest[0], continues(span, base, rest[0], rest[1:2] or "\0")
        spans += [] if joined else [""]
        spans[-1] += "" if is_break(piece[0]) else piece
        spans += [""] if is_break(piece[0]) else []
        at += len(piece)
    return [s for s in spans if s]


def continues(span: str, base: str, c: str, after: str) -> bool:
    """Whether a character belongs to the span before it, whose last character but for marks is `base`."""
    if not span or is_mark(c):
        return bool(span)
    if not is_word(span):
        return c == base
    if c in CONSONANTS + LEADING:
        return base in LEADING or span[-1] == COENG
    if is_wordy(c):
        return not is_alone(c) and not is_alone(base) and is_complex(c) == is_complex(base)
    if is_spaced(base):
        initial = c == "." != after and (len(span) == 1 or span[-2] == ".")
        return initial or (c in ".'’·" and is_spaced(after))
    return base.isdecimal() and c in ".," and after.isdecimal()


def clitic_in(rest: str) -> str:
    found = CLITIC.match(rest)
    behind = rest[found.end() :][:1] if found else ""
    return found[0] if found and not (behind and (is_wordy(behind) or is_mark(behind))) else ""


def url_in(rest: str) -> str:
    """The part of a URL from its `://`, if there is one."""
    end = 3
    while rest.startswith("://") and end < len(rest) and not ends_url(rest[end]):
        end += 1
    found = rest[3:end].rstrip("!'),.:;?]}*") if rest.startswith("://") else ""
    return f"://{found}" if found else ""


def ends_url(c: str) -> bool:
    return is_break(c) or c in '"<>' or (c > "\x7f" and (unicodedata.category(c)[0] in "PS" or is_alone(c) or is_complex(c)))


@settings(kernel, max_examples=1500)
@given(rich)
@example("it's a 'quote'. U.S.A. a.b. J. K... I... e.g.. т.е. 1,000.5, 3.x a.1 a.中 中.国 ก.ข ab.1")
@example("https://a.com/x?y=1#z. http://é.fr/ü，谢 (ftp://b.c/d) a://b中 a://， x:// ://y _://z 's://t http://a’a http://b.\u0301")
@example("can't l'homme rock’s I'LL he'd've 't 'tis 's don't't d'\u0301 s\u0301's")
@example("กa aก 5ก ก5 นาabc ไทย1 เก็บ ไpa ສະບາຍ ក្ក ក្a ្ក -្-")
def test_words_are_what_their_description_says(document: str):
    assert split(document) == [words_of(document)]


@kernel
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="".join(map(chr, range(0x0E00, 0x1100)))), max_size=30))
def test_words_of_any_script_are_what_their_description_says(document: str):
    if any("KHMER" in unicodedata.name(c, "") for c in document):
        return
    assert split(document) == [words_of(document)]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("Don't stop.", "Don|'t|stop|."),
        ("The dog’s tail, o’clock.", "The|dog|’s|tail|,|o’clock|."),
        ("l'homme d'aujourd'hui", "l'homme|d'aujourd'hui"),
        ("J. R. R. Tolkien, U.S.A., e.g. this", "J.|R.|R.|Tolkien|,|U.S.A.|,|e.g.|this"),
        ("И т.д. и т.п., А.С. Пушкин.", "И|т.д.|и|т.п.|,|А.С.|Пушкин|."),
        ("Well, I... never!", "Well|,|I|...|never|!"),
        ("3.14, 1,000,000 and 2nd.", "3.14|,|1,000,000|and|2nd|."),
        ("snake_case __init__ x²", "snake_case|__init__|x²"),
        ("see https://example.com/a_(b)?q=1, or mail", "see|https://example.com/a_(b)?q=1|,|or|mail"),
        ("(see http://example.com/a).", "(|see|http://example.com/a|)|."),
        ("请访问https://example.com/x，谢谢", "请|访|问|https://example.com/x|，|谢|谢"),
        ("网址http://example.com是新的", "网|址|http://example.com|是|新|的"),
        ("“Quoted” — text…", "“|Quoted|”|—|text|…"),
        ("a----b == c", "a|----|b|==|c"),
        ("well-known x/y a&b", "well|-|known|x|/|y|a|&|b"),
        ("漢字とカタカナ、한국어 단어", "漢|字|と|カタカナ|、|한국어|단어"),
        ("เก็บไว้", "เก็|บ|ไว้"),
        ("ภาษาไทยabc123", "ภา|ษา|ไท|ย|abc123"),
        ("ສະບາຍດີ", "ສະ|ບາ|ຍ|ດີ"),
        ("ភាសាខ្មែរ", "ភា|សា|ខ្មែ|រ"),
        ("cafe\u0301 naïve नमस्ते مرحبا", "cafe\u0301|naïve|नमस्ते|مرحبا"),
        ("soft\u00adhyphen zero\u200bwidth word\u2060joiner", "soft\u00adhyphen|zero|width|word\u2060joiner"),
        ("👍 👩\u200d💻 ❤\ufe0f", "👍|👩\u200d|💻|❤\ufe0f"),
        ("a\x00b\x07c\td\r\ne", "a|b|c|d|e"),
        ("C'est l’été ; 5 % où ?", "C'est|l’été|;|5|%|où|?"),
        ("#hashtag @name $5.00", "#|hashtag|@|name|$|5.00"),
        ("", ""),
        (" \n\t\u3000", ""),
    ],
)
def test_words_make_sense_to_a_reader(document: str, words: str):
    assert split(document) == [words.split("|") if words else []]


@kernel
@given(st.lists(rich, max_size=5))
def test_words_do_not_depend_on_what_stands_around_a_document(documents: list[str]):
    assert split(*documents) == [split(d)[0] for d in documents]


@kernel
@given(rich)
def test_words_say_their_length_and_what_they_are_made_of(document: str):
    data, start, end = laid_out([document], b"ab")
    _, _, low, high, chars, kind, _ = text.split_words(data, start, end, unicode.flags())
    words = [bytes(data[a:b]).decode() for a, b in zip(low, high, strict=True)]
    assert chars.tolist() == [len(w) for w in words]
    assert kind.tolist() == [int(np.bitwise_or.reduce([unicode.flags()[ord(c)] for c in w])) for w in words]


@kernel
@given(rich)
def test_nothing_but_white_space_and_controls_stands_between_words(document: str):
    rest = document
    for word in split(document)[0]:
        at = rest.index(word)
        assert all(c.isspace() or c == "\u200b" or unicodedata.category(c) == "Cc" for c in rest[:at])
        rest = rest[at + len(word) :]


# -- bytes that are no UTF-8 --------------------------------------------------------------------------------------------------------

broken = st.binary(max_size=30) | st.lists(
    st.sampled_from(
        [b"\xf0", b"\x9f", b"\xe1\x9f\x92", b"\xe1", b"\xc2", b"a", b"'", b".", b"://", b"\xff", b"\xf4\xbf\xbf\xbf", b"s", b"1"]
    ),
    max_size=20,
).map(b"".join)


@kernel
@given(st.lists(broken, max_size=4))
@example([b"a'", b"s"])
@example([b"a:", b"//b"])
@example([b"a://\xf0", b"\x9f\x92\xa9"])
@example([b"\xf0\x9f\x92", b"\xa9"])
def test_no_kernel_reads_outside_a_document_even_where_it_is_no_utf_8(documents: list[bytes]):
    alone = [text.split_words(*laid_out([d]), unicode.flags()) for d in documents]
    for before, between in ((b"", b""), (b"x://", b"\xa9'll ")):
        data, start, end = laid_out(documents, before, between)
        first, last, low, high, *facts = text.split_words(data, start, end, unicode.flags())
        for d, one in enumerate(alone):
            spans = slice(first[d], last[d])
            np.testing.assert_array_equal(low[spans] - start[d], one[2])
            np.testing.assert_array_equal(high[spans] - start[d], one[3])
            for fact, expected in zip(facts, one[4:], strict=True):
                np.testing.assert_array_equal(fact[spans], expected)
            assert (low[spans] < high[spans]).all()
            assert (low[spans][1:] >= high[spans][:-1]).all()
            assert (one[2] >= 0).all()
            assert (one[3] <= len(documents[d])).all()
