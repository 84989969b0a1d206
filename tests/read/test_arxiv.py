"""arXiv's bulk tars: which papers are read, as what, and what damage and hostility cost."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.stage import Bad, Shard, Skip
from stages.read.arxiv import Arxiv, identify

WHOLE = 1 << 40
Row = dict[str, Any]


def tar_of(files: Iterable[tuple[str, bytes]], **changes: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_000_000_000
            for key, value in changes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def project(*files: tuple[str, bytes]) -> bytes:
    return gzip.compress(tar_of(files), mtime=0)


def read(
    folder: Path, entries: Iterable[tuple[str, bytes]] | bytes, target: int = WHOLE, **options: Any
) -> tuple[list[Row], list[Bad], list]:
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src" / "a.tar").write_bytes(entries if isinstance(entries, bytes) else tar_of(entries))
    source = Arxiv((f"{folder}/src/*.tar",), **options)
    rows: list[Row] = []
    bad: list[Bad] = []
    skipped: list[Skip] = []
    for shard in source.shards(target):
        for item in source.read(shard):
            if isinstance(item, Bad):
                bad.append(item)
            elif isinstance(item, Skip):
                skipped.append(item)
            else:
                assert isinstance(item.num_rows, int)
                rows += item.to_pylist()
    return rows, bad, skipped


PAPER = gzip.compress(b"\\section{One} file", mtime=0)


def test_a_paper_of_one_file_and_a_project(tmp_path: Path):
    files = ("b.tex", b"\\section{B}"), ("fig.eps", b"%!PS"), ("sub/a.tex", "é".encode()), ("notes.TEX", b"no")
    rows, bad, skipped = read(tmp_path, [("0704/0704.0001.gz", PAPER), ("0704/hep-th0704002.gz", project(*files))])
    assert (bad, skipped) == ([], [])
    assert rows == [
        {"id": "a.tar:0704/0704.0001.gz", "text": "\\section{One} file", "url": "https://arxiv.org/abs/0704.0001",
         "date": "2001-09-09T01:46:40Z", "arxiv_id": "0704.0001", "yymm": "0704", "encoding": "utf-8", "files": '[["",18]]'},
        {"id": "a.tar:0704/hep-th0704002.gz", "text": "\\section{B}\né", "url": "https://arxiv.org/abs/hep-th/0704002",
         "date": "2001-09-09T01:46:40Z", "arxiv_id": "hep-th/0704002", "yymm": "0704", "encoding": "utf-8",
         "files": '[["b.tex",11],["sub/a.tex",1]]'},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("9901/hep-th9901001.gz", True, "hep-th/9901001"),
        ("0309/math0309136.gz", True, "math/0309136"),
        ("0704/0704.0001.gz", True, "0704.0001"),
        ("2301/2301.00001.gz", True, "2301.00001"),
        ("shared/dealii-8.0.gz", False, "dealii-8.0"),
        ("x.gz", False, "x"),
    ],
)
def test_identifiers(name: str, known: bool, found: str):
    assert identify(name) == (known, found)


def test_what_is_none_of_arxivs_has_no_address(tmp_path: Path):
    (row,), _, _ = read(tmp_path, [("some/paper.gz", PAPER)])
    assert (row["url"], row["yymm"], row["arxiv_id"]) == (None, None, "paper")


def test_latin_1_is_read_and_recorded_file_by_file(tmp_path: Path):
    mixed = project(("a.tex", "é".encode()), ("b.tex", "é".encode("latin-1")))
    (row,), _, _ = read(tmp_path, [("9901/hep-th9901001.gz", mixed)])
    assert (row["text"], row["encoding"], json.loads(row["files"])) == ("é\né", "latin-1", [["a.tex", 1], ["b.tex", 1]])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_told_by_its_mark(tmp_path: Path, encoding: str):
    data = "\ufeff\\section{É}".encode(encoding)
    rows, bad, _ = read(
        tmp_path, [("a/1.gz", gzip.compress(data)), ("a/2.gz", project(("a.tex", data))), ("a/3.gz", gzip.compress(data[:-1]))]
    )
    assert [(row["text"], row["encoding"]) for row in rows] == [("\\section{É}", "utf-16")] * 2
    assert [(b.place, "UTF-16" in b.reason) for b in bad] == [("a.tar:a/3.gz", True)]


def test_a_long_paper_is_alone_in_its_batch(tmp_path: Path):
    """Or a worker holds it with the next."""
    long = gzip.compress(b"x" * (9 << 20))
    (tmp_path / "a.tar").write_bytes(tar_of([("1.gz", PAPER), ("2.gz", long), ("3.gz", long), ("4.gz", PAPER)]))
    source = Arxiv((f"{tmp_path}/*.tar",))
    sizes = [item.num_rows for shard in source.shards(WHOLE) for item in source.read(shard) if isinstance(item, pa.RecordBatch)]
    assert sizes == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("0704/0704.0001.pdf", b"%PDF", "pdf"),
        ("0704/README", b"x", "other_file"),
        ("0704/0704.0001.gz", project(("a.sty", b"x")), "no_tex"),
        ("0704/0704.0001.gz", gzip.compress(b"%auto-ignore\nThis paper has been withdrawn"), "withdrawn"),
        ("0704/0704.0001.gz", gzip.compress(b" \n"), "empty"),
        ("0704/0704.0001.gz", project(("a.tex", b"\n")), "empty"),
        ("0704/0704.0001.gz", gzip.compress(b"%!PS-Adobe"), "not_tex"),
        ("0704/0704.0001.gz", gzip.compress(b"%PDF-1.4"), "not_tex"),
    ],
)
def test_what_holds_no_paper_is_counted_by_its_reason(tmp_path: Path, name: str, data: bytes, reason: str):
    assert read(tmp_path, [(name, data)]) == ([], [], [Skip(reason)])


def test_other_suffixes_can_be_read(tmp_path: Path):
    (row,), _, _ = read(tmp_path, [("0704/0704.0001.gz", project(("A.TEX", b"a"), ("b.inc", b"b")))], suffixes=(".TEX", ".inc"))
    assert row["text"] == "a\nb"


BOMB = gzip.compress(b"\0" * (80 << 20))
HOSTILE = {
    "no gzip": b"plain",
    "empty": b"",
    "gzip within gzip": gzip.compress(PAPER),
    "cut off": PAPER[:-6],
    "damaged": PAPER[:12] + b"\xff\xff\xff" + PAPER[15:],
    "bomb": BOMB,
    "a path out of the archive": project(("../../etc/x.tex", b"x")),
    "an absolute path": project(("/etc/x.tex", b"x")),
    "a link": gzip.compress(tar_of([("a.tex", b"")], type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "a tar cut off": gzip.compress(tar_of([("a.tex", b"x" * 2000)])[:1500]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_paper_costs_itself(tmp_path: Path, name: str):
    around = [("0704/0704.0001.gz", PAPER), ("0704/0704.0002.gz", HOSTILE[name]), ("0704/0704.0003.gz", PAPER)]
    rows, (bad,), skipped = read(tmp_path, around)
    assert [row["arxiv_id"] for row in rows] == ["0704.0001", "0704.0003"]
    assert not skipped
    assert bad.place == "a.tar:0704/0704.0002.gz"
    assert bad.reason
    assert not bad.whole_file


def test_a_paper_larger_than_allowed_costs_itself(tmp_path: Path):
    packed = gzip.compress(bytes(range(256)) * 20)
    for limit in (len(packed) - 1, 5000):
        rows, (bad,), _ = read(tmp_path, [("0704/0704.0001.gz", packed), ("0704/0704.0002.gz", PAPER)], max_paper_bytes=limit)
        assert [row["arxiv_id"] for row in rows] == ["0704.0002"]
        assert "bytes" in bad.reason


@pytest.mark.parametrize("paper", [gzip.compress(b"x" * 101), project(("a.tex", b"x" * 51), ("b.tex", b"y" * 50))])
def test_a_paper_of_more_tex_than_allowed_costs_itself(tmp_path: Path, paper: bytes):
    around = [("0704/0704.0001.gz", paper), ("0704/0704.0002.gz", PAPER)]
    rows, (bad,), _ = read(tmp_path, around, max_tex_bytes=100)
    assert [row["arxiv_id"] for row in rows] == ["0704.0002"]
    assert "100 bytes" in bad.reason
    assert len(read(tmp_path, around, max_tex_bytes=101)[0]) == 2


def test_a_path_trick_of_the_tar_itself_costs_that_entry(tmp_path: Path):
    rows, (bad,), _ = read(tmp_path, [("../0704.0001.gz", PAPER), ("0704/0704.0002.gz", PAPER)])
    assert len(rows) == 1
    assert "'..'" in bad.reason


ENTRIES = [(f"0704/0704.{n:04}.gz", gzip.compress(f"\\section{{{n}}}".encode() * (1 + n * 37 % 200), 0, mtime=0)) for n in range(40)]
ENTRIES += [("0704/" + "long" * 40 + ".gz", PAPER), ENTRIES[3], ("0704/x.pdf", b""), ENTRIES[3]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Row], list[Bad], list[Skip]]:
    return read(tmp_path_factory.mktemp("whole"), ENTRIES)


@pytest.mark.parametrize("target", [1, 511, 512, 4097, 30_000])
def test_shards_of_any_size_give_the_same_papers(tmp_path: Path, whole: tuple[list[Row], list[Bad], list[Skip]], target: int):
    assert read(tmp_path, ENTRIES, max(target, 200)) == whole
    assert [row["id"] for row in whole[0][-2:]] == ["a.tar:0704/0704.0003.gz+1", "a.tar:0704/0704.0003.gz+2"]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_tar_gives_what_is_before_the_damage_and_one_bad_record(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory):
    """The same however it is cut into shards, and never another paper than there was."""
    folder = tmp_path_factory.mktemp("damaged")
    tar = bytearray(tar_of(ENTRIES[:6]))
    at = data.draw(st.integers(0, len(tar) - 1))
    if data.draw(st.booleans()):
        del tar[at:]
    else:
        tar[at] ^= data.draw(st.integers(1, 255))
    one = read(folder, bytes(tar))
    assert read(folder, bytes(tar), 1024) == one
    assert len(one[1]) <= 2
    texts = {gzip.decompress(packed).decode() for _, packed in ENTRIES[:6]}
    assert sum(row["text"] not in texts for row in one[0]) == 0


MANY = [(f"0704/0704.{n:04}.gz", gzip.compress(b"\\section{%d}" % n, mtime=0)) for n in range(1000)]


def damaged(block: int, damage: str) -> bytes:
    """A tar of MANY, each of two blocks, with one block that is damaged."""
    tar = bytearray(tar_of(MANY))
    at = 512 * block
    if damage == "a bit":
        tar[at + 3] ^= 1
    elif damage == "zeros":
        tar[at : at + 512] = bytes(512)
    else:
        info = tarfile.TarInfo("0704/0704.0000.gz")
        info.size = -1
        tar[at : at + 512] = info.tobuf(tarfile.GNU_FORMAT)
    return bytes(tar)


@pytest.mark.parametrize("damage", ["a bit", "zeros", "a negative size"])
@pytest.mark.parametrize("paper", [0, 120, 999])
def test_a_damaged_header_costs_its_paper_and_no_other(tmp_path: Path, paper: int, damage: str):
    tar = damaged(2 * paper, damage)
    rows, (bad,), skipped = read(tmp_path, tar)
    assert [row["arxiv_id"] for row in rows] == [f"0704.{n:04}" for n in range(1000) if n != paper]
    assert not skipped
    assert not bad.whole_file
    lost = len(tar) - 2 * 512 * paper if paper == 999 else 1024
    assert f"{lost:,} bytes are lost" in bad.reason
    assert read(tmp_path, tar, 100_000) == (rows, [bad], [])


@pytest.mark.parametrize("ahead", [b"30 path=x\n", b"x" * 600])
def test_a_damaged_extension_costs_no_more_than_itself(tmp_path: Path, ahead: bytes):
    """Records that do not fit their lengths, or more of them than are there."""
    info = tarfile.TarInfo("PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, len(ahead) if len(ahead) < 512 else 10 << 30
    tar = info.tobuf(tarfile.GNU_FORMAT) + ahead + bytes(-len(ahead) % 512) + tar_of(MANY[:9])
    rows, (bad,), _ = read(tmp_path, tar)
    assert len(rows) == 9
    assert "bytes are lost" in bad.reason
    assert read(tmp_path, tar, 1024) == (rows, [bad], [])


def test_a_size_that_no_paper_has_costs_that_paper(tmp_path: Path):
    headers = {"size": "99999999999999999999"}
    tar = bytearray(tar_of(MANY[:1], pax_headers=headers)[: 3 * 512]) + gzip.compress(b"x").ljust(512, b"\0") + tar_of(MANY[1:5])
    rows, (bad,), _ = read(tmp_path, bytes(tar))
    assert len(rows) == 4
    assert "99,999,999,999,999,999,999 bytes" in bad.reason
    assert read(tmp_path, bytes(tar), 1024) == (rows, [bad], [])


def test_a_tar_behind_another_is_read(tmp_path: Path):
    rows, bad, _ = read(tmp_path, tar_of(MANY[:2]) + tar_of(MANY[2:5]))
    assert (len(rows), bad) == (5, [])


def test_a_file_that_is_no_tar_is_one_bad_file(tmp_path: Path):
    rows, (bad,), _ = read(tmp_path, b"nothing of the kind" * 100, 300)
    assert not rows
    assert bad.whole_file
    (bad,) = read(tmp_path, b"")[1]
    assert bad.whole_file


def test_mistakes_of_a_recipe_are_told(tmp_path: Path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(RecipeError, match=r"no \.tar"):
        Arxiv((str(tmp_path),)).shards(1)
    with pytest.raises(RecipeError, match="max_paper_bytes"):
        Arxiv((str(tmp_path),), max_paper_bytes=0).shards(1)
    with pytest.raises(RecipeError, match="suffixes"):
        Arxiv((str(tmp_path),), suffixes=()).shards(1)


def test_shards_are_ranges_of_the_tar(tmp_path: Path):
    (tmp_path / "a.tar").write_bytes(tar_of(ENTRIES))
    shards: list[Shard] = Arxiv((f"{tmp_path}/*.tar",)).shards(10_000)
    assert len(shards) > 3
    assert [shard.low for shard in shards[1:]] == [shard.high for shard in shards[:-1]]
