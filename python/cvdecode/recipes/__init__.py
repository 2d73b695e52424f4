"""Training, evaluation and statistics of compressed-domain recognition."""
