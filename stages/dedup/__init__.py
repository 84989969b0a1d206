"""Deduplication: each a `Global`, keys travel and text does not."""
