"""KenLM's binary format: the files of ours are those of build_binary, byte for byte, and KenLM scores with them as with the ARPA file."""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import lmplz
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers.ngrams import arpa_reader, kenlm_binary
from classifiers.ngrams.kneser_ney import estimate
from curate.errors import CurateError

kenlm = pytest.importorskip("kenlm")

ROOT = Path(__file__).parents[2]
BOOKS = ROOT.parent / "shared/corpus/books/gutenberg_raw"
SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# with a gap ("b </s>" is no bigram), no <unk>, zeros of both signs, missing back-offs, an exponent and a number that is a tie of two floats
SMALL = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
0\t<s>\t-0.30103
-0.5\t</s>
-0.7\ta\t-1.000000059604644775390625
-9e-1\tb\t0
-1.25\tcafé\t-0

\\2-grams:
-0.25\t<s> a\t-0.125
-0.5\ta b\t-0.0625
-1.5\tb a\t0
-0\tcafé </s>

\\3-grams:
-0.1\t<s> a b
-0.2\ta b </s>

\\end\\
"""
SMALL_SHA256 = "63c5749ba62da7a28a723f6713d327777cafb187ba129c4e37c7cb8f83f6a0e3"  # of the file that KenLM 0.3.0's build_binary makes of it


def build_binary(arpa: Path, path: Path) -> bool:
    """KenLM's own file, and whether it made one; skips the test where build_binary is nowhere."""
    return subprocess.run([lmplz.path("build_binary"), str(arpa), str(path)], capture_output=True, check=False).returncode == 0


def written(folder: Path, text: str | bytes, name: str = "model.arpa") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def built(arpa: Path, memory: float = 2e9) -> Path:
    path = arpa.with_suffix(".bin")
    kenlm_binary.build(str(arpa), str(path), memory=memory)
    return path


def drawn(seed: int) -> tuple[str, list[str]]:
    """An ARPA file, with the contexts but not all the endings of its n-grams, and its words."""
    rng = random.Random(seed)
    order, size = rng.randint(2, 6), rng.choice([1, 3, 20, 60])
    special = ["<s>", "</s>", *rng.choice([["<unk>"], ["<UNK>"], []])]
    words = [*special, *(rng.choice(["w", "длинное", "long-word-", "\x0b"]) + str(i) for i in range(size))]
    rng.shuffle(words)
    levels: list[list[tuple[str, ...]]] = [[(w,) for w in words]]
    for _ in range(1, order):
        contexts = [g for g in levels[-1] if g[-1] != "</s>"]
        draws = rng.randint(1, 3 * size) if contexts else 0
        found = {(*rng.choice(contexts), rng.choice([w for w in words if w != "<s>"])) for _ in range(draws)}
        whole = rng.random() < 0.7  # most endings are n-grams as well
        below = set(levels[-1])
        longer = sorted(g for g in found if not whole or g[1:] in below or rng.random() < 0.05)
        rng.shuffle(longer)
        levels.append(longer)
    newline, spell = rng.choice(["\n", "\r\n"]), rng.choice(["{:.7g}", "{:.17g}", "{:.3f}", "{:.2e}"])
    lines = ["\\data\\", *(f"ngram {k}={len(g)}" for k, g in enumerate(levels, 1)), ""]
    for k, ngrams in enumerate(levels, 1):
        lines.append(f"\\{k}-grams:")
        for g in ngrams:
            backoff = rng.choice(["", "\t0", "\t" + spell.format(rng.uniform(-2, 0.5))]) if k < order else ""
            lines.append(rng.choice(["0", spell.format(-rng.expovariate(0.5))]) + "\t" + " ".join(g) + backoff)
        lines.append("")
    return newline.join([*lines, "\\end\\", ""]), words


