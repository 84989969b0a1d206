"""Project Gutenberg's files: charsets, headers, archives; and what `gutenberg.Strip` takes off them."""

from __future__ import annotations

import codecs
import io
import time
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.batch import Batch
from curate.build import build
from curate.errors import CurateError, RecipeError
from curate.stage import Bad, Skip
from stages.gutenberg import Strip
from stages.read import gutenberg_header as headers
from stages.read.gutenberg import Gutenberg, Unreadable, charset
from stages.read.gutenberg import decode as decoded

MODERN = """The Project Gutenberg eBook of A Book of Two Lines

This ebook is for the use of anyone.

Title: A Book
       of Two Lines

Author: Nobody Jones

Release date: June 5, 2008 [eBook #987]
                Most recently updated: May 1, 2020

Language: English

Credits: Produced by a volunteer

*** START OF THE PROJECT GUTENBERG EBOOK A BOOK OF TWO LINES ***
"""


def read(folder: Path, files: dict[str, bytes], **options: Any) -> tuple[list[dict[str, Any]], list[Bad | Skip]]:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    source = Gutenberg(paths=(str(folder),), **options)
    items = [item for shard in source.shards(1) for item in source.read(shard)]
    rows = [row for item in items if isinstance(item, pa.RecordBatch) for row in item.to_pylist()]
    return rows, [item for item in items if isinstance(item, Bad | Skip)]


def decode(data: bytes) -> tuple[str, str]:
    text, encoding = decoded(data)
    return text.decode(), encoding


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


# -- reading ------------------------------------------------------------------------------------------------------------------------


def test_a_file_is_a_document_with_what_its_header_says(tmp_path: Path) -> None:
    text = MODERN + "The body.\n"
    (row,), other = read(tmp_path, {"9/8/987-0.txt": text.replace("\n", "\r\n").encode("utf-8-sig")})
    assert other == []
    assert row == {
        "id": "9/8/987-0.txt:0",
        "text": text,
        "url": "https://www.gutenberg.org/ebooks/987",
        "title": "A Book of Two Lines",
        "author": "Nobody Jones",
        "language": "en",
        "date": "2008-06-05",
        "book_id": "987",
        "encoding": "utf-8",
    }


def test_archives_of_one_text_other_archives_other_files_and_bounds(tmp_path: Path) -> None:
    files = {
        "120-8.zip": zipped({"120-8.txt": b"Caf\xe9", "readme.html": b"x"}),
        "120-h.zip": zipped({"120-h/120-h.htm": b"<p>", "120-h/a.png": b"x"}),
        "120-h.htm": b"<p>not read</p>",
        "pg5.txt.utf8": b"five",
        "6.txt": b"x" * 101,
        "7.txt": b" \n\n",
        "8.zip": b"no archive",
        "9.zip": zipped({"../9.txt": b"x", "a.txt": b"y" * 101})[:-9],
    }
    rows, other = read(tmp_path, files, max_book_bytes=100)
    assert [(r["id"], r["text"], r["book_id"], r["encoding"]) for r in rows] == [
        ("120-8.zip:120-8.txt", "Café", "120", "cp1252"),
        ("pg5.txt.utf8:0", "five", "5", "utf-8"),
    ]
    assert [item.reason for item in other if isinstance(item, Skip)] == ["no_text", "empty"]
    bad = {item.place: item.reason for item in other if isinstance(item, Bad)}
    assert bad["6.txt:0"] == "larger than 100 bytes"
    assert bad["8.zip:0"] == "no zip archive"
    assert any(place.startswith("9.zip:") for place in bad)


def test_no_file_at_all_is_the_recipes_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("x")
    with pytest.raises(RecipeError, match=r"read.gutenberg.Gutenberg.paths: no .txt or .zip file in"):
        Gutenberg(paths=(str(tmp_path),)).shards(1)


UMLAUT = "Größe “x”"


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        ("ä€".encode("utf-8-sig"), "ä€", "utf-8"),
        ("ä€".encode(), "ä€", "utf-8"),
        (b"plain", "plain", "utf-8"),
        ("ä€".encode("utf-16"), "ä€", "utf-16"),
        ("ordinary words".encode("utf-16-be"), "ordinary words", "utf-16-be"),
        ("ordinary words".encode("utf-16-le"), "ordinary words", "utf-16-le"),
        ("ä€ \U0001f600".encode("utf-32"), "ä€ \U0001f600", "utf-32"),
        (codecs.BOM_UTF32_BE + "ä€".encode("utf-32-be"), "ä€", "utf-32"),
        (b"\x93caf\xe9\x94", "“café”", "cp1252"),
        (b"\x81 is nothing there\xe9", "\x81 is nothing thereé", "cp1252"),
    ],
)
def test_b_charset_by_mark_or_utf_8_else_windows_1252(data: bytes, text: str, encoding: str) -> None:
    assert decode(data) == (text, encoding)


