"""Repositories of real code as GitHub and package indexes hand them out: folders, tar and zip archives, and rows as BigQuery exports them.

The code and the licences are those of packages installed on this machine. One repository has no licence at all, one has a part in it with
a licence of its own, and some have licences that a recipe leaves out.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from importlib import metadata
from pathlib import Path
from random import Random
from typing import Any

from curate import store
from curate.sample.prose import Package

PACKAGES = 8
FILES = 30  # of a package, at most
MOST_BYTES = 100_000  # of a file
MODIFIED = (2021, 3, 4, 5, 6, 8)
LICENCE_NAMES = ("LICENSE", "LICENCE", "COPYING")
BIGQUERY = {name: name.lower() for name in ("MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MPL-2.0", "ISC")}  # its spelling


@dataclass(frozen=True)
class Repository:
    """Files by their path in the repository, the licence's among them."""

    name: str
    licence: str  # as the package declares it; empty without one
    files: Mapping[str, bytes]


def repositories(packages: Iterable[Package], rng: Random) -> list[Repository]:
    """The first packages that have a licence file and some code; then one without a licence, and one with another's code in it."""
    found: list[Repository] = []
    for package in packages:
        licence = _licence(package.name)
        code = [f for f in package.files if f.endswith(".py")]
        if licence and len(code) >= 3:
            rng.shuffle(code)
            files = {path: (package.root / path).read_bytes() for path in sorted(code[:FILES]) if _fits(package.root / path)}
            found.append(Repository(package.name, package.licence, {"LICENSE": licence, **files}))
        if len(found) == PACKAGES:
            break
    first, second = found[0], found[1]
    bare = {path: data for path, data in first.files.items() if path != "LICENSE"}
    vendored = {f"third_party/{second.name}/{path}": data for path, data in second.files.items()}
    return [*found, Repository("without-licence", "", bare), Repository("with-a-part", first.licence, {**first.files, **vendored})]


def write(folder: Path, found: Sequence[Repository]) -> list[dict[str, Any]]:
    """Folders, archives and the rows of an export; returns the rows of the truth, one a repository, and one a file of the export."""
    truth = []
    for at, repository in enumerate(found):
        name = f"{repository.name}-1.0"
        inside = {f"{name}/{path}": data for path, data in repository.files.items()}
        kind = ("folder", "tar", "zip")[at % 3]
        file = f"github/{name}{ {'folder': '', 'tar': '.tar.gz', 'zip': '.zip'}[kind] }"
        if kind == "folder":
            for path, data in inside.items():
                store.write_bytes(str(folder / "github" / path), data)
        else:
            store.write_bytes(str(folder / file), _tar(inside) if kind == "tar" else _zip(inside))
        truth.append({"file": file, "record": 0, "title": repository.name, "kind": kind, "licence": repository.licence})
    file = "bigquery/github_000000000000.json.gz"
    rows = [row for repository in found for row in _rows(repository)]
    store.write_bytes(str(folder / file), gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), 6, mtime=0))
    truth += [{"file": file, "record": at, "path": row["path"], "kind": "code", "licence": row["license"]} for at, row in enumerate(rows)]
    return truth


def _licence(package: str) -> bytes:
    """The text of the licence that lies beside an installed package; empty if there is none."""
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return b""
    for file in sorted(distribution.files or (), key=str):
        if file.stem in LICENCE_NAMES and "dist-info" in str(file) and _fits(path := Path(str(distribution.locate_file(file)))):
            return path.read_bytes()
    return b""


def _fits(path: Path) -> bool:
    return path.is_file() and 0 < path.stat().st_size <= MOST_BYTES


def _rows(repository: Repository) -> list[dict[str, Any]]:
    """As the tables contents, files, licenses and languages joined; a binary file has no content."""
    if repository.licence not in BIGQUERY:
        return []
    languages = [{"name": "Python", "bytes": sum(map(len, repository.files.values()))}]
    out = []
    for path, data in [*repository.files.items(), ("logo.png", b"\x89PNG\r\n")]:
        row = {"id": sha1(b"blob %d\0" % len(data) + data).hexdigest(), "size": len(data), "content": None, "binary": path.endswith(".png")}
        if not row["binary"]:
            row["content"] = data.decode("utf-8", "replace")
        row |= {"copies": 1, "repo_name": f"example/{repository.name}", "ref": "refs/heads/main", "path": path, "mode": 33188}
        out.append({**row, "symlink_target": None, "license": BIGQUERY[repository.licence], "language": languages})
    return out


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1_614_834_367
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(out.getvalue(), 6, mtime=0)


def _zip(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, MODIFIED), data)
    return out.getvalue()
