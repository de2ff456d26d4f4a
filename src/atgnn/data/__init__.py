"""From recordings on disk to batches: sources, shards, streams."""
