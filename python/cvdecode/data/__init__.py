"""torch datasets over compressed videos."""

from cvdecode.data._clip_dataset import ClipDataset

__all__ = ["ClipDataset"]
