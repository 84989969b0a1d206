"""Readers: one module per raw format. Each yields the documents of a shard, and what it could not read."""
