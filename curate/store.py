"""Files: listing, atomic commits, fingerprints, the exchange between passes. The only module that knows paths.

A path is local or an fsspec URL (`s3://`, `gs://`, `https://` for reading). A file appears whole or not at all: on a local disk by
rename, on an object store by one upload of a finished temporary file.
"""

from __future__ import annotations

import glob as globbing
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, cast

from curate.errors import RecipeError
from curate.stage import File

MAGIC = re.compile(r"[*?\[]")
REMOTE = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
TEMPORARY = ".curate-tmp-"
HOST = hashlib.blake2b(platform.node().encode(), digest_size=3).hexdigest()  # in temporary names, beside the process
ABANDONED_SECONDS = 3600.0  # without a write, for a temporary of another machine
OURS = re.compile(
    r"\d{5,}\.(parquet|jsonl|npy|bin|idx|documents\.parquet|index\.parquet|index\.arrow)|manifest\.json|tokenizer\.(model|json)"
)


def fingerprint(value: object) -> str:
    """12 hexadecimal digits of a canonical JSON's BLAKE2b."""
    return hashlib.blake2b(canonical(value).encode(), digest_size=6).hexdigest()


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values, equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256(path: str) -> str:
    """Hexadecimal digest of a file, read in pieces; of a local folder, of its files' names and digests."""
    if not is_remote(path) and os.path.isdir(_local(path)):
        files = sorted(_below(_local(path)))
        return hashlib.sha256(canonical([[os.path.relpath(f, _local(path)), sha256(f)] for f in files]).encode()).hexdigest()
    with open_input(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def is_remote(path: str) -> bool:
    """Whether the path is a URL for fsspec rather than a local one."""
    return bool(REMOTE.match(path)) and not path.startswith("file://")


def _local(path: str) -> str:
    return os.path.expanduser(path.removeprefix("file://"))


def _remote(path: str) -> tuple[Any, str]:
    """(filesystem, path within it); a missing driver is named with the extra that brings it."""
    import fsspec

    try:  # without the listings cache: other workers write here too
        return cast(tuple[Any, str], fsspec.core.url_to_fs(path, use_listings_cache=False))
    except ImportError as error:
        scheme = path.split("://")[0]
        extra = {"s3": "s3"}.get(scheme)
        hint = f"pip install 'curate[{extra}]'" if extra else f"install the fsspec driver for {scheme}://"
        raise RecipeError(f"{path}: {error}; {hint}") from None
    except ValueError as error:
        raise RecipeError(f"{path}: {error}") from None


def reason(error: BaseException) -> str:
    """What went wrong with a file, in a few words: each filesystem has errors of its own."""
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


@contextmanager
def _reaching(path: str) -> Iterator[None]:
    """Before anything starts, a store that cannot be asked is the command's mistake."""
    try:
        yield
    except RecipeError:
        raise
    except Exception as error:
        raise RecipeError(f"{path}: cannot be reached: {reason(error)}; check the address, the network and the credentials") from None


def join(folder: str, *names: str) -> str:
    """A path below a folder, local or not."""
    return "/".join([folder.rstrip("/"), *names])


def name(path: str) -> str:
    """The last part of a path."""
    return path.rstrip("/").rsplit("/", 1)[-1]


def exists(path: str) -> bool:
    """Whether there is a file or folder of this name."""
    if is_remote(path):
        with _reaching(path):
            fs, inner = _remote(path)
            fs.invalidate_cache()
            return bool(fs.exists(inner))
    return os.path.exists(_local(path))


def is_file(path: str) -> bool:
    """Whether a local path is a file."""
    return os.path.isfile(_local(path))


def size(path: str) -> int:
    """Bytes."""
    if is_remote(path):
        fs, inner = _remote(path)
        return int(fs.size(inner))
    return os.path.getsize(_local(path))


def stamp(path: str) -> tuple[int, str]:
    """(bytes, modification time or etag): what tells that a file has changed."""
    if is_remote(path):
        fs, inner = _remote(path)
        return _remote_stamp(fs.info(inner))
    return _local_stamp(_local(path))


def _local_stamp(path: str) -> tuple[int, str]:
    if os.path.isdir(path):
        stamps = [_local_stamp(f) for f in sorted(_below(path))]
        return sum(size for size, _ in stamps), fingerprint(stamps)
    info = os.stat(path)
    return info.st_size, str(info.st_mtime_ns)


def _remote_stamp(info: dict[str, Any]) -> tuple[int, str]:
    stamp = info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime") or ""
    return int(info.get("size") or 0), str(stamp).strip('"')


def absolute(path: str) -> str:
    """The same place from any working directory: a worker's is another than the driver's."""
    return path if is_remote(path) else os.path.abspath(_local(path))


def listing(folder: str) -> dict[str, int]:
    """{name: bytes} of the files directly in a folder; empty where there is none. One call, however many files."""
    if is_remote(folder):
        fs, inner = _remote(folder)
        fs.invalidate_cache()
        with suppress(FileNotFoundError):
            return {name(e["name"]): int(e["size"] or 0) for e in fs.ls(inner, detail=True) if e["type"] == "file"}
        return {}
    with suppress(FileNotFoundError), os.scandir(_local(folder)) as entries:
        return {e.name: e.stat().st_size for e in entries if e.is_file()}
    return {}


def folders(folder: str) -> set[str]:
    """Names of the folders directly in a folder."""
    if is_remote(folder):
        fs, inner = _remote(folder)
        with suppress(FileNotFoundError):
            return {name(e["name"]) for e in fs.ls(inner, detail=True) if e["type"] == "directory"}
        return set()
    with suppress(FileNotFoundError), os.scandir(_local(folder)) as entries:
        return {e.name for e in entries if e.is_dir()}
    return set()


def expand(patterns: Sequence[str], where: str = "paths") -> list[File]:
    """The files that the patterns name, each once, in order of label; a folder stands for all files below it.

    A label is the path below the folder that all patterns share, so that document ids do not change with the machine.
    Raises RecipeError for a pattern that matches nothing or that cannot be read.
    """
    found: dict[str, tuple[int, str]] = {}
    roots = []
    for pattern in patterns:
        if not pattern.strip():
            raise RecipeError(f"{where}: an empty path; name a file, a folder or a pattern")
        matches = _matches(pattern)
        if not matches:
            raise RecipeError(f"{where}: nothing matches {pattern}{_nearest(pattern)}")
        found.update(matches)
        folder = is_remote(pattern) and not MAGIC.search(pattern) and pattern not in matches
        roots.append(pattern.rstrip("/") if folder else _root(pattern))
    shared = os.path.commonpath(roots) if len({is_remote(r) for r in roots}) == 1 else ""
    shared = shared.replace(":/", "://", 1) if shared and is_remote(roots[0]) and "://" not in shared else shared
    files = [File(path, path.removeprefix(shared).lstrip("/") or name(path), *found[path]) for path in found]
    for file in files:
        if not file.path.isascii() and any("\ud800" <= c <= "\udfff" for c in file.path):
            raise RecipeError(f"{where}: the name of {file.path!r} is not UTF-8; rename the file: it becomes part of document ids")
    return sorted(files, key=lambda f: f.label)


def _is_pattern(path: str) -> bool:
    """Whether there are wildcards in a local, absolute path; a name that has such characters and is there is just a name."""
    return bool(MAGIC.search(path)) and not os.path.lexists(path)


def _root(pattern: str) -> str:
    """The folder of a pattern's part before any wildcard."""
    if is_remote(pattern):
        magic = MAGIC.search(pattern)
        return (pattern[: magic.start()] if magic else pattern).rsplit("/", 1)[0]
    pattern = os.path.abspath(_local(pattern))
    if not _is_pattern(pattern):
        return pattern if os.path.isdir(pattern) else os.path.dirname(pattern)
    parts = pattern.split("/")
    fixed = next(n for n in range(len(parts)) if _is_pattern("/".join(parts[: n + 1])))
    return "/".join(parts[:fixed]) or "/"


def _matches(pattern: str) -> dict[str, tuple[int, str]]:
    """{path: (bytes, stamp)}; hidden files are left out."""
    if is_remote(pattern):
        return _remote_matches(pattern)
    pattern = os.path.abspath(_local(pattern))
    if not _is_pattern(pattern):
        paths: Iterable[str] = _below(pattern) if os.path.isdir(pattern) else [pattern] if os.path.lexists(pattern) else []
    else:
        root = _root(pattern)
        paths = globbing.iglob(os.path.join(globbing.escape(root), os.path.relpath(pattern, root)), recursive=True)
    out = {}
    for path in paths:
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                continue
            with open(path, "rb"):
                pass
            out[path] = _local_stamp(path)
        except OSError as error:
            if os.path.islink(path) and not os.path.exists(path):
                raise RecipeError(f"{path}: is a link to {os.readlink(path)}, which does not exist") from None
            raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    return out


def _below(folder: str) -> Iterator[str]:
    """All that a folder holds, at any depth, through links too, but for what is hidden and for links into their own folders."""

    def fail(error: OSError) -> None:
        raise RecipeError(f"{error.filename}: cannot be read: {error.strerror}") from None

    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        real = os.path.realpath(parent)
        folders[:] = [f for f in folders if not f.startswith(".") and not f"{real}/".startswith(f"{os.path.realpath(f'{parent}/{f}')}/")]
        yield from (os.path.join(parent, n) for n in names if not n.startswith("."))


def _remote_matches(pattern: str) -> dict[str, tuple[int, str]]:
    with _reaching(pattern):
        fs, inner = _remote(pattern)
        scheme = pattern.split("://")[0]
        fs.invalidate_cache()
        entries = fs.glob(inner, detail=True) if MAGIC.search(inner) else {}
        entries = entries or fs.find(inner, detail=True)
        root = fs._strip_protocol(_root(pattern))
        out = {}
        for path, info in entries.items():
            hidden = any(part.startswith(".") for part in path.removeprefix(root).split("/"))
            if info["type"] == "file" and not hidden:
                out[path if "://" in path else f"{scheme}://{path}"] = _remote_stamp(info)
        return out


def _nearest(pattern: str) -> str:
    """For the message: the longest part of the path that is there."""
    if is_remote(pattern):
        return ""
    root = Path(_root(pattern))
    missing = root
    while not root.exists() and root != root.parent:
        missing, root = root, root.parent
    if missing != root:
        return f" ({missing} does not exist)"
    try:
        kept = sorted(p.name for p in root.iterdir())[:4] if root.is_dir() else []
    except OSError as error:
        return f" ({root} cannot be read: {error.strerror})"
    return f" ({root} holds {', '.join(kept)}{', ...' if len(kept) == 4 else ''})" if kept else f" ({root} is empty)"


def open_input(path: str) -> IO[bytes]:
    """A seekable binary file, buffered; remote ones are read in blocks as they are needed."""
    if is_remote(path):
        fs, inner = _remote(path)
        return cast(IO[bytes], fs.open(inner, "rb", block_size=8 << 20, cache_type="readahead"))
    return open(_local(path), "rb", buffering=1 << 20)


def read_bytes(path: str) -> bytes:
    """The whole of a small file."""
    with open_input(path) as file:
        return file.read()


def read_json(path: str) -> Any:
    """The whole of a small JSON file."""
    return json.loads(read_bytes(path))


@contextmanager
def commit(path: str, *, optional: bool = False) -> Iterator[str]:
    """Write to a local temporary name; the real name appears only when the block succeeds.

    An `optional` file need not be written at all: who needs to know that it was asks for its size afterwards.
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory(prefix="curate-") as folder:
            temporary = os.path.join(folder, name(path))
            yield temporary
            if os.path.exists(temporary) or not optional:
                fs, inner = _remote(path)
                fs.put_file(temporary, inner)
        return
    final = _local(path)
    os.makedirs(os.path.dirname(final) or ".", exist_ok=True)
    mark = f"{TEMPORARY}{HOST}-{os.getpid()}-{os.urandom(4).hex()}"
    temporary = os.path.join(os.path.dirname(final), f"{mark}-{os.path.basename(final)}")
    try:
        yield temporary
        with suppress(FileNotFoundError) if optional else nullcontext():
            os.replace(temporary, final)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


@contextmanager
def commit_folder(path: str) -> Iterator[str]:
    """As `commit`, of a whole local folder; what has its name goes first."""
    final = _local(path)
    os.makedirs(os.path.dirname(final), exist_ok=True)
    temporary = os.path.join(os.path.dirname(final), f"{TEMPORARY}{HOST}-{os.getpid()}-{os.urandom(4).hex()}-{os.path.basename(final)}")
    os.mkdir(temporary)
    try:
        yield temporary
        shutil.rmtree(final, ignore_errors=True)
        os.rename(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: str, data: bytes) -> None:
    """A small file, at once."""
    with commit(path) as temporary:
        Path(temporary).write_bytes(data)


def write_json(path: str, value: object) -> None:
    """Indented, for people; keys in the order given."""
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def remove(path: str) -> None:
    """Delete a file, if it is there."""
    if is_remote(path):
        fs, inner = _remote(path)
        with suppress(FileNotFoundError):
            fs.rm_file(inner)
    else:
        with suppress(FileNotFoundError):
            os.unlink(_local(path))


def sweep(folder: str) -> None:
    """Delete what a killed worker left half-written; what a living one is writing stays."""
    if not is_remote(folder):
        for leftover in listing(folder):
            if leftover.startswith(TEMPORARY) and _is_abandoned(join(folder, leftover)):
                remove(join(folder, leftover))
        for leftover in folders(folder):
            if leftover.startswith(TEMPORARY) and _is_abandoned(join(folder, leftover)):
                shutil.rmtree(_local(join(folder, leftover)), ignore_errors=True)


def _is_abandoned(temporary: str) -> bool:
    host, _, rest = name(temporary).removeprefix(TEMPORARY).partition("-")
    pid = rest.partition("-")[0]
    if host == HOST and pid.isdecimal():
        try:
            os.kill(int(pid), 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            return False
        return False
    with suppress(FileNotFoundError):  # of another machine
        return time.time() - os.stat(_local(temporary)).st_mtime > ABANDONED_SECONDS
    return False


def check_writable(folder: str) -> None:
    """Raise RecipeError unless files can be made in a folder, which need not exist yet."""
    there = _local(folder)
    while not is_remote(folder) and not os.path.lexists(there) and os.path.dirname(there) != there:
        there = os.path.dirname(there) or "."  # asking makes no folder
    probe = join(folder if is_remote(folder) else there, f"{TEMPORARY}probe-{os.getpid()}")
    try:
        write_bytes(probe, b"")
        remove(probe)
    except (FileExistsError, NotADirectoryError):
        raise RecipeError(f"--out {folder}: cannot be written: this path leads through a file; name a folder") from None
    except Exception as error:
        raise RecipeError(f"--out {folder}: cannot be written: {reason(error)}; name another folder") from None


def publish(sources: Sequence[str], targets: Sequence[str], folder: str) -> None:
    """Make `folder` hold exactly the targets, each the same bytes as its source: by hard link where that works, else by copy.

    Other files of ours go; a file of any other kind of name is somebody's, and stays.
    """
    wanted = {name(t) for t in targets}
    for stale in listing(folder).keys() - wanted:
        if OURS.fullmatch(stale):
            remove(join(folder, stale))
    for source, target in zip(sources, targets, strict=True):
        if is_remote(target):
            fs, inner = _remote(target)
            fs.cp_file(_remote(source)[1], inner)
            continue
        link = _local(target)
        os.makedirs(os.path.dirname(link), exist_ok=True)
        with commit(target) as temporary:
            try:
                os.link(_local(source), temporary)
            except OSError:
                shutil.copyfile(_local(source), temporary)
