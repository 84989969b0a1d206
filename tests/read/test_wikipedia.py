"""Wikipedia dumps: which pages become documents, what damage costs, and that no process is left behind."""

from __future__ import annotations

import bz2
import gc
import gzip
import io
import itertools
import json
import os
import re
import subprocess
from collections import Counter
from xml.sax.saxutils import escape

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from curate.errors import CurateError, RecipeError
from curate.stage import Bad, Skip
from stages.read.apart import Apart
from stages.read.wikipedia import Wikipedia
from stages.read.wikipedia_dump import Fault, Fragment, Head, Page, _Framing, fragments, parse

pytest.importorskip("mwparserfromhell")
WHOLE = 1 << 60


def site(dbname="enwiki", base="https://en.wikipedia.org/wiki/Main_Page", names=(), version="0.10") -> str:
    listed = "".join(f'<namespace key="{key}" case="first-letter">{name}</namespace>' for key, name in names)
    about = f"<dbname>{dbname}</dbname><base>{base}</base><namespaces>{listed}</namespaces>"
    return f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-{version}/" xml:lang="en">\n<siteinfo>{about}</siteinfo>\n'


def page(number: object = 1, text: str = "Some text.", title="A title", ns: object = 0, more="", revision="") -> str:
    named = "".join(f"<{k}>{escape(str(v))}</{k}>" for k, v in (("title", title), ("ns", ns), ("id", number)) if v is not None)
    body = f'<text bytes="1" xml:space="preserve">{escape(text)}</text>'
    inner = f"<id>77</id><timestamp>2022-06-20T01:02:03Z</timestamp><contributor><id>88</id></contributor>{revision}{body}"
    return f"<page>{named}{more}<revision>{inner}</revision></page>\n"


END = "</mediawiki>\n"


def reads(folder, data: str | bytes, name="enwiki-pages.xml", **options):
    """(documents, counted skips, bads)"""
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read(Wikipedia(paths=(str(path),), **options))


def read(source):
    items = [item for shard in source.shards(WHOLE) for item in source.read(shard)]
    skips: Counter[str] = Counter()
    for item in items:
        if isinstance(item, Skip):
            skips[item.reason] += item.count
    batches = [item for item in items if isinstance(item, pa.RecordBatch)]
    assert all(batch.schema.names == ["id", "text", *source.adds] for batch in batches)
    return [row for b in batches for row in b.to_pylist()], dict(skips), [item for item in items if isinstance(item, Bad)]


def ids(rows) -> list[str]:
    return [row["id"].rpartition(":")[2] for row in rows]


def test_an_article_is_a_document_with_all_its_columns(tmp_path):
    text = "Lead&nbsp;one<ref>http://a.org/?x=1&amp;y</ref>.\n== H ==\nBody <ref>[http://b.org T]</ref>"
    (row,), skips, bads = reads(tmp_path, site() + page(12, text, "C++ & Ä/B?") + END, references="all")
    assert row == {
        "id": "enwiki-pages.xml:12",
        "text": "Lead\u00a0one.\n\nH \nBody",
        "url": "https://en.wikipedia.org/wiki/C%2B%2B%20%26%20%C3%84/B%3F",
        "title": "C++ & Ä/B?",
        "language": "en",
        "date": "2022-06-20T01:02:03Z",
        "opening_chars": len("Lead one."),
        "references": "http://a.org/?x=1&y\nhttp://b.org",
    }
    assert (skips, bads) == ({}, [])


def test_x10_other_namespaces_redirects_and_empty_pages_are_left_out_and_counted(tmp_path):
    pages = [
        page(1, "Talk.", ns=1),
        page(2, "#REDIRECT [[A]]", more='<redirect title="A" />'),
        page(3, ""),
        page(4, "{{only|a template}}<ref>and</ref>"),
        page(5, "== ==\n\n"),
        page(6, '{"json": 1}', revision="<model>wikibase-item</model>"),
        page(7, "Kept.", revision="<model>wikitext</model>"),
        '<page><title>T</title><ns>0</ns><id>9</id><revision><id>1</id><text deleted="deleted" /></revision></page>',
    ]
    rows, skips, bads = reads(tmp_path, site() + "".join(pages) + END)
    assert ids(rows) == ["7"]
    assert skips == {"namespace": 1, "redirect": 1, "empty": 4, "not_wikitext": 1}
    assert bads == []


