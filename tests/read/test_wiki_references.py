"""Reference URLs: golden pairs of RedPajama's patterns, their patterns themselves as oracle, and every spelling of a citation."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.read.references import cited, redpajama, tidy


@pytest.mark.parametrize(
    ("line", "urls"),
    [
        ("A.<ref>[http://example.com/a.b?x=1 Title]</ref>", ["http://example.com/a.b?x=1"]),  # C1
        ('A.<ref name="a">[http://example.com/a Title]</ref>', []),  # C2
        ("[http://example.com/a Title]", []),  # C3
        ("<ref>one</ref> see http://example.com/a now <ref>two</ref>", ["http://example.com/a"]),  # C3
        ("<ref>{{cite web|url=https://e.org/x?a=1&b=2|title=T}}</ref>", ["https://e.org/x?a=1&amp"]),  # C4
        ("<ref>http://example.com/a</ref>", ["http://example.com/a&lt"]),
        ("<ref>one\nhttp://example.com/a two</ref>", []),
        ("<REF>http://example.com/a two</REF>", []),
        ("</ref> http://example.com/a <ref>", []),
        (
            "<ref>ftp://f.org/x: telnet://t.org gopher:g wais:w file:///f mailto:m</ref>",
            ["ftp://f.org/x", "telnet://t.org", "gopher:g", "wais:w", "file:///f"],
        ),
        ("<ref>http://a.org/x?. http:... https:</ref>", ["http://a.org/x", "http:.", "https:&lt"]),
        ("&lt;ref&gt;http://example.com/a two&lt;/ref&gt;", []),
    ],
)
def test_redpajamas_artefacts(line, urls):
    assert redpajama(line) == urls


def of_patterns(wikitext: str) -> list[str]:
    """As published: two patterns on the lines of the dump, the second one lazy. Quadratic on runs of marks."""
    found: dict[str, None] = {}
    for line in wikitext.split("\n"):
        line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
        span = re.search("&lt;ref&gt;(.*)&lt;/ref&gt;", line, re.DOTALL)
        if span:
            run = r"[\w/#~:.?+=&%@!\\-]"
            found |= dict.fromkeys(
                re.findall(rf"(?:https?|telnet|gopher|file|wais|ftp):{run}+?(?=[.:?-]*(?:[^\w/#~:.?+=&%@!\\-]|$))", span[0])
            )
    return list(found)


PIECES = "<ref>~</ref>~<ref~/>~http://~https:~ftp:~a.b~é~..~?~-~&~&lt;ref&gt;~ ~|~}}~[~]"
pieces = st.sampled_from([*PIECES.split("~"), "\n", "\\", '"'])


@given(st.lists(pieces, max_size=25).map("".join))
def test_redpajamas_urls_are_what_its_patterns_find(wikitext):
    assert redpajama(wikitext) == of_patterns(wikitext)


@pytest.mark.parametrize(
    ("wikitext", "urls"),
    [
        ("<ref>http://a.org/x</ref>", ["http://a.org/x"]),
        ("<ref name=\"n\" group='g'>[https://a.org/x A title]</ref>", ["https://a.org/x"]),
        ("<ref\n name=n\n>\nhttp://a.org/x\n</ref\n>", ["http://a.org/x"]),
        ("<REF NAME=n>[HTTP://a.org/X]</Ref>", ["http://a.org/X"]),
        ("<ref name=n/> http://a.org/x <ref name=n /> http://b.org", []),
        ('<ref name="http://no.org" />', []),
        ("<references><ref name=n>http://a.org</ref></references>", ["http://a.org"]),
        ("<references /> http://a.org", []),
        ("<ref>{{cite web|url=http://a.org/x?a=1&amp;b=2|title=T}}</ref>", ["http://a.org/x?a=1&b=2"]),
        ("<ref>{{cite web| url = http://a.org/x\n| title = T}}</ref>", ["http://a.org/x"]),
        ("<ref>{{cite web|title={{lang|de|T}}|url=http://a.org/x}}</ref>", ["http://a.org/x"]),
        ("* {{Cite book|title=T|url=http://a.org/x|chapter-url=http://a.org/y}}", ["http://a.org/x", "http://a.org/y"]),
        ("* {{Internetquelle |url=http://a.org/x |titel=T}} {{Lien web|url=http://a.org/y}}", ["http://a.org/x", "http://a.org/y"]),
        ("* {{книга|ссылка=http://a.org/x}} {{Cytuj|url=http://a.org/y}}", ["http://a.org/x", "http://a.org/y"]),
        ("{{#tag:ref|See [http://a.org/x here]|group=n}} {{refn|http://a.org/y}}", ["http://a.org/x", "http://a.org/y"]),
        ("{{Infobox|website=http://no.org|a={{cite web|url=http://a.org/x}}|b=http://no.org}}", ["http://a.org/x"]),
        ("{{Infobox|a=b<ref>http://a.org/x</ref>|c=http://no.org}}", ["http://a.org/x"]),
        ("{{cite web|title=T<ref name=n/>|url=http://a.org/x}}", ["http://a.org/x"]),
        ("== External links ==\n* [http://no.org Official site] http://no.org", []),
        # archived copies
        ("<ref>{{cite web|url=http://a.org/x|archive-url=http://w.org/1/http://a.org/x}}</ref>", ["http://a.org/x"]),
        ("<ref>{{cite web|archiveurl=http://w.org/1|title=T}}</ref>", ["http://w.org/1"]),
        ("<ref>[http://a.org/x T] {{webarchive|url=http://w.org/1}}</ref>", ["http://a.org/x"]),
        ("{{cite web|archive-url=http://w.org/1}} {{cite web|url=http://a.org/x}}", ["http://w.org/1", "http://a.org/x"]),
        # where a URL ends
        ("<ref>See http://a.org/x.</ref>", ["http://a.org/x"]),
        ("<ref>(http://a.org/x), and http://a.org/y_(z)</ref>", ["http://a.org/x", "http://a.org/y_(z)"]),
        ("<ref>''http://a.org/x'' [http://a.org/y]] \"http://a.org/z\"</ref>", ["http://a.org/x", "http://a.org/y", "http://a.org/z"]),
        (
            "<ref>http://a.org/x|b http://a.org/y{{dead link}} http://a.org/z<br/>d</ref>",
            ["http://a.org/x", "http://a.org/y", "http://a.org/z"],
        ),
        (
            "<ref>http://a.org/x&lt;b&gt; http://a.org/y&#38;z&nbsp;w http://a.org/?a&copy=1</ref>",
            ["http://a.org/x", "http://a.org/y&z", "http://a.org/?a&copy=1"],
        ),
        # schemes
        ("<ref>[//a.org/x T] {{cite web|url=//a.org/y}} // no comment</ref>", ["https://a.org/x", "https://a.org/y"]),
        ("<ref>ftp://a.org mailto:a@a.org javascript:x xhttp://no.org http:// https://?</ref>", []),
        # what is no reference
        ("<!-- <ref>http://no.org</ref> --><ref><!-- http://no.org -->http://a.org</ref>", ["http://a.org"]),
        ("<nowiki><ref>http://no.org</ref></nowiki> <ref><nowiki>http://no.org</nowiki></ref>", []),
        ("<nowiki/><ref>http://a.org</ref> <nowiki><ref>http://b.org</ref>", ["http://a.org", "http://b.org"]),
        ("<ref>http://a.org</ref> <!-- <ref>http://no.org</ref>", ["http://a.org"]),
        # each once, in order
        ("<ref>http://b.org</ref><ref>http://a.org</ref>{{cite web|url=http://b.org}}", ["http://b.org", "http://a.org"]),
        # broken
        ("<ref>http://a.org", []),
        ("<ref>http://a.org <ref>http://b.org</ref>", ["http://a.org", "http://b.org"]),
        ("{{cite web|url=http://a.org", ["http://a.org"]),
        ("}} {{cite web|url=http://a.org}} }}", ["http://a.org"]),
        ("a\0<ref>http://a.org\0/x</ref>\0000\0", ["http://a.org/x"]),
        ("", []),
    ],
)
def test_citations_are_found_however_they_are_spelled(wikitext, urls):
    assert cited(wikitext) == urls


WORDS = "<ref>~</ref>~<ref name='a'>~<REF ~/>~>~{{cite web|~{{x|~{{~}}~url=~archive-url=~|~http://a.b/c~//d.e~<!--~-->~<nowiki>~</nowiki>"
words = st.sampled_from([*WORDS.split("~"), "[", "]", " ", "\n", "&amp;", "&#32;", "''", ")", ".", "\0", "é"])


@given(st.lists(words, max_size=40).map("".join))
def test_whatever_the_wikitext_urls_are_clean_and_come_once(wikitext):
    found = cited(wikitext)
    assert len(found) == len(set(found))
    for url in found:
        assert re.fullmatch(r"https?://[^\s|<>\"\[\]{}]*[^\s|<>\"\[\]{},;.:!?]", url)
        assert "''" not in url
        assert tidy(url) == url


HOSTILE = (
    "<ref~<ref ~<ref>~<ref>x</ref>~</ref ~<ref/>~{{cite~{{cite web|url=~<nowiki ~<nowiki>~<!--~<!~http://~//~[//~|a=~| ~http:.~&amp;~&#"
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", [*HOSTILE.split("~"), "''", "\0", "}}", "http://a''"])
@pytest.mark.parametrize("around", [("", ""), ("<ref>", "</ref>"), ("", ">"), ("{{cite|", "/>")], ids=["bare", "ref", "end", "template"])
def test_a_megabyte_of_anything_takes_linear_time(piece, around):
    began = time.process_time()
    for read in (cited, redpajama):
        read(around[0] + piece * (1_000_000 // len(piece)) + around[1])
    assert time.process_time() - began < 5  # quadratic would be minutes
