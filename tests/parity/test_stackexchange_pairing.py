"""StackExchange against the golden pairs of the specification (S1 to S3, S6, S7), and against pairing in plain Python."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pyarrow as pa
import pytest
import support

from curate import build, exchange
from curate.batch import Batch
from curate.errors import RecipeError
from curate.exchange import Gather, KeysWriter
from curate.stage import Bad, Skip
from curate.worker import outcome
from stages.read.stackexchange import Posts
from stages.stackexchange import Largest, Pair, Pile, Text, is_meta

RP = Text(mode="redpajama"), Pair(order="lexicographic")
D = Text(), Pair()
Post = dict[str, Any]


def dump(posts: list[Post]) -> str:
    """A Posts.xml."""
    attributes = [" ".join(f'{k}="{escape(str(v), {chr(34): "&quot;", chr(10): "&#xA;"})}"' for k, v in post.items()) for post in posts]
    return '<?xml version="1.0" encoding="utf-8"?>\n<posts>\n' + "".join(f"  <row {a} />\n" for a in attributes) + "</posts>"


def question(number: int, title: str = "T", body: str = "<p>q</p>\n", **more: Any) -> Post:
    return {"Id": number, "PostTypeId": 1, "Title": title, "Body": body, "Score": 1} | more


def answer(number: int, parent: int, body: str | None = None, score: int = 0) -> Post:
    return {"Id": number, "PostTypeId": 2, "ParentId": parent, "Body": f"<p>a{number}</p>\n" if body is None else body, "Score": score}


def fates(folder: Path, posts: list[Post], steps: Any = D, *, target: int = 1 << 40, partitions: int = 1, rows: int = 1000) -> list[Any]:
    """(site/number, its document or the rule that dropped it) of each post, in order, from Posts.xml on."""
    by_site: dict[str, list[Post]] = {}
    for post in posts:
        by_site.setdefault(post.get("site", "a"), []).append({k: v for k, v in post.items() if k != "site"})
    for site, its in by_site.items():
        (folder / site).mkdir(exist_ok=True)
        (folder / site / "Posts.xml").write_text(dump(its), encoding="utf-8")
    source = Posts((f"{folder}/*/Posts.xml",))
    shards: list[list[Batch]] = []
    for shard in source.shards(target):
        found = [item for item in source.read(shard) if not isinstance(item, Skip)]
        assert not any(isinstance(item, Bad) for item in found)
        whole = pa.Table.from_batches(found).combine_chunks().to_batches() if found else []
        pieces = [piece.slice(at, rows) for piece in whole for at in range(0, len(piece), rows)]
        shards.append([outcome(steps[0], Batch.of(piece), None)[0] for piece in pieces])
    with tempfile.TemporaryDirectory() as run:
        verdicts = support.decided(steps[1], shards, Path(run), partitions=partitions)
    out = []
    for batches, verdict in zip(shards, verdicts, strict=True):
        first = 0
        for batch in batches:
            after, checks, _ = outcome(steps[1], batch, verdict.rows(first, len(batch)))
            first += len(batch)
            for row, text in enumerate(after.text.to_pylist()):
                rule = next((name for name, check in checks.items() if not check.passed[row]), None)
                name = f"{batch['site'][row].as_py()}/{batch['post'][row].as_py()}"
                out.append((name, text if rule is None else None, rule))
    return out


def documents(*given: Any, **options: Any) -> list[str]:
    return [text for _, text, _ in fates(*given, **options) if text is not None]


def dropped(*given: Any, **options: Any) -> dict[str, str]:
    return {name: rule for name, text, rule in fates(*given, **options) if text is None}


THREAD = [
    question(1, "Is a < b?", "<p>Which <em>one</em>?</p>\n"),
    answer(2, 1, "<p>nine</p>\n", 9),
    answer(3, 1, "<p>ten</p>\n", 10),
    answer(4, 1, "<p>neg</p>\n", -1),
]


def test_s1_redpajama_sorts_scores_as_strings(tmp_path):
    assert documents(tmp_path, THREAD, RP) == ["Q: Is a < b? Which one?\n\nA: nine\n\nA: ten\n\nA: neg\n"]


def test_s1_by_default_scores_are_integers(tmp_path):
    assert documents(tmp_path, THREAD) == ["Q: Is a < b? Which one?\n\nA: ten\n\nA: nine\n\nA: neg\n"]


def test_s1_as_the_specification_writes_it_without_line_feeds_behind_answers(tmp_path):
    thread = [post | {"Body": post["Body"].rstrip("\n")} if "ParentId" in post else post for post in THREAD]
    assert documents(tmp_path, thread, RP) == ["Q: Is a < b? Which one?\n\nA: nine\nA: ten\nA: neg"]


@pytest.mark.parametrize("steps", [RP, D])
def test_s2_unanswered_questions_stay(tmp_path, steps):
    assert documents(tmp_path, [question(1, "Unanswered", "<ul><li>x</li></ul>")], steps) == ["Q: Unanswered \n*x"]


@pytest.mark.parametrize("steps", [RP, D])
def test_s3_tag_wikis_and_orphans_make_no_document(tmp_path, steps):
    wiki = {"Id": 7, "PostTypeId": 5, "Body": "<p>wiki</p>", "Score": 0}
    posts = [*THREAD, question(5, "Unanswered"), answer(6, 99), wiki]
    assert len(documents(tmp_path, posts, steps)) == 2
    source = Posts((f"{tmp_path}/*/Posts.xml",))
    (shard,) = source.shards(1 << 40)
    assert sum(len(item) if isinstance(item, pa.RecordBatch) else item.count for item in source.read(shard)) == 7


def test_s6_a_title_is_html_for_redpajama_and_none_by_default(tmp_path):
    posts = [question(1, "How to <T> generics?", "<p>q</p>")]
    assert documents(tmp_path, posts, RP) == ["Q: How to  generics? q"]
    assert documents(tmp_path, posts) == ["Q: How to <T> generics? q"]


def test_s7_scores_as_strings_and_as_integers(tmp_path):
    posts = [question(1, body="")] + [answer(n, 1, f"<p>{score}</p>", score) for n, score in enumerate((10, 9, -2, 100), 2)]
    assert documents(tmp_path, posts, RP) == ["Q: T \nA: 9\nA: 100\nA: 10\nA: -2"]
    assert documents(tmp_path, posts) == ["Q: T \nA: 100\nA: 10\nA: 9\nA: -2"]


def plainly(posts: list[Post], integer: bool = True) -> list[str]:
    """Redpajama's procedure in plain Python, of posts in order, without parsing."""
    first: dict[tuple[bool, Any, Any, Any], Post] = {}
    for post in posts:
        first.setdefault(("ParentId" in post, post.get("site", "a"), post.get("ParentId"), post["Id"]), post)
    kept = list(first.values())
    out = []
    for asked in sorted((p for p in kept if "ParentId" not in p), key=lambda p: p.get("site", "a")):
        mine = [p for p in kept if p.get("ParentId") == asked["Id"] and p.get("site", "a") == asked.get("site", "a")]
        if integer:
            mine.sort(key=lambda p: (-p["Score"], p["Id"]))
        else:
            mine.sort(key=lambda p: str(p["Score"]), reverse=True)
        out.append(f"Q: {asked['Title']} {asked['Body']}" + "".join(f"\nA: {p['Body']}" for p in mine))
    return out