@pytest.mark.parametrize(
    ("declared", "written", "text", "encoding"),
    [
        ("ISO-8859-1", "latin-1", "Größe", "iso8859-1"),
        ("ISO Latin-1", "latin-1", "Größe", "iso8859-1"),
        ("ISO-8859-1", "cp1252", "Größe “x”", "cp1252"),  # C1 controls are none
        ("Windows-1252", "cp1252", "Größe “x”", "cp1252"),
        ("Windows Codepage 1250", "cp1250", "Łódź", "cp1250"),
        ("Codepage 437", "cp437", "Größe", "cp437"),
        ("CP-850", "cp850", "Größe", "cp850"),
        ("ISO-646-US (US-ASCII)", "cp1252", "Größe “x”", "cp1252"),
        ("ISO-8859-7", "iso8859-7", "Άλφα", "iso8859-7"),
        ("Big5", "big5", "紅樓夢", "big5"),
        ("Shift_JIS", "shift_jis", "こころ", "shift_jis"),
        ("KOI8-R", "koi8-r", "Война", "koi8-r"),
        ("unicode_escape", "cp1252", "Größe \\x41", "cp1252"),  # not a charset of texts
        ("Nonsense-77", "cp1252", "Größe", "cp1252"),
    ],
)
def test_b_declared_charset_is_used_where_it_fits(declared: str, written: str, text: str, encoding: str) -> None:
    head = f"The Project Gutenberg EBook\r\n\r\nCharacter set encoding: {declared}\r\n\r\n*** START OF THE PROJECT GUTENBERG EBOOK ***\r\n"
    found, used = decode(head.encode() + text.encode(written))
    assert (found.splitlines()[-1], used) == (text, encoding)


def test_bytes_that_break_declared_utf_8_are_read_by_themselves() -> None:
    head = "The Project Gutenberg EBook\n\nCharacter set encoding: Unicode UTF-8\n\n" + "Größe " * 50
    assert decode(head.encode() + b"\x93caf\xe9\x94") == (head + "“café”", "utf-8")
    lying = "Gutenberg\nCharacter set encoding: UTF-8\n" + "äöü" * 50
    assert decode(lying.encode("cp1252")) == (lying, "cp1252")


@pytest.mark.parametrize(
    "data",
    [
        b"PNG\0\0\1\2" * 99,
        "x".encode("utf-16") + b"\0",
        b"\xff\xfe" + b"\x00\xd8" * 9,
        "some\0 words".encode("utf-16"),
        "some\0 words".encode("utf-32"),
        codecs.BOM_UTF32_LE + b"\xff" * 8,
    ],
)
def test_what_is_no_text_is_quarantined(tmp_path: Path, data: bytes) -> None:
    rows, (bad,) = read(tmp_path, {"1.txt": data})
    assert (rows, type(bad)) == ([], Bad)


def test_what_is_quarantined_has_its_first_64_kilobytes_with_it(tmp_path: Path) -> None:
    damaged = zipped({"1.txt": b"x"})[:20]
    files = {"1.txt": b"\0\1" * 50_000, "2.zip": b"no archive " * 9_000, "3.txt": b"x" * 100_000, "4.zip": damaged}
    rows, bads = read(tmp_path, files, max_book_bytes=99_000)
    assert rows == []
    assert [bad.raw for bad in bads if isinstance(bad, Bad)] == [data[: 64 << 10] for data in files.values()]


@given(st.binary(max_size=300), st.sampled_from([b"", b"The Project Gutenberg\nCharacter set encoding: UTF-8\n", b"\xef\xbb\xbf"]))
def test_any_bytes_become_a_text_that_arrow_takes_or_a_reason(data: bytes, head: bytes) -> None:
    try:
        text, _ = decode(head + data)
    except Unreadable:
        return
    assert "\r" not in text
    pa.array([text]).validate(full=True)


