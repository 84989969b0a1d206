"""The pages of the sample as HTML: navigation, scripts and entities around the text, in the character sets that the web uses."""

from __future__ import annotations

import json
from html import escape
from itertools import groupby
from random import Random
from typing import NamedTuple

from curate.sample.documents import Document
from curate.sample.languages import LANGUAGES
from curate.sample.rendered import Block

TAGS = {"heading": "h2", "section": "h3", "text": "p", "item": "li", "code": "pre"}
ENTITIES = {"—": "&mdash;", "–": "&ndash;", "’": "&rsquo;", "“": "&ldquo;", "”": "&rdquo;", "é": "&eacute;", "©": "&copy;", "…": "&hellip;"}
SCRIPT = """(function(w, d) {{
  w.dataLayer = w.dataLayer || [];
  function track() {{ w.dataLayer.push(arguments); }}
  track("config", "{site}", {{"page": "{number}", "anonymize": true}});
  if (d.cookie.indexOf("consent=") < 0) {{ d.documentElement.className += " no-consent"; }}
}})(window, document);"""
STYLE = "body{font:16px/1.5 sans-serif;margin:0}nav ul{list-style:none}.cookie{position:fixed;bottom:0}pre{background:#f4f4f4}"


class Encoding(NamedTuple):
    """How a page's characters became bytes, and who says so: the HTTP header, a meta element, both or nobody."""

    name: str
    in_header: bool
    in_meta: bool


ENCODINGS = (
    (50, Encoding("utf-8", True, True)),
    (12, Encoding("utf-8", True, False)),
    (12, Encoding("utf-8", False, True)),
    (6, Encoding("utf-8", False, False)),
    (8, Encoding("windows-1252", True, False)),
    (4, Encoding("windows-1252", False, True)),
    (4, Encoding("windows-1252", False, False)),
    (4, Encoding("utf-16", False, False)),
)


def encoding_of(document: Document, rng: Random) -> Encoding:
    """Drawn; half of the pages in other languages come in an older character set of theirs."""
    if document.kind == "language" and rng.random() < 0.5:
        return Encoding(LANGUAGES[document.language].charset, *rng.choice(((True, False), (False, True), (True, True))))
    chosen: Encoding = rng.choices([e for _, e in ENCODINGS], weights=[w for w, _ in ENCODINGS])[0]
    if document.kind == "language" and chosen.name == "windows-1252":
        return Encoding("utf-8", chosen.in_header, chosen.in_meta)
    return chosen


def encoded(page: str, encoding: Encoding) -> bytes:
    """The bytes; what the character set lacks is written as a numeric entity."""
    return page.encode(encoding.name, "xmlcharrefreplace")


def page_of(document: Document, encoding: Encoding, rng: Random) -> str:
    """A whole HTML page."""
    host = document.host
    meta = f'<meta charset="{encoding.name}">\n' if encoding.in_meta else ""
    if encoding.in_meta and rng.random() < 0.3:
        meta = f'<meta http-equiv="Content-Type" content="text/html; charset={encoding.name}">\n'
    title = _escape(document.title, rng)
    linked = json.dumps({"@type": "WebPage", "name": document.title, "url": document.url}, ensure_ascii=True)
    head = (
        f"{meta}<title>{title}</title>\n"
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="canonical" href="{escape(document.url)}">\n'
        f"<style>{STYLE}</style>\n<script>{SCRIPT.format(site=host.domain, number=rng.randrange(10**6))}</script>\n"
        f'<script type="application/ld+json">{linked}</script>\n'
    )
    main = f"<main>\n<article>\n<h1>{title}</h1>\n{_body(document.body, rng)}</article>\n</main>\n"
    body = f"{_above(document, rng)}{main}{_below(document, rng)}"
    return f'<!DOCTYPE html>\n<html lang="{document.language}">\n<head>\n{head}</head>\n<body>\n{body}</body>\n</html>\n'


def not_found(document: Document) -> str:
    """The page that goes with status 404."""
    site = document.host.site
    return f"<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1><p>There is no such page on {site}.</p></body></html>\n"


def _above(document: Document, rng: Random) -> str:
    host = document.host
    if not host.menu:
        return ""
    items = "".join(f'<li><a href="/{item.lower().replace(" ", "-")}/">{_escape(item, rng)}</a></li>\n' for item in host.menu)
    return (
        f'<a class="skip" href="#main">Skip to main content</a>\n<header>\n<a class="logo" href="/">{_escape(host.site, rng)}</a>\n'
        f'<nav>\n<ul>\n{items}</ul>\n</nav>\n<form action="/search"><input name="q" placeholder="Search"><button>Search</button></form>\n'
        f'</header>\n<!-- banner -->\n<div class="cookie" role="dialog">{_escape(host.cookies, rng)} <button>OK</button></div>\n'
    )


def _below(document: Document, rng: Random) -> str:
    if not document.host.menu:
        return ""
    lines = "".join(f"<p>{_escape(line, rng)}</p>\n" for line in document.host.footer)
    links = "".join(f'<li><a href="/latest/{n}">Article {n}</a></li>' for n in sorted(rng.sample(range(1, 400), 5)))
    aside = f"<aside>\n<h4>Latest</h4>\n<ul>{links}</ul>\n</aside>\n"
    return f"{aside}<footer>\n{lines}</footer>\n<noscript>Please enable JavaScript.</noscript>\n"


def _body(body: tuple[Block, ...], rng: Random) -> str:
    """Elements by role; neighbouring items share a list."""
    parts = []
    for role, lines in groupby(body, key=lambda line: line.role):
        elements = "".join(f"<{TAGS[role]}>{_escape(_unmarked(line), rng)}</{TAGS[role]}>\n" for line in lines)
        parts.append(f"<ul>\n{elements}</ul>\n" if role == "item" else elements)
    return "".join(parts)


def _unmarked(line: Block) -> str:
    return line.text.lstrip("-*•+ ") if line.role == "item" else line.text


def _escape(text: str, rng: Random) -> str:
    """With the entities that markup needs, and some that it does not."""
    text = escape(text, quote=rng.random() < 0.3)
    if rng.random() < 0.3:
        for character, entity in ENTITIES.items():
            text = text.replace(character, entity)
        text = text.replace(" 1", "&nbsp;1", 1)
    return text
