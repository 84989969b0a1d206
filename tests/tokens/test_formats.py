"""What is written is read again to the token, and the bytes depend on nothing but the documents."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import CurateError, RecipeError
from curate.tokens import formats
from curate.tokens.formats import Documents, read_megatron, read_npy, read_sidecar, write
from curate.tokens.layout import Edges, add_edges, edges, narrow, token_type
from curate.tokens.tokenizer import Encoded

U16, I32, U32 = np.dtype("<u2"), np.dtype("<i4"), np.dtype("<u4")
FORMS = [("npy", U16), ("npy", U32), ("megatron", U16), ("megatron", I32)]


def documents(lists: list[list[int]], first: int = 0, source: str = "web") -> Documents:
    n = len(lists)
    about = pa.RecordBatch.from_pydict(
        {
            "id": [f"{source}:{first + i}" for i in range(n)],
            "source": [source] * n,
            "copy": [0] * n,
            "file": [3] * n,
            "row": [first + i for i in range(n)],
        }
    )
    return Documents(np.array([t for d in lists for t in d], np.int32), np.array([len(d) for d in lists], np.int64), about)


def random_documents(n: int, most: int, vocabulary: int) -> list[list[int]]:
    rng = np.random.default_rng(n)
    lengths = rng.integers(1, most, n)
    lengths[:20] = 1
    return [rng.integers(0, vocabulary, k).tolist() for k in lengths]


def test_a_megatron_shard_is_byte_for_byte_what_the_format_says(tmp_path):
    # spec llama2-llama3 6.13
    write("megatron", str(tmp_path), 0, U16, 100, [documents([[5, 6, 7], [8, 9]])])
    assert (tmp_path / "00000.bin").read_bytes().hex() == "05000600070008000900"
    assert (tmp_path / "00000.idx").read_bytes() == bytes.fromhex(
        "4d4d4944494458 0000 0100000000000000 08 0200000000000000 0300000000000000 03000000 02000000"
        "0000000000000000 0600000000000000 0000000000000000 0100000000000000 0200000000000000"
    )


def test_an_npy_shard_has_no_header(tmp_path):
    write("npy", str(tmp_path), 7, U16, 100, [documents([[5, 6, 7], [8, 9]])])
    assert (tmp_path / "00007.npy").read_bytes().hex() == "05000600070008000900"
    write("npy", str(tmp_path), 8, U32, 130_000, [documents([[128_000, 1]])])
    assert (tmp_path / "00008.npy").read_bytes().hex() == "00f4010001000000"


def test_a_megatron_index_is_as_long_as_datatroves_example(tmp_path):
    # spec 5.2: 35,000 documents, 700,042 bytes
    write("megatron", str(tmp_path), 0, U16, 100, [documents([[1]] * 35_000)])
    assert (tmp_path / "00000.idx").stat().st_size == 700_042


@pytest.mark.parametrize(("form", "dtype"), FORMS)
def test_a_thousand_documents_come_back_with_their_boundaries(tmp_path, form, dtype):
    vocabulary = 65_000 if dtype == U16 else 128_256
    lists = random_documents(1000, 10_000, vocabulary)
    flat = np.array([t for d in lists for t in d])
    shard = write(form, str(tmp_path), 0, dtype, vocabulary, (documents(lists[i : i + 100], i) for i in range(0, 1000, 100)))
    path = str(tmp_path / shard.files[0].name)
    sidecar = read_sidecar(str(tmp_path / shard.files[-1].name))
    if form == "megatron":
        tokens, lengths = read_megatron(path)
    else:
        tokens, lengths = read_npy(path, dtype), sidecar["tokens"].to_numpy()
    assert np.array_equal(tokens, flat)
    assert lengths.tolist() == [len(d) for d in lists] == sidecar["tokens"].to_pylist()
    for i in (0, 19, 500, 999):
        start = sidecar["start"][i].as_py()
        assert tokens[start : start + len(lists[i])].tolist() == lists[i]
        assert (sidecar["id"][i].as_py(), sidecar["row"][i].as_py(), sidecar["file"][i].as_py()) == (f"web:{i}", i, 3)
    assert (shard.tokens, shard.documents, shard.sources) == (len(flat), 1000, {"web": len(flat)})


def test_the_hashes_and_sizes_that_are_returned_are_those_of_the_files(tmp_path):
    shard = write("megatron", str(tmp_path), 0, I32, 128_256, [documents(random_documents(50, 90, 128_256))])
    assert {p.name for p in tmp_path.iterdir()} == {f.name for f in shard.files}
    for piece in shard.files:
        data = (tmp_path / piece.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (piece.bytes, piece.sha256)


@pytest.mark.parametrize("form", ["npy", "megatron"])
def test_bytes_do_not_depend_on_how_the_documents_come_in_batches(tmp_path, form, monkeypatch):
    monkeypatch.setattr(formats, "ROW_GROUP", 64)
    lists = random_documents(300, 40, 1000)
    shards = []
    for size in (300, 64, 7, 1):
        batches = [documents(lists[i : i + size], i) for i in range(0, 300, size)]
        shards.append(write(form, str(tmp_path / str(size)), 0, U16, 1000, [*batches, documents([])]).files)
    assert shards[0] == shards[1] == shards[2] == shards[3]


def test_tokens_of_each_source_are_counted(tmp_path):
    both = [documents([[1, 2], [3]], 0, "web"), documents([[4] * 5], 0, "books"), documents([[1]], 9, "web")]
    assert write("npy", str(tmp_path), 0, U16, 10, both).sources == {"books": 5, "web": 4}


def test_a_shard_without_documents_is_still_a_shard(tmp_path):
    shard = write("megatron", str(tmp_path), 0, U16, 10, [])
    tokens, lengths = read_megatron(str(tmp_path / "00000.bin"))
    assert (len(tokens), len(lengths), shard.tokens, len(read_sidecar(str(tmp_path / "00000.documents.parquet")))) == (0, 0, 0, 0)


def test_a_writer_that_fails_leaves_no_file(tmp_path):
    def failing():
        yield documents([[1, 2]])
        raise OSError("source gone")

    with pytest.raises(OSError, match="source gone"):
        write("megatron", str(tmp_path), 0, U16, 10, failing())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda b: b[:-1], "bytes, expected 82"),
        (lambda b: b"X" + b[1:], "no Megatron index"),
        (lambda b: b[:9] + b"\x02" + b[10:], "version 2, expected 1"),
        (lambda b: b[:17] + b"\x09" + b[18:], "dtype code 9"),
        (lambda b: b[:34] + b"\x04" + b[35:], "byte offsets are not the sums"),
        (lambda b: b[:-1] + b"\x01", "document index"),
    ],
)
def test_a_damaged_index_says_what_is_wrong(tmp_path, spoil, message):
    write("megatron", str(tmp_path), 0, U16, 100, [documents([[5, 6, 7], [8, 9]])])
    idx = tmp_path / "00000.idx"
    idx.write_bytes(spoil(idx.read_bytes()))
    with pytest.raises(CurateError, match=message):
        read_megatron(str(tmp_path / "00000.bin"))


def test_tokens_that_the_index_does_not_cover_are_noticed(tmp_path):
    write("megatron", str(tmp_path), 0, U16, 100, [documents([[5, 6, 7], [8, 9]])])
    path = tmp_path / "00000.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(CurateError, match=r"4 tokens, 00000\.idx has 5"):
        read_megatron(str(path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CurateError, match="no whole number of uint16 tokens"):
        read_npy(str(path), U16)


# Layouts and types


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        (Edges(), [5, 6, 7]),
        (Edges(eos=2), [5, 6, 2, 2, 7, 2]),
        (Edges(bos=1), [1, 5, 6, 1, 1, 7]),
        (Edges(1, 2), [1, 5, 6, 2, 1, 2, 1, 7, 2]),
    ],
)
def test_every_document_gets_its_edges_even_an_empty_one(around, expected):
    out = add_edges(Encoded(np.array([5, 6, 7]), np.array([2, 0, 1])), around)
    assert out.ids.tolist() == expected
    assert out.lengths.tolist() == [n + around.count for n in (2, 0, 1)]
    assert add_edges(Encoded(np.array([]), np.array([], np.int64)), around).ids.tolist() == []


@given(st.lists(st.lists(st.integers(3, 99), max_size=9), max_size=30))
def test_edges_wrap_each_document_and_change_nothing_within(lists):
    encoded = Encoded(np.array([t for d in lists for t in d], np.int32), np.array([len(d) for d in lists], np.int64))
    out = add_edges(encoded, Edges(1, 2))
    assert out.ids.tolist() == [t for d in lists for t in [1, *d, 2]]


def test_a_layout_that_the_tokenizer_cannot_serve_is_refused(tokenizer):
    assert edges("bos_eos", tokenizer) == Edges(tokenizer.bos, tokenizer.eos)
    assert edges("eos", tokenizer) == Edges(None, tokenizer.eos)
    assert edges("none", tokenizer) == Edges()
    with pytest.raises(RecipeError, match=r"bos_eos needs a token for bos, which tiny\.model does not"):
        edges("bos_eos", dataclasses.replace(tokenizer, bos=None))


@pytest.mark.parametrize(
    ("vocabulary", "npy", "megatron"),
    [
        (32_000, "uint16", "uint16"),
        (65_499, "uint16", "uint16"),
        (65_500, "uint16", "int32"),
        (65_536, "uint16", "int32"),
        (65_537, "uint32", "int32"),
    ],
)
def test_a_token_is_as_wide_as_the_vocabulary_needs(vocabulary, npy, megatron):
    assert (token_type("npy", vocabulary).name, token_type("megatron", vocabulary).name) == (npy, megatron)


@pytest.mark.parametrize(("ids", "found"), [([5, 70_000], "70,000"), ([-1, 5], "-1"), ([100], "100")])
def test_no_id_is_ever_cut_to_fit(tmp_path, ids, found):
    with pytest.raises(CurateError, match=f"token id {found} outside the vocabulary of 100"):
        write("npy", str(tmp_path), 0, U16, 100, [documents([ids])])
    with pytest.raises(CurateError, match="does not fit uint16"):
        narrow(np.array([70_000]), 128_256, U16)
