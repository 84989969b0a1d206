"""MinHash: bands propose, shingles decide. Against plain Python, datasketch, and the vectors of datatrove."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import support
from hypothesis import given, settings
from hypothesis import strategies as st
from near_duplicates import corpus, dropped, edited, greedy, jaccard, shards, shingles, vocabulary

from curate.batch import Batch
from curate.build import build
from curate.errors import CurateError, RecipeError
from stages.dedup import components, estimate, signatures
from stages.dedup import shingles as shingling
from stages.dedup.exact import Exact
from stages.dedup.minhash import Books, FineWeb, MinHash, Nemotron, RedPajama

SURE = {"bands": 60, "rows": 3, "compared": 100, "sample": 0}  # finds a pair of similarity 0.5 with 99.97 %


def batch(*texts: str) -> Batch:
    return Batch.of(pa.record_batch({"text": pa.array(texts, pa.large_string())}))


def words_of(text: str, *, lower: bool = True, digits: bool = True, punctuation: bool = True, accents: bool = True) -> int:
    """How many words the kernel sees."""
    table = shingling.table(lower, digits, punctuation, accents)
    data, start, end = batch(text).utf8
    return int(shingling.word_hashes(data, np.int64(start[0]), np.int64(end[0]), *table, np.empty(len(text.encode()) + 1, np.uint64)))


def same(a: str, b: str, **ignored: bool) -> bool:
    """Whether two texts are the same words to the kernel."""
    table = shingling.table(**({"lower": True, "digits": True, "punctuation": True, "accents": True} | ignored))
    _, _, whole, _ = shingling.sets(*batch(a, b).utf8, *table, 5, False)
    return bool(whole[0] == whole[1])


# -- words --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [  # after the vectors of datatrove's normaliser (spec 6.2), and scripts that it does not name
        ("Hello, World 3!", "hello world 0"),
        ("24.04.2019", "1 2 3"),
        ("icon \uf023 font", "icon font"),
        ("Café  NAÏVE\n\nline", "cafe naive line"),
        ("a_b-c 12 34", "a b c 0 0"),
        ("it's", "it s"),
        ("ΣΊΣΥΦΟΣ", "σισυφος"),
        ("Cafe\u0301", "café"),
        ("zero\u200bwidth", "zero width"),
        ("soft\u00adhyphen", "softhyphen"),
        ("１２ und ٣٤", "0 und 0"),
        ("漢字かな", "漢 字 か な"),
        ("漢字abc", "漢 字 abc"),
        ("ЁЛКА", "елка"),
        ("שָׁלוֹם", "שלום"),
        ("مَرْحَبًا", "مرحبا"),
        ("...", ""),
    ],
)
def test_differences_that_do_not_count(a: str, b: str):
    assert same(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [("ab c", "a bc"), ("กา", "กี"), ("कि", "का"), ("한국", "항국"), ("a", "a a"), ("ab", "ba"), ("don't", "dont"), ("ǆ", "dz")],
)
def test_differences_that_count(a: str, b: str):
    assert not same(a, b)


@pytest.mark.parametrize(
    ("ignored", "a", "b"),
    [("lower", "A", "a"), ("digits", "1", "2"), ("punctuation", "a, b", "a b"), ("accents", "é", "e")],
)
def test_each_difference_can_be_made_to_count(ignored: str, a: str, b: str):
    assert same(a, b)
    assert not same(a, b, **{ignored: False})


def test_scripts_without_spaces_are_cut_as_batch_words_cuts_them():
    for text in ("漢字かな交じり文", "ภาษาไทยเขียนติดกัน", "ພາສາລາວ", "ភាសាខ្មែរ", "မြန်မာဘာသာ", "плюс ещё слова"):
        assert words_of(text) == int(batch(text).words.count[0])


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("abcXYZé ÀßΣς09١،,.-_'\n\t中あ\u0301\u200d\U0001f600"), max_size=60))
def test_words_are_those_of_a_plain_reading(text: str):
    """Lower case, accents off, digits 0, then runs of word characters, and each Han or Hiragana by itself."""
    import unicodedata

    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if c not in "\u0301\u0300\u200d").replace("ς", "σ")
    plain = re.sub(r"[0-9١]+", "0", plain)
    found = re.findall(r"[中あ]|[a-zßσ0]+|\U0001f600{0}", plain)
    found = [w for w in found if w]
    joined = " ".join(found)
    assert words_of(text) == len(found)
    assert same(text, joined)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab c"), max_size=40), max_size=6), st.integers(1, 6))
def test_shingles_are_the_distinct_runs_of_words(texts: list[str], n: int):
    table = shingling.table(True, True, True, True)
    offsets, found, *_ = shingling.sets(*batch(*texts).utf8, *table, n, False)
    for d, text in enumerate(texts):
        words = text.split()
        runs = {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}
        mine = found[offsets[d] : offsets[d + 1]]
        assert len(mine) == max(len(runs), 1)
        assert (np.diff(mine.astype(np.int64)) > 0).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.sampled_from("abä 漢\n"), max_size=40), max_size=6), st.integers(1, 6))
def test_shingles_of_characters_are_the_distinct_runs_of_characters(texts: list[str], n: int):
    offsets, *_ = shingling.sets(*batch(*texts).utf8, *shingling.table(False, False, False, False, True), n, True)
    for d, text in enumerate(texts):
        assert offsets[d + 1] - offsets[d] == max(len({text[i : i + n] for i in range(len(text) - n + 1)}), 1)


# -- signatures ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sketch", [signatures.independent, signatures.fast])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_the_share_of_equal_values_estimates_jaccard_as_well_as_theory_has_it(sketch, share: float):
    rng = np.random.default_rng(1)
    size, count, trials, errors = 300, 128, 200, []
    common = int(2 * size * share / (1 + share))
    truth = common / (2 * size - common)
    for seed in range(trials):
        pool = rng.integers(0, 2**32, 2 * size - common, np.uint64).astype(np.uint32)
        drawn = signatures.permutations(count, seed)
        out = np.zeros((2, count), np.uint32)
        sketch(pool[:size], size, *drawn, out[0])
        sketch(pool[size - common :], size, *drawn, out[1])
        errors.append((out[0] == out[1]).mean() - truth)
    deviation = np.sqrt(truth * (1 - truth) / count)
    assert abs(np.mean(errors)) < 4 * deviation / np.sqrt(trials)
    assert np.sqrt(np.mean(np.square(errors))) < 1.2 * deviation


def test_estimates_are_as_near_as_datasketch_s():
    datasketch = pytest.importorskip("datasketch")
    texts = corpus(3, 25)
    stage = MinHash(sample=0)
    signature, _, _ = stage.signed(batch(*texts))
    theirs = []
    for text in texts:
        m = datasketch.MinHash(112, seed=1)
        m.update_batch([" ".join(s).encode() for s in shingles(text)])
        theirs.append(m)
    pairs = [(i, j) for i in range(len(texts)) for j in range(i)]
    truth = np.array([jaccard(shingles(texts[i]), shingles(texts[j])) for i, j in pairs])
    ours = np.array([(signature[i, :112] == signature[j, :112]).mean() for i, j in pairs]) - truth
    oracle = np.array([theirs[i].jaccard(theirs[j]) for i, j in pairs]) - truth
    near = truth > 0.1
    assert near.sum() > 30
    assert np.sqrt(np.mean(ours[near] ** 2)) < 1.5 * np.sqrt(np.mean(oracle[near] ** 2))
    assert np.abs(ours[~near]).max() < 0.15


@pytest.mark.parametrize(("threshold", "count"), [(0.5, 128), (0.7, 128), (0.8, 128), (0.9, 128), (0.8, 256), (0.75, 112), (0.95, 64)])
def test_bands_for_a_threshold_are_datasketch_s(threshold: float, count: int):
    lsh = pytest.importorskip("datasketch.lsh")
    assert signatures.best_bands(threshold, count) == lsh._optimal_param(threshold, count, 0.5, 0.5)
    assert MinHash(bands=0, rows=0, threshold=threshold, permutations=count).banding == lsh._optimal_param(threshold, count, 0.5, 0.5)


@pytest.mark.parametrize(
    ("bands", "rows", "similarity", "chance"),  # spec 3.5.1
    [(14, 8, 0.7, 0.565), (14, 8, 0.8, 0.924), (20, 13, 0.8, 0.677), (20, 13, 0.85, 0.924), (450, 20, 0.75, 0.761), (9, 13, 0.9, 0.929)],
)
def test_the_chance_of_sharing_a_band(bands: int, rows: int, similarity: float, chance: float):
    assert float(signatures.collision(similarity, bands, rows)) == pytest.approx(chance, abs=0.0006)


@pytest.mark.parametrize(("bands", "rows", "chance"), [(14, 8, 0.924), (20, 13, 0.677)])
@pytest.mark.parametrize("sketch", ["independent", "fast"])
def test_a_pair_of_similarity_0_8_shares_a_band_as_often_as_it_should(bands: int, rows: int, chance: float, sketch: str):
    """Spec 6.2: 1,000 seeds, three standard deviations."""
    rng = random.Random(5)
    known = vocabulary(rng, 5000)
    common, a, b = (rng.sample(known, n) for n in (404, 50, 50))
    first, second = " ".join(common + a), " ".join(common + b)
    truth = jaccard(shingles(first), shingles(second))
    assert truth == pytest.approx(0.8, abs=0.01)
    hits = 0
    for seed in range(1000):
        stage = MinHash(bands=bands, rows=rows, seed=seed, sketch=sketch)
        begin, end, keys, _ = stage.keys(batch(first, second))
        hits += bool(set(keys[begin[0] : end[0]].tolist()) & set(keys[begin[1] : end[1]].tolist()))
    expected = float(signatures.collision(truth, bands, rows))
    assert expected == pytest.approx(chance, abs=0.02)
    assert abs(hits / 1000 - expected) < 3 * np.sqrt(expected * (1 - expected) / 1000)


# -- components ---------------------------------------------------------------------------------------------------------------------


def plain_components(links: list[tuple[int, int]]) -> dict[int, int]:
    label = {n: n for link in links for n in link}
    changed = True
    while changed:
        changed = False
        for a, b in links:
            least = min(label[a], label[b])
            changed |= label[a] != least or label[b] != least
            label[a] = label[b] = least
    return label


def chunks(links: list[tuple[int, int]], size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    pairs = np.array(links, np.int64).reshape(-1, 2)
    return [(pairs[k : k + size, 0], pairs[k : k + size, 1]) for k in range(0, len(pairs), size)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).filter(lambda p: p[0] != p[1]), max_size=60),
    st.integers(1, 20),
    st.booleans(),
)
def test_components_are_those_of_plain_python_in_memory_and_on_disk(links: list[tuple[int, int]], size: int, far: bool):
    links = [(a << 33 | b % 3, b << 33 | 5) for a, b in links] if far else links
    expected = sorted(plain_components(links).items())
    for memory in (1e13, 1.0):
        found = components.components(lambda: chunks(links, size), memory)
        assert list(zip(found["doc"].to_pylist(), found["first"].to_pylist(), strict=True)) == expected


def test_long_chains_and_stars_are_one_component_on_disk_as_well():
    n = 3000
    chain = [(k, k + 1) for k in range(n)]
    random.Random(1).shuffle(chain)
    star = [(10 * n, 10 * n + k) for k in range(1, n)]
    for memory in (1e9, 4000.0):
        found = components.components(lambda: chunks(chain + star, 700), memory)
        assert found["doc"].to_pylist() == sorted({d for link in chain + star for d in link})
        assert set(found["first"].to_pylist()) == {0, 10 * n}


# -- who goes -----------------------------------------------------------------------------------------------------------------------


def test_of_2000_documents_those_go_that_a_comparison_of_all_with_all_drops(tmp_path: Path):
    texts = corpus(1, 850)[:2000]
    expected = greedy(texts, 0.8)
    found = dropped(MinHash(**SURE), texts, tmp_path)
    assert len(expected) > 500
    assert found == {d: (k, pytest.approx(s, abs=1e-6)) for d, (k, s) in expected.items()}


@pytest.mark.parametrize(("count", "partitions", "rows"), [(1, 1, 7), (4, 2, 1000), (9, 8, 33)])
def test_shards_partitions_and_batches_change_nothing(count: int, partitions: int, rows: int, tmp_path: Path):
    texts = corpus(2, 150)
    plain = dropped(MinHash(), texts, tmp_path / "plain")
    assert plain
    assert dropped(MinHash(), texts, tmp_path / "cut", count=count, partitions=partitions, rows=rows) == plain


@pytest.mark.parametrize("verify", [True, False])
def test_the_order_of_documents_does_not_change_who_stays_where_a_column_decides(verify: bool, tmp_path: Path):
    texts = corpus(4, 150)
    score = list(range(len(texts)))
    random.Random(1).shuffle(score)
    stage = MinHash(keeper="best", score="quality", verify=verify)
    survivors = []
    for turn in range(3):
        order = list(range(len(texts)))
        random.Random(turn).shuffle(order)
        gone = dropped(stage, [texts[n] for n in order], tmp_path / str(turn), quality=[float(score[n]) for n in order])
        survivors.append({order[n] for n in range(len(texts)) if n not in gone})
    assert survivors[0] == survivors[1] == survivors[2]
    assert 0 < len(survivors[0]) < len(texts)


def chain() -> list[str]:
    """Three texts of which the first two and the last two are alike, and the first and the last are not."""
    rng = random.Random(8)
    known = vocabulary(rng, 4000)
    a = rng.sample(known, 200)
    b = a[:180] + rng.sample(known, 20)
    c = b[:10] + rng.sample(known, 12) + b[22:]
    texts = [" ".join(t) for t in (a, b, c)]
    assert jaccard(shingles(texts[0]), shingles(texts[1])) > 0.8
    assert jaccard(shingles(texts[1]), shingles(texts[2])) > 0.8
    assert jaccard(shingles(texts[0]), shingles(texts[2])) < 0.8
    return texts


def test_a_chain_alone_drops_nothing(tmp_path: Path):
    assert {d: k for d, (k, _) in dropped(MinHash(**SURE), chain(), tmp_path).items()} == {1: 0}


def test_unverified_a_chain_is_one_cluster_with_one_survivor(tmp_path: Path):
    found = dropped(MinHash(**SURE, verify=False), chain(), tmp_path)
    assert {d: k for d, (k, _) in found.items()} == {1: 0, 2: 0}


@pytest.mark.parametrize(
    ("keeper", "stays"),
    [("first", 0), ("longest", 2), ("newest", 1), ("best", 3)],
)
def test_the_keeper_chooses(keeper: str, stays: int, tmp_path: Path):
    base = " ".join(vocabulary(random.Random(1), 60))
    texts = [base, base, base + " more", base]
    columns = {"date": ["2020-01-01", "2023-01-01", None, "2021-05-05T10:00:00Z"], "quality": [0.1, 0.2, -1.0, 0.9]}
    stage = MinHash(keeper=keeper, score="quality" if keeper == "best" else "")
    found = dropped(stage, texts, tmp_path, **columns)
    assert set(range(4)) - set(found) == {stays}
    assert {k for k, _ in found.values()} == {stays}


def test_only_documents_that_agree_in_the_columns_of_within_meet(tmp_path: Path):
    text = " ".join(vocabulary(random.Random(1), 60))
    language = ["en", "de", "en", None, "de", None]
    found = dropped(MinHash(within=("language",)), [text] * 6, tmp_path, language=language)
    assert {d: k for d, (k, _) in found.items()} == {2: 0, 4: 1, 5: 3}


def test_proposed_documents_without_what_the_keeper_goes_by_are_counted(tmp_path: Path):
    base = " ".join(vocabulary(random.Random(1), 60))
    columns = {"date": ["2020-01-01", None, "soon"], "quality": ["0.1", "good", None]}
    for number, (stage, what) in enumerate([(MinHash(keeper="newest"), "date"), (MinHash(keeper="best", score="quality"), "number in")]):
        dropped(stage, [base, base, f"{base} more"], tmp_path / str(number), **columns)
        facts = read_facts(tmp_path / str(number))
        assert facts["undated"] + facts["unscored"] == 2
        assert any(f"2 of 3 documents that bands propose have no {what}" in sentence for sentence in facts["warns"])


def test_documents_without_a_shingle_go_only_for_equal_bytes_or_not_at_all(tmp_path: Path):
    texts = ["", "one", "One!", "two words", "two  words", "", "...", "one", "12 45", "67 89"]
    assert dropped(MinHash(), texts, tmp_path / "a") == {5: (0, 1.0), 7: (1, 1.0)}
    assert dropped(MinHash(short="keep"), texts, tmp_path / "b") == {}


@pytest.mark.parametrize(
    "stage", [MinHash(), MinHash(sketch="fast"), MinHash(verify=False), Nemotron(ignore=("punctuation", "digits"), few=8)]
)
def test_documents_of_which_next_to_nothing_is_left_go_only_for_equal_bytes(stage: MinHash, tmp_path: Path):
    """Emoji are symbols, and numbers are all 0: what is left of such texts is alike, and they are not."""
    rng = random.Random(1)
    emoji = ["".join(rng.choices("\U0001f600\U0001f601\U0001f602\U0001f603", k=40)) for _ in range(60)]
    tables = ["\n".join(" ".join(f"{rng.random():.4f}" for _ in range(6)) for _ in range(20)) for _ in range(60)]
    texts = [*emoji, *tables, "...", "", tables[3], emoji[4]]
    assert dropped(stage, texts, tmp_path).keys() == {122, 123}


def test_symbols_alone_are_judged_as_exact_judges_them(tmp_path: Path):
    texts = ["...", "!!!", "...", "", "\U0001f600", "\U0001f601", "\U0001f600", "", "... "]
    exact = dropped(Exact(normalise=True), texts, tmp_path / "exact")
    assert {d: k for d, (k, _) in exact.items()} == {d: k for d, (k, _) in dropped(MinHash(), texts, tmp_path / "minhash").items()}


def test_how_little_is_too_little_is_a_parameter(tmp_path: Path):
    texts = ["a b c d e f g h i", "a b c d e f g h i!", "a b c d e f g h", "a b c d e f g h!"]  # five shingles, and four
    assert dropped(MinHash(), texts, tmp_path / "a") == {1: (0, 1.0)}
    assert dropped(MinHash(few=4), texts, tmp_path / "b").keys() == {1, 2, 3}
    assert dropped(MinHash(few=6), texts, tmp_path / "c") == {}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 8))
def test_distinct_values_are_counted_up_to_a_number(values: list[int], least: int):
    assert shingling.enough(np.array(values, np.uint32), len(values), least) == (len(set(values)) >= least)


def test_a_quotation_is_contained_and_not_alike(tmp_path: Path):
    rng = random.Random(2)
    known = vocabulary(rng, 3000)
    long = rng.sample(known, 300)
    texts = [" ".join(long), " ".join(long[:220])]
    assert dropped(MinHash(**SURE), texts, tmp_path / "a") == {}
    assert {d: k for d, (k, _) in dropped(MinHash(**SURE, measure="containment"), texts, tmp_path / "b").items()} == {1: 0}


def overlapping(share: int) -> list[str]:
    """Two books of a hundred shingles, so many of them in common."""
    rng = random.Random(3)
    known = vocabulary(rng, 5000)
    words = rng.sample(known, 104)
    return [" ".join(words), " ".join(words[: share + 4] + rng.sample(known, 100 - share))]


@pytest.mark.parametrize(("share", "goes"), [(89, False), (90, False), (91, True)])
def test_books_go_with_more_than_90_percent_in_common(share: int, goes: bool, tmp_path: Path):
    """Llama 1, 2.1; spec llama1 6.4, B4."""
    texts = overlapping(share)
    assert len(shingles(texts[0]) & shingles(texts[1])) == share
    assert bool(dropped(Books(bands=60, rows=3, keeper="first"), texts, tmp_path)) is goes


@pytest.mark.parametrize("cls", [FineWeb, Nemotron, RedPajama, Books])
def test_presets_find_copies(cls: type[MinHash], tmp_path: Path):
    texts = [t for t in corpus(5, 30) if len(t.split()) > 20]
    found = dropped(cls(), [*texts, *texts], tmp_path)
    assert set(range(len(texts), 2 * len(texts))) <= set(found) | {k for k, _ in found.values()}


def test_a_template_of_many_pages_is_compared_in_linear_time_and_reported(tmp_path: Path):
    rng = random.Random(4)
    known = vocabulary(rng, 4000)
    frame = rng.sample(known, 60)
    pages = [" ".join(frame + rng.sample(known, 60)) for _ in range(600)]
    stage = MinHash(bands=40, rows=2, sample=0)
    assert dropped(stage, pages, tmp_path) == {}
    facts = read_facts(tmp_path)
    assert facts["templates"]["largest"][0][1] > 300
    assert "template" in facts["warns"][0]


def read_facts(folder: Path) -> dict:
    import json

    [facts] = json.loads((folder / "barrier" / "facts.json").read_text())
    return facts


def test_the_estimate_is_that_of_all_pairs_where_all_are_drawn(tmp_path: Path):
    texts = corpus(6, 120)
    stage = MinHash(bands=6, rows=8)
    dropped(stage, texts, tmp_path)
    sets = [shingles(t) for t in texts]
    pairs = [(i, j) for i in range(len(texts)) for j in range(i) if len(texts[i].split()) > 4 and jaccard(sets[i], sets[j]) >= 0.8]
    first, last, keys, _ = stage.keys(batch(*texts))
    bands = [set(keys[a:b].tolist()) for a, b in zip(first, last, strict=True)]
    found = sum(bool(bands[i] & bands[j]) for i, j in pairs)
    sample = read_facts(tmp_path)["sample"]
    assert sample["documents"] == sum(len(t.split()) > 4 for t in texts)
    assert (sample["pairs"], round(sample["found"])) == (len(pairs), found)
    assert 0 < found < len(pairs)


def test_a_drawn_sample_estimates_what_all_pairs_would_say(tmp_path: Path):
    """Three seeds of 150 documents out of 1,200; the truth lies within a few standard deviations of their mean."""
    texts = corpus(7, 520)[:1200]
    found = []
    for seed in (1, 2, 3):
        dropped(MinHash(bands=6, rows=8, sample=150, seed=seed), texts, tmp_path / str(seed))
        sample = read_facts(tmp_path / str(seed))["sample"]
        assert sample["documents"] == 150
        assert sample["pairs"] > 5  # a sample drawn evenly would hold (150 / 1200)^2 of the pairs, one or two
        found.append(sample["found"] / sample["similar"])
    sets = [shingles(t) for t in texts]
    by_first: dict[tuple[str, ...], list[int]] = {}
    for n, s in enumerate(sets):
        for shingle in s:
            by_first.setdefault(shingle, []).append(n)
    near = {(i, j) for same_ in by_first.values() for i in same_ for j in same_ if j < i}
    truth = [float(signatures.collision(v, 6, 8)) for i, j in near if (v := jaccard(sets[i], sets[j])) >= 0.8]
    assert abs(np.mean(found) - np.mean(truth)) < 0.15


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"bands": 5}, None),
        ({"bands": 0}, "bands is 0 and rows is 8"),
        ({"rows": 0}, "bands is 14 and rows is 0"),
        ({"keeper": "best"}, "best"),
        ({"score": "quality"}, "score"),
        ({"verify": False, "keep_index": True}, "verify: true"),
        ({"threshold": 1.0, "inclusive": False}, "nothing is more similar than 1"),
        ({"threshold": 0.5, "verify": False}, "threshold: 0.5 decides nothing where verify is false"),
        ({"threshold": 0.5, "verify": False, "bands": 0, "rows": 0}, None),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings_: dict, message: str | None):
    stage = build("dedup.minhash.MinHash", settings_)
    if message is None:
        stage.check()
        return
    with pytest.raises(CurateError, match=message):
        stage.check()


@pytest.mark.parametrize(("threshold", "banding"), [(0.7, (14, 9)), (0.8, (9, 13)), (0.9, (5, 25)), (1.0, (1, 128))])
def test_redpajama_has_bands_for_four_thresholds_and_no_others(threshold: float, banding: tuple[int, int]):
    stage = build("dedup.minhash.RedPajama", {"threshold": threshold})
    stage.check()
    assert isinstance(stage, RedPajama)
    assert stage.banding == banding
    with pytest.raises(CurateError, match=r"threshold: 0\.75 has no bands in RedPajama-V2; take one of 0\.7, 0\.8, 0\.9, 1"):
        RedPajama(threshold=0.75).check()


@pytest.mark.parametrize("memory", [0, float("inf"), float("nan")])
def test_memory_is_bounded(memory: float):
    with pytest.raises(RecipeError, match=r"memory: expected (greater|less) than or equal to"):
        build("dedup.minhash.MinHash", {"memory": memory})


@pytest.mark.parametrize("threshold", [0.6, 0.7, 0.9])
def test_what_goes_at_the_threshold_has_a_similarity_that_is_not_below_it(threshold: float, tmp_path: Path):
    """Of a hundred shingles in all so many are shared; 0.7 and 0.9 are less as float32."""
    own = round(100 * (1 - threshold))
    known = vocabulary(random.Random(2), 400)
    words = list(dict.fromkeys(known))[:100]
    texts = [" ".join(words), " ".join(words[:-own])]
    folder = tmp_path / "a"
    folder.mkdir()
    stage = MinHash(ngram=1, threshold=threshold, bands=60, rows=1)
    [verdict] = support.decided(stage, shards(texts, 1), folder)
    assert verdict.rows(0, 2)["similarity"].to_pylist() == [threshold]


def test_a_document_repeated_and_nothing_repeated(tmp_path: Path):
    text = " ".join(vocabulary(random.Random(1), 80))
    assert dropped(MinHash(), [text] * 500, tmp_path / "a") == dict.fromkeys(range(1, 500), (0, 1.0))
    different = [" ".join(vocabulary(random.Random(n), 80)) for n in range(300)]
    assert dropped(MinHash(), different, tmp_path / "b") == {}


def test_a_crowded_component_is_decided_from_a_mapped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    texts = corpus(9, 60) + corpus(10, 60)
    plain = dropped(MinHash(bands=40, rows=2), texts, tmp_path / "plain")
    monkeypatch.setattr("curate.exchange.RANGE_BYTES", 2000)
    monkeypatch.setattr("curate.exchange.PIECE_BYTES", 3000)
    monkeypatch.setattr("curate.exchange.SORTED_BYTES", 100)
    assert dropped(MinHash(bands=40, rows=2), texts, tmp_path / "mapped") == plain


def test_components_on_disk_give_the_same_survivors(tmp_path: Path):
    texts = corpus(11, 200)
    stage = MinHash()
    plain = dropped(stage, texts, tmp_path / "plain")
    object.__setattr__(stage, "memory", 200.0)
    assert dropped(stage, texts, tmp_path / "disk") == plain


def test_edits_beyond_the_threshold_keep_both(tmp_path: Path):
    rng = random.Random(12)
    known = vocabulary(rng, 3000)
    base = rng.sample(known, 200)
    far, near = edited(rng, base, known, 0.15), edited(rng, base, known, 0.01)
    found = dropped(MinHash(**SURE), [" ".join(t) for t in (base, far, near)], tmp_path)
    assert {d: k for d, (k, _) in found.items()} == {2: 0}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=12, unique=True), min_size=1, max_size=12), st.booleans())
def test_pairs_are_compared_alike_by_shingles_and_by_sets(sets: list[list[int]], containment: bool):
    values = np.concatenate([np.sort(np.array(s, np.uint32)) for s in sets])
    offsets = np.concatenate(([0], np.cumsum([len(s) for s in sets])))
    none = np.zeros(len(sets) + 1, np.int64)
    arguments = (none, np.empty(0, np.uint64), offsets, values, np.zeros(len(sets), np.uint64), containment)
    order = np.argsort(values)
    held = np.unique(values, return_counts=True)[1]
    counted = estimate.count(held, np.repeat(np.arange(len(sets)), np.diff(offsets))[order], len(sets))
    by_shingles, by_sets = (estimate._compare(*arguments, c)[0].tolist() for c in (counted, np.empty((0, 0), np.uint32)))
    pairs = [(set(a), set(b)) for n, a in enumerate(sets) for b in sets[:n]]
    plain = [len(a & b) / (min(len(a), len(b)) if containment else len(a | b)) for a, b in pairs]
    assert by_shingles == by_sets == [s for s in plain if s >= 0.5]


def test_of_long_documents_fewer_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    texts = [t for t in corpus(13, 60) if len(t.split()) > 4]
    dropped(MinHash(), texts, tmp_path / "all")
    monkeypatch.setattr(estimate, "SHINGLES", sum(len(shingles(t)) for t in texts) // 3)
    dropped(MinHash(), texts, tmp_path / "some")
    whole, some = (read_facts(tmp_path / n)["sample"] for n in ("all", "some"))
    assert whole["documents"] == len(texts)
    assert len(texts) / 5 < some["documents"] < len(texts) / 2
    assert 0 < some["pairs"] < whole["pairs"]
