"""`curate`: raw sources in, proven token shards out. The engine knows documents, stages and shards, and no filter."""

__version__ = "0.1.0"
