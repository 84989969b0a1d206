"""A recipe that embeds documents, finds clusters and drops what means nearly the same: what stays, why, the same bytes anywhere."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import support
from encoder_model import DIM, save

from curate import duplicates
from curate.runner import Ray

pytest.importorskip("transformers")

RECIPE = """
name: meanings
seed: 1
data: DATA
models:
  encoder: {path: ENCODER}
  clusters: {train: semantic.KMeans, from: web}
sources:
  web:
    - read.jsonl.Jsonl: {paths: ["${data}/web/*.jsonl"]}
    - length.Words: {least: 5}
    - encoder.Embed: {model: encoder}
    - dedup.semantic.SemDeDup: {clusters: clusters, epsilon: 0.01}
engine: {shard_bytes: 20000}
"""
DOCUMENTS, CHANGED, COPIES = 60, 15, 5


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents; behind them some of them with one word changed, some as they were, and some that are too short."""
    folder = tmp_path_factory.mktemp("semantic")
    rng = random.Random(6)
    texts = [" ".join(rng.choices(rng.sample(support.WORDS, 4), k=rng.randint(80, 200))) for _ in range(DOCUMENTS)]
    for text in texts[:CHANGED]:
        words = text.split(" ")
        words[len(words) // 2] = "copper"
        texts.append(" ".join(words))
    texts += texts[20 : 20 + COPIES] + ["too short"] * 3
    (folder / "data" / "web").mkdir(parents=True)
    for number, low in enumerate(range(0, len(texts), 30)):
        rows = (json.dumps({"text": text}) + "\n" for text in texts[low : low + 30])
        (folder / "data" / "web" / f"{number}.jsonl").write_text("".join(rows))
    text = RECIPE.replace("DATA", str(folder / "data")).replace("ENCODER", save(folder / "encoder"))
    (folder / "r.yaml").write_text(text)
    support.run(str(folder / "r.yaml"), folder / "out")
    return folder


def bytes_of(out: Path) -> dict[str, str]:
    """sha256 of all that a user is given, and of the fates."""
    files = [p for kind in ("documents", "models") for p in sorted((out / kind).rglob("*")) if p.is_file()]
    files += sorted(out.rglob("*.fates.parquet"))
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_documents_that_mean_nearly_the_same_are_left_once(place: Path) -> None:
    rows = {row["stage"]: row for row in json.loads((place / "out" / "stats.json").read_text())}
    dropped = rows["dedup.semantic.SemDeDup"]["dropped"]
    assert dropped == {"semantic_duplicate": CHANGED + COPIES}
    kept = support.documents(place / "out", "web")
    assert len(kept) == DOCUMENTS
    vectors = np.stack(kept["embedding"].to_numpy()).astype(np.float32)
    assert vectors.shape == (DOCUMENTS, DIM)
    cosines = vectors @ vectors.T - 2 * np.eye(DOCUMENTS)
    assert cosines.max() < 0.991  # in one cluster or not


def test_a_fate_says_how_similar_to_whom(place: Path) -> None:
    fates = [row for path in (place / "out").rglob("*.fates.parquet") for row in pq.read_table(path).to_pylist()]
    fates = [row for row in fates if row["stage"] == "dedup.semantic.SemDeDup"]
    assert len(fates) == CHANGED + COPIES
    ids = set(support.documents(place / "out", "web")["id"].to_pylist())
    for row in fates:
        assert 0.99 < row["value"] <= 1
        assert row["limit"] == pytest.approx(0.99)
        assert row["kept_id"] in ids


def test_the_model_has_a_card_and_the_run_a_curve(place: Path) -> None:
    [card] = [json.loads(path.read_text()) for path in (place / "out" / "models").glob("clusters-*/card.json")]
    assert (card["documents"], card["k"], card["dimensions"]) == (DOCUMENTS + CHANGED + COPIES, 9, DIM)
    [[facts]] = [json.loads(path.read_text()) for path in (place / "out").rglob("facts.json")]
    assert facts["compared"] == DOCUMENTS + CHANGED + COPIES
    assert facts["compared_clusters"] <= 9
    curve = {point["epsilon"]: point["removed"] for point in facts["curve"]}
    assert max(removed for epsilon, removed in curve.items() if epsilon <= 0.01) == facts["removed"] == CHANGED + COPIES
    assert max(curve.values()) > CHANGED + COPIES


def test_its_report_is_told_as_of_any_deduplication(place: Path) -> None:
    [made] = duplicates.deduplications(str(place / "out"))
    assert (made.done, made.dropped["web"], made.of["web"]) == (True, CHANGED + COPIES, DOCUMENTS + CHANGED + COPIES)
    assert sum((int(size) - 1) * count for size, count in made.clusters.items()) == CHANGED + COPIES
    kept = set(support.documents(place / "out", "web")["id"].to_pylist())
    assert {name for name, _ in made.largest} <= kept
    assert made.above
    assert all(p.similarity is not None and made.limit is not None and made.limit < p.similarity < 1 for p in made.above)
    assert "dedup.semantic.SemDeDup over web" in duplicates.report(str(place / "out"))
    assert json.loads(duplicates.report(str(place / "out"), as_json=True))[0]["clusters"] == made.clusters


def test_another_epsilon_embeds_nothing_again(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "out", tmp_path / "out")

    def embedded() -> dict[Path, tuple[int, int]]:
        files = [path for number in (1, 2) for path in (tmp_path / "out" / "passes" / "web").glob(f"{number}-*/*.json")]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

    before = embedded()
    assert len(before) == 10
    support.run(str(place / "r.yaml"), tmp_path / "out", "sources.web.dedup.semantic.SemDeDup.epsilon=0.3")
    assert len(support.documents(tmp_path / "out", "web")) < DOCUMENTS
    assert embedded() == before


@pytest.mark.parametrize("settings", [("engine.batch_rows=7",), ("engine.partitions=8", "engine.batch_rows=1"), ("ray",)])
def test_batches_partitions_and_workers_change_no_bit(place: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    ray = Ray(2) if settings == ("ray",) else None
    try:
        support.run(str(place / "r.yaml"), tmp_path / "out", *(s for s in settings if s != "ray"), executor=ray)
    finally:
        if ray:
            ray.close()

    def portable(out: Path) -> list[tuple[str, str]]:
        """Without the fingerprints of folders, which hold partitions and places."""
        return sorted((Path(name).name, digest) for name, digest in bytes_of(out).items() if not name.endswith(("card.json", "stats.json")))

    assert portable(tmp_path / "out") == portable(place / "out")


def test_all_sources_together_may_be_compared(place: Path, tmp_path: Path) -> None:
    text = (place / "r.yaml").read_text()
    at = text.index("    - dedup.semantic")
    stage, engine = text[at:].split("engine:")
    text = f"{text[:at].replace('from: web', 'from: [web, more]')}  more:\n    - read.jsonl.Jsonl: {{paths: ['${{data}}/web/0.jsonl']}}\n"
    text += f"    - encoder.Embed: {{model: encoder}}\ncorpus:\n{stage.replace('    -', '  -')}engine:{engine}"
    (tmp_path / "r.yaml").write_text(text)
    support.run(str(tmp_path / "r.yaml"), tmp_path / "out")
    assert len(support.documents(tmp_path / "out", "web")) == DOCUMENTS
    assert not list((tmp_path / "out" / "documents" / "more").glob("*"))  # web comes first, and has them all
