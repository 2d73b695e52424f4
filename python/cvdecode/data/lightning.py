"""A LightningDataModule over compressed videos. Importing this module needs lightning."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from cvdecode.data._collate import collate
from cvdecode.data._dataset import CompressedVideoDataset

try:
    from lightning import LightningDataModule  # type: ignore[import-not-found, unused-ignore]
except ImportError as error:
    raise ImportError("cvdecode.data.lightning needs lightning: pip install lightning") from error


class CompressedVideoDataModule(LightningDataModule):  # type: ignore[misc, unused-ignore]
    """Loaders over up to three data sets; the trainer adds its DistributedSampler.

    The training set draws anew each epoch: the loader is made with the trainer's current epoch,
    so use ``Trainer(reload_dataloaders_every_n_epochs=1)``, or call ``train.set_epoch`` yourself.

    Args:
        train, val, test: data sets; loaders of those left out raise AttributeError.
        batch_size: samples of a batch, of one process.
        num_workers: worker processes of each loader.
        options: more arguments of DataLoader, as pin_memory=True.
    """

    def __init__(
        self,
        train: CompressedVideoDataset | None = None,
        val: CompressedVideoDataset | None = None,
        test: CompressedVideoDataset | None = None,
        *,
        batch_size: int = 8,
        num_workers: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        self.sets = {"train": train, "val": val, "test": test}
        self.options = {
            "batch_size": batch_size,
            "num_workers": num_workers,
            "collate_fn": collate,
            **options,
        }

    def _loader(self, name: str, shuffle: bool) -> DataLoader[dict[str, Any]]:
        dataset = self.sets[name]
        if dataset is None:
            raise AttributeError(f"this data module has no {name} set")
        return DataLoader(dataset, shuffle=shuffle, **self.options)

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Shuffled, for the trainer's current epoch."""
        dataset, trainer = self.sets["train"], getattr(self, "trainer", None)
        if dataset is not None and trainer is not None:
            dataset.set_epoch(trainer.current_epoch)
        return self._loader("train", True)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """In order."""
        return self._loader("val", False)

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        """In order."""
        return self._loader("test", False)