def shuffled(seed: int, count: int = 60) -> list[Post]:
    rng = random.Random(seed)
    posts = []
    for n in range(count):
        number = rng.choice((n, n, n, rng.randrange(count))) + 1
        site = rng.choice("ab")
        if rng.random() < 0.4:
            posts.append(question(number, f"T{n}", f"b{n}") | {"site": site})
        else:
            posts.append(answer(number, rng.randrange(count) + 1, f"a{n}", rng.choice((-1, 0, 1, 2, 9, 10, 100))) | {"site": site})
    return posts


@pytest.mark.parametrize("integer", [True, False])
@pytest.mark.parametrize(("target", "partitions", "rows"), [(1 << 40, 1, 1000), (700, 3, 1000), (1 << 40, 8, 7), (300, 2, 1)])
def test_pairing_is_that_of_plain_python_however_it_is_cut(tmp_path, target, partitions, rows, integer):
    steps = (Text(), Pair(order="integer" if integer else "lexicographic"))
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        posts = shuffled(seed)
        assert documents(tmp_path / str(seed), posts, steps, target=target, partitions=partitions, rows=rows) == plainly(posts, integer)


def test_answers_may_come_before_their_question_and_from_another_shard(tmp_path):
    posts = [answer(2, 9), answer(3, 9, score=5), *[question(n) for n in range(20, 60)], question(9, "late"), answer(4, 9, score=7)]
    for target in (1 << 40, 400):
        assert "Q: late q\n\nA: a4\n\nA: a3\n\nA: a2\n" in documents(tmp_path, posts, target=target)


