"""Made-up question and answer sites as the StackExchange dumps have them: Posts.xml, a row of attributes a line.

Questions are titles of documentation, answers its paragraphs as HTML with code, lists and links. Scores are such that order as numbers and
as text differ; some questions have no answer, some answers no question; tag wikis and a meta site are there to be passed over.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from curate import store
from curate.sample.prose import Page
from curate.sample.rendered import Block

FEWEST, SHARE = 40, 0.04  # questions, and of the number of documents of the rest of the sample
SITES = {"lantern.stackexchange.com": 0.7, "harbour.stackexchange.com": 0.25, "lantern.meta.stackexchange.com": 0.05}
BEGAN = datetime(2016, 2, 3, 4, 5, 6, tzinfo=UTC)
ESCAPED = {"\n": "&#xA;", '"': "&quot;"}
PER_PAGE = 3  # answers that a page gives, at most


class Post(NamedTuple):
    """One row, with the truth about it."""

    kind: str  # question, answer, orphan, tag_wiki
    number: int
    body: str
    score: int
    parent: int = 0
    title: str = ""
    tag: str = ""

    def row(self) -> str:
        """The line of Posts.xml."""
        moment = (BEGAN + timedelta(hours=self.number)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        types = {"question": 1, "answer": 2, "orphan": 2, "tag_wiki": 5}
        fields: dict[str, Any] = {"Id": self.number, "PostTypeId": types[self.kind]}
        if self.parent:
            fields["ParentId"] = self.parent
        fields |= {"CreationDate": moment, "Score": self.score, "Body": self.body, "OwnerUserId": 1 + self.number % 9}
        if self.title:
            fields |= {"Title": self.title, "Tags": f"<{self.tag}><reference>"}
        attributes = " ".join(f'{name}="{escape(str(value), ESCAPED)}"' for name, value in fields.items())
        return f"  <row {attributes} />\n"


def sites(pages: Sequence[Page], documents: int, rng: Random) -> dict[str, list[Post]]:
    """The posts of each site, by its name."""
    count = max(FEWEST, int(SHARE * documents))
    found, at = {}, 0
    for name, share in SITES.items():
        own = [pages[n % len(pages)] for n in range(at, at + max(2, int(share * count)))]
        at += len(own)
        found[name] = _posts(own, rng)
    return found


def write(folder: Path, found: dict[str, list[Post]]) -> list[dict[str, Any]]:
    """A folder with a Posts.xml for each site; returns the rows of the truth, `record` being the row's number."""
    truth = []
    for site, posts in found.items():
        file = f"stackexchange/{site}/Posts.xml"
        rows = "".join(post.row() for post in posts)
        store.write_bytes(str(folder / file), f'\ufeff<?xml version="1.0" encoding="utf-8"?>\r\n<posts>\r\n{rows}</posts>'.encode())
        truth += [{"file": file, "record": at, "title": str(p.number), "kind": p.kind, "language": "en"} for at, p in enumerate(posts)]
    return truth


def _posts(pages: Sequence[Page], rng: Random) -> list[Post]:
    """Questions and answers in order of their numbers, so that an answer may stand far from its question."""
    posts, number = [], 0
    answers: list[tuple[float, int, str]] = []
    for page in pages:
        number += rng.randrange(1, 4)
        tag = page.package.lower()[:25]
        blocks = [b for b in page.blocks if b.role not in ("heading", "section")]
        title = f"How is {page.title.split(' (')[0]} used?"
        posts.append(Post("question", number, _html(blocks[:2]), rng.choice((0, 2, 9, 31)), title=title, tag=tag))
        for part in range(rng.randrange(PER_PAGE + 1)):
            own = blocks[2 + 3 * part : 5 + 3 * part]
            if own:
                answers.append((number + rng.expovariate(0.1), number, _html(own)))
    number = posts[-1].number
    for _, parent, body in sorted(answers):
        number += rng.randrange(1, 3)
        posts.append(Post("answer", number, body, rng.choice((-2, 0, 1, 2, 9, 10, 100)), parent))
    posts.append(Post("orphan", number + 1, "<p>The question was deleted.</p>\n", 1, number + 1000))
    posts.append(Post("tag_wiki", number + 2, "<p>Questions about everything.</p>\n", 0))
    return posts


def _html(blocks: Sequence[Block]) -> str:
    out, items = [], []
    for block in (*blocks, Block("text", "")):
        if block.role == "item":
            items.append(f"<li>{html.escape(block.text)}</li>\n")
            continue
        if items:
            out.append(f"<ul>\n{''.join(items)}</ul>\n")
            items = []
        if block.role == "code":
            out.append(f"<pre><code>{html.escape(block.text)}\n</code></pre>\n")
        elif block.text:
            first, _, rest = block.text.partition(" ")
            out.append(f'<p><a href="https://www.example.org/{len(rest)}">{html.escape(first)}</a> {html.escape(rest)}</p>\n')
    return "\n".join(out)
