"""datatrove's MinHash deduplication, its four stages as its own example has them: `python peer_datatrove_minhash.py INPUT OUT WORKERS`.

Survivors go to OUT/documents, the clusters to OUT/remove. Runs in an environment of its own.
"""

import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter


def main(source: str, out: str, workers: int) -> None:
    """One stage after another."""
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    tasks = len(list(Path(source).glob("*.parquet")))
    stages = [
        ([ParquetReader(source), MinhashDedupSignature(output_folder=f"{out}/signatures", config=config)], tasks),
        ([MinhashDedupBuckets(input_folder=f"{out}/signatures", output_folder=f"{out}/buckets", config=config)], config.num_buckets),
        ([MinhashDedupCluster(f"{out}/buckets", f"{out}/remove", config=config, save_cluster_id=True)], 1),
        ([ParquetReader(source), MinhashDedupFilter(f"{out}/remove"), ParquetWriter(f"{out}/documents")], tasks),
    ]
    for number, (pipeline, count) in enumerate(stages):
        LocalPipelineExecutor(pipeline, tasks=count, workers=workers, logging_dir=f"{out}/logs/{number}").run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
