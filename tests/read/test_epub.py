"""EPUB: what is text, in which order, and that no file harms more than itself."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.stage import Bad, Skip
from stages.read.epub import Epub

CONTAINER = (
    '<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="{}" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
ABOUT = (
    "<dc:title>The <!-- --> Book</dc:title><dc:creator>A. One</dc:creator><dc:creator>B. Two</dc:creator>"
    "<dc:language>en-GB</dc:language><dc:date>1911-05-06T00:00:00Z</dc:date><dc:identifier>urn:uuid:0</dc:identifier>"
    '<dc:identifier id="own">https://books.example/1</dc:identifier>'
)
XHTML = "application/xhtml+xml"
Chapters = dict[str, str | bytes]


def page(body: str) -> str:
    head = "<head><title/><style>p { color: red }</style><script src='x.js'/></head>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml">{head}<body>{body}</body></html>'


def opf(chapters: Chapters, about: str = ABOUT, items: str = "", refs: str = "", guide: str = "", doctype: str = "") -> str:
    listed = "".join(f'<item id="c{n}" href="{name}" media-type="{XHTML}"/>' for n, name in enumerate(chapters))
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    return (
        f'<?xml version="1.0"?>{doctype}<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="own">'
        f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">{about}</metadata><manifest>{listed}{items}</manifest>'
        f"<spine>{spine}{refs}</spine><guide>{guide}</guide></package>"
    )


def archive(files: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in {"mimetype": "application/epub+zip", **files}.items():
            made.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def epub(chapters: Chapters, files: dict[str, str | bytes] | None = None, package: str | None = None, **more: str) -> bytes:
    named = {f"OEBPS/{name}": data for name, data in reversed(chapters.items())}  # the archive's order is not the book's
    written = opf(chapters, **more) if package is None else package
    return archive({**named, "OEBPS/a.opf": written, "META-INF/container.xml": CONTAINER.format("OEBPS/a.opf"), **(files or {})})


def read(folder: Path, data: bytes, **options: Any) -> tuple[list[dict[str, Any]], list[Bad | Skip]]:
    (folder / "a.epub").write_bytes(data)
    source = Epub(paths=(str(folder),), **options)
    items = [item for shard in source.shards(1) for item in source.read(shard)]
    rows = [row for item in items if isinstance(item, pa.RecordBatch) for row in item.to_pylist()]
    return rows, [item for item in items if isinstance(item, Bad | Skip)]


def text_of(folder: Path, body: str) -> str:
    (row,), other = read(folder, epub({"1.xhtml": page(body)}))
    assert other == []
    return str(row["text"])


def reason(folder: Path, data: bytes, **options: Any) -> str:
    rows, (bad,) = read(folder, data, **options)
    assert rows == []
    assert isinstance(bad, Bad)
    assert bad.place == "a.epub:0"
    return bad.reason


# -- what is text -------------------------------------------------------------------------------------------------------------------


def test_a_book_is_a_document_in_the_order_of_the_spine_with_what_its_package_says(tmp_path: Path) -> None:
    chapters = {"b.xhtml": page("<h1>One</h1><p>First.</p>"), "a%20b.xhtml": page("<h1>Two</h1><p>Second.</p>")}
    data = epub(chapters, {"OEBPS/a b.xhtml": page("<h1>Two</h1><p>Second.</p>"), "OEBPS/cover.jpg": b"\xff\xd8"})
    assert read(tmp_path, data) == (
        [
            {
                "id": "a.epub:0",
                "text": "One\n\nFirst.\n\nTwo\n\nSecond.",
                "url": "https://books.example/1",
                "title": "The Book",
                "author": "A. One; B. Two",
                "language": "en",
                "date": "1911-05-06",
                "identifier": "https://books.example/1",
            }
        ],
        [],
    )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<p>one\n  two</p><p>three</p>", "one two\n\nthree"),
        ("<div>one</div><div>two</div>", "one\ntwo"),
        ("<p>one<br/>two</p>", "one\ntwo"),
        ("<p><span class='drop'>T</span>HE <i>i</i>talic, <b>b</b>old</p>", "THE italic, bold"),
        ("<h2>H</h2>tail", "H\n\ntail"),
        ("<p>a<span id='p'/>b<i/></p><div id='x'/><h2/><p/><p>c<br/>d</p><textarea/><p>e</p>", "ab\n\nc\nd\n\ne"),
        ("<ul><li>a</li><li>b</li></ul>", "  a\n  b"),
        ("<p>a</p><p>&#160;</p><p> </p><p>b</p>", "a\n\nb"),
        ("<p>x<a id='p7'/>y &amp; &eacute;&#8212;<![CDATA[<z>]]></p>", "xy & é—<z>"),
        ("<p>a</p><script>var x;</script><style>s</style><nav><ol><li>Chapter 1</li></ol></nav><p>b</p>", "a\n\nb"),
        ("<figure><img src='i.png' alt='hidden'/><figcaption>A caption.</figcaption></figure>", "A caption."),
        ("<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby>", "漢"),
        ("<pre>  as\n    it is</pre>", "  as\n    it is"),
        ("<table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>", "1\t\t2\n3"),
    ],
)
def test_blocks_part_and_what_is_in_a_line_does_not(tmp_path: Path, body: str, text: str) -> None:
    assert text_of(tmp_path, body) == text


@given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_no_word_is_lost_or_glued_to_the_next_block(words: list[str]) -> None:
    from stages.read.epub import _text

    body = "".join(f"<{tag}>{word}</{tag}>" for word, tag in zip(words, ["p", "h1", "div", "li", "td", "blockquote"] * 2, strict=False))
    assert _text(page(body).encode()).split() == words


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "iso-8859-1"])
def test_chapters_in_any_charset_they_declare(tmp_path: Path, charset: str) -> None:
    data = page("<p>Größe</p>").replace("utf-8", charset).encode(charset)
    assert read(tmp_path, epub({"1.xhtml": data}))[0][0]["text"] == "Größe"


def test_what_is_not_in_the_line_of_reading_and_tables_of_contents_are_options(tmp_path: Path) -> None:
    item = f'<item id="x{{0}}" href="{{0}}.xhtml" media-type="{XHTML}" {{1}}/>'
    items = item.format("notes", "") + item.format("nav", 'properties="nav"') + item.format("toc", "")
    refs = '<itemref idref="xnotes" linear="no"/><itemref idref="xnav"/><itemref idref="xtoc"/>'
    files = {f"OEBPS/{name}.xhtml": page(f"<p>{name}</p>") for name in ("notes", "nav", "toc")}
    data = epub({"1.xhtml": page("<p>Text</p>")}, files, items=items, refs=refs, guide='<reference type="toc" href="toc.xhtml#top"/>')
    assert read(tmp_path, data)[0][0]["text"] == "Text"
    assert read(tmp_path, data, linear="all")[0][0]["text"] == "Text\n\nnotes"
    assert read(tmp_path, data, contents="keep")[0][0]["text"] == "Text\n\nnav\n\ntoc"


def test_of_an_item_that_is_no_text_the_fallback_is_read_and_a_chapter_that_is_named_twice_once(tmp_path: Path) -> None:
    items = f'<item id="p" href="p.pdf" media-type="application/pdf" fallback="f"/><item id="f" href="f.xhtml" media-type="{XHTML}"/>'
    items += '<item id="s" href="s.svg" media-type="image/svg+xml" fallback="s"/>'
    refs = '<itemref idref="p"/><itemref idref="s"/>' + '<itemref idref="c0"/>' * 1000
    data = epub({"1.xhtml": page("<p>one</p>")}, {"OEBPS/f.xhtml": page("<p>two</p>")}, items=items, refs=refs)
    assert read(tmp_path, data)[0][0]["text"] == "one\n\ntwo"


def test_the_date_of_publication_is_taken_of_several_and_no_metadata_is_null(tmp_path: Path) -> None:
    about = '<dc:date xmlns:opf="o" opf:event="modification">2020</dc:date><dc:date xmlns:opf="o" opf:event="publication">1899-01</dc:date>'
    (row,), _ = read(tmp_path, epub({"1.xhtml": page("<p>x</p>")}, about=about + "<dc:date>around 1900</dc:date>"))
    assert (row["date"], row["title"], row["author"], row["language"], row["url"]) == ("1899-01", None, None, None, None)


# -- what costs a book --------------------------------------------------------------------------------------------------------------


def test_a_book_under_drm_is_quarantined_and_one_with_veiled_fonts_is_read(tmp_path: Path) -> None:
    reference = '<enc:CipherData><enc:CipherReference URI="{}"/></enc:CipherData>'
    rights = f'<encryption xmlns:enc="e"><enc:EncryptedData>{reference}</enc:EncryptedData></encryption>'
    chapters: Chapters = {"1.xhtml": page("<p>Text</p>")}
    font = epub(chapters, {"META-INF/encryption.xml": rights.format("OEBPS/font.otf")})
    assert read(tmp_path, font)[0][0]["text"] == "Text"
    locked = epub({"1.xhtml": b"\x00" * 99}, {"META-INF/encryption.xml": rights.format("OEBPS/1.xhtml")})
    assert reason(tmp_path, locked) == "1 of 1 chapters are encrypted (DRM), by META-INF/encryption.xml"


def test_a_book_without_one_of_its_chapters_is_quarantined_or_kept_by_choice(tmp_path: Path) -> None:
    package = opf({"1.xhtml": "", "gone.xhtml": ""})
    data = epub({"1.xhtml": page("<p>Text</p>")}, package=package)
    assert reason(tmp_path, data) == "1 of 2 chapters cannot be had; OEBPS/gone.xhtml: not there"
    assert read(tmp_path, data, incomplete="keep")[0][0]["text"] == "Text"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no EPUB: an empty file"),
        (b"no archive at all", "no EPUB: "),
        (archive({"a.txt": "x"}), "no EPUB: it has no META-INF/container.xml"),
        (archive({"META-INF/container.xml": "<container><rootfile"}), "the container is not well-formed XML"),
        (archive({"META-INF/container.xml": "<container/>"}), "the container names no package"),
        (archive({"META-INF/container.xml": CONTAINER.format("../../etc/passwd")}), "its package ../../etc/passwd: not there"),
        (archive({"META-INF/container.xml": CONTAINER.format("/etc/passwd")}), "its package etc/passwd: not there"),
        (epub({}, package="<package>&nbsp;</package>"), "the package is not well-formed XML"),
        (epub({}, package=opf({})), "the package's spine names no text"),
        (epub({"../../../etc/passwd": page("x")}), "1 of 1 chapters cannot be had; ../../etc/passwd: a path"),
    ],
)
def test_what_is_no_book_says_so(tmp_path: Path, data: bytes, why: str) -> None:
    assert why in reason(tmp_path, data)


LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(12))


@pytest.mark.parametrize("where", ["container", "package"])
def test_xml_that_declares_entities_is_refused_without_expanding_any(tmp_path: Path, where: str) -> None:
    doctype = f'<!DOCTYPE x [<!ENTITY l0 "ha"><!ENTITY f SYSTEM "file:///etc/passwd">{LAUGHS}]>'
    files = {"META-INF/container.xml": f"{doctype}<container>&l12;</container>"} if where == "container" else {}
    data = epub({"1.xhtml": page("x")}, files, about="<dc:title>&l12;&f;</dc:title>", doctype=doctype)
    assert reason(tmp_path, data) == f"the {where} declares an entity; none is expanded"


@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
def test_a_chapter_that_declares_entities_makes_the_book_bad(tmp_path: Path, charset: str) -> None:
    doctype = f'<!DOCTYPE html [<!ENTITY l0 "]>"><!ENTITY f SYSTEM "file:///etc/passwd">{LAUGHS}]>'
    bomb = page("<p>a &l12; &f; b</p>").replace("<!DOCTYPE html>", doctype).encode(charset)
    data = epub({"1.xhtml": page("<p>Text</p>"), "2.xhtml": bomb})
    assert reason(tmp_path, data) == "1 of 2 chapters cannot be had; OEBPS/2.xhtml: it declares an entity; none is expanded"
    assert read(tmp_path, data, incomplete="keep")[0][0]["text"] == "Text"


def test_entities_that_nobody_declares_are_text_and_so_are_declarations_in_text(tmp_path: Path) -> None:
    assert text_of(tmp_path, "<p>a &l12; &f; b</p>") == "a &l12; &f; b"
    assert text_of(tmp_path, "<p>&lt;!ENTITY a> <![CDATA[<!ENTITY b>]]></p>") == "<!ENTITY a> <!ENTITY b>"


def test_what_is_quarantined_has_its_first_64_kilobytes_with_it(tmp_path: Path) -> None:
    for data in (b"no archive " * 9_000, epub({"1.xhtml": b"\0"})[:300], epub({}, package=opf({}))):
        _, (bad,) = read(tmp_path, data)
        assert isinstance(bad, Bad)
        assert bad.raw == data[: 64 << 10]


def test_bombs_end_soon_and_within_bounds(tmp_path: Path) -> None:
    zeros = epub({"1.xhtml": page("<p>" + "0" * (64 << 20) + "</p>")})
    assert "larger than 16,777,216 bytes" in reason(tmp_path, zeros)
    many = {f"{n}.xhtml": page(f"<p>{n}" + "0" * (1 << 20) + "</p>") for n in range(40)}
    assert "cannot be had" in reason(tmp_path, epub(many), max_book_bytes=4 << 20)
    began = time.process_time()
    anchors = "".join(f"<div id='p{n}'/><p>{n}</p>" for n in range(20_000))
    assert read(tmp_path, epub({"1.xhtml": page(anchors)}))[0][0]["text"].endswith("\n\n19998\n\n19999")
    deep = epub({"1.xhtml": page("<div>" * 200_000)})
    assert "nested too deep" in reason(tmp_path, deep)
    for body in ("<![CDATA[" * 400_000, "<title " * 400_000, "\n" * 3_000_000, "<!DOCTYPE[" * 400_000):
        read(tmp_path, epub({"1.xhtml": page(body), "2.xhtml": body}), incomplete="keep")
    assert time.process_time() - began < 60, "not in the square of the size"
    nested = epub({"1.xhtml": page("x")}, about="<a>" * 100_000 + "</a>" * 100_000)
    assert "elements" in reason(tmp_path, nested)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damage_anywhere_gives_a_document_or_a_reason(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = epub({"1.xhtml": page("<p>Text</p>" * 50), "2.xhtml": page("<p>More</p>")})
    at = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.booleans())
    damaged = whole[:at] if cut else whole[:at] + data.draw(st.binary(min_size=1, max_size=9)) + whole[at + 5 :]
    rows, other = read(tmp_path_factory.mktemp("damaged"), damaged)
    assert len(rows) + len(other) == 1


def test_other_files_are_not_read_and_none_at_all_is_the_recipes_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(RecipeError, match=r"read.epub.Epub.paths: no .epub file in"):
        Epub(paths=(str(tmp_path),)).shards(1)
    with pytest.raises(RecipeError, match="max_book_bytes is 0; it must be more than 0"):
        Epub(paths=(str(tmp_path),), max_book_bytes=0).shards(1)
