"""Parameters of Punkt written by hand, in the form of NLTK's punkt_tab: a few abbreviations, and what begins with a capital or does not."""

from __future__ import annotations

import os
from pathlib import Path

from curate import known

TABLES = {
    "abbrev_types.txt": "dr\nmr\nmrs\ne.g\ni.e\nu.s\np.m\nst\netc",
    "collocations.tab": "st\tbernard\n##number##\tinternational",
    "sent_starters.txt": "the\nhe\nshe\nit\nhowever",
    "ortho_context.tab": "the\t46\nhe\t46\nsmith\t4\nand\t32\nbernard\t4",
}
ROOT = Path(__file__).parents[1]
PLACES = [Path(p) for p in [os.environ.get("CURATE_PUNKT", "")] if p] + [
    ROOT / ".venv/models" / known.PUNKT.name,
    Path(known.path(known.PUNKT.name)),
]


def write(folder: Path) -> str:
    """The path of a folder that a stage takes for `punkt`."""
    home = folder / "punkt_tab" / "english"
    home.mkdir(parents=True)
    for name, text in TABLES.items():
        (home / name).write_text(text)
    return str(folder)


def trained() -> Path | None:
    """NLTK's own punkt_tab.zip, where it lies."""
    return next((p for p in PLACES if p.is_file()), None)
