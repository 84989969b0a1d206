"""StackExchange as Llama 1 has it: the largest sites, a document for each question with its answers, best first, as text.

Touvron et al. 2023, 2.1, name 28 sites, HTML tags removed and answers from highest to lowest score; RedPajama's stack_exchange/filter.py
and post_processing.py say the rest; The Pile's stackexchange-dataset does it otherwise (`Pile`). No site is held in memory: `Pair` is a
barrier whose key is the question, and only answers travel, as text. From a Posts.xml of 2 GB to
documents, all steps together: 36 MB of XML a second of processor time, in 0.7 GB besides what is mapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.batch import Array, Batch, Check
from curate.kernels.text import hash_spans
from curate.stage import Checks, Global, Transform, with_facts
from stages.stackexchange_html import text_of
from stages.stackexchange_kernels import joined

QUESTION, ANSWER = "question", "answer"
KEPT, PAIRED, DUPLICATE, LOW, MANY, LONG, ORPHAN, UNANSWERED = range(8)
RULES = {
    PAIRED: "paired",  # an answer that stands in its question's document from here on
    DUPLICATE: "duplicate",  # another post of the same number came before
    LOW: "low_score",
    MANY: "max_answers",
    LONG: "max_bytes",
    ORPHAN: "orphan",  # an answer whose question is not there
    UNANSWERED: "unanswered",
}


@dataclass(frozen=True)
class Text(Transform):
    """The text of posts' HTML: list items marked by asterisks, code with its indentation, links as their labels, no images.

    `redpajama` parses a question's title as HTML too, together with its body, so that `<T>` in a title disappears; it is then part of the
    text, and the column is empty. HTML with more than 512 elements around each other, which no site makes, is dropped as `too_deep`.
    """

    mode: Literal["paper", "redpajama"] = "paper"  # ours: titles are no HTML (Touvron 2.1 do not say); filter.py parses them

    @property
    def reads(self) -> tuple[str, ...]:
        return ("title",) if self.mode == "redpajama" else ()

    def apply(self, batch: Batch) -> tuple[Batch, Checks]:
        html = batch.text
        if self.mode == "redpajama":
            title = batch["title"].cast(pa.large_string())
            html = _titled(title, " ", html)
            batch = batch.with_column("title", pa.nulls(len(batch), title.type))
        text = text_of(html)
        checks: Checks = {"too_deep": Check(text.is_valid().to_numpy(zero_copy_only=False))}
        return batch.with_text(pc.fill_null(text, "")), checks


def _titled(title: pa.Array, between: str, text: pa.Array) -> pa.Array:
    """Text behind its title, where it has one."""
    return pc.if_else(title.is_valid(), concat(pc.fill_null(title, ""), between, text), text)


def concat(*parts: str | pa.Array) -> pa.Array:
    """Each string of the arrays with those that stand beside it."""
    kind = pa.large_string()
    strings = [pa.scalar(part, kind) if isinstance(part, str) else part.cast(kind) for part in parts]
    return pc.binary_join_element_wise(*strings, pa.scalar("", kind))


@dataclass(frozen=True)
class Largest(Global):
    """The sites with most questions and answers."""

    top: Annotated[int, Field(ge=1)] = 28  # Touvron et al. 2023, 2.1; which sites, they do not say
    metas: bool = False  # ours: sites about a site are none of the 28; RedPajama downloads them

    @property
    def reads(self) -> tuple[str, ...]:
        return ("site",)

    def emit(self, batch: Batch) -> pa.RecordBatch:
        counts = pc.fill_null(batch["site"], "").value_counts()
        site = counts.field("values").cast(pa.string())
        columns = [_hashed(site), np.zeros(len(site), np.int64), site, counts.field("counts")]
        return pa.RecordBatch.from_arrays([pa.array(c) for c in columns], ["key", "row", "site", "posts"])

    def combine(self, keys: pa.Table) -> pa.Table:
        added = keys.group_by(["key", "site"]).aggregate([("doc", "min"), ("posts", "sum")])
        return added.select(["key", "doc_min", "site", "posts_sum"]).rename_columns(["key", "doc", "site", "posts"])

    def reduce(self, keys: pa.Table) -> pa.Table:
        return keys.group_by("site").aggregate([("posts", "sum")]).rename_columns(["site", "posts"])

    def settle(self, reduced: pa.Table) -> pa.Table:
        ranked = sorted(zip(reduced["posts"].to_pylist(), reduced["site"].to_pylist(), strict=True), key=lambda s: (-s[0], s[1]))
        sites = [{"site": site, "posts": posts} for posts, site in ranked if self.metas or not is_meta(site)]
        kept = sites[: self.top]
        verdict = pa.Table.from_pylist(kept, pa.schema({"site": pa.string(), "posts": pa.int64()}))
        named = ", ".join(f"{s['site']} ({s['posts']:,})" for s in kept)
        says = [f"{len(kept)} of {len(ranked)} sites, by questions and answers: {named}"]
        return with_facts(verdict, sites=kept, next=sites[self.top : 2 * self.top], says=says)

    def apply(self, batch: Batch, verdict: pa.Table) -> Checks:
        site = pc.fill_null(batch["site"], "").dictionary_encode()
        names = site.dictionary.to_pylist()
        large = set(verdict["site"].to_pylist())
        number = site.indices.to_numpy()
        return {
            "meta_site": Check(np.array([self.metas or not is_meta(name) for name in names], np.bool_)[number]),
            "small_site": Check(np.array([name in large for name in names], np.bool_)[number]),
        }


def is_meta(site: str) -> bool:
    """Whether a site is about another one, or about all."""
    return site.startswith("meta.") or ".meta." in site


def _hashed(text: pa.Array) -> Array:
    """uint64 of each string."""
    hashes: Array = hash_spans(*Batch.of(pa.record_batch([text], ["text"])).utf8)
    return hashes


@dataclass(frozen=True)
class Pair(Global):
    """A question and its answers, best first, become one document: `Q: title body`, and for each answer a line feed and `A: answer`.

    The columns of the document are the question's. A post whose number came before on its site is dropped, as is an answer without its
    question; one to an answer is such. The other answers are dropped as `paired`.
    Texts are taken as they are: without `stackexchange.Text` before it documents are HTML, and a second `Pair` writes its marks once more.
    """

    order: Literal["integer", "lexicographic"] = "integer"  # ours: as numbers, ties by number; RedPajama sorts scores as strings
    template: Literal["redpajama", "pile"] = "redpajama"  # ours: RedPajama's post_processing.py; pairer.py has marks on lines of their own
    unanswered: bool = True  # ours: RedPajama's filter.py keeps questions without answers; pairer.py does not
    min_score: int | None = None  # of an answer; ours: RedPajama's filter.py has no limit, pairer.py 3
    accepted: bool = True  # ours: an accepted answer needs no score, as in pairer.py, where there is a limit
    max_answers: Annotated[int, Field(ge=1)] | None = None  # the best; ours: RedPajama's filter.py takes all, pairer.py 3
    max_bytes: Annotated[int, Field(ge=1)] = 16 << 20  # of a question's answers, the best; ours: a bound on what a document grows to

    @property
    def reads(self) -> tuple[str, ...]:
        return ("site", "kind", "post", "parent", "title", "score", "accepted")

    def emit(self, batch: Batch) -> pa.RecordBatch:
        answer = pc.fill_null(pc.equal(batch["kind"], ANSWER), False)
        question = pc.if_else(answer, batch["parent"], batch["post"]).cast(pa.int64())
        rows = np.flatnonzero(question.is_valid().to_numpy(zero_copy_only=False))
        at = pa.array(rows)
        answer, question = answer.take(at), question.take(at)
        site = pc.fill_null(batch["site"], "").take(at)
        columns = {
            "key": pa.array(_hashed(concat(site, " ", question.cast(pa.string())))),
            "row": at,
            "question": question,
            "post": pc.fill_null(batch["post"].take(at).cast(pa.int64()), -1),
            "answer": answer,
            "score": pc.fill_null(batch["score"].take(at).cast(pa.int64()), 0),
            "accepted": pc.fill_null(batch["accepted"].take(at).cast(pa.int64()), -1),
            "text": pc.if_else(answer, batch.text.take(at), ""),
        }
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))

    def reduce(self, keys: pa.Table) -> pa.Table:
        posts = _Posts(keys)
        posts.drop_duplicates()
        if self.min_score is not None:
            low = posts.score < self.min_score
            posts.drop(low & ~(posts.is_accepted if self.accepted else np.zeros(len(low), np.bool_)), LOW)
        order = posts.ranked(self.order == "lexicographic")
        if self.max_answers is not None:
            posts.drop_at(order[posts.place(order) >= self.max_answers], MANY)
            order = order[posts.rule[order] == PAIRED]
        before, after = ("\nA: ", "") if self.template == "redpajama" else ("A:\n\n", "\n\n")
        posts.drop_at(order[posts.spent(order, len(before) + len(after)) > self.max_bytes], LONG)
        order = order[posts.rule[order] == PAIRED]
        return posts.verdict(order, before.encode(), after.encode())

    def apply(self, batch: Batch, verdict: pa.Table) -> tuple[Batch, Checks]:
        row = verdict["row"].to_numpy()
        at = np.full(len(batch), -1)
        at[row] = np.arange(len(row))
        found = at >= 0
        answers = verdict["answers"].combine_chunks().take(pa.array(at, mask=~found))
        answered = answers.is_valid().to_numpy(zero_copy_only=False)
        is_answer = pc.fill_null(pc.equal(batch["kind"], ANSWER), False).to_numpy(zero_copy_only=False)
        rule, kept = np.full(len(batch), KEPT), np.full(len(batch), -1)
        rule[found], kept[found] = verdict["rule"].to_numpy()[at[found]], verdict["kept"].to_numpy()[at[found]]
        rule[is_answer & ~found] = ORPHAN
        if not self.unanswered:
            rule[~is_answer & ~answered & (rule == KEPT)] = UNANSWERED
        checks: Checks = {name: Check(rule != code, kept=np.where(rule == code, kept, -1)) for code, name in RULES.items()}
        text = self._text(batch["title"].cast(pa.large_string()), batch.text, pc.fill_null(answers, ""))
        return batch.with_text(pc.if_else(pa.array(is_answer), batch.text, text)), checks

    def _text(self, title: pa.Array, body: pa.Array, answers: pa.Array) -> pa.Array:
        if self.template == "redpajama":
            return concat("Q: ", _titled(title, " ", body), answers)
        text = concat("Q:\n\n", _titled(title, "\n\n", body), "\n\n", answers)
        return pc.replace_substring_regex(text, r"\n{3,}", "\n\n")


@dataclass(frozen=True)
class Pile(Pair):
    """As The Pile pairs (stackexchange-dataset, pairer.py): at most three answers, accepted ones or with a score of 3 and more; questions
    without such are left out."""

    template: Literal["redpajama", "pile"] = "pile"  # The Pile's code, pairer.py
    unanswered: bool = False  # The Pile's code, pairer.py
    min_score: int | None = 3  # The Pile's code, pairer.py: min_score
    max_answers: Annotated[int, Field(ge=1)] | None = 3  # The Pile's code, pairer.py: max_responses


class _Posts:
    """Questions and answers of some keys, in order of (key, doc)."""

    def __init__(self, keys: pa.Table):
        self.doc, self.post, self.score = (keys[name].to_numpy() for name in ("doc", "post", "score"))
        self.text = keys["text"]
        self.size = pc.binary_length(self.text).to_numpy().astype(np.int64)
        self.answer = keys["answer"].to_numpy()
        key, question = keys["key"].to_numpy(), keys["question"].to_numpy()
        order = np.lexsort((question, key))  # stable: in order of doc within a question
        new = np.ones(len(order), np.bool_)
        new[1:] = (key[order[1:]] != key[order[:-1]]) | (question[order[1:]] != question[order[:-1]])
        self.thread = np.empty(len(order), np.int64)  # number of the question that a post belongs to
        self.thread[order] = np.cumsum(new) - 1
        count = int(new.sum())
        asked = np.flatnonzero(~self.answer)[::-1]
        self.head = np.full(count, -1)  # row of each thread's question: its first
        self.head[self.thread[asked]] = asked
        has_head = self.head >= 0
        accepted = np.where(has_head, keys["accepted"].to_numpy()[self.head], -1) if len(order) else np.empty(0, np.int64)
        self.is_accepted = self.answer & (self.post == accepted[self.thread])
        self.kept = np.where(has_head, self.doc[self.head], -1)[self.thread] if len(order) else np.empty(0, np.int64)
        self.rule = np.where(self.answer, np.where(has_head[self.thread], PAIRED, ORPHAN), KEPT)

    def drop(self, rows: Array, rule: int) -> None:
        """Of the answers that are paired still."""
        self.rule[rows & (self.rule == PAIRED)] = rule

    def drop_at(self, rows: Array, rule: int) -> None:
        self.rule[rows] = rule

    def drop_duplicates(self) -> None:
        """Questions and answers of which one with the same number came before."""
        again = ~self.answer & (self.head[self.thread] != np.arange(len(self.doc)))
        self.rule[again] = DUPLICATE
        rows = np.flatnonzero(self.rule == PAIRED)
        order = rows[np.lexsort((self.doc[rows], self.post[rows], self.thread[rows]))]
        before, after = order[:-1], order[1:]
        same = (self.thread[after] == self.thread[before]) & (self.post[after] == self.post[before]) & (self.post[after] >= 0)
        self.rule[after[same]] = DUPLICATE

    def ranked(self, lexicographic: bool) -> Array:
        """The paired answers in order of thread, the best first."""
        rows = np.flatnonzero(self.rule == PAIRED)
        if lexicographic:
            rank = np.unique(self.score[rows].astype("S20"), return_inverse=True)[1]
            return rows[np.lexsort((self.doc[rows], -rank, self.thread[rows]))]
        return rows[np.lexsort((self.doc[rows], self.post[rows], -self.score[rows], self.thread[rows]))]

    def place(self, order: Array) -> Array:
        """Of each answer in its thread, from 0."""
        return np.arange(len(order)) - self._begins(order)

    def spent(self, order: Array, more: int) -> Array:
        """Bytes of each answer and those before it in its thread, `more` for each."""
        ends = np.cumsum(self.size[order] + more)
        return ends - np.concatenate(([0], ends))[self._begins(order)]

    def _begins(self, order: Array) -> Array:
        """Where in the order the thread of each answer begins."""
        first = np.flatnonzero(np.diff(self.thread[order], prepend=-1))
        return np.repeat(first, np.diff(first, append=len(order)))

    def verdict(self, order: Array, before: bytes, after: bytes) -> pa.Table:
        """The answers of each question, joined, and what becomes of posts that do not stay."""
        place = self.place(order)
        first = np.flatnonzero(place == 0)
        data, start, end = _bytes(self.text, order)
        marks = np.frombuffer(before, np.uint8), np.frombuffer(after, np.uint8)
        out, ends = joined(data, start, end, np.append(first, len(order)), *marks)
        text = pa.Array.from_buffers(pa.large_string(), len(first), [None, pa.py_buffer(ends), pa.py_buffer(out)])
        heads = self.head[self.thread[order[first]]]
        others = np.flatnonzero((self.rule != KEPT) & (self.rule != ORPHAN))
        rows = np.concatenate([heads, others])
        columns = {
            "doc": pa.array(self.doc[rows]),
            "rule": pa.array(self.rule[rows].astype(np.int8)),
            "kept": pa.array(np.where(self.rule[rows] == KEPT, -1, self.kept[rows])),
            "answers": pa.chunked_array([text, pa.nulls(len(others), pa.large_string())]),
        }
        return pa.table(columns).combine_chunks()


def _bytes(column: pa.ChunkedArray, rows: Array) -> tuple[Array, Array, Array]:
    """(bytes, start, end) of rows of a column. Of one that is mapped into memory, in many chunks, only what is asked for is read."""
    if column.num_chunks == 1:
        data, start, end = Batch.of(pa.record_batch([column.chunk(0)], ["text"])).utf8
        return data, start[rows], end[rows]
    sizes = np.array([len(chunk) for chunk in column.chunks], np.int64)
    chunk = np.searchsorted(np.cumsum(sizes), rows, side="right")
    pieces, places = [pa.array([], pa.large_string())], [np.empty(0, np.int64)]
    for number in np.unique(chunk).tolist():
        mine = np.flatnonzero(chunk == number)
        pieces.append(column.chunk(number).take(pa.array(rows[mine] - sizes[:number].sum())))
        places.append(mine)
    at = np.argsort(np.concatenate(places))
    data, start, end = Batch.of(pa.record_batch([pa.concat_arrays(pieces)], ["text"])).utf8
    return data, start[at], end[at]
