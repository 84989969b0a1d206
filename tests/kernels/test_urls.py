"""When two URLs are the same page: by hand, and against Python's own parts of a URL."""

from __future__ import annotations

import re
from itertools import pairwise
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.batch import Batch
from curate.kernels import urls

TRACKING = ("utm_*", "gclid", "fbclid", "sessionid", "phpsessid")


def forms(addresses: list[str], dropped: tuple[str, ...] = TRACKING) -> list[str]:
    data = pa.record_batch({"text": pa.array(["before\n", *addresses, "#behind"], pa.large_string())})
    form, offsets = urls.canonical(*Batch.of(data).utf8, dropped)
    found = [bytes(form[low:high]).decode() for low, high in pairwise(offsets)]
    assert (found[0], found[-1]) == (":before\n", ":#behind")
    return found[1:-1]


def form(address: str) -> str:
    return forms([address])[0]


SAME = [
    ("HTTP://www.A.com:80/x?utm_source=q#f", "https://a.com/x"),  # the specification's, 6.5
    ("http://a.com", "http://a.com/"),
    ("http://a.com/x/", "http://a.com/x"),
    ("http://a.com/x/?a=1", "http://a.com/x?a=1"),
    ("http://a.com/x?", "http://a.com/x"),
    ("http://a.com/x?#", "http://a.com/x"),
    ("http://a.com/x?utm_medium=a&gclid=b&FBCLID=c&PHPSESSID=d&UTM_x", "http://a.com/x"),
    ("http://a.com/x?b=2&a=1", "http://a.com/x?a=1&b=2"),
    ("http://a.com/x?b=2&&a=1&", "http://a.com/x?a=1&b=2"),
    ("http://a.com/x?a=2&b=1&a=1", "http://a.com/x?a=2&a=1&b=1"),
    ("http://a.com/x?ab=1&a=1", "http://a.com/x?a=1&ab=1"),
    ("https://a.com:443/x", "http://a.com/x"),
    ("http://a.com:/x", "http://a.com/x"),
    ("http://a.com:0080/x", "http://a.com/x"),
    ("http://a.com:08080/x", "http://a.com:8080/x"),
    ("http://me:p@ss@a.com/x", "http://a.com/x"),
    ("http://WWW.a.com/x", "http://a.com/x"),
    ("http://%77ww.a.com/x", "http://a.com/x"),
    ("http://a.com/%41%62%2D%7e", "http://a.com/Ab-~"),
    ("http://a.com/x?%61=%31&utm%5Fid=7", "http://a.com/x?a=1"),
    ("http://a.com/%c3%a9", "http://a.com/%C3%A9"),
    ("http://a.com/é?q=漢", "http://a.com/%C3%A9?q=%e6%BC%a2"),
    ("http://ÉCOLE.fr/x", "http://école.fr/x"),
    ("\n http://a.com/x\t", "http://a.com/x"),
    ("http://[2001:DB8::1]:80/x", "https://[2001:db8::1]/x"),
    ("FTP://User@A.com/x", "ftp://a.com/x"),
]
DIFFERENT = [
    ("http://a.com/X", "http://a.com/x"),  # the specification's, 6.5
    ("http://a.com/?id=1", "http://a.com/?id=2"),  # likewise
    ("http://a.com/x//", "http://a.com/x"),
    ("http://a.com/x?a=1&a=2", "http://a.com/x?a=2&a=1"),
    ("http://a.com/x?a", "http://a.com/x?a="),
    ("http://a.com/x?A=1", "http://a.com/x?a=1"),
    ("http://a.com/x?gclids=1", "http://a.com/x"),
    ("http://a.com/x?ref=1", "http://a.com/x"),
    ("http://a.com/utm_source=q", "http://a.com/"),
    ("http://a.com:8080/x", "http://a.com/x"),
    ("http://a.com:443/x", "http://a.com/x"),
    ("https://a.com:80/x", "https://a.com/x"),
    ("http://blog.a.com/x", "http://a.com/x"),
    ("http://www.com/x", "http://com/x"),
    ("http://www2.a.com/x", "http://a.com/x"),
    ("http://a.com/%2F", "http://a.com/"),
    ("http://a.com/x%3Fa=1", "http://a.com/x?a=1"),
    ("http://a.com/a+b", "http://a.com/a%20b"),
    ("http://a.com/%2541", "http://a.com/%41"),
    ("ftp://a.com/x", "http://a.com/x"),
]
UNPARSED = [
    "a.com/x",
    "//a.com/x",
    "mailto:me@a.com",
    "http:/a.com",
    "http://",
    "http:///x",
    "http://me@/x",
    "http://:80/x",
    "http://a.com:x/",
    "http://a.com:70000/",
    "http://a b/",
    "http://[::1/x",
    "http://[::1]x/",
    "1http://a.com/",
    "",
    "?",
    "http://a.com/" + "x" * urls.LONGEST,
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_page_has_the_same_form(one: str, other: str):
    assert form(one) == form(other)
    assert not form(one).startswith(":")


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_pages_have_different_forms(one: str, other: str):
    assert form(one) != form(other)


@pytest.mark.parametrize("address", UNPARSED)
def test_what_is_no_url_is_taken_as_it_stands(address: str):
    assert form(address) == f":{address}"


def test_the_keys_that_are_dropped_are_those_that_are_named():
    address = "http://a.com/?utm_source=1&ref=2&Ref=3&refs=4"
    assert forms([address], ()) == ["a.com?Ref=3&ref=2&refs=4&utm_source=1"]
    assert forms([address], ("ref",)) == ["a.com?refs=4&utm_source=1"]
    assert forms([address], ("REF*", "utm_source")) == ["a.com"]


def reference(address: str) -> str:
    """The same rules with Python's parser, for URLs of ASCII without white space that it can parse."""
    parts = urlsplit(address)
    match = re.fullmatch(r"(?:.*@)?([^:]*)(?::(\d*))?", parts.netloc)
    if parts.scheme not in ("http", "https") or match is None or not match[1]:
        return f":{address}"
    host, port = decoded(match[1]).lower(), match[2]
    if re.match(r"www\.[^.]+\.[^.]", host):
        host = host[4:]
    if port and int(port) > 65535:
        return f":{address}"
    shown = "" if not port or int(port) == {"http": 80, "https": 443}[parts.scheme] else f":{int(port)}"
    found = [decoded(part) for part in parts.query.split("&") if part]
    found = [part for part in found if not re.match(r"(utm_.*|gclid|fbclid|sessionid|phpsessid)$", part.split("=")[0], re.IGNORECASE)]
    query = "&".join(sorted(found, key=lambda part: part.split("=")[0]))
    return host + shown + decoded(parts.path).removesuffix("/") + (f"?{query}" if query else "")


def decoded(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        char = chr(int(found[1], 16))
        return char if re.fullmatch(r"[A-Za-z0-9._~-]", char) else found[0].upper()

    return re.sub(r"%([0-9a-fA-F]{2})", one, text)


pieces = st.sampled_from(
    [
        "a",
        "b",
        "B",
        "www.",
        ".",
        "/",
        "//",
        ":",
        "80",
        "443",
        "@",
        "?",
        "&",
        "=",
        "#",
        "%41",
        "%2f",
        "%3D",
        "%",
        "4",
        "utm_",
        "gclid",
        "-",
        "com",
    ]
)
addresses = st.builds(
    lambda scheme, host, rest: f"{scheme}://{host}{''.join(rest)}",
    st.sampled_from(["http", "https", "HTTP", "Https"]),
    st.sampled_from(["", "a.com", "WWW.a.com", "www.com", "u:p@B.org", "a.com:80", "a.com:443", "x.y.www.com:99999"]),
    st.lists(pieces, max_size=15),
)


@settings(deadline=None, max_examples=500)
@given(st.lists(addresses, max_size=5))
def test_forms_are_those_that_python_makes(found: list[str]):
    assert forms(found) == [reference(address) for address in found]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.text(max_size=20) | addresses | st.text("https:/.%aA0é漢\U0001f600?&=#@[]\0 İ", max_size=30).map("http://".__add__), max_size=8
    )
)
def test_any_text_has_one_form_wherever_it_stands(texts: list[str]):
    """And nothing is read or written beyond it."""
    assert forms(texts) == [form(text) for text in texts]


@settings(deadline=None)
@given(st.lists(st.text("%aAfF09zé漢/", max_size=20), max_size=8))
def test_mended_is_encoded_and_in_upper_case(texts: list[str]):
    data = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    found, offsets = urls.mended(*Batch.of(data).utf8)
    expected = ["".join(c if c.isascii() else "".join(f"%{b:02X}" for b in c.encode()) for c in text) for text in texts]
    expected = [re.sub(r"%[0-9a-fA-F]{2}", lambda hit: hit[0].upper(), text) for text in expected]
    assert [bytes(found[low:high]).decode() for low, high in pairwise(offsets)] == expected


def test_a_query_of_thousands_of_parts_is_sorted():
    parts = [f"k{n:04d}=1" for n in range(999)]
    assert form("http://a.com/?" + "&".join(reversed(parts[:800]))) == "a.com?" + "&".join(parts[:800])
    empty = np.empty(0, np.int32)
    assert urls.canonical(np.empty(0, np.uint8), empty, empty, TRACKING)[1].tolist() == [0]
