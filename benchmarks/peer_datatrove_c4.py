"""datatrove's C4 filter over a Parquet file's `text`, one process, in an environment of its own: what it leaves, and its time, as JSON.

Once whole, and once without counting sentences.
"""

import json
import sys
import time

import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter

texts = pq.read_table(sys.argv[1], columns=["text"])["text"].to_pylist()
answer: dict[str, object] = {}
for name, options in (("whole", {}), ("lines", {"min_num_sentences": -1})):
    filter_ = C4QualityFilter(**options)
    filter_.filter(Document(text="Warm up the tokenizer, please do.\n" * 20, id="warm"))
    left, seconds = [], float("inf")
    for _ in range(int(sys.argv[3])):
        documents = [Document(text=text, id=str(n)) for n, text in enumerate(texts)]
        began = time.perf_counter()
        kept = [filter_.filter(document) is True for document in documents]
        seconds = min(seconds, time.perf_counter() - began)
        left = [document.text if stays else None for document, stays in zip(documents, kept, strict=True)]
    answer[name] = {"seconds": seconds, "left": left}
with open(sys.argv[2], "w") as file:
    json.dump(answer, file)