def test_an_answer_to_an_answer_is_an_orphan(tmp_path):
    assert dropped(tmp_path, [question(1), answer(2, 1), answer(3, 2)]) == {"a/2": "paired", "a/3": "orphan"}


def test_of_posts_with_one_number_the_first_stays(tmp_path):
    posts = [question(1, "first"), question(1, "second"), answer(2, 1, "x"), answer(2, 1, "y"), answer(3, 1, "z")]
    found = fates(tmp_path, posts)
    assert [text for _, text, _ in found if text] == ["Q: first q\n\nA: x\nA: z"]
    assert [rule for _, _, rule in found] == [None, "duplicate", "paired", "duplicate", "paired"]


def test_sites_do_not_meet(tmp_path):
    posts = [question(1) | {"site": "a"}, question(1, "U") | {"site": "b"}, answer(2, 1) | {"site": "b"}]
    assert documents(tmp_path, posts) == ["Q: T q\n", "Q: U q\n\nA: a2\n"]


def test_limits_drop_answers_by_rules_of_their_own(tmp_path):
    posts = [question(1, AcceptedAnswerId=5)] + [answer(n, 1, f"a{n}", 10 - n) for n in range(2, 8)] + [question(8), answer(9, 8, score=-1)]
    pair = Pair(min_score=6, max_answers=3, unanswered=False)
    assert documents(tmp_path, posts, (Text(), pair)) == ["Q: T q\n\nA: a2\nA: a3\nA: a4"]
    assert dropped(tmp_path, posts, (Text(), pair)) == {
        **dict.fromkeys(("a/2", "a/3", "a/4"), "paired"),
        "a/5": "max_answers",
        "a/6": "low_score",
        "a/7": "low_score",
        "a/8": "unanswered",
        "a/9": "low_score",
    }
    strict = Pair(min_score=6, accepted=False)
    assert dropped(tmp_path, posts, (Text(), strict))["a/5"] == "low_score"


def test_a_document_grows_to_a_bound_and_takes_the_best(tmp_path):
    posts = [question(1, body="q")] + [answer(n, 1, "x" * 100, n) for n in range(2, 12)]
    found = documents(tmp_path, posts, (Text(), Pair(max_bytes=330)))
    assert found == ["Q: T q" + ("\nA: " + "x" * 100) * 3]
    assert list(dropped(tmp_path, posts, (Text(), Pair(max_bytes=330))).values()) == ["max_bytes"] * 7 + ["paired"] * 3


def test_the_pile_takes_three_answers_accepted_or_of_score_three(tmp_path):
    posts = [question(1, body="<p>q</p>\n", AcceptedAnswerId=2)] + [answer(n, 1, f"<p>a{n}</p>\n", n - 2) for n in range(2, 9)]
    posts += [question(20, AcceptedAnswerId=21), answer(21, 20, score=-5), question(30), answer(31, 30, score=2), question(40)]
    assert documents(tmp_path, posts, (Text(), Pile())) == [
        "Q:\n\nT\n\nq\n\nA:\n\na8\n\nA:\n\na7\n\nA:\n\na6\n\n",
        "Q:\n\nT\n\nq\n\nA:\n\na21\n\n",
    ]


def test_a_question_with_very_many_answers_is_read_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(exchange, "RANGE_ROWS", 500)
    monkeypatch.setattr(exchange, "PIECE_BYTES", 1000)
    posts = [question(1)] + [answer(n, 1, f"a{n}", n % 7) for n in range(2, 3000)]
    assert documents(tmp_path, posts) == [text.replace("<p>q</p>", "q") for text in plainly(posts)]


def test_only_answers_travel_with_their_text(tmp_path):
    columns = {"kind": ["question", "answer"], "post": [1, 2], "parent": [None, 1], "score": [1, 1], "accepted": [None, None]}
    columns |= {"id": ["a:0", "a:1"], "text": pa.array(["long" * 99, "b"], pa.large_string()), "site": ["a", "a"], "title": ["T", None]}
    keys = Pair().emit(Batch.of(pa.record_batch(columns)))
    assert keys["text"].to_pylist() == ["", "b"]
    writer = KeysWriter(Pair(), str(tmp_path / "keys"), 1)
    writer.add(keys, 0)
    writer.close()
    (both_rows,) = Gather([(0, str(tmp_path / "keys"))], 0, 1).ranges()
    assert len(np.unique(both_rows["key"].to_numpy())) == 1


# -- the largest sites


