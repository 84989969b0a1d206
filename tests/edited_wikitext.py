"""Wikitext as the data set `wikipedia` 2.0 cleans it, by editing mwparserfromhell's tree: what our walk over the tree is held against."""

from __future__ import annotations

import re
from collections.abc import Iterable

import mwparserfromhell


def edited(wikitext: str, media: Iterable[str], category: Iterable[str]) -> str:
    """Links and tags are taken out of the tree, or get another text, and the rest is stripped."""
    files, categories = (re.compile(f"(?:{'|'.join(map(re.escape, names))}):", re.I) for names in (media, category))
    texts = []
    for section in mwparserfromhell.parse(wikitext).get_sections(flat=True, include_lead=True, include_headings=True):
        doomed = [link for link in section.filter_wikilinks() if files.match(str(link.title))]
        for link in section.filter_wikilinks(matches=lambda link: categories.match(str(link.title))):
            link.text = categories.sub("", link.__strip__(), count=1)
        doomed += section.filter_tags(matches=lambda tag: str(tag.tag).lower() in ("ref", "table"))
        for node in doomed:
            if section.contains(node):
                section.remove(node)
        texts.append(re.sub("__[A-Z]*__", "", section.strip_code().strip()))
    return "\n\n".join(texts)
