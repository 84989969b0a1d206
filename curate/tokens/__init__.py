"""Token shards: tokenizers, layouts, formats, the manifest, and the proof that what was written is what was meant."""