def test_redirects_can_be_told_by_their_text_as_older_versions_did(tmp_path):
    data = site() + page(1, "#redirect [[A]]") + page(2, "Text.", more="<redirect/>") + END
    assert ids(reads(tmp_path, data)[0]) == ["1"]
    rows, skips, _ = reads(tmp_path, data, redirects="text")
    assert (ids(rows), skips) == (["2"], {"redirect": 1})


@pytest.mark.parametrize(
    ("dbname", "name", "options", "language"),
    [
        ("dewiki", "x.xml", {}, "de"),
        ("zh_min_nanwiki", "x.xml", {}, "zh-min-nan"),
        ("frwikisource", "x.xml", {}, "fr"),
        ("", "nlwiki-20220620-pages-articles-multistream1.xml-p1p134538.bz2", {}, "nl"),
        ("dewiki", "nlwiki-latest.xml", {"language": "pl"}, "nl"),
        ("dewiki", "smallwiki-latest.xml", {"language": "pl"}, "de"),
        ("", "x.xml", {"language": "pl"}, "pl"),
        ("", "x.xml", {}, None),
        ("something", "wiki.xml", {}, None),
    ],
)
def test_the_language_is_the_dumps_or_the_files_or_the_recipes(tmp_path, dbname, name, options, language):
    (row,), _, _ = reads(tmp_path, site(dbname, "") + page() + END, name, **options)
    assert row["language"] == language
    assert row["url"] == (f"https://{language}.wikipedia.org/wiki/A%20title" if language else None)


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://be-tarask.wikipedia.org/wiki/Main", "https://be-tarask.wikipedia.org/wiki/A%20title"),
        ("https://commons.wikimedia.org/wiki/Main_Page", "https://commons.wikimedia.org/wiki/A%20title"),
        ("https://a.example/wiki/Portal:A/B", "https://a.example/wiki/A%20title"),
        ("http://a.example/w/index.php?title=Main/Page", "http://a.example/w/index.php?title=A%20title"),
        ("http://a.example/Main_Page", "http://a.example/A%20title"),
        ("http://a.example", "https://en.wikipedia.org/wiki/A%20title"),
        ("javascript:alert(1)/wiki/", "https://en.wikipedia.org/wiki/A%20title"),
    ],
)
def test_urls_are_of_the_wiki_that_the_dump_is_of(tmp_path, base, url):
    assert reads(tmp_path, site(base=base) + page() + END)[0][0]["url"] == url


def test_dumps_of_other_languages_are_left_out(tmp_path):
    for language in ("en", "de", "ja"):
        (tmp_path / f"{language}.xml").write_text(site(f"{language}wiki") + page() * 3 + END)
    rows, skips, bads = read(Wikipedia(paths=(str(tmp_path),), languages=("de", "en")))
    assert [row["language"] for row in rows] == ["de"] * 3 + ["en"] * 3
    assert (skips, bads) == ({"other_language": 3}, [])


@pytest.mark.parametrize("code", ["EN", "zh_min_nan", "en,de", "en ", ""])
def test_what_is_no_code_of_a_language_is_the_recipes_mistake(tmp_path, code):
    (tmp_path / "a.xml").write_text(CLOSED)
    with pytest.raises(RecipeError, match=r"languages: .*: expected the code of a Wikipedia"):
        Wikipedia(paths=(str(tmp_path),), languages=("en", code)).shards(1)
    if code:
        with pytest.raises(RecipeError, match=r"Wikipedia\.language: "):
            Wikipedia(paths=(str(tmp_path),), language=code).shards(1)


def test_languages_that_no_dump_has_by_its_name_are_the_recipes_mistake(tmp_path):
    for name in ("enwiki-20220720.xml", "zh_min_nanwiki-20220720.xml"):
        (tmp_path / name).write_text(CLOSED)
    with pytest.raises(RecipeError, match="no dump is of xx, de; by their names there is en, zh-min-nan"):
        Wikipedia(paths=(str(tmp_path),), languages=("xx", "de")).shards(1)
    assert len(Wikipedia(paths=(str(tmp_path),), languages=("xx", "zh-min-nan")).shards(1)) == 2
    (tmp_path / "another.xml").write_text(CLOSED)  # may be of any
    assert len(Wikipedia(paths=(str(tmp_path),), languages=("xx",)).shards(1)) == 3


