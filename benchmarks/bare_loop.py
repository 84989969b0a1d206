"""What the engine is measured against: the same stage methods in one plain loop, reading and writing the same files, keeping no books."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate import recipe as recipes
from curate.batch import Batch, Check
from curate.documents import WRITE
from curate.runner import pin_threads


def main(recipe: str, out: Path) -> None:
    """Every file through every stage of the recipe's one source."""
    pin_threads()
    reader, *stages = [step.stage for step in next(iter(recipes.load(recipe).sources.values()))]
    out.mkdir(parents=True, exist_ok=True)
    for path in reader.paths:
        writer, held, size = None, [], 0
        for data in pq.ParquetFile(path).iter_batches(2048, columns=["text"], use_threads=False):
            batch = Batch.of(pa.RecordBatch.from_arrays([data["text"].cast(pa.large_string())], ["text"]))
            for stage in stages:
                found = stage.keep(batch)
                masks = [c.passed if isinstance(c, Check) else c for c in found.values()]
                batch = batch.where(np.logical_and.reduce(masks))
            held.append(batch.data)
            size += held[-1].nbytes
            if size > 16 << 20:
                writer = flush(writer, held, out / Path(path).name)
                held, size = [], 0
        if held:
            writer = flush(writer, held, out / Path(path).name)
        if writer:
            writer.close()


def flush(writer: pq.ParquetWriter | None, held: list[pa.RecordBatch], path: Path) -> pq.ParquetWriter:
    """A row group."""
    table = pa.Table.from_batches(held).combine_chunks()
    writer = writer or pq.ParquetWriter(path, table.schema, use_dictionary=False, **WRITE)
    writer.write_table(table, row_group_size=len(table))
    return writer


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
