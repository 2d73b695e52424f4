"""Experiments behind docs/evidence: python -m evidence NAME. Not part of the installed package."""
