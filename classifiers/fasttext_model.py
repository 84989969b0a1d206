"""fastText models as files: what is one, loading it, predicting with it, and training one the same way every time.

The numpy 2 build of fastText (fasttext-numpy2 0.10) is the library; only its batch calls are used. Text on its way in is made harmless
first, in training and in prediction alike: a page may hold `__label__` and `</s>`, which mean something to fastText.

Training runs in a process of its own, which ends with this one, because fastText hears no Ctrl-C; and on one thread, because more of them
race for the weights. On fewer than eleven threads fastText fills only the first tenth of its input matrix and leaves the rest to what the
memory held; so every word's first vector is given, from a hash of the seed and the word. Rows of n-grams cannot be given: they are zeros
beyond that tenth, being memory fresh from the system, which a large matrix is.
Cost per core: prediction 7 to 40 MB/s, making text harmless 270 MB/s, checking a model 0.2 s for a million words. Training takes 6 MB/s and
epoch for single words in 100 dimensions, 3 MB/s for bigrams, 20 s and 1.5 GB of memory for the first vectors of a million words, and 0.7 s
for its process.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from classifiers.fasttext_file import LABEL, DamagedError, labels_of_whole
from curate.batch import Array, Batch
from curate.errors import CurateError
from curate.kernels.text import hash_documents, mix
from curate.stage import Model

MAGIC = (793712314).to_bytes(4, "little")  # every fastText model begins with it
FILE = "model.bin"  # in the folder of a model that was trained here
CARD = "card.json"  # beside it
POINTER = b"version https://git-lfs"
Loss = Literal["softmax", "hs", "ova", "ns"]
SHARED = ("softmax", "hs")  # losses whose probabilities add up to 1; by the others each label is judged by itself

_UNLEARNT = 3  # exit status of a training that fastText gave up

_END, _PREFIX = b"</s>", LABEL.encode()  # what fastText takes for the end of a line and for a label
_SPACE, _LINE_FEED, _BAR, _DASH = (int(b) for b in b" \n|-")
_FRESH = 33 << 20  # bytes: from 32 MiB on, the C library takes memory from the system, which gives it as zeros
_LEVELS = 16  # values that a number of a first vector may have: evenly spaced in +-1/dim, as fastText's own are
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MOST_WORDS = 20_000_000  # fastText's table holds 30 million, and it drops the rarest from three quarters of that on
_WORDS = 1 << 20  # distinct words of batches that are held before they are added up
_PROBES = ("\n", "the of and a in\n", "der die und le la de que el il\n", "0 1 . , - ? the the the\n")


def file_of(model: Model) -> str:
    """The model's file: itself, or the one in its folder."""
    return os.path.join(model.path, FILE) if os.path.isdir(model.path) else model.path


def check(model: Model) -> list[str]:
    """The labels of a model, without their prefix, the most frequent in training first; none where it is trained in the run.

    Raises CurateError unless the file is a whole model with labels, as fastText writes it. What its matrices hold is not looked at.
    """
    if not model.path:
        return []
    path = file_of(model)
    try:
        with open(path, "rb") as file:
            head = file.read(64)
            if head.startswith(POINTER):
                raise CurateError(f"{path} is a Git LFS pointer, not the model: fetch it (git lfs pull)")
            if not head.startswith(MAGIC):
                raise CurateError(f"{path} is no fastText model (it may be a pointer to one, or cut off)")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return labels_of_whole(data, path)
    except OSError as error:
        raise CurateError(f"{path}: cannot be read: {error.strerror}; expected a fastText model, or a folder with {FILE}") from None
    except DamagedError as damage:
        raise CurateError(f"{path} is cut off or damaged: {damage}. Fetch or train the model again") from None
    except (struct.error, IndexError):
        size = os.path.getsize(path)
        raise CurateError(f"{path} is cut off or damaged: it ends too early, at {size:,} bytes. Fetch or train the model again") from None


def load(model: Model) -> Any:
    """The model in memory. Raises CurateError for a file that fastText cannot read."""
    import fasttext

    check(model)
    path = file_of(model)
    fasttext.FastText.eprint = lambda *_: None
    try:
        loaded = fasttext.load_model(path)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise CurateError(f"{path}: fastText cannot read it: {error}. It may be cut off or of another version") from None
    _check_probabilities(loaded, pa.array(_PROBES, pa.large_string()), path)
    return loaded


