"""The text of StackExchange's HTML against the golden pairs of the specification (S4, S5, S8), and against BeautifulSoup."""

from __future__ import annotations

import time
import warnings
from html.entities import name2codepoint
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.batch import Batch
from stages import stackexchange_html
from stages.read.stackexchange import Posts
from stages.stackexchange import Text
from stages.stackexchange_html import ENTITIES, TAGS, parsed, text_of, texts


def text(html: str, **options: str) -> str:
    columns = {"id": ["a:0"], "text": pa.array([html], pa.large_string()), "title": pa.array([None], pa.large_string())}
    return str(Text(**options).apply(Batch.of(pa.record_batch(columns)))[0].text[0].as_py())


@pytest.mark.parametrize(
    ("html", "wanted"),
    [
        ("<p>a</p>\n<p>b</p>", "a\nb"),
        ("<ul>\n<li>one</li>\n<li>two</li>\n</ul>", "\n\n*one\n\n*two\n"),
        ("<ol>\n<li>one</li>\n</ol>", "*\n\n*one\n"),
    ],
)
@pytest.mark.parametrize("mode", ["paper", "redpajama"])
def test_s4_blocks_are_apart_by_their_line_feeds_and_items_marked(html, wanted, mode):
    assert text(html, mode=mode) == wanted == parsed(html)


def test_s5_code_keeps_its_indentation():
    assert text("<pre><code>x &lt; y &amp;&amp; z\n  indented</code></pre>") == "x < y && z\n  indented"


def test_s8_a_link_is_its_label_and_an_image_nothing():
    assert text('<p><a href="https://a.example/" rel="nofollow">label</a><img src="https://a.example/b.png" alt="c"></p>') == "label"


def soup(html: str) -> str:
    """What RedPajama does."""
    bs4 = pytest.importorskip("bs4")
    for tag, mark in (("<li>", "\n*"), ("</li>", ""), ("<ol>", "\n*"), ("</ol>", "")):
        html = html.replace(tag, mark)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(bs4.BeautifulSoup(html, "lxml").get_text())


def both(html: str) -> tuple[str | None, str | None]:
    """By the kernel, if it may, and by lxml."""
    return text_of(pa.array([html], pa.large_string()))[0].as_py(), parsed(html)


spaces = st.sampled_from(["", "\n", "\n\n", " ", "  \n", "\t", "\r\n"])
controls = ["\r\n", "\r", "\u2028", "\x85", "\x7f", "\x01", "\x0c", "\ufeff"]
decoded = [
    "&lt;",
    "&amp;",
    "&quot;",
    "&#39;",
    "&nbsp;",
    "&mdash;",
    "&lang;",
    "&#8212;",
    "&copy",
    "&unknown;",
    "&#10;",
    "&#150;",
    "&#0;",
    "&#x41;",
]
words = st.sampled_from(["x", "a b", " ", "\n", "é", "漢", " & ", "a<", ">", "&&", *decoded, *controls])
tags = ["<p>", "</p>", "</a>", "<hr>", "<b>", "</b>", "<A>", "</ul>", "</body>", "<body>", "<head>", "<li", "<", "</li >", "<ol start='3'>"]
whole = ["<!-- c -->", "<?x y>", "<![CDATA[x]]>", "<!DOCTYPE html>", "<script>x</script>", "<template>u</template>", "<title>x</title>"]
rare = ["<textarea> \n</textarea>", "<ruby>a<rp>(</rp><rt>b</rt></ruby>", "<svg><p>x</svg>", "<table><tr><td>x</td></tr></table>"]
odd = st.sampled_from([*tags, *whole, *rare])
attributes = st.sampled_from(["", "", ' href="http://a/?x=1&amp;y" rel="b"', " title='x'", " x=y", ' alt="a > b"', ' class="a"', "  "])
voids = st.sampled_from(["<br>", "<br/>", "<br />", '<img src="a" alt="b">', "<hr>", "<hr />"])


