"""Wikitext to plain text by the rules of the Hugging Face data set `wikipedia` 2.0, of which RedPajama and others took their Wikipedia.

Out: templates with all they hold, references, tables, links to files with their captions, comments, behaviour switches. Links keep their
label, categories the text of their link without the prefix, headings their words, other tags what is in them. Known to go wrong, and kept
for being comparable: what templates would have written ({{convert}}, {{lang}}) leaves gaps, words around <br> are glued together,
interwiki links leave their target. The parser is mwparserfromhell's; no nodes are made of what will be left out, and its tree is walked
once instead of edited: on the English sample the same text as by editing, four times as fast. 4.5 MB of wikitext or 70 pages of 65 KB per
second and core; 2 MB, the longest that MediaWiki allows, take 130 MB of memory.

`Cleaner` is to be run in a process of its own (`apart`): the parser cannot be interrupted.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterable
from typing import Any

from stages.read import references

SWITCH = re.compile("__[A-Z]*__")
BLANK_LINES = re.compile("\n{3,}")
SURROGATES = re.compile("[\ud800-\udfff]")  # from entities such as &#xD800;
REMOVED_TAGS = frozenset(("ref", "table"))


class Cleaner:
    """Cleans pages of one wiki. Called with a page's wikitext; ParserError and RecursionError are for the caller."""

    def __init__(self, media: Iterable[str], category: Iterable[str], headings: str = "all", references: str = "none"):
        """Names of namespaces; `headings` is `all` or `filled`, `references` a mode of `references.MODES` or `none`."""
        from mwparserfromhell import definitions, nodes
        from mwparserfromhell.parser import Parser, tokens

        self.headings, self.references = headings, references
        self._media, self._category = _prefix(media), _prefix(category)
        self._is_visible, self._heading, self._parser, self._tokens = definitions.is_visible, nodes.Heading, Parser(), tokens
        self._text_of: dict[type, Callable[[Any], str]] = {
            nodes.Text: lambda node: node.value,
            nodes.Wikilink: self._link,
            nodes.Tag: self._tag,
            nodes.ExternalLink: self._external_link,
            nodes.Heading: lambda node: self._strip(node.title.nodes),
            nodes.HTMLEntity: lambda node: node.normalize(),
            nodes.Argument: lambda node: self._strip(node.default.nodes) if node.default is not None else "",
        }  # of templates and comments nothing is left

    def __call__(self, wikitext: str) -> dict[str, Any]:
        """`text`, `opening` (characters of it before the first heading) and, if they are wanted, `references` (URLs)."""
        text, opening = self.clean(wikitext)
        found: dict[str, Any] = {"text": text, "opening": opening}
        if self.references != "none":
            found["references"] = references.MODES[self.references](wikitext)
        return found

    def clean(self, wikitext: str) -> tuple[str, int]:
        """(text, characters of it before the first heading). Sections are joined by a blank line, also where the first is empty."""
        sections: list[list[Any]] = [[]]
        for node in self._parse(wikitext).nodes:
            if isinstance(node, self._heading):
                sections.append([])
            sections[-1].append(node)
        opening, *rest = map(self._section, sections)
        if self.headings == "filled":
            rest = self._filled(sections[1:], rest)
        return "\n\n".join((opening, *rest)), len(opening)

    def _parse(self, wikitext: str) -> Any:
        """As Parser.parse, but no nodes are made of what is in templates, references and tables, and goes with them: half of a page."""
        t = self._tokens
        template, tag = (t.TemplateOpen, (t.TemplateClose,)), (t.TagOpenOpen, (t.TagCloseClose, t.TagCloseSelfclose))
        opens, closes = template
        depth = 0
        kept: list[Any] = []
        found = self._parser._tokenizer.tokenize(wikitext, 0, False)
        for at, token in enumerate(found):
            kind = type(token)
            if depth:
                depth += (kind is opens) - (kind in closes)
                if not depth:
                    kept += (t.TemplateOpen(), t.Text(text="-"), t.TemplateClose())  # in its place, for what is around it
            elif kind is t.TemplateOpen or (kind is t.TagOpenOpen and (found[at + 1].text or "").lower() in REMOVED_TAGS):
                opens, closes = template if kind is t.TemplateOpen else tag
                depth = 1
            else:
                kept.append(token)
        return self._parser._builder.build(kept)

    def _section(self, nodes: list[Any]) -> str:
        return SURROGATES.sub("\ufffd", SWITCH.sub("", self._strip(nodes).strip()))

    def _filled(self, sections: list[list[Any]], texts: list[str]) -> list[str]:
        """Without those sections below whose heading, and below whose subsections' headings, there is no text."""
        kept: list[str] = []
        below: set[int] = set()  # levels of headings kept further down, but for those that belong to another section
        for nodes, text in zip(reversed(sections), reversed(texts), strict=True):
            level = nodes[0].level
            filled = any(other > level for other in below) or self._section(nodes[1:]).strip()
            below = {other for other in below if other <= level}
            if filled:
                kept.append(text)
                below.add(level)
        return kept[::-1]

    def _strip(self, nodes: list[Any]) -> str:
        parts = [self._text_of[type(node)](node) for node in nodes if type(node) in self._text_of]
        return BLANK_LINES.sub("\n\n", "".join(parts).strip("\n"))

    def _link(self, node: Any) -> str:
        target = str(node.title)
        if self._media.match(target):
            return ""
        shown = self._strip((node.title if node.text is None else node.text).nodes)
        if self._category.match(target):  # the data set puts the text back into the link: a sort key `*` is then a list's mark, and goes
            return self._strip(self._parse(self._category.sub("", shown, count=1)).nodes)
        return shown

    def _tag(self, node: Any) -> str:
        name = str(node.tag)
        if node.contents is None or name.lower() in REMOVED_TAGS or not self._is_visible(name):
            return ""
        return self._strip(node.contents.nodes)

    def _external_link(self, node: Any) -> str:
        if not node.brackets:
            return self._strip(node.url.nodes)
        return self._strip(node.title.nodes) if node.title is not None else ""


def _prefix(names: Iterable[str]) -> re.Pattern[str]:
    return re.compile(f"(?:{'|'.join(map(re.escape, names))}):", re.IGNORECASE)


def cleaner(settings: dict[str, Any]) -> Cleaner:
    """A Cleaner of its parameters by name: what `apart` calls, in a process that does nothing else."""
    gc.set_threshold(50_000, 20, 100)  # trees are large and have no cycles: one tenth faster
    return Cleaner(**settings)
