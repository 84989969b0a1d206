"""The mix gives the shares it is asked for, to the token, and draws the same documents whoever draws them."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import CurateError, RecipeError
from curate.mix import (
    Mix,
    achieved,
    apportion,
    budgets,
    check_weights,
    cut,
    cut_in_partition,
    locate,
    partition,
    partition_tokens,
    rank_key,
    sample_key,
    shuffle_key,
    table,
    taken,
)

LLAMA_3 = {"web": 0.5, "math": 0.25, "code": 0.17, "ml": 0.08}  # Llama 3, 3.1.2: the final mix
AVAILABLE = {"web": 4000, "math": 100, "code": 500, "ml": 80}  # spec llama2-llama3 6.9
# Llama 1, Table 1: share and epochs of the 1.4T run; spec llama1 0.2: implied unique tokens in billions, epochs at 1.0T
TABLE_1 = {
    "commoncrawl": (0.67, 1.10, 852.7, 0.786),
    "c4": (0.15, 1.06, 198.1, 0.757),
    "github": (0.045, 0.64, 98.4, 0.457),
    "wikipedia": (0.045, 2.45, 25.7, 1.750),
    "books": (0.045, 2.23, 28.3, 1.593),
    "arxiv": (0.025, 1.06, 33.0, 0.757),
    "stackexchange": (0.02, 1.03, 27.2, 0.736),
}


def ids(n: int, label: str = "part-00000.jsonl") -> pa.Array:
    return pa.array([f"{label}:{i * 137}" for i in range(n)])


@pytest.mark.parametrize(("total", "expected"), [(1001, [501, 250, 170, 80]), (7, [3, 2, 1, 1])])
def test_token_counts_round_by_largest_remainder(total, expected):
    assert list(apportion(LLAMA_3, total).values()) == expected


def test_equal_remainders_do_not_depend_on_the_order_of_the_recipe():
    weights = {"a": 1, "b": 1, "c": 1}
    assert apportion(weights, 2) == apportion(dict(reversed(weights.items())), 2)


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(1e-6, 1), min_size=1, max_size=8), st.integers(0, 10**13))
def test_rounding_neither_loses_nor_invents_a_token(weights, total):
    out = apportion(weights, total)
    assert sum(out.values()) == total
    for name, tokens in out.items():
        assert abs(tokens - weights[name] / sum(weights.values()) * total) < 1 + 1e-9 * total


def test_epochs_follow_from_what_a_source_has():
    shares = {s.source: s for s in budgets(Mix(LLAMA_3, 1000), AVAILABLE)}
    assert {n: s.epochs for n, s in shares.items()} == {"web": 0.125, "math": 2.5, "code": 0.34, "ml": 1.0}
    assert (shares["math"].copies, shares["math"].fraction) == (2, 50)
    assert (shares["web"].copies, shares["web"].fraction) == (0, 500)
    assert (shares["ml"].copies, shares["ml"].fraction) == (1, 0)


def test_a_budget_that_passes_max_epochs_names_the_source_the_epochs_and_what_would_work():
    with pytest.raises(RecipeError) as error:
        budgets(Mix(LLAMA_3, 1000, max_epochs=2.0), AVAILABLE)
    assert "math 2.50 epochs (max_epochs 2" in str(error.value)
    assert "At most 800 tokens work" in str(error.value)
    assert "web" not in str(error.value)
    budgets(Mix(LLAMA_3, 800, max_epochs=2.0), AVAILABLE)


def test_an_exception_for_one_source_leaves_the_others_at_four_epochs():
    budgets(Mix(LLAMA_3, 1800, max_epochs={"math": 5.0}), AVAILABLE)
    with pytest.raises(RecipeError, match=r"web 5\.00 epochs \(max_epochs 4"):
        budgets(Mix({"web": 1.0, "math": 0.0}, 20_000, max_epochs={"math": 100.0}), {"web": 4000, "math": 100})


def test_table_1_of_llama_follows_from_its_shares_and_unique_tokens():
    weights = {n: share for n, (share, _, _, _) in TABLE_1.items()}
    available = {n: round(share * 1.4e12 / epochs) for n, (share, epochs, _, _) in TABLE_1.items()}
    assert {n: round(a / 1e9, 1) for n, a in available.items()} == {n: unique for n, (_, _, unique, _) in TABLE_1.items()}
    for s in budgets(Mix(weights, 1.4e12), available):
        assert s.epochs == pytest.approx(TABLE_1[s.source][1], abs=1e-9)
    for s in budgets(Mix(weights, 1.0e12), available):
        assert s.epochs == pytest.approx(TABLE_1[s.source][3], abs=0.0005)  # to three digits


def test_weights_are_relative():
    percent = {n: w * 100 for n, w in LLAMA_3.items()}
    assert budgets(Mix(percent, 1000), AVAILABLE) == budgets(Mix(LLAMA_3, 1000), AVAILABLE)


@given(
    st.dictionaries(st.sampled_from("abcde"), st.tuples(st.floats(0.001, 1), st.integers(10**5, 10**6)), min_size=1),
    st.integers(1, 50),
)
def test_all_takes_as_much_as_some_source_can_give_and_no_more(sources, tenths):
    available = {n: a for n, (_, a) in sources.items()}
    shares = budgets(Mix({n: w for n, (w, _) in sources.items()}, "all", tenths / 10), available)
    caps = {s.source: tenths * s.available // 10 for s in shares}
    assert all(s.target <= caps[s.source] for s in shares)
    total = sum(s.target for s in shares)
    assert any(s.weight * (total + 2) > caps[s.source] - 1e-6 for s in shares)  # two more tokens would pass some cap


def test_sources_too_small_for_one_token_are_no_empty_corpus():
    with pytest.raises(CurateError, match="too small"):
        budgets(Mix({"a": 1.0, "b": 1.0}, "all", 0.1), {"a": 3, "b": 3})


def test_a_source_without_tokens_is_named_unless_its_weight_is_nothing():
    with pytest.raises(CurateError, match="no token is left of math"):
        budgets(Mix(LLAMA_3, 1000), {**AVAILABLE, "math": 0})
    shares = budgets(Mix({**LLAMA_3, "math": 0}, 100), {**AVAILABLE, "math": 0})
    assert [(s.target, s.epochs) for s in shares if s.source == "math"] == [(0, 0.0)]


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        (Mix({"wikipdia": 1, "web": 1}), "mix.weights: there is no source wikipdia; did you mean wikipedia"),
        (Mix({"web": 1}), "mix.weights: wikipedia has no weight"),
        (Mix({"web": 1, "wikipedia": 1}, max_epochs={"webb": 3}), "mix.max_epochs: there is no source webb; did you mean web"),
        (Mix({"web": -1, "wikipedia": 1}), r"mix.weights.web: -1"),
        (Mix({"web": float("nan"), "wikipedia": 1}), r"mix.weights.web: nan"),
        (Mix({"web": 0, "wikipedia": 0}), "every weight is 0"),
        (Mix({"web": 1, "wikipedia": 1}, max_epochs={"web": 0}), r"mix.max_epochs.web: 0"),
        (Mix({"web": 1, "wikipedia": 1}, max_epochs=0), r"mix.max_epochs: 0"),
        (Mix({"web": 1, "wikipedia": 1}, tokens=0), r"mix.tokens: 0"),
    ],
)
def test_a_mix_that_makes_no_sense_is_refused_before_any_token_is_counted(mix, message):
    with pytest.raises(RecipeError, match=message):
        check_weights(mix, ["web", "wikipedia"])


def test_more_of_a_source_only_adds_documents():
    names, tokens = ids(10_000), np.random.default_rng(1).integers(1, 2000, 10_000)
    ranks, addresses = rank_key(7, "web", names), np.arange(10_000)
    at_30 = taken(cut(ranks, addresses, tokens, int(tokens.sum() * 0.30)), ranks, addresses)
    at_40 = taken(cut(ranks, addresses, tokens, int(tokens.sum() * 0.40)), ranks, addresses)
    assert not (at_30 & ~at_40).any()
    assert at_40.sum() > at_30.sum()


def test_half_and_half_is_of_tokens_not_of_documents():
    documents = {"a": np.full(10, 1000), "b": np.full(1000, 10)}
    shares = budgets(Mix({"a": 0.5, "b": 0.5}, 10_000), {n: int(t.sum()) for n, t in documents.items()})
    got = {}
    for s in shares:
        tokens = documents[s.source]
        ranks, addresses = rank_key(1, s.source, ids(len(tokens))), np.arange(len(tokens))
        got[s.source] = int(tokens[taken(cut(ranks, addresses, tokens, s.fraction), ranks, addresses)].sum())
    assert got == {"a": 5000, "b": 5000}


DOCUMENTS = st.lists(st.tuples(st.integers(0, 2**64 - 1) | st.integers(0, 3), st.integers(1, 500)), min_size=1, max_size=200)


@given(DOCUMENTS, st.floats(0, 1), st.floats(0, 1), st.randoms(use_true_random=False))
def test_a_cut_is_monotone_meets_its_budget_and_overshoots_by_less_than_a_document(documents, low, high, random):
    random.shuffle(documents)
    ranks, tokens = np.array([r for r, _ in documents], np.uint64), np.array([t for _, t in documents], np.int32)
    addresses = np.arange(len(documents), dtype=np.int64)
    total = int(tokens.sum())
    low, high = sorted((int(low * total), int(high * total)))
    found = [cut(ranks, addresses, tokens, b) for b in (low, high)]
    sets = [taken(c, ranks, addresses) for c in found]
    assert not (sets[0] & ~sets[1]).any()
    for budget, c, mask in zip((low, high), found, sets, strict=True):
        got = int(tokens[mask].sum())
        assert got == (c.tokens if c else 0)
        assert budget <= got < budget + (tokens[mask].max() if mask.any() else 1)


@given(DOCUMENTS, st.floats(0, 1), st.sampled_from([2, 8, 4096]), st.integers(1, 5))
def test_looking_at_one_partition_gives_the_cut_of_looking_at_all(documents, part, partitions, shards):
    ranks, tokens = np.array([r for r, _ in documents], np.uint64), np.array([t for _, t in documents], np.int32)
    addresses = np.arange(len(documents), dtype=np.int64)
    budget = int(part * int(tokens.sum()))
    sums = sum(partition_tokens(ranks[s::shards], tokens[s::shards], partitions) for s in range(shards))
    at, _ = locate(sums, budget)
    rows = partition(ranks, partitions) == at
    assert cut_in_partition(ranks[rows], addresses[rows], tokens[rows], sums, budget) == cut(ranks, addresses, tokens, budget)


def test_a_budget_beyond_the_source_is_a_bug_and_says_so():
    with pytest.raises(ValueError, match="a budget of 11 tokens"):
        cut(np.array([1], np.uint64), np.array([0]), np.array([10]), 11)
    with pytest.raises(ValueError, match="a budget of 11 tokens"):
        locate(np.array([10]), 11)


def test_no_draw_tells_anything_about_another():
    names = ids(50_000)
    draws = {
        "rank": rank_key(1, "web", names),
        "rank, other seed": rank_key(2, "web", names),
        "rank, other source": rank_key(1, "books", names),
        "shuffle": shuffle_key(1, "web", names, 0),
        "second copy": shuffle_key(1, "web", names, 1),
        "sample": sample_key("tokenizer", 1, "web", names),
        "other sample": sample_key("verify", 1, "web", names),
    }
    lowest = {n: d < np.uint64(2**64 // 10) for n, d in draws.items()}
    for a in draws:
        assert lowest[a].mean() == pytest.approx(0.1, abs=5 * (0.1 * 0.9 / 50_000) ** 0.5)
        for b in draws:
            if a != b:
                assert (lowest[a] & lowest[b]).mean() == pytest.approx(0.01, abs=5 * (0.01 * 0.99 / 50_000) ** 0.5)


def test_a_key_depends_on_the_document_alone():
    names = ids(1000)
    whole = shuffle_key(5, "web", names, 2)
    assert (shuffle_key(5, "web", names[300:400], 2) == whole[300:400]).all()
    assert (shuffle_key(5, "web", names.cast(pa.large_string()), 2) == whole).all()
    assert len(shuffle_key(5, "web", names[:0], 2)) == 0
    assert len(np.unique(whole)) == 1000


def in_plain_python(purpose: str, seed: int, source: str, copy: int, name: str) -> int:
    """What the keys are defined to be: a change of any bit would reorder every corpus ever made."""
    bits, m1, m2 = 2**64 - 1, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53

    def mix(h: int) -> int:
        h = (h ^ h >> 33) * m1 & bits
        h = (h ^ h >> 33) * m2 & bits
        return h ^ h >> 33

    word = hashlib.blake2b(f"{purpose}\0{seed}\0{copy}\0{source}".encode(), digest_size=8).digest()
    data = name.encode()
    h = mix(int.from_bytes(word, "little") ^ (len(data) * 1099511628211 & bits))
    for i in range(0, len(data) - 7, 8):
        w = int.from_bytes(data[i : i + 8], "little") * m1 & bits
        w ^= w >> 32
        h = (h << 27 & bits | h >> 37) ^ (w * m2 & bits)
        h = (h * 5 + 0x52DCE729) & bits
    tail = int.from_bytes(data[len(data) // 8 * 8 :], "big")
    return mix(h ^ (tail * m1 & bits))


@given(st.integers(0, 2**31), st.text(max_size=12), st.integers(0, 4), st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_keys_are_the_same_on_every_machine(seed, source, copy, names):
    array = pa.array(names, pa.string())
    assert rank_key(seed, source, array).tolist() == [in_plain_python("rank", seed, source, 0, n) for n in names]
    assert shuffle_key(seed, source, array, copy).tolist() == [in_plain_python("shuffle", seed, source, copy, n) for n in names]


def test_copies_of_a_document_land_far_apart():
    n = 20_000
    keys = np.concatenate([shuffle_key(1, "wikipedia", ids(n), copy) for copy in range(2)])
    place = np.empty(2 * n, np.int64)
    place[np.argsort(keys)] = np.arange(2 * n)
    assert (np.abs(place[:n] - place[n:]) > 4).mean() >= 0.999  # 6.9: not within 2 x seq_len, here four documents of 1,000 tokens


def test_the_table_says_what_was_asked_for_and_what_was_written():
    rows = achieved(budgets(Mix(LLAMA_3, 1000), AVAILABLE), {"web": (505, 5), "math": (250, 7), "code": (170, 2), "ml": (80, 1)})
    web = rows[0]
    assert (web.source, web.target_tokens, web.tokens, web.documents) == ("web", 500, 505, 5)
    assert web.error == pytest.approx(0.01)
    assert web.epochs == pytest.approx(505 / 4000)
    assert sum(r.share for r in rows) == pytest.approx(1)
    lines = table(rows).splitlines()
    assert len(lines) == 6
    assert "+1.0000%" in lines[1]
    assert "1,005" in lines[-1]
