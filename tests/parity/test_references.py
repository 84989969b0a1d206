"""Sets of URLs: what counts as the same address, and the marks that it gives."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers import references
from classifiers.references import Mark, Urls, canonical
from curate.batch import Batch
from curate.errors import CurateError
from curate.stage import Model, Totals


def batch_of(column: str, values: list[str | None]) -> Batch:
    ids = [str(n) for n in range(len(values))]
    data = {"id": pa.array(ids, pa.string()), "text": pa.array(ids, pa.large_string()), column: pa.array(values, pa.string())}
    return Batch.of(pa.record_batch(data))


def trained(folder: Path, *lists: list[str | None]) -> tuple[Model, dict[str, object]]:
    """A set of URLs from batches of the column `references`."""
    selected = [Urls().select(batch_of("references", values), "documents", Totals(9, 99)) for values in lists]
    folder.mkdir(exist_ok=True)
    return Model(str(folder)), Urls().train({"documents": selected}, str(folder))


def marks(model: Model, urls: list[str | None], **settings: str) -> list[str]:
    return Mark(model, **settings).apply(batch_of("url", urls))["referenced"].to_pylist()  # type: ignore[arg-type]


def key(url: str | None) -> str | None:
    found: str | None = canonical(pa.array([url], pa.string()))[0].as_py()
    return found


SAME = [
    ("http://example.org/a", "https://example.org/a"),
    ("http://example.org/a", "HTTP://WWW.Example.ORG/a"),
    ("http://example.org/a", "http://example.org./a"),
    ("http://example.org/a", "http://example.org:80/a"),
    ("https://example.org/a", "https://example.org:443/a"),
    ("http://example.org/a", "http://example.org:/a"),
    ("http://example.org/a", "http://someone:secret@example.org/a"),
    ("http://example.org/a", "http://example.org/a/"),
    ("http://example.org", "http://example.org/"),
    ("http://example.org/a", "http://example.org/a#part"),
    ("http://example.org/a", "http://example.org/a?"),
    ("http://example.org/a", "  http://example.org/a\n"),
    ("http://example.org/caf%c3%a9", "http://example.org/caf%C3%A9"),
    ("http://example.org/café", "http://example.org/caf%C3%A9"),
    ("http://example.org/?q=%aF", "http://example.org/?q=%Af"),
]
DIFFERENT = [
    ("http://example.org/a", "http://example.org/A"),
    ("http://example.org/a", "http://example.org/a?x=1"),
    ("http://example.org/a", "http://example.org:8080/a"),
    ("http://example.org/a", "http://example.org:443/a"),
    ("http://example.org/a", "http://m.example.org/a"),
    ("http://www.com/", "http://com/"),
    ("http://example.org/a%2Fb", "http://example.org/a/b"),
]
NOT_URLS = [None, "", "not a url", "http://", "https:///a", "ftp://example.org/a", "//example.org/a", "http://a b/"]
NONE = [*NOT_URLS, "http://x\n.org/", "http://./a", "http://x/a\tb"]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_does_not_matter_in_an_address(one: str, other: str):
    assert key(one) == key(other) is not None


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_matters_in_an_address(one: str, other: str):
    assert key(one) != key(other)


@pytest.mark.parametrize("url", [*NONE, "http://example.org/" + "a" * references.LONGEST])
def test_what_is_no_address_has_no_key(url: str | None):
    assert key(url) is None


@given(st.lists(st.one_of(st.none(), st.text(max_size=40), st.text("htps:/w.[]@#?%aFé\0 \n", max_size=30).map("http://".__add__))))
def test_no_text_raises_and_each_is_judged_alone(urls: list[str | None]):
    urls = [u if u is None else u.encode("utf-8", "replace").decode() for u in urls]
    together = canonical(pa.array(urls, pa.string())).to_pylist()
    assert together == [key(u) for u in urls]
    for found in together:
        assert found is None or (found.isascii() and found and not any(c.isspace() for c in found))


hosts = st.lists(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), min_size=2, max_size=4).map(".".join)
paths = st.lists(st.from_regex(r"[A-Za-z0-9._~-]{1,6}", fullmatch=True), max_size=3).map("/".join)


@given(st.sampled_from(["http", "https"]), hosts, paths, st.from_regex(r"(\?[a-z=&0-9]{1,9})?", fullmatch=True))
def test_a_key_is_host_path_and_query_as_the_standard_library_splits_them(scheme: str, host: str, path: str, query: str):
    url = f"{scheme}://{host}/{path}{query}#end"
    parts = urlsplit(url)
    name = parts.hostname or ""
    if name.startswith("www.") and name.count(".") > 1:
        name = name[4:]
    assert key(url) == name + parts.path.rstrip("/") + (f"?{parts.query}" if parts.query else "")


def test_a_set_has_each_address_once_in_order(tmp_path: Path):
    model, card = trained(
        tmp_path / "set",
        ["http://b.org/x\nhttps://www.b.org/x/\n", None, "http://a.org/2\nmailto:a@b.org\nhttp://a.org/1"],
        ["", "http://a.org/1\n\nhttp://c.org"],
    )
    assert (tmp_path / "set/urls.txt").read_text().splitlines() == ["http://a.org/1", "http://a.org/2", "http://b.org/x", "http://c.org"]
    assert card == {"urls": 5, "canonical_urls": 4, "domains": 3, "top_domains": {"a.org": 2, "b.org": 1, "c.org": 1}}
    for name, count in ((references.EXACT, 5), (references.CANONICAL, 4), (references.HOSTS, 3)):
        hashes = np.load(f"{model.path}/{name}")
        assert hashes.dtype == np.uint64
        assert len(hashes) == count
        assert (hashes[1:] > hashes[:-1]).all()


def test_pages_are_marked_whose_address_is_in_the_set(tmp_path: Path):
    model, _ = trained(tmp_path / "set", ["http://b.org/x\nhttp://a.org/caf%C3%A9"])
    urls = ["https://WWW.b.org/x#y", "http://b.org/x", None, "http://b.org/y", "", "not a url", "http://a.org/café"]
    assert marks(model, urls) == ["page", "page", "no", "host", "no", "no", "page"]
    assert marks(model, urls, match="exact") == ["host", "page", "no", "host", "no", "no", "host"]
    assert marks(model, ["http://c.org/x", "http://a.org:8080", "https://www.a.org", "http://b.a.org/"]) == ["no", "host", "host", "no"]


def test_the_set_does_not_depend_on_how_it_was_selected_and_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    urls = [f"http{'s' * (n % 2)}://{'www.' * (n % 3 == 0)}host{n % 17}.org/{n % 40}" for n in range(400)]
    trained(tmp_path / "one", ["\n".join(urls)])
    monkeypatch.setattr(references, "_SORTED", 900.0)
    _, card = trained(tmp_path / "many", *[["\n".join(urls[n : n + 30])] for n in range(0, 400, 30)])
    for name in (references.LIST, references.EXACT, references.CANONICAL):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()
    assert card["canonical_urls"] == len({(n % 17, n % 40) for n in range(400)})


def test_no_references_say_so(tmp_path: Path):
    with pytest.raises(CurateError, match="no URL among the references"):
        trained(tmp_path / "set", [None, "", "ftp://example.org/"])


def test_a_folder_that_is_no_set_is_named(tmp_path: Path):
    with pytest.raises(CurateError, match=r"no set of URLs: expected a folder with canonical\.npy"):
        Mark(Model(str(tmp_path))).check()
    (tmp_path / references.HOSTS).write_bytes(b"")
    (tmp_path / references.CANONICAL).write_bytes(b"\x93NUMPY broken")
    with pytest.raises(CurateError, match="cannot be read as hashes"):
        marks(Model(str(tmp_path)), ["http://a.org"])
    np.save(tmp_path / references.CANONICAL, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(CurateError, match="cannot be read as hashes"):
        marks(Model(str(tmp_path)), ["http://a.org"])
    np.save(tmp_path / references.CANONICAL, np.zeros(3, np.int32))
    with pytest.raises(CurateError, match="holds int32"):
        marks(Model(str(tmp_path)), ["http://a.org"])


def test_a_set_that_the_run_makes_is_not_looked_for_before():
    Mark(Model("", "", "references")).check()