def test_names_of_namespaces_come_from_the_dump_too(tmp_path):
    data = site("ltgwiki", names=[(-2, "Medeja"), (6, "Fails"), (14, "Kategoreja"), (0, "")])
    data += page(text="[[Fails:x.png|a]]b[[Kategoreja:C]][[Category:D]]") + END
    assert reads(tmp_path, data)[0][0]["text"] == "bCD"
    assert reads(tmp_path, data, category="drop")[0][0]["text"] == "b"


def test_old_dumps_tell_namespaces_by_the_title(tmp_path):
    data = site(names=[(1, "Talk"), (0, "")], version="0.3")
    data += page(1, ns=None) + page(2, title="Talk:A", ns=None) + page(3, title="2001: A Space Odyssey", ns=None) + END
    rows, skips, _ = reads(tmp_path, data)
    assert (ids(rows), skips) == (["1", "3"], {"namespace": 1})


SLOT = "<origin>77</origin><model>wikitext</model><format>text/x-wiki</format>"


@pytest.mark.parametrize("version", ["0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "0.10", "0.11"])
def test_every_export_format_gives_the_same_articles(tmp_path, version):
    """0.3 has neither <ns> nor <redirect>, 0.6 has both, 0.8 the model of the content, 0.11 slots beside the main one."""
    minor = int(version[2:])
    ns = (lambda n: n) if minor > 5 else lambda _: None
    names = [(0, ""), (1, "Talk")]
    data = site(names=names, version=version).replace("<mediawiki ", f'<mediawiki version="{version}" ')
    other = "<content><role>mediainfo</role><origin>1</origin><model>wikibase-mediainfo</model><text>{}</text></content>"
    for number, title, text, space in ((1, "A", "One.", 0), (2, "Talk:A", "No.", 1), (3, "B", "#REDIRECT [[A]]", 0), (4, "C", "Two.", 0)):
        redirect = '<redirect title="A" />' if number == 3 and minor > 3 else ""
        one = page(number, text, title, ns(space), redirect, SLOT if minor > 10 else "<model>wikitext</model>" if minor > 7 else "")
        data += one.replace("</revision>", f"{other}<sha1>x</sha1></revision>") if minor > 10 else one
    rows, skips, bads = reads(tmp_path, data + END)
    assert [(row["title"], row["text"]) for row in rows] == [("A", "One."), ("C", "Two.")]
    assert (skips, bads) == ({"namespace": 1, "redirect": 1}, [])


def test_elements_are_known_by_their_local_name(tmp_path):
    data = re.sub(r"<(/?)(\w)", r"<\1mw:\2", site() + page() + END).replace("xmlns=", "xmlns:mw=")
    assert ids(reads(tmp_path, data)[0]) == ["1"]


def test_a_page_that_comes_again_has_an_id_of_its_own(tmp_path):
    rows, _, _ = reads(tmp_path, site() + page(5) + page(6) + page(5) + page("005") + page(5 + 512) + END)
    assert ids(rows) == ["5", "6", "5+1", "5+2", "517"]


CLOSED = site() + "".join(page(n, f"Text {n} é.") for n in range(1, 8)) + END


@pytest.mark.parametrize("pack", [lambda d: d, gzip.compress, bz2.compress], ids=["plain", "gzip", "bzip2"])
@pytest.mark.parametrize("streams", [1, 5])
def test_compression_is_told_by_the_bytes_and_streams_follow_one_another(tmp_path, pack, streams):
    data = CLOSED.encode()
    cuts = [len(data) * n // streams for n in range(streams + 1)]
    packed = b"".join(pack(data[a:b]) for a, b in itertools.pairwise(cuts))
    rows, _, bads = reads(tmp_path, packed, "misleading.zip")
    assert (ids(rows), bads) == (list("1234567"), [])


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(0, 3000))
def test_pages_do_not_depend_on_how_the_file_is_read(block, cut):
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, block) if size > 16 else size)

    data = CLOSED.encode()[: max(0, len(CLOSED.encode()) - cut)]
    assert list(fragments(Slow(data), 10_000)) == list(fragments(io.BytesIO(data), 10_000))


def test_a_file_cut_off_in_a_page_keeps_what_came_before(tmp_path):
    cut = CLOSED.index("Text 5")
    for pack in (lambda d: d, gzip.compress, bz2.compress):
        rows, _, (bad,) = reads(tmp_path, pack(CLOSED[:cut].encode()))
        assert ids(rows) == list("1234")
        assert bad.reason == "the page breaks off: the file ends"
        assert bad.place == f"enwiki-pages.xml:@{len(CLOSED[: CLOSED.index('<page><title>A title</title><ns>0</ns><id>5')].encode())}"
        assert bad.raw.endswith(b'preserve">')
        assert not bad.whole_file