def assert_same_scores(arpa: Path, binary: Path, sentences: list[list[str]]) -> None:
    """Every score, length of the n-gram used, unknown word and state is the same."""
    ours, wanted = kenlm.Model(str(binary)), kenlm.Model(str(arpa))
    assert ours.order == wanted.order
    for words in sentences:
        text = " ".join(words)
        assert ours.score(text) == wanted.score(text)
        assert list(ours.full_scores(text, bos=False)) == list(wanted.full_scores(text, bos=False))
        before, after, other, another = kenlm.State(), kenlm.State(), kenlm.State(), kenlm.State()
        ours.BeginSentenceWrite(before)
        wanted.BeginSentenceWrite(other)
        for word in words:
            assert ours.BaseScore(before, word, after) == wanted.BaseScore(other, word, another)
            assert after == another
            before, after, other, another = after, before, another, other


def sentences_of(words: list[str], seed: int, count: int = 40) -> list[list[str]]:
    rng = random.Random(seed)
    return [[rng.choice([*words, "nowhere"]) for _ in range(rng.randint(0, 12))] for _ in range(count)]


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    """A model of order 5 of some books, and lines of another one."""
    found = sorted(BOOKS.glob("*.txt"))
    if len(found) < 2:
        pytest.skip("no books beside the repository")
    folder = tmp_path_factory.mktemp("books")
    text = found[0].read_text(errors="replace").lower().replace("\0", "").splitlines()[:4000]
    estimate((line.split() for line in text), str(folder / "books.arpa"), folder=str(folder / "scratch"))
    return folder / "books.arpa", [line.split() for line in found[1].read_text(errors="replace").lower().splitlines()[:500]]


def test_the_bytes_are_those_of_build_binary(tmp_path: Path) -> None:
    assert hashlib.sha256(built(written(tmp_path, SMALL)).read_bytes()).hexdigest() == SMALL_SHA256


def test_the_known_bytes_are_still_those_of_build_binary(tmp_path: Path) -> None:
    assert build_binary(written(tmp_path, SMALL), tmp_path / "theirs")
    assert hashlib.sha256((tmp_path / "theirs").read_bytes()).hexdigest() == SMALL_SHA256


@SETTINGS
@given(seed=st.integers(0, 2**32))
def test_any_model_has_the_bytes_of_build_binary(seed: int, tmp_path: Path) -> None:
    arpa = written(tmp_path, drawn(seed)[0])
    if build_binary(arpa, tmp_path / "theirs"):
        assert built(arpa).read_bytes() == (tmp_path / "theirs").read_bytes()
    else:  # there are more gaps than buckets for blanks
        with pytest.raises(CurateError, match=r"too many|begins with"):
            built(arpa)


@SETTINGS
@given(seed=st.integers(0, 2**32))
def test_any_model_scores_as_its_arpa_file(seed: int, tmp_path: Path) -> None:
    text, words = drawn(seed)
    arpa = written(tmp_path, text)
    try:
        kenlm.Model(str(arpa))
    except OSError:
        with pytest.raises(CurateError, match=r"too many|begins with"):
            built(arpa)
    else:
        assert_same_scores(arpa, built(arpa), sentences_of(words, seed))


def test_books_score_as_with_their_arpa_file(books: tuple[Path, list[list[str]]]) -> None:
    assert_same_scores(books[0], built(books[0]), books[1])


def test_books_have_the_bytes_of_build_binary(books: tuple[Path, list[list[str]]], tmp_path: Path) -> None:
    assert build_binary(books[0], tmp_path / "theirs")
    assert built(books[0]).read_bytes() == (tmp_path / "theirs").read_bytes()


