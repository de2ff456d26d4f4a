"""What runs and trained networks say when they are looked at together."""
