"""From sound files to log-mel spectrograms."""