def labels_of(loaded: Any) -> list[str]:
    """A model's labels without their prefix, the most frequent in training first."""
    return [label.removeprefix(LABEL) for label in loaded.get_labels()]


def card(model: Model) -> dict[str, Any]:
    """What a trained model says of itself; empty for one that has no card. Raises CurateError for a card that is damaged."""
    path = os.path.join(model.path, CARD)
    if not os.path.isfile(path):
        return {}
    try:
        with open(path, "rb") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise CurateError(f"{path} cannot be read as a model's card: {error}; train the model again") from None
    if not isinstance(found, dict):
        raise CurateError(f"{path} is no model's card: expected an object; train the model again")
    return found


def one_line(batch: Batch, newline: str, *, strip: bool = False) -> pa.Array:
    """Each text as one harmless line with its line feed at the end: large_string. `newline` takes the place of those within.

    With `strip`, white space around the whole text goes first.
    """
    if strip:
        batch = Batch.of(pa.record_batch({"text": pc.utf8_trim_whitespace(batch.text)}))
    data, start, end = batch.utf8
    out = np.empty(int(batch.size.sum(dtype=np.int64)) + len(batch), np.uint8)
    ends = np.zeros(len(batch) + 1, np.int64)
    _write_lines(data, start, end, ord(newline or "\0"), out, ends)
    return pa.LargeStringArray.from_buffers(len(batch), pa.py_buffer(ends), pa.py_buffer(out))


@njit(cache=True, inline="always")
def _ends_with(out, at, mark):
    """Whether what is written before `at` ends so."""
    same = True
    for k in range(len(mark)):
        same &= out[at - len(mark) + k] == mark[k]
    return same


@njit(cache=True)
def _write_lines(data, start, end, newline, out, ends):
    """The texts, each as a line; `newline` is a byte, or 0 for none. Marks keep their length and become other words: <|s>, --label--."""
    at = np.int64(0)
    for d in range(len(start)):
        first = at
        for i in range(start[d], end[d]):
            b = data[i]
            if b == _LINE_FEED:
                if not newline:
                    continue
                b = newline
            elif b == 0:
                b = _SPACE  # it parts words, as a space does
            out[at] = b
            at += 1
            if b == _END[-1] and at - first >= len(_END) and _ends_with(out, at, _END):
                out[at - 3] = _BAR
            elif b == _PREFIX[-1] and at - first >= len(_PREFIX) and _ends_with(out, at, _PREFIX):
                out[at - 9 : at - 7] = _DASH
                out[at - 2 : at] = _DASH
        out[at] = _LINE_FEED
        at += 1
        ends[d + 1] = at


def predict(loaded: Any, lines: pa.Array, count: int = 1) -> tuple[Sequence[Sequence[str]], Sequence[Array]]:
    """The most likely labels of each line and their probabilities; fewer, or none, where the model has no more.

    The library's own batch call on the bytes of the text: no Python string is made.
    """
    if not len(lines):
        return [], []
    try:
        labels, scores = loaded.f.multilinePredict(lines.cast(pa.large_binary()).to_pylist(), count, 0.0, "strict")
    except RuntimeError as error:
        raise CurateError(f"fastText: {error} The model is damaged; fetch or train it again") from None
    return labels, [np.minimum(s, 1.0) for s in scores]


def _check_probabilities(loaded: Any, lines: pa.Array, path: str) -> None:
    """Raise CurateError unless what the model says of these lines are probabilities: a broken library or file gives other numbers."""
    try:
        _, scores = predict(loaded, lines, -1)
    except CurateError as error:
        raise CurateError(f"{path}: {error}") from None
    sums = np.array([s.sum() if len(s) else 1.0 for s in map(np.asarray, scores)])
    wrong = not np.isfinite(sums).all()
    if loaded.f.getArgs().loss.name in SHARED:
        wrong |= bool((np.abs(sums - 1) > 0.01 + 2e-5 * len(loaded.get_labels())).any())  # fastText adds 1e-5 to each
    if wrong:
        raise CurateError(
            f"{path}: its probabilities do not add up to 1 ({sums.min():.3g} to {sums.max():.3g}): the file is damaged, or this fastText "
            "was built for another numpy; use fasttext-numpy2 and fetch or train the model again"
        )


