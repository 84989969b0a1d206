"""URL deduplication: of pages with the same address one stays, the newest.

Llama 3 keeps the most recent version of each URL over the whole data set (Dubey et al. 2024, 3.1.1), and says neither when two URLs are the
same nor how ties end. Here: see `curate.kernels.urls.canonical`; then the longer text, then the earlier address.
Cost, per core: 1.2 million URLs a second of 84 bytes become keys, 0.7 million with dates and lengths; then as `dedup.exact`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.batch import Array, Batch
from curate.errors import CurateError
from curate.kernels import urls as kernels
from stages.dedup.equal import Equal
from stages.dedup.exact_kernels import hash_bytes
from stages.dedup.keeper import KEEPERS


def c4_keys(urls: pa.Array) -> pa.Array:
    """The key by which C4 knows a page (normalize_url of c4_utils.py): without http:// and https://, wherever they stand, and www. behind
    them; without a query whose first key begins with utm_, ref or feed, and all behind it; without slashes at the end.
    """
    keys = pc.replace_substring_regex(urls, r"https?://(?:www\.)?", "")
    return pc.utf8_rtrim(pc.replace_substring_regex(keys, r"(?s)\?(?:utm_|ref|feed).*", ""), "/")


@dataclass(frozen=True)
class Url(Equal):
    """Drop documents that have the same `url` as one that stays. One without stays; what is no URL is compared as it stands."""

    url_key: Literal["strict", "canonical", "c4"] = "canonical"  # strict: byte for byte; c4: see `c4_keys`. Llama 3 does not say
    tracking: tuple[str, ...] = ("utm_*", "gclid", "fbclid", "sessionid", "phpsessid")  # keys of a query that do not count; ours
    keeper: KEEPERS = "newest"  # or first, longest, best; newest: Llama 3 3.1.1, of one date the longer, without a date the oldest

    @property
    def compares(self) -> tuple[str, ...]:
        return ("url",)

    def check(self) -> None:
        super().check()
        for name in self.tracking:
            if "*" in name[:-1] or name in ("", "*"):
                raise CurateError(f"tracking: {name!r} is no key of a query; give its name, or how names begin and a star, such as utm_*")

    def hashes(self, batch: Batch) -> tuple[Array, Array, Array]:
        urls = batch["url"].cast(pa.large_string())
        there = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(urls), ""), False)
        row = np.flatnonzero(there.to_numpy(zero_copy_only=False))
        urls = urls.filter(there)
        data, start, end = Batch.of(pa.record_batch({"text": c4_keys(urls) if self.url_key == "c4" else urls})).utf8
        if self.url_key == "canonical":
            data, offsets = kernels.canonical(data, start, end, self.tracking)
            start, end = offsets[:-1], offsets[1:]
        return row, *hash_bytes(data, start, end)