def judged(folder: Path, sites: dict[str, int], stage: Largest) -> dict[str, str]:
    """{site: the rule that drops it, or "kept"}."""
    names = [site for site, posts in sites.items() for _ in range(posts)]
    columns = {"id": [f"a:{n}" for n in range(len(names))], "text": pa.array([""] * len(names), pa.large_string()), "site": names}
    whole = pa.record_batch(columns)
    shards = [[Batch.of(whole.slice(at, 3))] for at in range(0, len(whole), 3)]
    out = {}
    for (batch,), verdict in zip(shards, support.decided(stage, shards, folder, partitions=2), strict=True):
        _, checks, _ = outcome(stage, batch, verdict.rows(0, len(batch)))
        for row, site in enumerate(batch["site"].to_pylist()):
            out[site] = next((name for name, check in checks.items() if not check.passed[row]), "kept")
    return out


def test_the_largest_sites_stay_and_sites_about_sites_do_not(tmp_path):
    sites = {"small": 2, "large": 9, "b": 4, "a": 4, "meta.stackexchange.com": 20, "a.meta.stackexchange.com": 12, "metals": 5}
    assert judged(tmp_path, sites, Largest(top=3)) == {
        **dict.fromkeys(("large", "metals", "a"), "kept"),
        **dict.fromkeys(("b", "small"), "small_site"),
        **dict.fromkeys(("meta.stackexchange.com", "a.meta.stackexchange.com"), "meta_site"),
    }


def test_metas_may_be_among_them(tmp_path):
    assert judged(tmp_path, {"a": 1, "meta.b": 2}, Largest(top=1, metas=True)) == {"a": "small_site", "meta.b": "kept"}


@pytest.mark.parametrize("site", ["meta.stackexchange.com", "beer.meta.stackexchange.com", "ru.meta.stackoverflow.com"])
def test_a_meta_is_told_by_its_name(site):
    assert is_meta(site)
    assert not is_meta(site.replace("meta", "metal"))


def test_the_ranking_is_among_the_facts():
    reduced = pa.table({"site": ["a", "b", "meta.a", "c"], "posts": [1, 3, 9, 1]})
    facts = json.loads(Largest(top=2).settle(reduced).schema.metadata[b"facts"])
    assert facts["sites"] == [{"site": "b", "posts": 3}, {"site": "a", "posts": 1}]
    assert facts["next"] == [{"site": "c", "posts": 1}]


# -- as a run


RECIPE = """
name: threads
seed: 1
sources:
  stackexchange:
    - read.stackexchange.Posts: {paths: ["DATA/*/Posts.xml"]}
    - stackexchange.Largest: {top: 2}
    - stackexchange.Text
    - stackexchange.Pair
engine: {}
"""


@pytest.mark.parametrize("engine", [{"shard_bytes": 2000, "partitions": 3}, {"batch_rows": 5}])
def test_a_run_makes_the_same_threads_however_it_is_cut_and_its_books_close(tmp_path, engine):
    posts = [post | {"site": site} for seed, site in enumerate(("a", "b", "meta.a", "tiny")) for post in shuffled(seed, 40 - seed)]
    posts = [post for n, post in enumerate(posts) if post["site"] != "tiny" or n % 2]
    found = []
    for number, settings in enumerate(({}, engine)):
        (tmp_path / str(number)).mkdir()
        fates(tmp_path, posts)
        recipe = support.write_recipe(tmp_path / str(number), tmp_path, RECIPE.replace("DATA", str(tmp_path)), engine=settings)
        out = tmp_path / f"out{number}"
        support.run(recipe, out)  # fails where documents or characters go missing
        found.append(support.documents(out, "stackexchange").select(["id", "text", "url"]).to_pylist())
    assert found[0] == found[1]
    assert [row["text"] for row in found[0]] == plainly([post for post in posts if post["site"] in "ab"])
    rows = {row["stage"]: row for row in support.counts(tmp_path / "out0")}
    assert set(rows["stackexchange.Largest"]["dropped"]) == {"meta_site", "small_site"}
    pair = rows["stackexchange.Pair"]
    assert pair["docs_in"] == pair["docs_out"] + sum(pair["dropped"].values())
    assert set(pair["dropped"]) == {"paired", "orphan", "duplicate"}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("Largest", {"top": 0}),
        ("Pair", {"max_answers": 0}),
        ("Pair", {"max_bytes": 0}),
        ("Pile", {"max_answers": -1}),
    ],
)
def test_numbers_that_mean_nothing_are_refused(name, config):
    with pytest.raises(RecipeError):
        build.build(f"stackexchange.{name}", config)
