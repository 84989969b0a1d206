"""The URLs that a page of wikitext gives as its references: the positives of Llama 1's and Llama 3's classifiers of quality.

`cited`: whatever is cited, however it is spelled. Looked for are `<ref>` elements, {{#tag:ref}}, {{refn}}, and citation templates
wherever they stand ({{cite web}}, {{cita libro}}, {{Internetquelle}}, ...); not links in the text or under "External links". An archived
copy (a parameter such as `archive-url`, or {{webarchive}}) counts only in a reference that has no other URL. http and https, `//` made
https, entities decoded, ends cut as MediaWiki cuts them.

`redpajama`: RedPajama v1 searched the lines of the XML dump with two patterns; this gives what they gave, artefacts included: only
attribute-free `<ref>` closed on its own line, the text between two of them too, and URLs that end in `&amp` or `&lt`.

Linear in the length of the page, whatever is in it: 12 MB/s and 100 MB/s.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator

URL = r"(?:\bhttps?:|(?<=[\[=])|(?<== ))//(?:(?!\{\{|\}\}|'')[^\]\[<>|\"\s\x00-\x20\x7f])++"  # `//` alone in brackets and parameters
TEMPLATE = r"\{\{(?P<template>[^\]\[{}<>|\n\x00]{0,60}+)"
PARAMETER = r"(?P<bar>\|)(?:\s{0,20}+(?P<parameter>[\w -]{1,40}+)=)?"
TOKEN = re.compile(rf"(?P<url>{URL})|{TEMPLATE}|(?P<close>\}}\}})|{PARAMETER}|\x00(?P<ref>\d+)\x00", re.IGNORECASE)
OPAQUE = re.compile(r"<!--|<(nowiki|pre|syntaxhighlight|source|math|templatedata)(?=[\s/>])", re.IGNORECASE)
REF = re.compile(r"<ref(?=[\s/>])", re.IGNORECASE)
REF_END = re.compile(r"</ref\s*+>", re.IGNORECASE)
ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8}\d?);", re.IGNORECASE)
NOT_URL = re.compile(r"[\]\[<>\"\s\x00-\x20\x7f]|''")
# A citation by its template's name: cite, citation, citar, citeer, cytuj, citace, ...; and those of de, fr, sv, da, sl, ru, ca, en.
CITATION = re.compile(
    r"(?:cit|cyt|internetquelle|literatur|lien (?:web|brisé)|ouvrage|article|webbref|bokref|tidningsref|kilde|navedi|книга|статья|ref-|"
    r"refn|#tag:\s*ref)",
    re.IGNORECASE,
)
ARCHIVE = re.compile(r"archi[vwe]|arkiv|arquivo|arxiu|arhiv|архив|архів", re.IGNORECASE)

ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}  # as MediaWiki writes a dump
OPEN, CLOSE = "&lt;ref&gt;", "&lt;/ref&gt;"
RUN = re.compile(r"(?:https?|telnet|gopher|file|wais|ftp):[\w/#~:.?+=&%@!\\-]+")


def cited(wikitext: str) -> list[str]:
    """The URLs of all references and citations, in order, each once."""
    text = _visible(wikitext.replace("\0", ""))
    refs: list[str] = []
    parts: list[str] = []
    at = 0
    for ref in REF.finditer(text):  # as MediaWiki: a tag ends at the next `>`, its content at the next `</ref>`, whatever is between
        if ref.start() < at:
            continue
        tag_end = text.find(">", ref.end())
        empty = text[tag_end - 1] == "/"
        stop = None if tag_end < 0 or empty else REF_END.search(text, tag_end)
        if stop is None and not empty:
            break
        parts.append(text[at : ref.start()])
        at = tag_end + 1
        if stop:
            parts.append(f"\0{len(refs)}\0")
            refs.append(text[at : stop.start()])
            at = stop.end()
    return list(dict.fromkeys(_citations("".join((*parts, text[at:])), refs)))


def _visible(text: str) -> str:
    """Without comments, and without what stands in tags whose content is not wikitext."""
    parts: list[str] = []
    unclosed: set[str] = set()  # so that nothing is looked for twice that is not there
    at = end = 0
    for match in OPAQUE.finditer(text):
        name = (match[1] or "").lower()
        closing = f"</{name}" if name else "-->"
        if match.start() < end or closing in unclosed:
            continue
        end = text.find(">", match.end()) if name else match.end()
        if name and end > 0 and text[end - 1] == "/":
            continue
        stop = _closing(closing).search(text, end) if end > 0 else None
        if stop is None and name:
            unclosed.add(closing)
            continue
        parts.append(text[at : match.start()])
        at = end = stop.end() if stop else len(text)  # a comment without end goes to the end of the page
    return "".join((*parts, text[at:])) if parts else text


def _closing(start: str) -> re.Pattern[str]:
    return re.compile(rf"{start}\s*+>" if start != "-->" else start, re.IGNORECASE)


def _citations(text: str, refs: list[str] | None) -> Iterator[str]:
    """The URLs of citation templates, and of the references whose places are marked; without `refs` all URLs, as of a reference.

    Those of archived copies only if the citation or reference has no other.
    """
    names: list[tuple[bool, bool]] = []  # of the open templates: is it a citation, is it about an archived copy
    depth = 0  # how many of them are citations
    parameter = ""
    direct: list[str] = []
    archived: list[str] = []
    for match in TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "url":
            if (refs is None or depth) and (url := tidy(match["url"])):
                copy = bool(ARCHIVE.search(parameter)) or bool(names and names[-1][1])
                (archived if copy else direct).append(url)
        elif kind == "ref" and refs is not None:
            yield from _citations(refs[int(match["ref"])], None)
        elif kind == "template":
            name = match["template"].strip()
            names.append((bool(CITATION.match(name)), name.lower() == "webarchive"))
            depth += names[-1][0]
            parameter = ""
        elif kind == "close" and names:
            depth -= names.pop()[0]
            parameter = ""
            if not depth and refs is not None:
                yield from direct or archived
                direct, archived = [], []
        elif match["bar"]:
            parameter = match["parameter"] or ""
    yield from direct or archived


def tidy(found: str) -> str:
    """A URL as it stands in wikitext, as a browser would ask for it; empty if nothing is left."""
    url = ENTITY.sub(lambda m: html.unescape(m[0]), found) if "&" in found else found
    url = NOT_URL.split(url, maxsplit=1)[0]
    ends = ",;.:!?\\" if "(" in url else ",;.:!?\\)"
    scheme, _, rest = url.rstrip(ends).partition("//")
    return f"{scheme.lower() or 'https:'}//{rest}" if rest else ""


def redpajama(wikitext: str) -> list[str]:
    """What RedPajama's patterns find in the page's lines, in order, each once."""
    found: dict[str, None] = {}
    for line in wikitext.split("\n"):
        first = line.find("<ref>")
        last = line.rfind("</ref>")
        if 0 <= first < last:
            found |= dict.fromkeys(_runs(re.sub('[&<>"]', lambda m: ESCAPED[m[0]], line)))
    return list(found)


def _runs(line: str) -> Iterator[str]:
    """Of an escaped line. Their lazy pattern ends a URL before the marks at the end of the run, but leaves it one character."""
    for match in RUN.finditer(line, line.find(OPEN) + len(OPEN), line.rfind(CLOSE) + len(CLOSE)):
        scheme, _, rest = match[0].partition(":")
        yield f"{scheme}:{rest[0]}{rest[1:].rstrip('.:?-')}"


MODES: dict[str, Callable[[str], list[str]]] = {"all": cited, "redpajama": redpajama}
