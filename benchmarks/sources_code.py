"""GitHub: heuristics and headers against RedPajama's rules as a loop in Python, archives against the standard library, licence texts.

On the Python code of this installation; `python benchmarks/sources_code.py`. One process, best of several.
"""

from __future__ import annotations

import argparse
import gzip
import io
import re
import sys
import sysconfig
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from curate.batch import Batch
from curate.stage import Model
from stages.code import Generated, Header, Heuristics, LettersPerToken, Licence, Skip
from stages.read.members import members_in

C_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def best(run: Callable[[], object], times: int = 5) -> float:
    """Seconds of the fastest run."""
    out = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        run()
        out = min(out, time.perf_counter() - began)
    return out


def code(folder: Path, most: int) -> list[tuple[str, str]]:
    """(path, text) of files of Python, C and JavaScript."""
    found: list[tuple[str, str]] = []
    held = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".h", ".js", ".c") and held < most and path.is_file():
            text = path.read_text("utf-8", "replace")
            if 0 < len(text) < 1 << 20:
                found.append((str(path.relative_to(folder)), text))
                held += len(text)
    return found


def batches(files: list[tuple[str, str]], size: int = 8 << 20) -> list[Batch]:
    """About `size` bytes of text each, as the engine has them."""
    out, first, held = [], 0, 0
    for n, (_, text) in enumerate(files, 1):
        held += len(text.encode())
        if held >= size or n == len(files):
            part = files[first:n]
            licences = (["MIT OR Apache-2.0", "gpl-2.0", None] * len(part))[: len(part)]
            columns = {"path": [p for p, _ in part], "licence": licences}
            out.append(Batch.of(pa.record_batch({"text": pa.array([t for _, t in part], pa.large_string()), **columns})))
            first, held = n, 0
    return out


def fresh(found: Iterable[Batch]) -> list[Batch]:
    """Without views."""
    return [Batch.of(batch.data) for batch in found]


def heuristics_in_python(texts: list[str]) -> list[bool]:
    """Section 4.3, steps 4 and 5, a document at a time."""
    out = []
    for text in texts:
        lines = text.splitlines()
        longest, mean = max(map(len, lines), default=0), len(text) / max(len(lines), 1)
        out.append(longest <= 1000 and mean <= 100 and sum(map(str.isalnum, text)) / max(len(text), 1) >= 0.25)
    return out


def headers_in_python(texts: list[str]) -> list[str]:
    """Section 4.3, step 3."""
    out = []
    for text in texts:
        if found := C_COMMENT.search(text):
            out.append(text[: found.start()] + text[found.end() :] if "copyright" in found[0].lower() else text)
            continue
        lines = text.split("\n")
        first = next((n for n, line in enumerate(lines) if line and not line.startswith(("//", "#", "--"))), len(lines))
        out.append("\n".join(lines[first:]))
    return out


def stages(files: list[tuple[str, str]]) -> None:
    """MB of text a second of each stage."""
    texts, found = [text for _, text in files], batches(files)
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts):,} files, {size:.0f} MB")
    peers = {"Heuristics": heuristics_in_python, "Header (redpajama)": headers_in_python}
    runs = {"Heuristics": Heuristics().keep, "Header (redpajama)": Header(mode="redpajama").apply, "Header (paper)": Header().apply}
    runs |= {"Generated": Generated().keep, "Skip": Skip().keep, "Licence": Licence().keep}
    for name, run in runs.items():
        run(found[0])
        rate = size / best(lambda run=run: [run(batch) for batch in fresh(found)])  # type: ignore[misc]
        peer = peers.get(name)
        bare = size / best(lambda peer=peer: peer(texts), 2) if peer else 0.0  # type: ignore[misc]
        print(f"{name:20} {rate:8.0f} MB/s" + (f"   a loop in Python {bare:6.1f} MB/s   {rate / bare:5.1f} times" if peer else ""))


def letters(files: list[tuple[str, str]]) -> None:
    """The letters-per-token rule against the bare call of the tokenizer."""
    import sentencepiece

    files = files[: max(1, len(files) // 10)]
    texts = [text for _, text in files]
    size = sum(len(text.encode()) for text in texts) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        lines = (line for text in texts for line in text.split("\n") if line)
        options: dict[str, Any] = {"vocab_size": 8000, "model_type": "bpe", "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1}
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=lines, model_prefix=f"{folder}/m", **options)
        model = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/m.model")
        bare = size / best(lambda: model.encode(texts, out_type=int, num_threads=1), 3)
        stage = LettersPerToken(tokenizer=Model(f"{folder}/m.model"))
        found = batches(files)
        stage.keep(found[0])
        rate = size / best(lambda: [stage.keep(batch) for batch in fresh(found)], 3)
    print(f"{'LettersPerToken':20} {rate:8.1f} MB/s   bare SentencePiece {bare:.1f} MB/s   {rate / bare:.2f} times")


def archives(files: list[tuple[str, str]]) -> None:
    """Members of archives against tarfile and zipfile."""
    plain, packed = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, text in files:
            data = text.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            zipped.writestr(name, data)
    made = {"tar": plain.getvalue(), "tar.gz": gzip.compress(plain.getvalue(), 6), "zip": packed.getvalue()}

    def standard(kind: str, data: bytes) -> None:
        if kind == "zip":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for info in archive.infolist():
                    archive.read(info)
            return
        with tarfile.open(fileobj=io.BytesIO(data), mode="r|*") as tar:
            for member in tar:
                if member.isreg():
                    tar.extractfile(member).read()  # type: ignore[union-attr]

    size = sum(len(text.encode()) for _, text in files) / 1e6
    for kind, data in made.items():
        ours = size / best(lambda data=data: sum(1 for _ in members_in(data, "a")), 3)  # type: ignore[misc]
        theirs = size / best(lambda kind=kind, data=data: standard(kind, data), 3)  # type: ignore[misc]
        print(f"{kind:20} {ours:8.0f} MB/s   standard library {theirs:.0f} MB/s   {ours / theirs:.2f} times")


def licences(folder: Path) -> None:
    """Licence files of the installed packages, by what tells them."""
    from stages.read.licence_match import Matcher

    began = time.perf_counter()
    match = Matcher()
    print(f"{'licence texts':20} {time.perf_counter() - began:.2f} s to start")
    paths = [path for path in folder.glob("*.dist-info/**/LICENSE*") if path.is_file() and path.stat().st_size < 64_000]
    texts = {path.read_text("utf-8", "replace") for path in paths}
    spent: dict[str, list[float]] = {}
    for text in sorted(texts):
        began = time.perf_counter()
        by = match(text)["by"] or "nothing"
        spent.setdefault(by, []).append(time.perf_counter() - began)
    for by, seconds in sorted(spent.items()):
        print(f"  by {by:17} {len(seconds):4} texts, {1e3 * sum(seconds) / len(seconds):8.1f} ms each")


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", help="not used: code is that of this installation")
    parser.add_argument("--megabytes", type=int, default=40)
    folder = Path(sysconfig.get_paths()["purelib"])
    files = code(folder, parser.parse_args().megabytes * 1_000_000)
    stages(files)
    letters(files)
    archives(files)
    licences(folder)


if __name__ == "__main__":
    main()