def test_a_file_cut_off_between_pages_is_noticed(tmp_path):
    rows, _, (bad,) = reads(tmp_path, CLOSED.removesuffix(END))
    assert len(rows) == 7
    assert bad.reason == "the file ends before </mediawiki>: some pages are missing"


def test_a_truncated_bzip2_file_is_one_bad_page(tmp_path):
    streams = [bz2.compress(part.encode()) for part in (site() + page(1) + page(2), page(3), page(4) + page(5, "x y " * 9999))]
    rows, _, (bad,) = reads(tmp_path, b"".join(streams)[:-30])
    assert ids(rows) == list("123")
    assert "bzip2 stream at byte" in bad.reason
    assert "is cut off" in bad.reason


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress], ids=["gzip", "bzip2"])
def test_a_damaged_stream_costs_its_pages_and_the_next_ones_are_read(tmp_path, pack):
    parts = [site() + page(1) + "<page><title>half", page(2), page(3, "Three.") + page(4), page(5) + END]
    streams = [bytearray(pack(part.encode())) for part in parts]
    streams[1][len(streams[1]) // 2] ^= 0xFF
    rows, _, bads = reads(tmp_path, b"".join(streams))
    assert ids(rows)[0] == "1"
    assert ids(rows)[-3:] == list("345")
    assert ["corrupt" in bad.reason for bad in bads] == [True]
    assert bads[0].reason.startswith("the page breaks off: the ")
    assert not bads[0].whole_file


def test_garbage_behind_the_last_stream_is_one_bad_record(tmp_path):
    rows, _, (bad,) = reads(tmp_path, bz2.compress(CLOSED.encode()) + bytes(99) + b"garbage" * 999)
    assert len(rows) == 7
    assert "corrupt" in bad.reason


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damage_anywhere_costs_what_it_touches_and_its_neighbours(data):
    pack = data.draw(st.sampled_from([bytes, gzip.compress, bz2.compress]))
    parts = [site(), *(page(n, f"Text {n}. " * 9) for n in range(1, 9)), END]
    streams = [pack(part.encode()) for part in parts]
    starts = [0, *itertools.accumulate(map(len, streams))]
    packed = b"".join(streams)
    at = data.draw(st.integers(0, len(packed) - 1))
    length = data.draw(st.integers(0, 40))
    damaged = packed[:at] + data.draw(st.binary(max_size=40)) + packed[at + length :]
    found = list(fragments(io.BytesIO(damaged), 100_000))
    whole = [item.data.decode() + "\n" for item in found if isinstance(item, Fragment) and item.data.isascii()]
    touched = [n for n in range(10) if starts[n] < at + max(length, 1) and at < starts[n + 1]]
    before, after = parts[1 : touched[0]], parts[touched[-1] + 2 : 9]
    assert whole[: len(before)] == before
    if touched[0]:  # what a file is stands in its first bytes
        assert whole[len(whole) - len(after) :] == after
    places = [item.offset for item in found if not isinstance(item, Head)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (page(2).replace("</title>", ""), "invalid XML: mismatched tag"),
        (page(2).replace("Some text.", "a \x01 b"), "invalid XML: not well-formed"),
        (page(2).replace("Some text.", "a ]]> b"), "invalid XML: not well-formed"),
        (page(2).replace("Some text.", "a &bomb; b"), "invalid XML: undefined entity"),
        (page(2).replace("Some text.", "a &#0; b"), "invalid XML: reference to invalid character number"),
        (page(2).replace("Some text.", "a <![CDATA[ </page> ]]> b"), "invalid XML: unclosed CDATA section"),
        (page(2).replace("Some text.", "<b>" * 1_000_000), "invalid XML: mismatched tag"),
        (page(None), "a page without id"),
        (page("x"), "a page without id"),
        (page("1" * 40), "a page without id"),
        (page(2, title=None), "a page without title"),
        ("<page><title>T</title><ns>0</ns><id>2</id></page>", "a page without the text of a revision"),
        ("<page><title>T</title><id>2</id><body><text>Some text.</text></body></page>", "a page without the text of a revision"),
        ("<page/>", "the next page begins before this one ends"),
        ("<page></page>", "a page without id"),
        (page(2).replace("</page>", ""), "the next page begins before this one ends"),
    ],
)
def test_a_bad_page_costs_itself_and_says_why(tmp_path, broken, reason):
    rows, _, (bad,) = reads(tmp_path, site() + page(1) + broken + page(3) + END)
    assert ids(rows) == ["1", "3"]
    assert bad.reason.startswith(reason)
    assert bad.place == f"enwiki-pages.xml:@{len(site() + page(1))}"
    assert bad.raw.startswith(b"<page")


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_what_is_in_a_comment_is_not_read(block):
    commented = f"<!-- {page(2)} <!-- {page(3)} -->"
    inner = page(5).replace("<revision>", "<!-- </page><page> --><revision>")
    data = (site() + commented + page(4) + inner + f"<!-- {page(6)} -->" + END).encode()
    found = list(_Framing(1 << 20, None, 0).run(iter([data[i : i + block] for i in range(0, len(data), block)])))
    assert [parse(item.data).id for item in found if isinstance(item, Fragment)] == ["4", "5"]
    assert not [item for item in found if isinstance(item, Fault)]