@pytest.mark.parametrize(
    ("written", "text"), [("a\r\nb\r\n", "a\nb\n"), ("a\rb", "a\nb"), ("a\r\r\nb", "a\nb"), ("a\n\r\nb\n\rc", "a\n\nb\n\nc"), ("\r", "\n")]
)
def test_b5_line_ends_become_line_feeds(written: str, text: str) -> None:
    assert decode(written.encode()) == (text, "utf-8")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (
            "**This is a Project Gutenberg Etext of Made Up Tales, by A. Nobody**\n\nMarch, 1994  [Etext #99]\n"
            "*END*THE SMALL PRINT!\nTitle: no\n",
            headers.Header("Made Up Tales", "A. Nobody", None, "1994-03", "99", None),
        ),
        (
            "Project Gutenberg's Made Up Tales, by A. Nobody\n\nRelease Date: November, 2003  [EBook #4567]\n[Date last updated: x]\n",
            headers.Header("Made Up Tales", "A. Nobody", None, "2003-11", "4567", None),
        ),
        (
            "The Project Gutenberg EBook\nTitel: Das Buch\nAutor: N. N.\nSprache: Deutsch\n"
            "Character set encoding: ISO-8859-1\n[eBook #0012]\n",
            headers.Header("Das Buch", "N. N.", "de", None, "12", "ISO-8859-1"),
        ),
        ("Title: A book of one's own\nAuthor: Me\n", headers.Header()),
        ("A short tale.\n\nEnd of the Project Gutenberg EBook of Made Up Tales, by A. Nobody\n[EBook #99]\n", headers.Header()),
        ("Of Project Gutenberg I tell.\n*** END OF THIS PROJECT GUTENBERG EBOOK ***\nTitle: no\n", headers.Header()),
        ("The Project Gutenberg EBook\nLanguage: French and Latin\n", headers.Header(language="fr")),
        ("The Project Gutenberg EBook\nLanguage: Klingon\nRelease Date: soon\n", headers.Header()),
    ],
)
def test_headers_of_any_age(head: str, expected: headers.Header) -> None:
    found = headers.parse(head)
    assert found._replace(title=found.title if expected.title else None) == expected


@pytest.mark.parametrize(
    "head", ["Title: " + "x" * 30_000, "[Ebook #" + "1" * 20_000, "Project Gutenberg " + " " * 20_000, "\n" * 20_000 + "*" * 9]
)
def test_headers_made_to_be_slow_are_not(head: str) -> None:
    began = time.process_time()
    headers.parse("The Project Gutenberg\n" + head)
    charset(head)
    assert time.process_time() - began < 5, "not in the square of the size"


# -- stripping ----------------------------------------------------------------------------------------------------------------------


def strip(text: str, **options: Any) -> str:
    batch, _, _ = Strip(**options).apply(Batch.of(pa.record_batch({"text": pa.array([text], pa.large_string())})))
    (out,) = batch.text.to_pylist()
    return str(out)


BODY = "CHAPTER I\n\n  It was so.\n\nThe end."
LONG = "\n".join(f"Line {n} of the book." for n in range(700))
START, END = "*** START OF THE PROJECT GUTENBERG EBOOK X ***", "*** END OF THE PROJECT GUTENBERG EBOOK X ***"
NOTICE = ("<<THIS ELECTRONIC VERSION OF", "SERVICE THAT CHARGES FOR DOWNLOAD")
LICENCE = "\n\nUpdated editions will replace the previous one.\n\n*** START: FULL LICENSE ***\n\nSection 1.\n"


@pytest.mark.parametrize("body", [BODY, LONG])
@pytest.mark.parametrize(
    ("head", "foot"),
    [
        (MODERN, END + LICENCE),
        (MODERN, " " * 12 + END + LICENCE),
        (MODERN.replace("*** START", "***START"), END.replace("*** END", "***END") + LICENCE),
        (MODERN.replace("START OF THE", "Start of this"), END.lower() + LICENCE),
        (MODERN.replace(" A BOOK OF", "\nA BOOK OF"), END.replace(" X ***", "\nX ***") + LICENCE),
        (MODERN.replace("THE PROJ", "THE COPYRIGHTED PROJ"), END.replace("THE PROJ", "THE COPYRIGHTED PROJ")),
        (MODERN + "\nProduced by A and the Online\nProofreading Team\n", "End of the Project Gutenberg EBook of A Book\n" + LICENCE),
        (
            "**The Project Gutenberg Etext of A Book**\n\n***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***\nWhy is this\n"
            "*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n\nThis etext was prepared by\nA. Volunteer.\n",
            "End of Project Gutenberg's Etext of A Book\n",
        ),
        ("Project Gutenberg's Ein Buch\n\n*END*THE SMALL PRINT! FOR*END*\n", "Ende dieses Project Gutenberg Etextes Ein Buch\n"),
        (MODERN, "*** ENDE DIESES PROJECT GUTENBERG EBOOKS EIN BUCH ***\n"),
        (MODERN, "Fin de Project Gutenberg, Un livre\n"),
        (
            MODERN + "\n*Project Gutenberg is proud to cooperate with X*\nin this.\n",
            "**This is a COPYRIGHTED Project Gutenberg Etext, Details Above**",
        ),
    ],
)
def test_b5_header_and_footer_of_any_age_go_and_the_book_stays(head: str, foot: str, body: str) -> None:
    assert strip(f"{head}\n\n{body}\n\n{foot}") == body


