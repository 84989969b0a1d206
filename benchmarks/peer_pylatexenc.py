"""pylatexenc's parser over a file of JSON lines with a `text` each: `python peer_pylatexenc.py FILE`. Prints characters and seconds.

It only parses: neither comments, inputs nor macros are worked on. Runs in an environment of its own.
"""

import json
import sys
import time
from pathlib import Path

from pylatexenc.latexwalker import LatexWalker, LatexWalkerParseError


def main(source: str) -> None:
    """Parse every text."""
    texts = [json.loads(line)["text"] for line in Path(source).read_text().splitlines()]
    began = time.perf_counter()
    failed = 0
    for text in texts:
        try:
            LatexWalker(text, tolerant_parsing=True).get_latex_nodes()
        except (LatexWalkerParseError, RecursionError):
            failed += 1
    print(json.dumps({"chars": sum(map(len, texts)), "seconds": time.perf_counter() - began, "failed": failed}))


if __name__ == "__main__":
    main(sys.argv[1])