@pytest.mark.parametrize("inside", [0, 2 << 20])
def test_a_comment_that_does_not_end_hides_nothing(tmp_path, inside):
    rows, _, bads = reads(tmp_path, site() + page(1) + "<!-- " + page(2) + "y" * inside + page(3) + END)
    assert (ids(rows), bads) == (["1", "2", "3"], [])


def test_bytes_that_are_not_utf8_cost_their_page(tmp_path):
    rows, _, (bad,) = reads(tmp_path, (site() + page(1) + page(2, "caf@") + page(3) + END).encode().replace(b"@", b"\xe9"))
    assert ids(rows) == ["1", "3"]
    assert bad.reason.startswith("invalid XML: not well-formed (invalid token)")


BOMB = '<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>\n'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (BOMB + site() + page() + END, "a dump has no DOCTYPE"),
        ((site() + page() + END).encode("utf-16"), "this is UTF-16"),
        ((site() + page() + END).encode("utf-16-le"), "this is UTF-16"),
        ('<?xml version="1.0" encoding="ISO-8859-1"?>' + site() + page() + END, "this says ISO-8859-1"),
        ("", "no MediaWiki dump: it begins with b''"),
        ("<html><body>404</body></html>", "no MediaWiki dump: it begins with b'<html><body>404</body></"),
        (
            gzip.compress(b"<!DOCTYPE html><html><head><title>503</title></head></html>"),
            "no MediaWiki dump: it begins with b'<!DOCTYPE html><html><he'",
        ),
        (("\ufeff" + site() + page() + END).encode("utf-16-be"), "this is UTF-16"),
        (b"BZh91AY&SYgarbage", "bzip2 stream at byte 0"),
        (bytes(3_000_000), "no MediaWiki dump"),
    ],
)
def test_what_is_no_dump_is_a_bad_file(tmp_path, data, reason):
    rows, _, (bad,) = reads(tmp_path, data)
    assert rows == []
    assert reason in bad.reason
    assert bad.whole_file


def test_a_dump_without_pages_is_fine_and_so_are_pages_without_a_root(tmp_path):
    assert reads(tmp_path, site() + END) == ([], {}, [])
    rows, _, bads = reads(tmp_path, page(1) + page(2))
    assert (ids(rows), bads) == (["1", "2"], [])
    rows, _, bads = reads(tmp_path, '\ufeff<?xml version="1.0" encoding="UTF-8"?>\n' + site() + page(1) + END)
    assert (ids(rows), bads) == (["1"], [])


