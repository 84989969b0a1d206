"""Which pages are referred to: LLaMA takes pages that Wikipedia uses as references for examples of good ones (Touvron et al. 2023, 2.1).

RedPajama extracts 38 million URLs from one English dump and crawls a sample of them (its cc/classifier). Where no crawl is at hand, the
pages of Common Crawl whose URL is in the set can stand in.
Cost: 300,000 URLs a second and core, of which every tenth has percent-encodings to mend; 8 bytes a URL on disk, mapped and not loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.batch import Array, Batch, Mask
from curate.errors import CurateError
from curate.kernels.text import hash_spans
from curate.kernels.urls import mended
from curate.stage import Model, Totals, Trainer, Transform

LIST, EXACT, CANONICAL, HOSTS = "urls.txt", "exact.npy", "canonical.npy", "hosts.npy"
PAGE, HOST, NEITHER = "page", "host", "no"
LONGEST = 8192  # characters; what is longer is no address that anyone refers to
_SORTED = 512e6  # bytes of URLs that are sorted at once
_SAMPLE = 1000  # URLs per batch by which they are divided for that
_TOP = 50  # domains named in the card

_PARTS = (
    r"^(?P<scheme>[hH][tT][tT][pP][sS]?)://(?:[^/?#@\x00-\x20\x7f]*@)?(?P<host>[^/?#@:\[\]\x00-\x20\x7f]+|\[[0-9a-fA-F:.]+\])(?P<port>:[0-9]*)?"
    r"(?P<path>/[^?#\x00-\x20\x7f]*)?(?P<query>\?[^#\x00-\x20\x7f]*)?(?:#.*)?$"
)
_LOWER = r"%([0-9A-F]?[a-f]|[a-f])"  # of percent-encodings, to find them by


def canonical(urls: pa.Array) -> pa.Array:
    """The key of each URL, without its scheme; null for what is no http or https URL with a host: large_string.

    Two URLs have the same key if they are the same but for: http or https; letter case of the host, `www.` before and a full stop behind
    it; the scheme's own port, and a user's name; slashes at the end of the path; a query that is empty; the fragment; white
    space around; and letter case of percent-encodings, and characters beyond ASCII that are percent-encoded in one and not in the other.
    """
    urls = pc.utf8_trim_whitespace(urls.cast(pa.large_string()))
    urls = pc.if_else(pc.less_equal(pc.utf8_length(urls), LONGEST), urls, None)
    parts = pc.extract_regex(urls, _PARTS)
    scheme, host, port, path, query = (pc.struct_field(parts, n) for n in ("scheme", "host", "port", "path", "query"))
    host = pc.replace_substring_regex(pc.utf8_lower(host), r"^www\.([^.]+\.[^.])", r"\1")
    host = pc.utf8_rtrim(host, ".")
    host = pc.if_else(pc.equal(host, ""), None, host)
    usual = pc.if_else(pc.equal(pc.utf8_length(scheme), 5), ":443", ":80")
    port = pc.if_else(pc.or_(pc.equal(port, ":"), pc.equal(port, usual.cast(port.type))), "", port)
    query = pc.if_else(pc.equal(query, "?"), "", query)
    keys = pc.binary_join_element_wise(host, port, pc.utf8_rtrim(path, "/"), query, pa.scalar("", host.type))
    return _same_encoding(keys)


def _same_encoding(keys: pa.Array) -> pa.Array:
    """Percent-encodings in upper case, and what is beyond ASCII encoded, for the few that need it."""
    odd = pc.fill_null(pc.or_(pc.match_substring_regex(keys, _LOWER), pc.invert(pc.string_is_ascii(keys))), False)
    if not pc.any(odd).as_py():
        return keys
    form, offsets = mended(*Batch.of(pa.record_batch({"text": keys.filter(odd)})).utf8)
    fixed = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(form))
    return pc.replace_with_mask(keys, odd, fixed)


def hosts_of(keys: pa.Array) -> pa.Array:
    """The host that each key begins with: large_string."""
    return pc.replace_substring_regex(keys, r"[:/?].*$", "")


def hashes(strings: pa.Array) -> Array:
    """uint64 of each string; there may be no nulls."""
    return hash_spans(*Batch.of(pa.record_batch({"text": strings})).utf8)


@dataclass(frozen=True)
class Urls(Trainer):
    """Collects the URLs in the column `references`, which the reader of Wikipedia adds: a model that references.Mark uses.

    `urls.txt` has one URL for each canonical one, in order of those, so that those of a host stand together: what one would crawl.
    """

    @property
    def reads(self) -> tuple[str, ...]:
        return ("references",)

    def select(self, batch: Batch, role: str, totals: Totals) -> pa.RecordBatch:  # noqa: ARG002
        """(url, key): large_string, each URL once per batch."""
        lists = pc.split_pattern(pc.fill_null(batch["references"].cast(pa.large_string()), ""), "\n")
        urls = pc.utf8_trim_whitespace(pc.list_flatten(lists)).unique()
        keys = canonical(urls)
        good = keys.is_valid()
        return pa.record_batch({"url": urls.filter(good), "key": keys.filter(good)})

    def train(self, selected: Mapping[str, Iterable[pa.RecordBatch]], folder: str) -> dict[str, Any]:
        """Writes the URLs and their hashes, a range of keys at a time. The card has the counts and the domains that occur most."""
        batches = selected["documents"]
        exact, short, domains, count = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)], [], 0
        with open(os.path.join(folder, LIST), "wb") as file:
            for low, high in _ranges(batches):
                table = _between(batches, low, high)
                if not len(table):
                    continue
                exact.append(np.unique(hashes(table["url"].combine_chunks())))
                table = table.sort_by([("key", "ascending"), ("url", "ascending")]).combine_chunks()
                keys = table["key"].combine_chunks()
                first = np.ones(len(keys), np.bool_)
                first[1:] = pc.not_equal(keys.slice(1), keys.slice(0, len(keys) - 1)).to_numpy(zero_copy_only=False)
                chosen = table.filter(pa.array(first))
                short.append(hashes(chosen["key"].combine_chunks()))
                hosts = hosts_of(chosen["key"].combine_chunks()).value_counts()
                domains.append(pa.table({"host": hosts.field(0), "urls": hosts.field(1)}))
                file.writelines(f"{url}\n".encode() for url in chosen["url"].to_pylist())
                count += len(chosen)
        if not count:
            raise CurateError(
                "no URL among the references: the column is empty, or none begins with http:// or https://; "
                "learn from a source whose reader adds references, such as Wikipedia's"
            )
        found = {EXACT: np.unique(np.concatenate(exact)), CANONICAL: np.unique(np.concatenate(short))}
        hosts = pa.concat_tables(domains).group_by("host", use_threads=False).aggregate([("urls", "sum")])
        hosts = hosts.sort_by([("urls_sum", "descending"), ("host", "ascending")])
        found[HOSTS] = np.unique(hashes(hosts["host"].combine_chunks()))
        for name, values in found.items():
            np.save(os.path.join(folder, name), values, allow_pickle=False)
        top = hosts.slice(0, _TOP)
        return {
            "urls": len(found[EXACT]),
            "canonical_urls": count,
            "domains": len(hosts),
            "top_domains": dict(zip(top["host"].to_pylist(), top["urls_sum"].to_pylist(), strict=True)),
        }


def _ranges(batches: Iterable[pa.RecordBatch]) -> list[tuple[str | None, str | None]]:
    """Ranges of keys, each of about so many URLs as can be sorted at once."""
    size, sample = 0, []
    for batch in batches:
        size += batch.nbytes
        step = max(1, len(batch) // _SAMPLE)
        sample.append(batch["key"].take(pa.array(np.arange(0, len(batch), step))))
    parts = int(size // _SORTED) + 1
    if parts == 1:
        return [(None, None)]
    keys = sorted(pa.chunked_array(sample).to_pylist())
    cuts = [None, *sorted({keys[len(keys) * n // parts] for n in range(1, parts)}), None]
    return list(pairwise(cuts))


def _between(batches: Iterable[pa.RecordBatch], low: str | None, high: str | None) -> pa.Table:
    parts = [pa.table({"url": pa.array([], pa.large_string()), "key": pa.array([], pa.large_string())})]
    for batch in batches:
        keys, keep = batch["key"], pa.array(np.ones(len(batch), np.bool_))
        if low is not None:
            keep = pc.and_(keep, pc.greater_equal(keys, low))
        if high is not None:
            keep = pc.and_(keep, pc.less(keys, high))
        parts.append(pa.table(batch.filter(keep)))
    return pa.concat_tables(parts)


@dataclass(frozen=True)
class Mark(Transform):
    """Adds `referenced`: `page` where a document's `url` is one of a set, `host` where only its host is that of one of them, else `no`.

    Of URLs 64-bit hashes are compared: among a billion pages and 38 million URLs, one page in five hundred runs is marked by chance.
    """

    urls: Model  # made by references.Urls
    match: Literal["exact", "canonical"] = "canonical"  # ours: of pages; see `canonical` for what does not matter then

    @property
    def reads(self) -> tuple[str, ...]:
        return ("url",)

    @property
    def adds(self) -> tuple[str, ...]:
        return ("referenced",)

    @property
    def _pages(self) -> str:
        return EXACT if self.match == "exact" else CANONICAL

    def check(self) -> None:
        for name in (self._pages, HOSTS):
            if self.urls.path and not os.path.isfile(os.path.join(self.urls.path, name)):
                raise CurateError(f"{self.urls.path} is no set of URLs: expected a folder with {name}, as references.Urls makes it")

    @cached_property
    def known(self) -> tuple[Array, Array]:
        """uint64 of pages and of hosts, sorted, mapped."""
        self.check()
        return _mapped(os.path.join(self.urls.path, self._pages)), _mapped(os.path.join(self.urls.path, HOSTS))

    def apply(self, batch: Batch) -> Batch:
        urls = batch["url"].cast(pa.large_string())
        keys = canonical(urls)
        pages, hosts = self.known
        host = _is_in(hosts, hosts_of(keys))
        page = _is_in(pages, keys if self.match == "canonical" else pc.utf8_trim_whitespace(urls))
        return batch.with_column("referenced", pc.if_else(pa.array(page), PAGE, pc.if_else(pa.array(host), HOST, NEITHER)))


def _is_in(known: Array, values: pa.Array) -> Mask:
    """Whether the hash of each value is in a sorted array; a null is not."""
    wanted = hashes(pc.fill_null(values, ""))
    if not len(known):
        return np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    found: Mask = (known[at] == wanted) & values.is_valid().to_numpy(zero_copy_only=False)
    return found


def _mapped(path: str) -> Array:
    try:
        found: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CurateError(f"{path} cannot be read as hashes: {error}; make it again by references.Urls") from None
    if found.dtype != np.uint64 or found.ndim != 1:
        raise CurateError(f"{path} holds {found.dtype} in {found.ndim} dimensions; expected uint64 in one, as references.Urls writes them")
    return found