@pytest.mark.parametrize("text", ["", "\n\n  A text.\r\n\n", LONG + "\n\n", "The End of\nthe Project Gutenberg\n"])
def test_b5_a_text_without_a_marker_stays_byte_for_byte(text: str) -> None:
    assert strip(text) == text


def test_the_last_start_of_the_first_lines_wins_and_later_ones_are_text() -> None:
    start = START + "\n"
    assert strip(start + "a\n" * 20 + start + BODY) == BODY
    late = start + "a\n" * 601 + start.strip()
    assert strip(late) == late.removeprefix(start)
    assert strip(late + "\nb", start_lines=602) == "b"
    assert strip(late, start_lines=602) == "\n".join("a" * 601)  # what has nothing behind it is no start


def test_an_end_without_a_start_counts_behind_a_hundred_lines() -> None:
    end = "\nEnd of Project Gutenberg's X\nmore"
    for lines, gone in ((99, False), (100, True)):
        text = "\n".join("abc"[n % 3] for n in range(lines))
        assert strip(text + end) == (text if gone else text + end)
    assert strip("a" + end, end_lines=1) == "a"


def test_credits_are_no_prose_and_no_play() -> None:
    start = START + "\n\n"
    prose = "The effect\nproduced by the light.\n\n    Produced by Charles Somebody at the theatre"
    assert strip(start + prose) == prose
    play = "\n".join(["SCENE"] * 120 + ["Produced by the Company in 1895.", "ACT I"])
    assert strip(start + play) == play
    assert strip(start + play, credit_lines=600) == "ACT I"
    credit = "Produced by A and\nB.\n\n"
    assert strip(start + credit + BODY) == BODY
    assert strip(start + credit + BODY, credit="line") == "B.\n\n" + BODY


def test_notes_of_where_else_a_book_is_and_of_the_magazine_that_it_is_from_go() -> None:
    elsewhere = "Note: Please see Project Gutenberg's eBook #17405 for a version of\nthis eBook without the notes.\n\n"
    magazine = "    [Transcriber's Note: This etext was produced from\n    Wonders, May 1951. No [renewal]\n    was found.]\n"
    assert strip(f"{START}\n\n{elsewhere}{BODY}") == BODY
    assert strip(f"{START}\n\nA TALE\n\nBy N. N.\n{magazine}{BODY}") == f"A TALE\n\nBy N. N.\n{BODY}"
    other = "[Transcriber's Note: a page is missing]\nNote: Please see below."
    assert strip(f"{START}\n\n{other}") == other


@pytest.mark.parametrize("option", ["start_lines", "credit_lines", "end_lines"])
def test_a_negative_number_of_lines_is_the_recipes_mistake(option: str) -> None:
    with pytest.raises(RecipeError, match=f"{option}: expected greater than or equal to 0"):
        build("gutenberg.Strip", {option: -1})


def test_notices_go_from_the_middle_and_one_that_does_not_end_is_none() -> None:
    notice = "<<THIS ELECTRONIC VERSION OF A BOOK IS\nCOPYRIGHT. SERVICE\nSERVICE THAT CHARGES FOR DOWNLOAD TIME OR FOR MEMBERSHIP.>>\n"
    assert strip(f"one\n{notice}two") == "one\ntwo"
    assert strip("one\n<<THIS ELECTRONIC VERSION OF\ntwo") == "one\n<<THIS ELECTRONIC VERSION OF\ntwo"


def test_texts_made_to_be_slow_are_not() -> None:
    strip("a")  # compiled
    for line in (NOTICE[0], "[Illustration", "*START OF " * 100, "Produced by X", START.removesuffix("***"), "[" * 200):
        began = time.process_time()
        strip("\n".join([line] * 50_000), brackets=("[",), credit_lines=10**9, start_lines=10**9)
        assert time.process_time() - began < 20, "not in the square of the size"


def test_illustrations_and_notes_go_by_choice() -> None:
    text = (
        "one\n[Illustration: a [small]\n  picture]\ntwo\n    [Illustration]\nthree\n[not closed\n"
        + "x\n" * 30
        + "Transcriber's Note:\nA comma was changed."
    )
    assert strip(text) == text
    lines = strip(text, brackets=("[Illustration", "[not"), notes=("Transcriber",)).split("\n")
    assert lines == ["one", "two", "three", "[not closed", *["x"] * 30]