def test_a_page_above_the_limit_is_not_held(tmp_path):
    large = page(2, "x y z " * 5_000_000)  # 30 MB
    data = gzip.compress((site() + page(1) + large + page(3) + END).encode(), 1)
    found = list(fragments(io.BytesIO(data), 1 << 20))
    assert [type(item) for item in found] == [Head, Fragment, Fault, Fragment]
    rows, _, (bad,) = reads(tmp_path, data)
    assert ids(rows) == ["1", "3"]
    assert bad.reason == "the page is larger than 16,777,216 bytes"
    assert len(bad.raw) == 64 << 10


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece", ["<siteinfo>", "<", "<a:", "<page", "</page", "</page ", "<!DOCTYPE", "<page><id>", "<page>&", "<!--", "<page><!--"]
)
def test_hostile_dumps_take_linear_time(piece):
    data = b"<mediawiki>" + piece.encode() * (8_000_000 // len(piece))
    for item in fragments(io.BytesIO(data), 1 << 20):
        assert isinstance(item, Head | Fault | Fragment)


@pytest.mark.parametrize("begin", ["<page>", "<page></page", "<page><title>", "", "</page"])
def test_memory_does_not_grow_with_what_does_not_end(begin):
    tracemalloc = pytest.importorskip("tracemalloc")

    class Endless(io.RawIOBase):
        left = 100

        def read(self, size=-1):
            self.left -= size > 16
            data = (page(1) + begin).encode() if self.left == 99 else b"y" * (1 << 20)
            return b"" if self.left < 0 else data

        def seek(self, *_):
            return 0

    tracemalloc.start()
    try:
        found = list(fragments(Endless(), 4 << 20))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [type(item) for item in found] == [Head, Fragment, Fault][: 3 if "<page>" in begin else 2]
    assert peak < 24 << 20


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "piece", ["{{", "[[", "<ref>", "{|", "''", "<b>", "[http://a ", "\n* ", "{{{", "&#", "</", "<!--", "=\n=", "[[File:a|"]
)
def test_hostile_wikitext_costs_at_most_its_page(tmp_path, piece):
    data = site() + page(1) + page(2, "a" + piece * 100_000) + page(3) + END
    rows, skips, bads = reads(tmp_path, data, seconds=2.0)
    assert ids(rows)[0] == "1"
    assert ids(rows)[-1] == "3"
    assert len(rows) + sum(skips.values()) + len(bads) == 3
    for bad in bads:
        assert bad.place == "enwiki-pages.xml:2"
        assert bad.reason.startswith(("the wikitext takes", "the wikitext cannot be parsed", "the wikitext ends"))


def children() -> set[str]:
    """Of this process: other tests run beside it."""
    out = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False).stdout
    return {line for line in out.splitlines() if "stages.read.apart" in line}


def test_a_reader_that_is_left_early_leaves_no_process(tmp_path):
    path = tmp_path / "enwiki.xml"
    path.write_text(site() + "".join(page(n, "word " * 3000) for n in range(1, 2000)) + END)
    source = Wikipedia(paths=(str(path),))
    (shard,) = source.shards(WHOLE)
    before = children()
    left = source.read(shard)
    assert isinstance(next(left), pa.RecordBatch)
    assert children() - before
    left.close()
    assert not children() - before
    forgotten = source.read(shard)
    next(forgotten)
    del forgotten
    gc.collect()
    assert not children() - before


def test_pages_are_cleaned_in_one_process_and_in_bounded_batches(tmp_path, monkeypatch):
    started = []
    start = Apart._start
    monkeypatch.setattr(Apart, "_start", lambda self: (started.append(1), start(self))[1])
    path = tmp_path / "enwiki.xml"
    path.write_text(site() + "".join(page(n, "word " * 10_000) for n in range(1, 400)) + END)
    source = Wikipedia(paths=(str(path),))
    batches = list(source.read(source.shards(WHOLE)[0]))
    assert sum(map(len, batches)) == 399
    assert max(batch.nbytes for batch in batches) < 12 << 20
    assert len(started) == 1


def test_a_page_says_what_its_first_revision_says():
    two = page(4, "first").replace("</page>", "<revision><id>5</id><text>second</text></revision></page>")
    assert parse(two.encode()) == Page("4", "A title", "0", False, None, "2022-06-20T01:02:03Z", "first")


@pytest.mark.parametrize("option", ["max_page_bytes", "seconds", "memory"])
def test_limits_of_nothing_are_the_recipes_mistake(tmp_path, option):
    (tmp_path / "a.xml").write_text(CLOSED)
    with pytest.raises(RecipeError, match=option):
        Wikipedia(paths=(str(tmp_path),), **{option: 0}).shards(1)


def test_too_little_memory_to_begin_with_is_one_error(tmp_path):
    (tmp_path / "a.xml").write_text(CLOSED)
    source = Wikipedia(paths=(str(tmp_path),), memory=1 << 20)
    with pytest.raises(CurateError, match="1 MB of memory"):
        read(source)


def test_a_recipe_spells_it_as_json():
    source = Wikipedia(paths=("x",), languages=("de", "en"))
    (config,) = source.config.values()
    assert TypeAdapter(Wikipedia).validate_json(json.dumps(config)) == source
    assert source.name == "read.wikipedia.Wikipedia"
    assert "references" not in source.adds
    assert "references" in Wikipedia(paths=("x",), references="redpajama").adds
