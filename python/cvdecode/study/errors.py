"""What can go wrong in a study, as typed errors of the Error family."""

from __future__ import annotations

import cvdecode


class StudyError(cvdecode.Error):
    """A study cannot go on, or one clip of it cannot be made; the text says which and why."""


class EncodeFailed(StudyError, RuntimeError):
    """One clip could not be transcoded, or its output is not what was asked for."""


class DiskFull(StudyError, OSError):
    """The disk is full, or would be. What is finished is kept; the same command goes on from it."""


class ToolMissing(StudyError, ImportError):
    """A program or an optional library is not there; the text says how to get it."""
