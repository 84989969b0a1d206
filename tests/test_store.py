"""Files appear whole or not at all, inputs are found the same way everywhere; on local disks and in an object store."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import support
from hypothesis import given
from hypothesis import strategies as st

from curate import command, store
from curate.errors import RecipeError


def write(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def half(path: str) -> None:
    with store.commit(path) as temporary:
        Path(temporary).write_bytes(b"half")
        raise ZeroDivisionError


def labels(*patterns: object) -> list[str]:
    return [file.label for file in store.expand([str(p) for p in patterns])]


def refused(*patterns: object) -> str:
    with pytest.raises(RecipeError) as error:
        store.expand([str(p) for p in patterns], "read.jsonl.Jsonl.paths")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "er" / "x.bin"
    with store.commit(str(final)) as temporary:
        Path(temporary).write_bytes(b"half")
        assert not final.exists()
        assert Path(temporary).parent == final.parent  # a rename within one disk
    assert final.read_bytes() == b"half"
    with pytest.raises(ZeroDivisionError):
        half(str(final))
    assert final.read_bytes() == b"half"
    assert [p.name for p in final.parent.iterdir()] == ["x.bin"]


def test_only_an_optional_file_may_not_be_written(tmp_path: Path) -> None:
    with store.commit(str(tmp_path / "x"), optional=True):
        pass
    with pytest.raises(FileNotFoundError), store.commit(str(tmp_path / "x")):
        pass
    assert not list(tmp_path.iterdir())


def test_sweeping_takes_what_was_left_half_written_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / f"{store.TEMPORARY}{store.HOST}-999999999-ab-00000.parquet")
    kept = [write(tmp_path / n) for n in ("00000.parquet", "x.curate-tmp-1", ".hidden")]
    store.sweep(str(tmp_path))
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    store.sweep(str(tmp_path / "not there"))


def test_a_published_folder_holds_its_targets_and_nothing_else_of_ours(tmp_path: Path) -> None:
    source, target = tmp_path / "a" / "1", tmp_path / "b"
    write(source, b"one")
    write(target / "00007.parquet", b"old")
    write(target / "00001.parquet", b"other")
    write(target / "notes.txt", b"somebody's")
    store.publish([str(source)], [str(target / "00001.parquet")], str(target))
    assert {p.name: p.read_bytes() for p in target.iterdir()} == {"00001.parquet": b"one", "notes.txt": b"somebody's"}
    source.unlink()
    assert (target / "00001.parquet").read_bytes() == b"one"
    store.publish([], [], str(target))
    assert [p.name for p in target.iterdir()] == ["notes.txt"]


def test_publishing_copies_where_no_link_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    store.publish([str(write(tmp_path / "a", b"one"))], [str(tmp_path / "b" / "c")], str(tmp_path / "b"))
    assert (tmp_path / "b" / "c").read_bytes() == b"one"


def test_labels_are_the_same_wherever_the_inputs_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for root in (tmp_path / "here", tmp_path / "there [2]" / "d\u00e9j\u00e0 vu"):
        for name in ("a/1.jsonl", "a/2.jsonl", "b/1.jsonl", "b/deep/3.jsonl"):
            write(root / name)
        everything = ["a/1.jsonl", "a/2.jsonl", "b/1.jsonl", "b/deep/3.jsonl"]
        assert labels(root) == labels(f"{root}/") == labels(root / "**" / "*.jsonl") == everything
        assert labels(root / "a", root / "b") == labels(root / "b", root / "a") == everything
        assert labels(root, root / "a" / "1.jsonl", root / "*" / "*.jsonl") == everything
        assert labels(root / "a") == labels(root / "a" / "*.jsonl") == labels(root / "a" / "?.jsonl") == ["1.jsonl", "2.jsonl"]
        assert labels(root / "a" / "1.jsonl") == ["1.jsonl"]
        assert labels(root / "[ab]" / "1.jsonl") == ["a/1.jsonl", "b/1.jsonl"]
        monkeypatch.chdir(root)
        assert labels("a", "./b/../b") == everything
        monkeypatch.setenv("HOME", str(root))
        assert labels("~/a") == ["1.jsonl", "2.jsonl"]


def test_names_with_any_character_are_names(tmp_path: Path) -> None:
    names = ["a b.jsonl", "c[1].jsonl", "d*.jsonl", "e?.jsonl", "\u00e9\u4eca\U0001f600.jsonl", "-f.jsonl", "#g.jsonl", "new\nline.jsonl"]
    for name in names:
        write(tmp_path / name)
    assert labels(tmp_path) == sorted(names)
    for name in names:
        assert labels(tmp_path / name) == [name]


def test_a_name_that_is_not_utf_8_is_refused_before_it_becomes_an_id(tmp_path: Path) -> None:
    try:
        write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jsonl")))
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    message = refused(tmp_path)
    assert "not UTF-8; rename the file" in message
    message.encode()


def test_hidden_files_folders_sockets_and_links_in_circles_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "d" / "a" / "1.jsonl")
    write(tmp_path / "d" / ".hidden.jsonl")
    write(tmp_path / "d" / ".ipynb_checkpoints" / "1.jsonl")
    (tmp_path / "d" / "a" / "up").symlink_to(tmp_path / "d")
    (tmp_path / "d" / "a" / "self").symlink_to(".")
    os.mkfifo(tmp_path / "d" / "pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as listening:
        old = Path.cwd()
        os.chdir(tmp_path / "d")  # a socket's path must be short
        listening.bind("s.jsonl")
        os.chdir(old)
        assert labels(tmp_path / "d") == ["a/1.jsonl"]
        assert refused(tmp_path / "d" / "*.jsonl")


def test_links_to_files_and_folders_are_followed_under_their_own_names(tmp_path: Path) -> None:
    write(tmp_path / "real" / "x.jsonl")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file.jsonl").symlink_to(tmp_path / "real" / "x.jsonl")
    (tmp_path / "d" / "folder").symlink_to(tmp_path / "real")
    assert labels(tmp_path / "d") == ["file.jsonl", "folder/x.jsonl"]


@pytest.mark.parametrize("pattern", ["d", "d/*.jsonl", "d/lost.jsonl"])
def test_a_link_to_nothing_is_a_missing_input(tmp_path: Path, pattern: str) -> None:
    write(tmp_path / "d" / "1.jsonl")
    (tmp_path / "d" / "lost.jsonl").symlink_to("/nowhere/at/all")
    assert "lost.jsonl: is a link to /nowhere/at/all, which does not exist" in refused(tmp_path / pattern)


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not bind root, so the system calls are made to refuse."""
    write(tmp_path / "d" / "open" / "1.jsonl")
    shut = write(tmp_path / "d" / "shut" / "2.jsonl")
    real = os.scandir

    def scandir(path: str) -> object:
        if os.fspath(path) == str(shut.parent):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scandir)
        assert f"{shut.parent}: cannot be read: Permission denied" in refused(tmp_path / "d")
    with monkeypatch.context() as patched:
        real_stat = os.stat
        patched.setattr(
            os, "stat", lambda p, **k: os.stat_result([stat.S_IFREG, *real_stat(p)[1:]]) if p == str(shut) else real_stat(p, **k)
        )
        patched.setattr("builtins.open", lambda p, *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied", p)))
        assert "2.jsonl: cannot be read: Permission denied" in refused(shut)


def test_what_is_not_there_says_what_is(tmp_path: Path) -> None:
    write(tmp_path / "d" / "a.json")
    assert f"nothing matches {tmp_path}/d/*.jsonl ({tmp_path}/d holds a.json)" in refused(tmp_path / "d" / "*.jsonl")
    assert f"({tmp_path}/x does not exist)" in refused(tmp_path / "x" / "y" / "*.jsonl")
    (tmp_path / "e").mkdir()
    assert f"({tmp_path}/e is empty)" in refused(tmp_path / "e")
    assert "an empty path" in refused("")
    assert refused(tmp_path / "d" / "a.json" / "b")
    assert refused(f"{tmp_path}/d/[")


@pytest.mark.parametrize("path", ["file/x", "file", "file/x/y"])
def test_a_folder_that_cannot_be_is_refused(tmp_path: Path, path: str) -> None:
    write(tmp_path / "file")
    with pytest.raises(RecipeError, match=r"--out .* cannot be written: "):
        store.check_writable(str(tmp_path / path))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), v, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_equal_values_have_equal_fingerprints(value: object) -> None:
    def shuffled(v: object) -> object:
        if isinstance(v, dict):
            return {k: shuffled(x) for k, x in reversed(v.items())}
        return [shuffled(x) for x in v] if isinstance(v, list) else v

    assert store.fingerprint(value) == store.fingerprint(shuffled(value)) == store.fingerprint(json.loads(store.canonical(value)))