def least_bucket(dim: int) -> int:
    """The fewest rows for n-grams that training takes: their matrix must be so large that its memory comes from the system."""
    return -(-_FRESH // (4 * dim))


def train(
    examples: Iterable[tuple[pa.Array, pa.Array]],
    path: str,
    *,
    dim: int = 100,
    lr: float = 0.1,
    epoch: int = 5,
    word_ngrams: int = 1,
    min_count: int = 1,
    minn: int = 0,
    maxn: int = 0,
    bucket: int = 2_000_000,
    loss: Loss = "softmax",
    seed: int = 0,
) -> None:
    """Write a model to `path`: the same bytes for the same examples in the same order and the same settings, which are fastText's.

    Examples are pairs of arrays: labels without prefix or white space, and lines as `one_line` makes them. Takes memory for the words,
    8 * dim bytes each, and disk beside `path` for the text. Raises CurateError where there is nothing to learn from, or weights overflow.
    """
    if (word_ngrams > 1 or maxn) and bucket < least_bucket(dim):
        raise CurateError(f"bucket: {bucket:,} rows of {dim} numbers for n-grams are too few; the least is {least_bucket(dim):,}")
    words, sample, count = _Counts(), [], 0
    with TemporaryDirectory(prefix=".fasttext-", dir=os.path.dirname(os.path.abspath(path))) as scratch:
        text, vectors = os.path.join(scratch, "train.txt"), os.path.join(scratch, "first.vec")
        with open(text, "wb") as file:
            for labels, lines in examples:
                tagged = pc.binary_join_element_wise(pa.scalar(LABEL, lines.type), labels.cast(lines.type), pa.scalar("", lines.type))
                file.write(_bytes(pc.binary_join_element_wise(tagged, lines, pa.scalar(" ", lines.type))))
                words.add(lines)
                if count < 1000:
                    sample.append(lines.slice(0, 1000 - count))
                count += len(lines)
        known = words.at_least(min_count)
        if not len(known):
            raise CurateError(f"{count:,} examples hold no word that occurs min_count = {min_count} times; give more text, or lower it")
        if len(known) > _MOST_WORDS:
            raise CurateError(f"{len(known):,} distinct words; fastText takes {_MOST_WORDS:,}. Raise min_count, or give fewer examples")
        if count >= min_count:
            known = pa.concat_arrays([pa.array(["</s>"], known.type), known])  # the end of each line is a word too
        with open(vectors, "wb") as file:
            _write_vectors(file, known, dim, seed)
        settings = {
            "input": text, "pretrainedVectors": vectors, "dim": dim, "lr": lr, "epoch": epoch, "wordNgrams": word_ngrams,
            "minCount": min_count, "minn": minn, "maxn": maxn, "bucket": bucket, "loss": loss, "seed": seed, "thread": 1, "verbose": 0,
        }  # fmt: skip
        status, said = _run_apart(settings, path, os.path.join(scratch, "said.txt"))
    if status == _UNLEARNT:
        raise CurateError(f"fastText could not learn from {count:,} examples: {said}; a lower lr may help")
    if status:
        how = f"by {signal.Signals(-status).name}: memory may have run out" if status < 0 else f"with status {status}: {said}"
        raise CurateError(f"fastText's training on {count:,} examples ended {how}")
    _check_probabilities(load(Model(path)), pa.concat_arrays(sample), path)


def _run_apart(settings: dict[str, Any], path: str, said: str) -> tuple[int, str]:
    """Train in a process of its own, writing to `path`. Its exit status (below 0: a signal) and its last line, by way of the file `said`.

    However this call ends, the process has ended; it ends itself where this process is killed.
    """
    imports = os.pathsep.join(p or os.getcwd() for p in sys.path)  # what can be imported here can be imported there
    one = {"PYTHONPATH": imports, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "classifiers.fasttext_model", json.dumps([os.getpid(), path, settings])]
    with open(said, "w+b") as out:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out, env={**os.environ, **one})
        try:
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
        out.seek(max(0, os.path.getsize(said) - 2000))
        lines = out.read().decode("utf-8", "replace").split("\n")
    return status, next((line.strip() for line in reversed(lines) if line.strip()), "it did not say why")


