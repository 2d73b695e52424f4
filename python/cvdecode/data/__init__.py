"""Labelled compressed videos as batches of tensors, for torch. See docs/data.md."""

from cvdecode.data._collate import Skipped, collate
from cvdecode.data._dataset import CompressedVideoDataset, CompressedVideoStream
from cvdecode.data._gops import GopTable
from cvdecode.data._report import Failure, Report
from cvdecode.data.encodings import NORMALISERS, encode_mv, encode_residual, normalise
from cvdecode.data.jitter import HlsJitter, shift_hls
from cvdecode.data.lists import Entry, ListError
from cvdecode.data.samplers import (
    TSN,
    AllGOPs,
    Clip,
    Dense25Test,
    Draw,
    GOPIndex,
    SampleFrames,
    Sampler,
    WithAdjacent,
)
from cvdecode.data.views import Crops, FullFrame, MultiScaleCrop, RandomCrop, View, Window

__all__ = [
    "NORMALISERS",
    "TSN",
    "AllGOPs",
    "Clip",
    "CompressedVideoDataset",
    "CompressedVideoStream",
    "Crops",
    "Dense25Test",
    "Draw",
    "Entry",
    "Failure",
    "FullFrame",
    "GOPIndex",
    "GopTable",
    "HlsJitter",
    "ListError",
    "MultiScaleCrop",
    "RandomCrop",
    "Report",
    "SampleFrames",
    "Sampler",
    "Skipped",
    "View",
    "Window",
    "WithAdjacent",
    "collate",
    "encode_mv",
    "encode_residual",
    "normalise",
    "shift_hls",
]
