"""What the contract needs to know of single stages: parameters that have no default, and input that a source can read.

A new stage is covered without a line here, unless one of its parameters must be given.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Example = Callable[[Path], dict[str, Any]]  # from an empty folder, the same parameters and files every time

PAGES = [
    {"text": "The first page.\nIts second line. " + "It goes on. " * 40, "url": "https://a.example/1", "date": "2020-01-01"},
    {"text": "Zweite Seite: Grüße, \U0001f600 und mehr. " + "Noch ein Satz. " * 40, "url": "https://a.example/2", "date": None},
    {"text": "第三页。" * 120, "url": None, "date": "2021-02-03"},
] * 5
KEPT = {"lang": "xx"}


def language_model(folder: Path) -> dict[str, Any]:
    from language_model import train

    return {"model": train(folder)}


def jsonl(folder: Path) -> dict[str, Any]:
    lines = [json.dumps({**page, **KEPT}) + "\n" for page in PAGES]
    (folder / "a.jsonl").write_text("".join(lines[:9]))
    (folder / "b.jsonl.gz").write_bytes(gzip.compress("".join(lines[9:]).encode(), mtime=0))
    return {"paths": [f"{folder}/*.jsonl*"], "keep": ["lang"]}


def parquet(folder: Path) -> dict[str, Any]:
    table = pa.Table.from_pylist([{**page, **KEPT} for page in PAGES])
    pq.write_table(table, folder / "a.parquet", row_group_size=4)
    pq.write_table(table.slice(3, 5), folder / "b.parquet")
    return {"paths": [f"{folder}/*.parquet"], "keep": ["lang"]}


def hub(folder: Path) -> dict[str, Any]:
    import pytest

    pytest.importorskip("datasets")
    home = folder / "pages"
    home.mkdir()
    for name, pages in (("a", PAGES[:9]), ("b", PAGES[9:])):
        (home / f"{name}.jsonl").write_text("".join(json.dumps({**page, **KEPT}) + "\n" for page in pages))
    return {"dataset": str(home), "keep": ["lang"]}


def record(kind: str, url: str, block: bytes, content: str) -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2020-02-20T02:20:02Z\r\n"
    head += f"WARC-Block-Digest: sha1:ABC\r\nContent-Type: {content}\r\nContent-Length: {len(block)}\r\n\r\n"
    return head.encode() + block + b"\r\n\r\n"


def archived(folder: Path, records: list[bytes]) -> dict[str, Any]:
    (folder / "a.warc.gz").write_bytes(b"".join(gzip.compress(r, mtime=0) for r in records))
    (folder / "b.warc").write_bytes(b"".join(records[:4]))
    return {"paths": [f"{folder}/*.warc*"]}


def wet(folder: Path) -> dict[str, Any]:
    urls = [page["url"] or "https://a.example/none" for page in PAGES]
    blocks = [f"A title\n{page['text']}\n".encode() for page in PAGES]
    return archived(folder, [record("conversion", url, block, "text/plain") for url, block in zip(urls, blocks, strict=True)])


def warc(folder: Path) -> dict[str, Any]:
    records = []
    for page in PAGES:
        html = f"<html><head><title>A title</title></head><body><article><p>{page['text']}</p></article></body></html>".encode()
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html
        records.append(record("response", page["url"] or "https://a.example/none", block, "application/http; msgtype=response"))
    return archived(folder, records)


def quality_model(folder: Path) -> dict[str, Any]:
    return {**language_model(folder), "positive": "en"}


def referenced(folder: Path) -> dict[str, Any]:
    from classifiers.references import Urls
    from curate.batch import Batch
    from curate.stage import Totals

    urls = "https://www.example.com/a/\nhttp://sub.example.org:8080/b?c=d"
    data = pa.record_batch({"text": pa.array(["a"], pa.large_string()), "references": pa.array([urls])})
    (folder / "set").mkdir()
    Urls().train({"documents": [Urls().select(Batch.of(data), "documents", Totals(1, 1))]}, str(folder / "set"))
    return {"urls": str(folder / "set")}


def perplexity_models(folder: Path) -> dict[str, Any]:
    from classifiers.perplexity import Train
    from curate.batch import Batch
    from curate.stage import Totals

    texts = [text for text in TEXTS if text.strip()] * 4
    data = {"id": [f"a:{n}" for n in range(len(texts))], "text": pa.array(texts, pa.large_string()), "language": ["en"] * len(texts)}
    trainer = Train(pieces=300, order=3, estimator="own", memory=1e7)
    (folder / "models").mkdir()
    trainer.train({"documents": [trainer.select(Batch.of(pa.record_batch(data)), "documents", Totals(1, 1))]}, str(folder / "models"))
    return {"models": str(folder / "models")}


def wikipedia(folder: Path) -> dict[str, Any]:
    page = (
        "<page><title>T{0}</title><ns>0</ns><id>{0}</id><revision><timestamp>2022-06-20T00:00:00Z</timestamp>"
        "<text>Lead {0}.\n== H ==\nBody. &lt;ref&gt;[http://a.example/{0} x]&lt;/ref&gt;</text></revision></page>"
    )
    pages = "".join(page.format(n) for n in range(1, 6))
    dump = f"<mediawiki><siteinfo><dbname>enwiki</dbname></siteinfo>{pages}</mediawiki>"
    (folder / "enwiki-pages-articles.xml").write_text(dump)
    return {"paths": [f"{folder}/*.xml"], "references": "all"}


def posts(folder: Path) -> dict[str, Any]:
    row = '  <row Id="{0}" PostTypeId="1" CreationDate="2014-01-21T20:26:05" Score="{0}" Body="&lt;p&gt;{0}&lt;/p&gt;" Title="T {0}" />\n'
    rows = "".join(row.format(n) for n in range(1, 6))
    for site in ("beer.stackexchange.com", "english.stackexchange.com"):
        (folder / site).mkdir()
        (folder / site / "Posts.xml").write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<posts>\n{rows}</posts>')
    return {"paths": [f"{folder}/**/Posts.xml"]}


def encoder(folder: Path) -> dict[str, Any]:
    import pytest

    pytest.importorskip("transformers")
    from encoder_model import save

    return {"model": save(folder / "encoder")}


def centroids(folder: Path) -> dict[str, Any]:
    import numpy as np

    np.save(folder / "centroids.npy", np.array([[1, 0, 0, 0], [0, 0, 1, 0.5]], np.float32))
    return {"clusters": str(folder)}


def punkt(folder: Path) -> dict[str, Any]:
    import punkt_tables

    return {"punkt": punkt_tables.write(folder)}


def word_list(folder: Path) -> dict[str, Any]:
    (folder / "en").write_text("committee\nlorem ipsum\n")
    return {"words": str(folder / "en")}


def gutenberg(folder: Path) -> dict[str, Any]:
    head = "The Project Gutenberg EBook\r\n\r\nTitle: A title\r\nLanguage: English\r\n\r\n*** START OF THE PROJECT GUTENBERG EBOOK\r\n"
    for number, page in enumerate(PAGES[:3]):
        (folder / f"{number + 1}-0.txt").write_bytes((head + page["text"]).encode())
    with zipfile.ZipFile(folder / "9-8.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("9-8.txt"), PAGES[1]["text"].encode("cp1252", "replace"))
    return {"paths": [str(folder)]}


def epub(folder: Path) -> dict[str, Any]:
    container = '<container><rootfiles><rootfile full-path="a.opf"/></rootfiles></container>'
    package = (
        '<package><metadata><title>A title</title></metadata><manifest><item id="c" href="c.xhtml" media-type="application/xhtml+xml"/>'
        '</manifest><spine><itemref idref="c"/></spine></package>'
    )
    for number, page in enumerate(PAGES[:4]):
        with zipfile.ZipFile(folder / f"{number}.epub", "w") as archive:
            files = {"META-INF/container.xml": container, "a.opf": package, "c.xhtml": f"<html><body><p>{page['text']}</p></body></html>"}
            for name, text in files.items():
                archive.writestr(zipfile.ZipInfo(name), text)
    return {"paths": [str(folder)]}


def repositories(folder: Path) -> dict[str, Any]:
    files = {f"src/{n}.py": page["text"] for n, page in enumerate(PAGES)} | {"package.json": '{"license": "MIT"}'}
    for repository in ("one", "two"):
        for name, text in files.items():
            (folder / "all" / repository / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "all" / repository / name).write_text(text)
    with zipfile.ZipFile(folder / "all" / "three.zip", "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return {"paths": [f"{folder}/all"]}


def bigquery(folder: Path) -> dict[str, Any]:
    rows = [{"content": page["text"], "repo_name": "a/b", "ref": "refs/heads/main", "path": f"{n}.py"} for n, page in enumerate(PAGES)]
    (folder / "github_0.json").write_text("".join(json.dumps({**row, "license": "mit", "id": "0"}) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), folder / "github_1.parquet", row_group_size=4)
    return {"paths": [f"{folder}/github_*"]}


def word_tokenizer(folder: Path) -> dict[str, Any]:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return {"tokenizer": str(folder / "tokenizer.json")}


def arxiv(folder: Path) -> dict[str, Any]:
    import io
    import tarfile

    def tar_of(files: dict[str, bytes]) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return out.getvalue()

    texts = [f"\\section{{{n}}}\n{page['text']}".encode() for n, page in enumerate(PAGES)]
    papers = {f"0704/0704.{n:04}.gz": gzip.compress(text, mtime=0) for n, text in enumerate(texts)}
    papers["0704/hep-th0704001.gz"] = gzip.compress(tar_of({"a.tex": texts[0], "b.tex": texts[1]}), mtime=0)
    for name, some in (("a", dict(list(papers.items())[:9])), ("b", dict(list(papers.items())[9:]))):
        (folder / f"{name}.tar").write_bytes(tar_of(some))
    return {"paths": [f"{folder}/*.tar"]}


EXAMPLES: dict[str, Example] = {
    "c4.BadWords": word_list,
    "c4.Clean": punkt,
    "c4.Lines": punkt,
    "code.LettersPerToken": word_tokenizer,
    "dedup.semantic.SemDeDup": centroids,
    "dedup.sentences.Sentences": punkt,
    "encoder.Embed": encoder,
    "language.FastText": language_model,
    "linear.Score": quality_model,
    "perplexity.KenLM": perplexity_models,
    "read.arxiv.Arxiv": arxiv,
    "read.epub.Epub": epub,
    "read.gutenberg.Gutenberg": gutenberg,
    "read.github.BigQuery": bigquery,
    "read.github.Repositories": repositories,
    "read.hub.Hub": hub,
    "read.jsonl.Jsonl": jsonl,
    "read.parquet.Parquet": parquet,
    "read.stackexchange.Posts": posts,
    "read.warc.Warc": warc,
    "read.wet.Wet": wet,
    "read.wikipedia.Wikipedia": wikipedia,
    "references.Mark": referenced,
}

# Values for columns that stages read, taken in turn.
COLUMNS: dict[str, list[Any]] = {
    "language": ["en", "de", "", "fr", "en"],
    "language_score": [0.9, 0.5, 0.0, 0.499, 1.0, 0.75, 0.25],
    "url": ["https://example.com/a", None, "http://sub.example.org:8080/b?c=d#e", "not a url", ""],
    "date": ["2020-01-01", None, "2023-12-31T23:59:59Z"],
    "title": ["A title", None, ""],
    "quality": [0.9, 0.25, None, 0.2499, 0.0, 1.0],
    "perplexity": [339.9, 340.0, None, 520.0, 12.5, 3e38, 1.0],
    "bucket": ["head", "middle", "tail", "all", ""],
    "references": ["https://example.com/a\nhttp://example.org", None, ""],
    "files": ['[["a.tex",1]]', None, '[["",5],["b.tex",9]]'],
    "site": ["beer.stackexchange.com", "meta.stackoverflow.com", "beer.stackexchange.com", None],
    "kind": ["question", "answer", "answer", "question", None],
    "post": [1, 2, 3, None, 5, 6, 2],
    "parent": [None, 1, 4, 99, 1, None],
    "score": [3, -1, None, 10, 9],
    "accepted": [2, None, 3],
    "licence": ["MIT", None, "gpl-2.0", "MIT OR GPL-3.0-only", "", "bsd-3-clause", "no (expression"],
    "path": ["src/a.py", "LICENSE", None, "a.c", "x/key.crt", "Makefile", "README.md", "a.min.js"],
    "embedding": [[1, 0, 0, 0], [0.9, 0.1, 0, 0], None, [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0.99], [-1, 0.5, 0, 0], [0, 1, 0, 0]],
}
TYPES = {"embedding": pa.list_(pa.float32(), 4), "language_score": pa.float32(), "quality": pa.float32(), "perplexity": pa.float32()}
TYPES |= dict.fromkeys(("post", "parent", "score", "accepted"), pa.int64())

TEXTS = (
    "",
    " ",
    "\n",
    "\n" * 50,
    "\r\n\r\n",
    "a",
    "ordinary words of the language, with a full stop.",
    "The committee met in the morning and that was the end of it. " * 12,
    "the same line\n" * 20,
    "first paragraph\n\nsecond paragraph\n\nfirst paragraph",
    "- one\n- two\n* three\n• four...\nfive…",
    "\x00\x01 NUL \x00 and \x7f DEL \x1b[0m",
    "שלום \u202eעולם\u202c مرحبا بالعالم \u200f.",
    "👩\u200d👩\u200d👧\u200d👦 👍🏽 ❤\ufe0f \U0001f1e9\U0001f1ea",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠀀𠀁 \U0010fffd \ufffd \ufffe",
    "e\u0301\u0301\u0301 Z̸̢̛a̷l̶g̷o̶ \u0301alone",
    "漢字かな交じり文。カタカナも、ある。" * 5,
    "ภาษาไทยเขียนติดกันไม่มีวรรค",
    "\ufeffbyte order mark\u2028line separator\u2029paragraph\x85next",
    "tab\tvertical\x0bform\x0cfeed no\u00a0break \u3000wide \u200bzero",
    "<html><body><p>Not <b>really</b> &amp; a page</p></body></html>",
    "{ \"json\": [1, 2.5e-3], 'x': lorem ipsum } javascript: https://example.com/a?b=c#d user@example.com 8.8.8.8",
    "1 22 333 4,444 55.5 ١٢٣ ½ Ⅷ",
    "# # # $$$ %%% ... ... ***",
    "word " * 2000,
    "ends without a line feed\nand has\ttabs",
    "The committee met in the morning and that was the end of it. " * 12,
    "a",
)
LONG = "x" * 200_000 + " the and of " * 50_000 + "é" * 100_000  # 1 MB in one line
