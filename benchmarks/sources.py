"""Every source of Llama 1 from its raw format, as ratios: each `sources_*.py` in a process of its own; see README.md.

python benchmarks/sources.py --corpus FOLDER [arxiv books c4 code stackexchange wikipedia] [-- what a single one is to be given besides]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = tuple(sorted(path.stem.removeprefix("sources_") for path in HERE.glob("sources_*.py")))


def main(arguments: list[str]) -> int:
    given, _, further = (" ".join(arguments)).partition(" -- ")
    words = given.split()
    if "--corpus" not in words or {"-h", "--help"} & set(words):
        print(__doc__)
        return 2
    at = words.index("--corpus")
    corpus = words[at : at + 2]
    wanted = [w for w in words if w not in corpus] or list(SOURCES)
    if unknown := set(wanted) - set(SOURCES):
        print(f"no such source: {', '.join(sorted(unknown))}; there are {', '.join(SOURCES)}")
        return 2
    failed = 0
    for source in wanted:
        print(f"\n== {source}", flush=True)
        failed |= subprocess.run([sys.executable, HERE / f"sources_{source}.py", *corpus, *further.split()], check=False).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