def _bytes(lines: pa.Array) -> memoryview:
    """The text of an array without nulls, one after another."""
    data, start, end = Batch.of(pa.record_batch({"text": lines})).utf8
    return memoryview(data[start[0] : end[-1]] if len(lines) else data)


class _Counts:
    """How often each word occurs; words are what fastText takes for such: what stands between ASCII white space."""

    def __init__(self) -> None:
        self._held: list[pa.Table] = []
        self._rows = 0

    def add(self, lines: pa.Array) -> None:
        counted = pc.list_flatten(pc.ascii_split_whitespace(lines)).value_counts()
        table = pa.table({"word": counted.field(0).cast(pa.large_string()), "count": counted.field(1)})
        table = table.filter(pc.not_equal(table["word"], ""))  # what stands beside white space at an end
        self._held.append(table)
        self._rows += len(table)
        if self._rows > _WORDS:
            self._held, self._rows = [self._sum()], 0

    def _sum(self) -> pa.Table:
        table = pa.concat_tables(self._held).group_by("word", use_threads=False).aggregate([("count", "sum")])
        return table.rename_columns({"count_sum": "count"}).select(["word", "count"])

    def at_least(self, count: int) -> pa.Array:
        """The words that occur so often, in order: large_string."""
        if not self._held:
            return pa.array([], pa.large_string())
        table = self._sum()
        words = table.filter(pc.greater_equal(table["count"], count))["word"].combine_chunks()
        return words.take(pc.sort_indices(words))


@njit(cache=True)
def _write_rows(data, start, end, hashes, dim, letters, ends, out):
    """Each word and its first vector as a line of text; the number of bytes written."""
    at = 0
    for w in range(len(start)):
        for i in range(start[w], end[w]):
            out[at] = data[i]
            at += 1
        bits = np.uint64(0)
        for j in range(dim):
            if j % 16 == 0:
                bits = mix(hashes[w] + np.uint64(j + 1) * _GOLDEN)
            level = np.int64(bits & np.uint64(15))
            bits >>= np.uint64(4)
            for i in range(ends[level], ends[level + 1]):
                out[at] = letters[i]
                at += 1
        out[at] = 10
        at += 1
    return at


def _write_vectors(file: Any, words: pa.Array, dim: int, seed: int) -> None:
    """fastText's text format of word vectors; few digits, for it reads them one by one."""
    levels = [f" {(2 * k + 1 - _LEVELS) / _LEVELS / dim:.2g}".replace("0.", ".") for k in range(_LEVELS)]
    letters = np.frombuffer("".join(levels).encode(), np.uint8)
    ends = np.cumsum([0, *map(len, levels)])
    file.write(f"{len(words)} {dim}\n".encode())
    rows = max(1, (16 << 20) // (dim * 8))
    for first in range(0, len(words), rows):
        data, start, end = Batch.of(pa.record_batch({"text": words.slice(first, rows)})).utf8
        hashes = hash_documents(data, start, end, np.uint64(seed))
        out = np.empty(int(end[-1] - start[0]) + len(start) * (dim * max(map(len, levels)) + 1), np.uint8)
        size = _write_rows(data, start, end, hashes, dim, letters, ends, out)
        file.write(memoryview(out[:size]))


def _end_with(parent: int) -> None:
    """End this process where its input ends, or where it is adopted: a forked sibling may hold the input open."""
    while not select.select([0], [], [], 1.0)[0] and os.getppid() == parent:
        pass
    os._exit(1)


def main() -> int:
    """The process that trains. Returns its exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    parent, path, settings = json.loads(sys.argv[1])
    Thread(target=_end_with, args=(parent,), daemon=True).start()
    import fasttext

    try:
        trained = fasttext.train_supervised(**settings)
    except (RuntimeError, ValueError, MemoryError) as error:
        print(str(error) or "memory ran out")
        return _UNLEARNT
    trained.save_model(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
