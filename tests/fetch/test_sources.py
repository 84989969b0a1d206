"""What each source's own listing makes of a choice: addresses, places, sizes and checksums; and what a listing may not say."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hostile import Quick, Server, serving

from curate.errors import RecipeError
from curate.fetch import arxiv, c4, commoncrawl, gutenberg, stackexchange, wikipedia
from curate.fetch.download import Download
from curate.fetch.wanted import Wanted
from curate.fetch.web import Refused

SHA1, MD5, SHA256 = "a" * 40, "b" * 32, "c" * 64


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as started:
        yield started


def facts(server: Server, found: list[Wanted]) -> list[tuple[str, str, int | None, str]]:
    return [(w.url.removeprefix(server.base), w.path, w.size, w.digest) for w in found]


# Common Crawl

CRAWL = "CC-MAIN-2024-22"


def crawl(server: Server, paths: list[str], kind: str = "wet") -> None:
    server.files[f"/crawl-data/{CRAWL}/{kind}.paths.gz"] = gzip.compress("".join(f"{p}\n" for p in paths).encode())


def segment(n: int, kind: str = "wet") -> str:
    return f"crawl-data/{CRAWL}/segments/1715971057216.{n // 10}/{kind}/CC-MAIN-20240517233122-{n:05}.warc.{kind}.gz"


def test_a_crawl_gives_its_first_files_or_some_of_all_alike_for_a_seed(server: Server) -> None:
    crawl(server, [segment(n) for n in range(100)])
    first = commoncrawl.files(Quick(), server.base, CRAWL, 2, "wet", None)
    name = "CC-MAIN-20240517233122-00000.warc.wet.gz"
    assert facts(server, first)[0] == (f"/{segment(0)}", f"commoncrawl/{CRAWL}/wet/{name}", None, "")
    assert [w.url[-17:-12] for w in first] == ["00000", "00001"]
    spread = [commoncrawl.files(Quick(), server.base, CRAWL, 10, "wet", seed) for seed in (1, 1, 2)]
    numbers = [[int(w.url[-17:-12]) for w in found] for found in spread]
    assert numbers[0] == numbers[1] != numbers[2]
    assert {b - a for n in numbers for a, b in pairwise(n)} == {10}


def test_all_files_of_a_crawl_are_each_one_once(server: Server) -> None:
    crawl(server, [segment(n, "warc") for n in range(7)], "warc")
    for seed in (None, 1, 2, 3):
        assert len({w.path for w in commoncrawl.files(Quick(), server.base, CRAWL, 7, "warc", seed)}) == 7
    with pytest.raises(RecipeError, match=r"--segments 8: CC-MAIN-2024-22 has 7 warc files"):
        commoncrawl.files(Quick(), server.base, CRAWL, 8, "warc", None)


def test_a_list_of_paths_in_several_members_is_read_to_its_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ["".join(f"{segment(n)}\n" for n in some).encode() for some in ((0, 1, 2), (3, 4))]
    server.files[f"/crawl-data/{CRAWL}/wet.paths.gz"] = b"".join(map(gzip.compress, parts))
    assert [w.url[-17:-12] for w in commoncrawl.files(Quick(), server.base, CRAWL, 5, "wet", None)] == [f"{n:05}" for n in range(5)]
    monkeypatch.setattr(commoncrawl, "LISTING", max(map(len, parts)))
    with pytest.raises(Refused, match="longer than"):
        commoncrawl.files(Quick(), server.base, CRAWL, 5, "wet", None)


@pytest.mark.parametrize("path", ["crawl-data/../../x.gz", "/etc/passwd", "https://elsewhere/x.gz", "crawl-data/.x", "crawl-data/x/.."])
def test_a_crawls_list_names_only_files_of_the_crawl(server: Server, path: str) -> None:
    crawl(server, [path])
    with pytest.raises(Refused):
        commoncrawl.files(Quick(), server.base, CRAWL, 1, "wet", None)


def test_a_list_of_paths_that_is_a_bomb_or_cut_off_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"/crawl-data/{CRAWL}/wet.paths.gz"
    whole = gzip.compress(b"crawl-data/x\n" * 10_000)
    monkeypatch.setattr(commoncrawl, "LISTING", 100_000)
    for data in (whole, gzip.compress(b"x")[:-3], b"<html>"):
        server.files[path] = data
        with pytest.raises(Refused, match=r"wet\.paths\.gz: is"):
            commoncrawl.files(Quick(), server.base, CRAWL, 1, "wet", None)


def test_the_name_of_a_crawl_is_checked_before_anything_is_asked(server: Server) -> None:
    with pytest.raises(RecipeError, match="did you mean CC-MAIN-2024-22"):
        commoncrawl.files(Quick(), server.base, "2024-22", 1, "wet", None)
    assert server.asked == []


# Wikipedia


def dumped(server: Server, wiki: str, date: str, status: str = "done", **more: Any) -> None:
    files = {
        f"{wiki}-{date}-pages-articles-multistream1.xml-p1p1000.bz2": {"size": 11, "url": "http://elsewhere/x", "sha1": SHA1, "md5": MD5},
        f"{wiki}-{date}-pages-articles-multistream-index1.txt-p1p1000.bz2": {"size": 3, "sha1": SHA1},
        f"{wiki}-{date}-pages-articles-multistream2.xml-p1001p2000.bz2": {"size": 12, "md5": MD5.upper()},
        **more,
    }
    job = {"status": status, "files": files}
    server.files[f"/{wiki}/{date}/dumpstatus.json"] = json.dumps({"version": "0.8", "jobs": {"articlesmultistreamdump": job}}).encode()


def test_a_dump_is_its_streams_without_indices_from_our_own_address(server: Server) -> None:
    dumped(server, "enwiki", "20220720")
    dumped(server, "zh_min_nanwiki", "20220720")
    found = facts(server, wikipedia.files(Quick(), server.base, ["en", "zh-min-nan", "en"], "20220720"))
    one = "enwiki-20220720-pages-articles-multistream1.xml-p1p1000.bz2"
    two = "enwiki-20220720-pages-articles-multistream2.xml-p1001p2000.bz2"
    assert found[:2] == [
        (f"/enwiki/20220720/{one}", f"wikipedia/enwiki/20220720/{one}", 11, f"sha1:{SHA1}"),
        (f"/enwiki/20220720/{two}", f"wikipedia/enwiki/20220720/{two}", 12, f"md5:{MD5}"),
    ]
    assert len(found) == 4


def test_the_latest_dump_is_the_newest_that_is_complete(server: Server) -> None:
    server.files["/dewiki/"] = b'<a href="../">..</a><a href="20220701/">x</a><a href="20220720/">x</a><a href="latest/">x</a>'
    dumped(server, "dewiki", "20220720", "in-progress")
    dumped(server, "dewiki", "20220701")
    assert "/dewiki/20220701/" in wikipedia.files(Quick(), server.base, ["de"], "latest")[0].url
    with pytest.raises(Refused, match=r"is not complete \(in-progress\)"):
        wikipedia.files(Quick(), server.base, ["de"], "20220720")


@pytest.mark.parametrize(
    "listing", [b"", b"[]", b"{", b"[" * 100_000, b'{"jobs": []}', b'{"jobs": {"articlesmultistreamdump": 3}}', b"\xff", b"9" * 5000]
)
def test_a_status_that_is_none_is_named(server: Server, listing: bytes) -> None:
    server.files["/enwiki/20220720/dumpstatus.json"] = listing
    with pytest.raises(Refused, match=r"dumpstatus\.json: has no job articlesmultistreamdump"):
        wikipedia.files(Quick(), server.base, ["en"], "20220720")


@pytest.mark.parametrize("entry", [{"size": -1, "sha1": SHA1}, {"size": 11, "sha1": "zz"}, {"size": 1 << 50, "sha1": SHA1}])
def test_what_a_status_says_of_a_file_must_make_sense(server: Server, entry: dict[str, Any]) -> None:
    dumped(server, "enwiki", "20220720", **{"enwiki-20220720-pages-articles-multistream3.xml.bz2": entry})
    if entry["size"] == -1:  # is no size: the length is the server's
        assert wikipedia.files(Quick(), server.base, ["en"], "20220720")[-1].size is None
        return
    with pytest.raises(Refused, match="listing"):
        wikipedia.files(Quick(), server.base, ["en"], "20220720")


@pytest.mark.parametrize(("language", "date"), [("../x", "latest"), ("EN", "latest"), ("en", "2022"), ("en", "latst")])
def test_languages_and_dates_are_checked_before_anything_is_asked(server: Server, language: str, date: str) -> None:
    with pytest.raises(RecipeError, match="expected"):
        wikipedia.files(Quick(), server.base, [language], date)
    assert server.asked == []


# StackExchange

SITES = {
    "beer.stackexchange.com.7z": 5,
    "beer.meta.stackexchange.com.7z": 500,
    "meta.stackexchange.com.7z": 900,
    "superuser.com.7z": 50,
    "mathoverflow.net.7z": 40,
    "stackoverflow.com-Posts.7z": 1000,
    "stackoverflow.com-Votes.7z": 2000,
    "readme.txt": 9999,
}


@pytest.fixture
def item(server: Server) -> Server:
    files = [{"name": n, "size": str(s), "md5": MD5, "sha1": SHA1, "source": "original"} for n, s in SITES.items()]
    server.files["/metadata/stackexchange"] = json.dumps({"files": [*files, {"name": "stackexchange_files.xml", "md5": MD5}]}).encode()
    return server


def test_the_largest_sites_are_without_metas_and_of_stack_overflow_the_posts(item: Server) -> None:
    found = facts(item, stackexchange.files(Quick(), item.base, "stackexchange", [], 3))
    assert found[0] == (
        "/download/stackexchange/stackoverflow.com-Posts.7z",
        "stackexchange/stackoverflow.com-Posts.7z",
        1000,
        f"sha1:{SHA1}",
    )
    assert [p for _, p, _, _ in found[1:]] == ["stackexchange/superuser.com.7z", "stackexchange/mathoverflow.net.7z"]
    with pytest.raises(RecipeError, match="--top 5: stackexchange has 4 sites without the metas"):
        stackexchange.files(Quick(), item.base, "stackexchange", [], 5)


def test_sites_are_named_as_people_write_them(item: Server) -> None:
    names = ["beer", "superuser", "stackoverflow.com", "mathoverflow", "meta", "superuser.com"]
    found = [w.path.removeprefix("stackexchange/") for w in stackexchange.files(Quick(), item.base, "stackexchange", names, None)]
    assert found == [
        "beer.stackexchange.com.7z",
        "superuser.com.7z",
        "stackoverflow.com-Posts.7z",
        "mathoverflow.net.7z",
        "meta.stackexchange.com.7z",
    ]
    with pytest.raises(RecipeError, match=r"supruser: no such site in .*; did you mean superuser"):
        stackexchange.files(Quick(), item.base, "stackexchange", ["supruser"], None)


@pytest.mark.parametrize("listing", [b"{}", b"[]", b"null", b'{"files": [3]}', b"<html>"])
def test_an_item_that_is_not_there_is_named(server: Server, listing: bytes) -> None:
    server.files["/metadata/x"] = listing  # the Internet Archive answers {} for an item it does not have
    with pytest.raises(Refused, match="no metadata of an item"):
        stackexchange.files(Quick(), server.base, "x", [], 3)


# Project Gutenberg

CATALOGUE = """Text#,Type,Issued,Title,Language,Authors,Subjects,LoCC,Bookshelves
1342,Text,1998-06-01,"Pride
and Prejudice",en,"Austen, Jane",x,PR,y
11,Text,2008-06-27,Alice,en; fr,Carroll,x,PR,y
9,Sound,2008-06-27,A recording,en,x,x,x,x
50,Text,1992-12-01,Candide,fr,Voltaire,x,PQ,y
x,Text,1992-12-01,,de,,,,
"""


def test_books_come_by_number_or_by_language_in_order(server: Server) -> None:
    server.files["/cache/epub/feeds/pg_catalog.csv"] = CATALOGUE.encode()
    url = "/cache/epub/11/pg11.txt"
    assert facts(server, gutenberg.files(Quick(), server.base, [11, 11], [], None)) == [(url, "books/gutenberg/pg11.txt", None, "")]
    assert server.asked == []
    by = {("en",): [11, 1342], ("fr",): [11, 50], ("en", "fr"): [11, 50, 1342]}
    for languages, numbers in by.items():
        found = gutenberg.files(Quick(), server.base, [], languages, None)
        assert [w.path for w in found] == [f"books/gutenberg/pg{n}.txt" for n in numbers]
    assert len(gutenberg.files(Quick(), server.base, [], ["en"], 1)) == 1
    with pytest.raises(RecipeError, match="--languages eng: no text has this language; did you mean en"):
        gutenberg.files(Quick(), server.base, [], ["eng"], 1)


@pytest.mark.parametrize("listing", [b"", b"<html>\n<body>", b"Text#,Type,Language\n" + b'"' + b"x" * 200_000, b"\xff\xfe\x00"])
def test_a_catalogue_that_is_none_is_named(server: Server, listing: bytes) -> None:
    server.files["/cache/epub/feeds/pg_catalog.csv"] = listing
    with pytest.raises(Refused, match="is no catalogue"):
        gutenberg.files(Quick(), server.base, [], ["en"], None)


@pytest.mark.parametrize("given", ["", "11,", "eleven", "-1", "11;12", "٣", "123456789"])
def test_numbers_of_books_are_numbers(given: str) -> None:
    with pytest.raises(RecipeError, match="expected the numbers of books"):
        gutenberg.numbers(given)


def test_a_source_that_asks_for_a_pause_gets_it(server: Server) -> None:
    server.files["/x"] = b"x"
    web = Quick(pause=2.0)
    for _ in range(3):
        web.read(f"{server.base}/x", 10)
    assert len(web.waits) == 2
    assert all(1.5 < w <= 2 for w in web.waits[:1])


# C4

TREE = "/api/datasets/allenai/c4/tree/main/en"


def large(n: int) -> dict[str, Any]:
    path = f"en/c4-train.{n:05}-of-01024.json.gz"
    return {"type": "file", "oid": "d" * 40, "size": 130, "path": path, "lfs": {"oid": SHA256, "size": 100 + n, "pointerSize": 130}}


def test_the_hubs_pages_are_followed_at_our_own_address(server: Server) -> None:
    elsewhere = '<https://elsewhere/api/x?cursor=a%2Fb%3D&limit=2>; rel="next"'
    server.files[TREE] = json.dumps([large(1), {"type": "directory", "path": "en/more"}]).encode()
    server.headers[TREE]["Link"] = elsewhere
    second = f"{TREE}?cursor=a%2Fb%3D"
    validation = {"type": "file", "path": "en/c4-validation.00000-of-00008.json.gz", "size": 1}
    server.files[second] = json.dumps([large(0), validation, {"type": "file", "path": "en/../../x.json.gz"}]).encode()
    found = facts(server, c4.files(Quick(), server.base, "en", None, "main"))
    names = [f"c4-train.{n:05}-of-01024.json.gz" for n in (0, 1)]
    assert found == [
        (f"/datasets/allenai/c4/resolve/main/en/{name}", f"c4/en/{name}", 100 + n, f"sha256:{SHA256}") for n, name in enumerate(names)
    ]
    assert len(c4.files(Quick(), server.base, "en", 1, "main")) == 1
    with pytest.raises(RecipeError, match="--files 3: en has 2 training files"):
        c4.files(Quick(), server.base, "en", 3, "main")


def test_pages_without_end_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c4, "PAGES", 3)
    server.files[TREE] = b"[]"
    server.headers[TREE]["Link"] = '<x?cursor=1>; rel="next"'
    with pytest.raises(Refused, match="more than 3 pages"):
        c4.files(Quick(), server.base, "en", None, "main")


@pytest.mark.parametrize("listing", [b"{}", b"[3]", b'[{"lfs": 3}]', b"<html>", b"[]"])
def test_a_listing_of_the_hub_that_is_none_is_named(server: Server, listing: bytes) -> None:
    server.files[TREE] = listing
    with pytest.raises(Refused, match=r"is no listing|no training file"):
        c4.files(Quick(), server.base, "en", None, "main")


def test_a_configuration_that_is_not_there_is_a_mistake(server: Server) -> None:
    with pytest.raises(RecipeError, match=r"--config en\.noclaen: .*did you mean en\.noclean"):
        c4.files(Quick(), server.base, "en.noclaen", None, "main")


# arXiv

TAR = b"a tar of sources" * 100


def sources(*files: tuple[str, str]) -> bytes:
    md5 = hashlib.md5(TAR).hexdigest()
    entry = "<file>\n <content_md5sum>{}</content_md5sum><filename>{}</filename><md5sum>{}</md5sum><size>{}</size><yymm>{}</yymm></file>"
    inner = "".join(entry.format(MD5, name, md5, len(TAR), month) for month, name in files)
    return f'<?xml version="1.0"?>\n<arXivSRC>{inner}<timestamp>now</timestamp></arXivSRC>'.encode()


def tar(month: str, n: int = 1) -> tuple[str, str]:
    return month, f"src/arXiv_src_{month}_{n:03}.tar"


MONTHS = {
    "2301": ["2301_001", "2301_002"],
    "2301,9912": ["9912_001", "2301_001", "2301_002"],
    "9901-0001": ["9912_001", "0001_001"],
    "all": ["9912_001", "0001_001", "2212_001", "2301_001", "2301_002"],
}


@pytest.mark.parametrize("months", MONTHS)
def test_months_are_taken_from_the_manifest_across_the_century(server: Server, months: str) -> None:
    server.files["/src/arXiv_src_manifest.xml"] = sources(*map(tar, ("9912", "0001", "2212", "2301")), tar("2301", 2), ("2301", "../x.tar"))
    found = arxiv.files(Quick(), server.base, months)
    assert [w.path for w in found] == [f"arxiv/arXiv_src_{m}.tar" for m in MONTHS[months]]
    assert {(w.size, w.digest) for w in found} == {(len(TAR), "md5:" + hashlib.md5(TAR).hexdigest())}


def test_months_that_are_none_or_not_there_are_mistakes(server: Server) -> None:
    server.files["/src/arXiv_src_manifest.xml"] = sources(tar("9912"), tar("2301"))
    for months in ("2013-01", "2313", "", "2302-2301", "January"):
        with pytest.raises(RecipeError, match="expected `all`, or months"):
            arxiv.files(Quick(), server.base, months)
    with pytest.raises(RecipeError, match="it goes from 9912 to 2301"):
        arxiv.files(Quick(), server.base, "2302")


@pytest.mark.parametrize(
    "listing",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><arXivSRC><file><filename>&b;</filename></file></arXivSRC>',
        b"<a>" * 100_000,
        b"<arXivSRC>",
        b"",
        b"<arXivSRC/>",
    ],
)
def test_a_manifest_that_is_none_is_named_and_no_entity_is_expanded(server: Server, listing: bytes) -> None:
    server.files["/src/arXiv_src_manifest.xml"] = listing
    with pytest.raises(Refused, match=r"declares an entity|too deep|is no XML|names no tar"):
        arxiv.files(Quick(), server.base, "all")


def no_credentials(patched: pytest.MonkeyPatch, home: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        patched.delenv(name, raising=False)
    patched.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        patched.setenv(name, str(home / "none"))


def test_without_credentials_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("botocore", reason="botocore is not installed: pip install 'curate[s3]'")
    no_credentials(monkeypatch, tmp_path)
    with pytest.raises(RecipeError, match=r"AWS credentials of your own, and none were found\. Set AWS_ACCESS_KEY_ID"):
        arxiv.signer()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(RecipeError, match="nobody"):
        arxiv.signer()


def test_requests_are_signed_by_who_pays_and_an_object_store_gives_the_tar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed: pip install 'curate[dev]'")
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'curate[dev]'")
    no_credentials(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    started = moto.ThreadedMotoServer(port=0, verbose=False)
    started.start()
    try:
        base = f"http://127.0.0.1:{started.get_host_and_port()[1]}"
        s3 = boto3.client("s3", endpoint_url=base, region_name="us-east-1")
        s3.create_bucket(Bucket="arxiv")
        s3.put_object(Bucket="arxiv", Key=arxiv.MANIFEST, Body=sources(tar("2301")))
        s3.put_object(Bucket="arxiv", Key=tar("2301")[1], Body=TAR)
        web = Quick(sign=arxiv.signer(), stall=30)
        (found,) = arxiv.files(web, f"{base}/arxiv", "2301")
        part = tmp_path / "arxiv/.arXiv_src_2301_001.tar.part"
        part.parent.mkdir()
        part.write_bytes(TAR[:100])  # goes on from here
        entry = Download(web, found, tmp_path, lambda _: None).run()
    finally:
        started.stop()
    assert (tmp_path / found.path).read_bytes() == TAR
    assert entry["checked"] == "published checksum"
    headers = {k.lower(): v for k, v in arxiv.signer()(found.url).items()}
    assert headers["x-amz-request-payer"] == "requester"
    assert "x-amz-request-payer" in headers["authorization"].split("SignedHeaders=")[1].split(",")[0]
