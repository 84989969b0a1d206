"""The XML around the chapters of an EPUB: container, package document (OPF 1.2 to 3), encryption; by expat, which expands nothing here.

A document that declares an entity is refused. References lead to names in the archive and nowhere else.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote
from xml.parsers import expat

MOST = 100_000  # elements of a document
DEEPEST = 64  # elements around each other
LONGEST = 1000  # characters of a piece of metadata
FALLBACKS = 8  # of an item that is no text, one after the other
METADATA = ("title", "creator", "language", "date", "identifier", "source")
PUBLISHED = ("publication", "original-publication")  # events of a date; EPUB 2


class Malformed(Exception):
    """XML that cannot be used; the message is the reason."""


class Element(NamedTuple):
    """An element, without what is in it."""

    name: str  # without its prefix
    attributes: dict[str, str]  # likewise
    text: list[str]


class Chapter(NamedTuple):
    """A part of the book."""

    path: str  # in the archive
    linear: bool
    contents: bool  # whether it is a table of contents


class Package(NamedTuple):
    """What a package document says."""

    title: str | None
    author: str | None
    language: str | None
    date: str | None
    identifier: str | None
    source: str | None
    chapters: list[Chapter]  # in order, each once


def elements(data: bytes, what: str) -> list[Element]:
    """All elements in order, with the text directly in them. Raises Malformed."""
    found: list[Element] = []
    around: list[Element] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(found) >= MOST or len(around) >= DEEPEST:
            raise Malformed(f"{what} has more than {MOST:,} elements, or {DEEPEST} around each other")
        element = Element(_local(name), {_local(k): v for k, v in attributes.items()}, [])
        found.append(element)
        around.append(element)

    def characters(text: str) -> None:
        if around and len(around[-1].text) < LONGEST:
            around[-1].text.append(text[:LONGEST])

    def refused(*_: object) -> None:
        raise Malformed(f"{what} declares an entity; none is expanded")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, lambda _: around.pop()
    parser.CharacterDataHandler, parser.EntityDeclHandler = characters, refused
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # also a charset that there is not
        raise Malformed(f"{what} is not well-formed XML: {error}") from None
    return found


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def rootfile(data: bytes) -> str:
    """The path of the first package that a container names."""
    for element in elements(data, "the container"):
        if element.name == "rootfile" and element.attributes.get("media-type", "").strip() in ("application/oebps-package+xml", ""):
            return _resolved("", element.attributes.get("full-path", ""))
    raise Malformed("the container names no package")


def encrypted(data: bytes) -> set[str]:
    """The paths that META-INF/encryption.xml names: fonts as a rule; chapters of a book under DRM."""
    found = elements(data, "META-INF/encryption.xml")
    return {_resolved("", e.attributes.get("URI", "")) for e in found if e.name == "CipherReference"}


def package(data: bytes, folder: str, types: tuple[str, ...]) -> Package:
    """What the package document in `folder` says; chapters are items of the spine of these types, or their fallbacks."""
    found = elements(data, "the package")
    items = {e.attributes.get("id", ""): e.attributes for e in reversed(found) if e.name == "item"}
    guide = (e.attributes for e in found if e.name == "reference")
    contents = {_resolved(folder, a.get("href", "")) for a in guide if a.get("type") == "toc"}
    chapters: dict[str, Chapter] = {}
    for element in found:
        if element.name != "itemref":
            continue
        item = items.get(element.attributes.get("idref", ""), {})
        for _ in range(FALLBACKS):
            if item.get("media-type", "").strip().lower() in types or "fallback" not in item:
                break
            item = items.get(item["fallback"], {})
        if item.get("media-type", "").strip().lower() in types and item.get("href"):
            path = _resolved(folder, item["href"])
            toc = path in contents or "nav" in item.get("properties", "").split()
            chapters.setdefault(path, Chapter(path, element.attributes.get("linear", "yes").strip().lower() != "no", toc))
    if not chapters:
        raise Malformed("the package's spine names no text")
    said = {name: [e for e in found if e.name == name and _said(e)] for name in METADATA}
    unique = next((e.attributes.get("unique-identifier") for e in found if e.name == "package"), None)

    def first(name: str, better: Callable[[Element], bool] = lambda _: False) -> str | None:
        return next((_said(e) for e in sorted(said[name], key=lambda e: not better(e))), None)

    return Package(
        title=first("title"),
        author="; ".join(dict.fromkeys(_said(e) for e in said["creator"])) or None,
        language=first("language"),
        date=first("date", lambda e: e.attributes.get("event") in PUBLISHED),
        identifier=first("identifier", lambda e: unique is not None and e.attributes.get("id") == unique),
        source=first("source"),
        chapters=list(chapters.values()),
    )


def _said(element: Element) -> str:
    return " ".join("".join(element.text).split())[:LONGEST]


def _resolved(folder: str, href: str) -> str:
    """The name in the archive of what a reference leads to; one that leads out of it names nothing there."""
    path = unquote(href.strip().partition("#")[0])
    return posixpath.normpath(posixpath.join(folder, path)).removeprefix("/") if path else ""