def test_fingerprints_tell_apart_what_looks_alike() -> None:
    alike: list[object] = [1, "1", 1.0, True, None, "null", [1], [[1]], {"a": 1}, {"a": "1"}, [], {}, "", ["a", "b"], ["a,b"], ["b", "a"]]
    assert len({store.fingerprint(v) for v in alike}) == len(alike)
    assert all(len(store.fingerprint(v)) == 12 for v in alike)


# An object store: moto answers as S3 does


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of an empty bucket of a server in a thread of its own."""
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'curate[s3]'")
    server = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'curate[dev]'").ThreadedMotoServer(
        port=0, verbose=False
    )
    server.start()
    with pytest.MonkeyPatch.context() as patched:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patched.setenv(name, "nobody")
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patched.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.get_host_and_port()[1]}")
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield "s3://bucket"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def put(bucket: str, folder: Path) -> None:
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        store.write_bytes(store.join(bucket, str(path.relative_to(folder))), path.read_bytes())


def test_an_object_appears_whole_and_is_listed_read_and_removed(bucket: str) -> None:
    path = f"{bucket}/t/deep/x.bin"
    with pytest.raises(ZeroDivisionError):
        half(path)
    assert not store.exists(path)
    assert store.listing(f"{bucket}/t/deep") == {}
    store.write_bytes(path, b"whole")
    assert (store.read_bytes(path), store.size(path), store.exists(path)) == (b"whole", 5, True)
    assert store.listing(f"{bucket}/t/deep") == {"x.bin": 5}
    assert store.folders(f"{bucket}/t") == {"deep"}
    first = store.stamp(path)
    store.write_bytes(path, b"other")
    assert store.stamp(path)[0] == first[0]
    assert store.stamp(path)[1] != first[1]
    store.remove(path)
    store.remove(path)
    assert store.listing(f"{bucket}/t/deep") == {}


def test_objects_are_published_like_files(bucket: str) -> None:
    store.write_bytes(f"{bucket}/p/a/1", b"one")
    store.write_bytes(f"{bucket}/p/b/00007.jsonl", b"old")
    store.publish([f"{bucket}/p/a/1"], [f"{bucket}/p/b/00001.jsonl"], f"{bucket}/p/b")
    assert store.listing(f"{bucket}/p/b") == {"00001.jsonl": 3}
    assert store.read_bytes(f"{bucket}/p/b/00001.jsonl") == b"one"


def test_objects_are_found_under_the_labels_of_files(bucket: str, tmp_path: Path) -> None:
    for name in ("a/1.jsonl", "a/b c.jsonl", "b/\u00e9[1].jsonl", "b/deep/3.jsonl", ".hidden/4.jsonl", "b/.5.jsonl"):
        write(tmp_path / name)
    put(f"{bucket}/found", tmp_path)
    for pattern in ("", "a", "a/*.jsonl", "a/1.jsonl", "*/*.jsonl", "**/*.jsonl", "b/\u00e9[1].jsonl"):
        there, here = f"{bucket}/found/{pattern}".rstrip("/"), f"{tmp_path}/{pattern}".rstrip("/")
        assert labels(there) == labels(here), pattern
    assert "nothing matches s3://bucket/found/*.txt" in refused(f"{bucket}/found/*.txt")
    assert "cannot be reached" in refused("s3://no-such-bucket-here/x") or "nothing matches" in refused("s3://no-such-bucket-here/x")


def test_a_run_in_an_object_store_gives_the_bytes_of_a_local_one(bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import s3fs

    support.write_corpus(tmp_path / "corpus", documents=16)
    put(f"{bucket}/corpus", tmp_path / "corpus")
    changes = {"engine": {"shard_bytes": 20_000}, "mix": {"weights": {"web": 1, "books": 1}, "tokens": "all", "max_epochs": 2}}
    runs = {"local": str(tmp_path / "corpus"), "remote": f"{bucket}/corpus"}
    outs = {"local": str(tmp_path / "out"), "remote": f"{bucket}/run"}
    for name, data in runs.items():
        (tmp_path / name).mkdir()
        recipe = support.write_recipe(tmp_path / name, Path("unused"), **changes)
        text = Path(recipe).read_text().replace("data: unused", f"data: {data}")
        Path(recipe).write_text(text)
        command.run(recipe, outs[name], [], [], workers=None, address=None, local=True)
    fs = s3fs.S3FileSystem(use_listings_cache=False)

    def objects(*folders: str) -> dict[str, tuple[str, object]]:
        found = {p.removeprefix("bucket/run/"): i for p, i in fs.find("bucket/run", detail=True).items()}
        return {p: (i["ETag"], i["LastModified"]) for p, i in found.items() if p.split("/")[0] in folders}

    made = objects("documents", "index", "quarantine", "tokens")
    (tmp_path / "fetched").mkdir()
    for path in made:
        write(tmp_path / "fetched" / path, fs.cat_file(f"bucket/run/{path}"))
    assert support.digests(tmp_path / "fetched") == support.digests(tmp_path / "out")
    before = objects("passes")
    command.run(str(tmp_path / "remote" / "recipe.yaml"), outs["remote"], [], [], workers=None, address=None, local=True)
    assert objects("passes") == before
    capsys.readouterr()
    command.verify(outs["remote"])
    assert "proven" in capsys.readouterr().out
    command.stats(outs["remote"], as_json=True)
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in json.loads(capsys.readouterr().out)]
    assert rows == support.counts(tmp_path / "out")
