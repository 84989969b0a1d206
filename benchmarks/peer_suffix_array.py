"""Substrings that stand twice by a suffix array of the whole text, as Lee et al. 2021 find them; run by `substring.py` in an environment of
its own: `python peer_suffix_array.py TEXT LEAST`, with numpy and pydivsufsort.

TEXT holds documents, each behind two bytes 0xFF and its number in four. Says what is covered by runs of LEAST bytes that stand twice.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np
from pydivsufsort import divsufsort, kasai


def main() -> None:
    """Prints bytes covered, seconds of each step and the most memory held."""
    path, least = sys.argv[1], int(sys.argv[2])
    text = np.fromfile(path, np.uint8)
    began = time.process_time()
    suffixes = divsufsort(text)
    sorted_ = time.process_time()
    common = kasai(text, suffixes)[: len(text) - 1]
    compared = time.process_time()
    twice = np.zeros(len(text), np.bool_)
    high = common >= least
    twice[suffixes[:-1][high]] = True
    twice[suffixes[1:][high]] = True
    signs = np.flatnonzero((text[:-1] == 255) & (text[1:] == 255))  # no byte of UTF-8 is 0xFF; numbers of documents are less than 2^24
    begins = signs[np.concatenate(([True], np.diff(signs) > 5))] + 6
    ends = np.append(begins[1:] - 6, len(text))
    for low, stop in zip(begins.tolist(), ends.tolist(), strict=True):  # windows end where their document does
        twice[max(stop - least + 1, low) : stop] = False
        twice[low - 6 : low] = False
    last = np.maximum.accumulate(np.where(twice, np.arange(len(text)), -least))
    found = int(np.count_nonzero(np.arange(len(text)) - last < least))
    done = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    print(json.dumps({"covered": found, "sort": sorted_ - began, "compare": compared - sorted_, "mark": done - compared, "peak": peak}))


if __name__ == "__main__":
    main()
