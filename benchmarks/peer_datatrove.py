"""datatrove's Gopher filters over a Parquet file's `text`, one process, in an environment of its own: decisions and time as JSON."""

import json
import sys
import time

import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter

texts = pq.read_table(sys.argv[1], columns=["text"])["text"].to_pylist()
quality, repetition = GopherQualityFilter(), GopherRepetitionFilter()
quality.filter(Document(text="warm up the tokenizer " * 20, id="warm"))
decisions = []
seconds = []
for each in (quality, repetition):
    began = time.perf_counter()
    out = []
    for number, text in enumerate(texts):
        try:
            verdict = each.filter(Document(text=text, id=str(number)))
        except ZeroDivisionError:
            verdict = (False, "ZeroDivisionError")
        out.append(verdict[1] if isinstance(verdict, tuple) else "")
    seconds.append(time.perf_counter() - began)
    decisions.append(out)
with open(sys.argv[2], "w") as answer:
    json.dump({"seconds": seconds, "quality": decisions[0], "repetition": decisions[1]}, answer)
