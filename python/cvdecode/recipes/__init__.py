"""Training, testing and predicting with compressed videos; statistics of the results.

The commands ``cvdecode train``, ``evaluate`` and ``predict`` are thin over this package. See
docs/recipes.md.
"""
