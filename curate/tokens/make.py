"""From curated documents to `OUT/tokens`: tokenize once, mix by counts, shuffle by hash, write, publish with a manifest.

The books close here too: every document is tokenized, and the shards hold exactly the documents and tokens that the mix asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from curate import mix as mixing
from curate import store
from curate.barriers import Progress
from curate.errors import LedgerError, RecipeError
from curate.plan import Plan
from curate.runner import Executor
from curate.stage import Resources
from curate.tokens import formats, manifest
from curate.tokens.jobs import Encode, Encoded, FindCut, Spread, Train, Write
from curate.tokens.layout import edges, token_type
from curate.tokens.tokenizer import Tokenizer, keep, load
from curate.worker import Part

TOKENS_VERSION = 1  # of the files on the way from documents to shards
MOST_COPIES = 32_767  # the sidecar's copy is an int16


@dataclass(frozen=True)
class _Named:
    """Work on one of many jobs, with the job's name beside the result."""

    work: Callable[[Any], Any]

    def __call__(self, job: tuple[str, Any]) -> tuple[str, Any]:
        return job[0], self.work(job[1])


def make(plan: Plan, documents: dict[str, list[Part]], out: str, executor: Executor, progress: Progress) -> manifest.Manifest:
    """Carry out the `mix:` and `tokens:` of a recipe on its curated documents."""
    recipe, tokens = plan.recipe, plan.recipe.tokens
    assert tokens is not None
    tokens = replace(tokens, tokenizer=tokens.tokenizer.absolute())
    home = store.join(out, "passes", "tokens")
    jobs = {f"{source}-{part.number:05d}": (source, part) for source, parts in documents.items() for part in parts}
    lineage = store.fingerprint([TOKENS_VERSION, recipe.seed, [plan.last(s).lineage for s in documents], asdict(tokens.tokenizer)])
    trained = None
    if tokens.tokenizer.train:
        trained = store.join(home, f"tokenizer-{lineage}", "tokenizer.model")  # the name is kept in the manifest
        if not store.exists(trained):
            progress.start("train tokenizer", 1, 0)
            for _ in executor.map(Train(tokens.tokenizer.train, recipe.seed, tuple(jobs.values()), trained), [0], Resources()):
                progress.advance(0)
    tokenizer = load(tokens.tokenizer, trained)
    edges(tokens.layout, tokenizer)
    lineage = store.fingerprint([lineage, tokenizer.sha256, tokens.layout])

    def mapped(what: str, work: Any, folder: str, todo: dict[str, Any], size: Callable[[Any], int]) -> list[Any]:
        """Results in the order of the jobs; what has its `.json` is read, not done again."""
        store.sweep(folder)
        there = store.listing(folder)
        missing = {name: job for name, job in todo.items() if f"{name}.json" not in there}
        progress.start(what, len(todo), len(todo) - len(missing))
        done = {name: work(job) for name, job in todo.items() if name not in missing}
        for name, result in executor.map(_Named(work), missing.items(), Resources()):
            done[name] = result
            progress.advance(size(result))
        return [done[name] for name in todo]

    encode = Encode(tokens, trained, recipe.seed, store.join(home, f"encode-{lineage}"))
    encoded: list[Encoded] = mapped("tokenize", encode, encode.home, jobs, lambda e: e.docs)
    _same("documents to tokenize", sum(p.docs for _, p in jobs.values()), sum(e.docs for e in encoded))

    shares = share_out(plan, {s: sum(e.tokens for e in encoded if e.source == s) for s in documents})
    wanted = {s.source for s in shares if s.target}
    some = {e.name: e for e in encoded if e.source in wanted}
    shards = max(1, math.ceil(sum(s.target for s in shares) / tokens.shard_tokens))
    lineage = store.fingerprint([lineage, [asdict(s) for s in shares], shards])
    cuts = {s.source: None for s in shares} | find_cuts(shares, list(some.values()), FindCut(recipe.seed, encode.home), executor)
    copies = {s.source: s.copies for s in shares}
    spread = Spread(recipe.seed, encode.home, store.join(home, f"spread-{lineage}"), shards, copies, cuts)
    given = mapped("mix and shuffle", spread, spread.home, some, lambda s: s.docs)

    files = tuple(
        (e.source, e.number, store.join(spread.home, f"{e.name}.arrow")) for e, g in zip(some.values(), given, strict=True) if g.docs
    )
    write = Write(tokens, tokenizer.vocabulary, files, shards, store.join(home, f"shards-{store.fingerprint([lineage, tokens.format])}"))
    written: list[formats.Shard] = mapped("write shards", write, write.home, {f"{n:05d}": n for n in range(shards)}, lambda s: s.documents)
    _same("documents to write", sum(g.docs for g in given), sum(s.documents for s in written))
    counts = {}
    for source in documents:
        counted = sum(g.tokens for g in given if g.source == source)
        _same(f"tokens of {source} to write", counted, sum(s.sources.get(source, 0) for s in written))
        counts[source] = (counted, sum(g.docs for g in given if g.source == source))
    return publish(plan, tokenizer, mixing.achieved(shares, counts), written, write.home, out)


def share_out(plan: Plan, available: dict[str, int]) -> list[mixing.Share]:
    """What each source is to give; without a mix, every document once."""
    if plan.recipe.mix:
        shares = mixing.budgets(plan.recipe.mix, available)
        for share in shares:
            if share.copies > MOST_COPIES:
                raise RecipeError(f"mix: {share.source} would be written {share.copies:,} times; at most {MOST_COPIES:,} are possible")
        return shares
    total = max(sum(available.values()), 1)
    return [mixing.Share(s, n / total, n, n, 1, 0) for s, n in available.items()]


def find_cuts(shares: list[mixing.Share], encoded: list[Encoded], work: FindCut, executor: Executor) -> dict[str, mixing.Cut | None]:
    """The last document of each source's partial copy."""
    jobs = [(s, tuple(e for e in encoded if e.source == s.source)) for s in shares if s.fraction]
    return dict(executor.map(work, jobs, Resources()))


def publish(
    plan: Plan, tokenizer: Tokenizer, table: list[mixing.Achieved], shards: list[formats.Shard], home: str, out: str
) -> manifest.Manifest:
    """`OUT/tokens`: the shards, the tokenizer, and last the manifest."""
    recipe, tokens = plan.recipe, plan.recipe.tokens
    assert tokens is not None
    folder = store.join(out, manifest.FOLDER)
    store.remove(store.join(folder, manifest.NAME))
    names = [piece.name for shard in shards for piece in shard.files]
    store.publish([store.join(home, n) for n in names], [store.join(folder, n) for n in names], folder)
    found = manifest.Manifest.of(
        shards,
        recipe=recipe.name,
        fingerprint=plan.fingerprint,
        seed=recipe.seed,
        format=tokens.format,
        dtype=token_type(tokens.format, tokenizer.vocabulary).name,
        doc_layout=tokens.layout,
        tokenizer=manifest.TokenizerOf.of(tokenizer, keep(tokenizer, folder)),
        mix=table,
    )
    manifest.write(folder, found)
    return found


def _same(what: str, wanted: int, have: int) -> None:
    if wanted != have:
        raise LedgerError(f"the ledger does not close: {wanted:,} {what}, {have:,} were. This is a bug in curate, not in the data")