def element(names: str, inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def written(name: str, more: str, content: str) -> str:
        return f"<{name}{more}>{content}</{name}>"

    return st.builds(written, st.sampled_from(names.split()), attributes, inner)


def several(one: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(one, max_size=4).map("".join)


def started(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return several(inner | spaces).map('<ol start="2">{}</ol>'.format)


inline = st.recursive(words, lambda inner: several(inner | voids | element("a b code em strong kbd sub sup del i", inner)), max_leaves=8)
blocks = "blockquote ul ol li div"
block = st.recursive(
    st.builds("{}{}".format, element("p h1 h2 pre p", several(inline)), spaces),
    lambda inner: several(inner | spaces | voids | element(blocks, several(inner | spaces)) | started(inner) | element("li", inline)),
    max_leaves=12,
)


@st.composite
def bodies(draw: st.DrawFn) -> str:
    signs = st.text(alphabet="<>/&;#aplio xX3\n\r\t=\"'!-", max_size=40)
    return draw(st.one_of(several(block | inline), several(block | inline | odd), signs))


@settings(max_examples=400, deadline=None)
@given(bodies())
def test_text_is_what_beautifulsoup_gets_by_lxml_or_by_the_kernel(html):
    assert both(html) == (soup(html),) * 2


def test_no_reference_that_the_kernel_resolves_differs():
    html = [f"<p>a&{name};b</p>" for name in name2codepoint] + [
        f"<p>a&#{n};b</p>" for n in (32, 38, 60, 126, 127, 128, 159, 160, 9001, 65533)
    ]
    assert text_of(pa.array(html, pa.large_string())).to_pylist() == [soup(h) for h in html]


def test_what_markdown_makes_goes_through_the_kernel():
    html = (
        '<p>A <a href="http://a.example/?b=1&amp;c" rel="nofollow">link</a>, <em>so</em>&hellip;</p>\n\n<ol>\n<li><p>one</p></li>\n'
        '</ol>\n\n<blockquote>\n  <p>said</p>\n</blockquote>\n\n<pre class="lang-py prettyprint-override"><code>if a &lt; b:\n\n    c\n'
        '</code></pre>\n\n<hr>\n\n<h2>head</h2>\n\n<p><img src="https://i.example/a.png" alt="b"><br>\r\nend</p>\n'
    )
    data, start, end = Batch.of(pa.record_batch([pa.array([html], pa.large_string())], ["text"])).utf8
    out, _, plain = texts(data, start, end, *TAGS, *ENTITIES)
    assert plain.all()
    assert bytes(out).decode() == soup(html)


@pytest.mark.parametrize("part", ["<div>", "<a ", "&", "<p><b>", "<!--", "<", "<li>", "</p>", "<ul><pre>", "&#9", "x\n"])
def test_hostile_html_ends(part):
    by_kernel, by_lxml = both(part * 50_000)
    assert by_kernel == by_lxml


@pytest.mark.parametrize("html", ["<b>" * 100_000 + "</p>" * 100_000, "<b>" * 100_000 + "</i>x" * 100_000, "<div>" * 513])
def test_what_is_nested_too_deeply_is_dropped_and_costs_no_time(html):
    columns = {"id": ["a:0", "a:1"], "text": pa.array([html, "<p>b</p>"], pa.large_string())}
    began = time.process_time()
    batch, checks = Text().apply(Batch.of(pa.record_batch(columns)))
    assert time.process_time() - began < 3, "libxml2 takes 30 s for the first of them, and four times that for twice as many"
    assert checks["too_deep"].passed.tolist() == [False, True]
    assert batch.text.to_pylist() == ["", "b"]


def test_as_many_elements_as_browsers_nest_are_read():
    html = "<div>" * 500 + "x" + "</p>" * 5000 + "</div>" * 500
    assert both(html) == (soup(html), soup(html))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(words | st.sampled_from([*tags, "<!--", "-->", "<script>", "</script>", "<pre>", "&am", "p;"]), max_size=20), st.integers(1, 9)
)
def test_lxml_finds_the_same_in_pieces(parts, piece):
    html = "".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stackexchange_html, "MANY_TAGS", -1)
        patch.setattr(stackexchange_html, "PIECE", piece)
        in_pieces = parsed(html)
    assert in_pieces == parsed(html)


CORPUS = Path(__file__).parents[3] / "shared/corpus/stackexchange"


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no StackExchange dumps")
def test_every_real_post_has_the_text_that_beautifulsoup_gets():
    source = Posts((f"{CORPUS}/**/Posts.xml",))
    found = [item for shard in source.shards(1 << 40) for item in source.read(shard) if isinstance(item, pa.RecordBatch)]
    posts = pa.Table.from_batches(found).combine_chunks().to_batches()[0]
    assert text_of(posts["text"]).to_pylist() == [soup(html) for html in posts["text"].to_pylist()]
    for_redpajama = Text(mode="redpajama").apply(Batch.of(posts))[0].text.to_pylist()
    pairs = zip(posts["title"].to_pylist(), posts["text"].to_pylist(), strict=True)
    assert for_redpajama == [soup(html if title is None else f"{title} {html}") for title, html in pairs]