def test_what_looks_like_an_end_in_a_header_is_none() -> None:
    head = (
        "The Project Gutenberg EBook of X\n\n** This is a COPYRIGHTED Project Gutenberg eBook, Details Below **\nEnd of Project Gutenberg\n"
    )
    assert strip(f"{head}\n{START}\n\n{BODY}\n{END}") == BODY


def test_the_lines_that_go_are_booked_by_what_they_were() -> None:
    front = ["head", START, "Produced by A", "and B", "", "one", *NOTICE, "two", "[Illustration]"]
    text = "\n".join([*front, *"abcdefghijklmnopqrst", "Note:", "x", END, "foot"])
    batch = Batch.of(pa.record_batch({"text": pa.array(["a\nb", text], pa.large_string())}))
    _, _, removed = Strip(brackets=("[Ill",), notes=("Note:",)).apply(batch)
    assert removed.rule is not None
    booked = {line: removed.rules[rule] for line, rule in zip(removed.line.tolist(), removed.rule.tolist(), strict=True)}
    expected = ["header"] * 2 + ["credits"] * 2 + ["header", "", "notice", "notice", "", "bracket"]
    expected += [""] * 20 + ["note"] * 2 + ["footer"] * 2
    assert [booked.get(n, "") for n in range(34)] == expected


def test_small_print_at_the_end_of_a_short_text_leaves_the_text() -> None:
    assert strip(BODY + "\n\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*END*\n") == BODY


def test_a_file_that_has_nothing_between_its_markers_is_dropped_by_name() -> None:
    text = f"{START}\n\n{END}"
    _, checks, removed = Strip().apply(Batch.of(pa.record_batch({"text": pa.array([text, "a"], pa.large_string())})))
    assert {name: check.passed.tolist() for name, check in checks.items()} == {"nothing_left": [False, True]}
    assert (removed.last - removed.first).tolist() == [3, 0]


FRAGMENTS = st.sampled_from(
    (START, END, "Produced by X", "End of Project Gutenberg", "*END*THE SMALL PRINT!", "a", "", "  b", "é\r", "[Illustration", "]", *NOTICE)
)


@given(st.lists(FRAGMENTS, max_size=40), st.integers(0, 12), st.integers(0, 12), st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_lines_that_are_left_and_those_that_are_booked_make_up_the_text(lines: list[str], within: int, least: int, some: bool) -> None:
    stage = Strip(start_lines=within, end_lines=least, brackets=("[Ill",) if some else ())
    batch, _, removed = stage.apply(Batch.of(pa.record_batch({"text": pa.array(["\n".join(lines), "other"], pa.large_string())})))
    gone = set(removed.line[removed.first[0] : removed.last[0]].tolist())
    assert "\n".join(line for n, line in enumerate("\n".join(lines).split("\n")) if n not in gone) == batch.text[0].as_py()
    assert batch.text[1].as_py() == "other"


def plainly(text: str) -> str:
    """The circulating rule, line by line, for its own markers."""
    out: list[str] = []
    kept, skips = 0, False
    for line in text.split("\n"):
        if kept <= 600 and line.startswith(("*** START OF TH", "*END*THE SMALL PRINT", "Produced by ")):
            out = []
            continue
        if kept >= 100 and line.startswith(("*** END OF TH", "End of Project Gutenberg")):
            break
        if line.startswith("<<THIS ELECTRONIC VERSION OF"):
            skips = True
        elif line.startswith("SERVICE THAT CHARGES FOR DOWNLOAD"):
            skips = False
        elif not skips:
            out.append(line)
            kept += 1
    return "\n".join(out).strip()


@given(st.integers(1, 150), st.integers(1, 700), st.integers(0, 90), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_usual_book_comes_out_as_by_the_circulating_rule(head: int, body: int, foot: int, small_print: bool) -> None:
    start = "*END*THE SMALL PRINT!*END*" if small_print else "*** START OF THE PROJECT GUTENBERG EBOOK ***"
    lines = (
        ["h"] * head
        + [start, "Produced by X", ""]
        + [f"b{n}" for n in range(100 + body)]
        + ["", "*** END OF THE PROJECT GUTENBERG EBOOK ***"]
        + ["f"] * foot
    )
    assert strip("\n".join(lines)) == plainly("\n".join(lines))


def test_markers_that_cannot_be_looked_for_are_refused() -> None:
    for options in ({"starts": ("",)}, {"ends": (" x",)}, {"brackets": ("...x",)}):
        with pytest.raises(CurateError, match="a marker must begin with what a line begins with"):
            Strip(**options).check()