def test_neither_memory_nor_blocks_change_the_bytes(books: tuple[Path, list[list[str]]], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = built(books[0]).read_bytes()
    assert built(books[0], memory=0).read_bytes() == whole
    monkeypatch.setattr(arpa_reader, "_ROWS", 7)
    assert built(books[0]).read_bytes() == whole


def spellings() -> st.SearchStrategy[str]:
    """Negative numbers at, next to and between 32-bit floats, with few and with many digits."""
    floats = st.floats(-100, -(2.0**-149), width=32)

    def near_tie(value: float, nudge: int) -> str:
        tie = (Fraction(value) + Fraction(float(np.nextafter(np.float32(value), np.float32(-200))))) / 2
        digits = int(tie * 10**50) + nudge  # the tie itself where it has no more digits
        return f"-{abs(digits) // 10**50}.{abs(digits) % 10**50:050d}"

    return st.one_of(
        st.builds(near_tie, st.floats(-100, -0.125, width=32), st.integers(-1, 1)),
        st.builds("{:.{}{}}".format, floats, st.integers(0, 20), st.sampled_from("efgE")),
        st.builds("-{}e-{}".format, st.integers(0, 10**24), st.integers(23, 80)),
        st.sampled_from(["0", "-0", "+0", "-0.0e5", "-.5", "-5.", "-005", "-1e-46", "-7e-46", "-1e-45", "-1.1754943e-38", "-99"]),
    ).filter(lambda text: len(text) <= 64)


@SETTINGS
@given(numbers=st.lists(spellings(), min_size=1, max_size=200))
def test_numbers_are_rounded_as_kenlm_rounds_them(numbers: list[str], tmp_path: Path) -> None:
    words = "".join(f"{number}\tw{i}\t{number}\n" for i, number in enumerate(numbers))
    head = f"\\data\\\nngram 1={len(numbers) + 2}\nngram 2=1\n\n\\1-grams:\n-1\t<s>\n-1\t</s>\n"
    arpa = written(tmp_path, f"{head}{words}\n\\2-grams:\n-1\t<s> w0\n\n\\end\\\n")
    ours, wanted = kenlm.Model(str(built(arpa))), kenlm.Model(str(arpa))
    for i in range(len(numbers)):
        for text in (f"w{i}", f"w{i} </s>"):  # the probability, and with it the back-off weight
            assert ours.score(text, bos=False, eos=False) == wanted.score(text, bos=False, eos=False)


def test_lines_may_end_and_words_may_be_parted_otherwise(tmp_path: Path) -> None:
    wanted = built(written(tmp_path, SMALL, "plain.arpa")).read_bytes()
    others = {
        "returns": SMALL.replace("\n", "\r\n"),
        "tabs": re.sub(r"(?<=\w) (?=\w)", "\t", SMALL).replace("ngram\t", "ngram "),
        "spaces": SMALL.replace("\t", "  "),
        "blank lines": SMALL.replace("\n", "\n\n").replace("\n\nngram", "\nngram"),
        "remarks": "# a remark\n\n" + SMALL,
        "no last newline": SMALL.rstrip("\n"),
    }
    for name, text in others.items():
        assert built(written(tmp_path, text, f"{name}.arpa")).read_bytes() == wanted, name


def changed(old: str, new: str) -> Callable[[str], str]:
    assert old in SMALL
    return lambda text: text.replace(old, new, 1)


DAMAGE = {
    "empty": (lambda _: "", "line 1: found the end of the file where an ARPA file begins"),
    "no head": (changed("\\data\\", "data"), r"line 1: found 'data' where an ARPA file begins with \\data\\"),
    "binary": (lambda _: "mmap lm http://kheafield.com/code format version 5\n", "line 1: found 'mmap"),
    "endless line": (lambda _: "a" * 100_000, "line 1: no ARPA file has so long a line"),
    "counts out of order": (changed("ngram 2=", "ngram 3="), "line 3: found 'ngram 3=4' where 'ngram 2=' and a count"),
    "no count": (changed("ngram 2=4", "ngram 2=many"), "line 3: found 'ngram 2=many'"),
    "negative count": (changed("ngram 2=4", "ngram 2=-4"), "line 3: found 'ngram 2=-4'"),
    "huge count": (changed("ngram 3=2", "ngram 3=2000000000000"), "announces more n-grams, 2,000,000,000,009, than"),
    "unigrams only": (changed("ngram 2=4\nngram 3=2\n", ""), "order 1; KenLM reads orders 2 to 6"),
    "missing section": (changed("\\2-grams:\n", ""), r"line 13: found '-0.25\\t<s> a\\t-0.125' where \\2-grams: should follow"),
    "fewer than announced": (changed("ngram 2=4", "ngram 2=5"), "line 19: the head announces 5 2-grams, but after 4 follows"),
    "more than announced": (changed("ngram 2=4", "ngram 2=3"), r"line 17: found '-0\\tcafé </s>' where \\3-grams: should follow"),
    "not a number": (changed("-0.5\ta b", "minus\ta b"), "line 15: in the 2-grams, 'minus.* finite number"),
    "NaN": (changed("-0.5\ta b", "nan\ta b"), "line 15: .*finite number"),
    "infinite": (changed("-0.5\ta b", "-1e39\ta b"), "line 15: .*finite number"),
    "half an exponent": (changed("-0.5\ta b", "-0.5e\ta b"), "line 15: .*finite number"),
    "huge exponent": (changed("-0.5\ta b", "-0.5e-99999999999\ta b"), "line 15: .*finite number"),
    "endless number": (changed("-0.5\ta b", "-0." + "5" * 90 + "\ta b"), "line 15: .*finite number"),
    "positive": (changed("-0.5\ta b", "0.5\ta b"), "line 15: .*positive logarithm"),
    "back-off not a number": (changed("a b\t-0.0625", "a b\tx"), "line 15: .*goes on after its words"),
    "back-off infinite": (changed("a b\t-0.0625", "a b\t-inf"), "line 15: .*goes on after its words"),
    "a word too many": (changed("a b\t-0.0625", "a b b\t-0.0625"), "line 15: .*goes on after its words"),
    "a word too few": (changed("-0.1\t<s> a b", "-0.1\t<s> a"), "line 20: .*too few words"),
    "a zero byte": (changed("café\t", "ca\0é\t"), "line 11: .*goes on after its words"),
    "back-off of the longest": (changed("<s> a b\n", "<s> a b\t-1\n"), "line 20: .*longest n-grams"),
    "duplicate word": (changed("-9e-1\tb\t0", "-9e-1\ta\t0"), "line 10: in the 1-grams, .*stands there already"),
    "duplicate <unk>": (lambda text: text.replace("\tb\t0", "\t<unk>").replace("\tcafé\t-0\n", "\t<UNK>\n"), "line 11: .*already"),
    "duplicate n-gram": (changed("b a\t0", "a b\t0"), "line 16: in the 2-grams, .*stands there already"),
    "unknown word": (changed("b a\t0", "b x\t0"), "line 16: in the 2-grams, .*not among the 1-grams"),
    "missing context": (changed("-0.2\ta b </s>", "-0.2\tb b </s>"), "line 21: in the 3-grams, .*not among the 2-grams"),
    "no <s>": (lambda text: text.replace("<s>", "<t>"), "KenLM asks for <s>"),
    "no </s>": (lambda text: text.replace("</s>", "</t>"), "KenLM asks for </s>"),
    "no end": (changed("\\end\\\n", ""), r"found the end of the file where \\end\\ should follow"),
    "more after the end": (lambda text: text + "more\n", r"line 24: found 'more' after \\end\\"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_with_its_place(name: str, tmp_path: Path) -> None:
    damage, message = DAMAGE[name]
    with pytest.raises(CurateError, match=message) as raised:
        built(written(tmp_path, damage(SMALL)))
    assert str(raised.value).startswith(f"{tmp_path / 'model.arpa'}: line ")
    assert os.listdir(tmp_path) == ["model.arpa"]  # nothing half-made stays


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = SMALL.encode()
    for size in range(len(whole) - 1):
        with pytest.raises(CurateError, match=r"line \d+: "):
            built(written(tmp_path, whole[:size]))


@SETTINGS
@given(at=st.integers(0, len(SMALL.encode()) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_gives_an_error_or_what_kenlm_reads(at: int, byte: int, tmp_path: Path) -> None:
    text = bytearray(SMALL.encode())
    text[at] = byte
    arpa = written(tmp_path, bytes(text))
    try:
        binary = built(arpa)
    except CurateError:
        return
    ours = kenlm.Model(str(binary))
    try:
        wanted = kenlm.Model(str(arpa))
    except OSError:
        return  # KenLM is stricter with white space
    assert all(ours.score(text) == wanted.score(text) for text in ("", "a b", "b a café", "a b b a"))


def test_a_file_stays_until_another_is_whole(tmp_path: Path) -> None:
    binary = built(written(tmp_path, SMALL))
    whole = binary.read_bytes()
    with pytest.raises(CurateError):
        built(written(tmp_path, SMALL.replace("\\end\\", "")))
    assert binary.read_bytes() == whole
