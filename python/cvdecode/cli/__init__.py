"""The command line: cvdecode COMMAND, see COMMANDS."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import cvdecode
from cvdecode.cli import (
    accumulate,
    bench,
    enhance,
    enhance_train,
    evaluate,
    extract,
    grad_cam,
    predict,
    probe,
    study,
    train,
    view,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = (
    probe, extract, accumulate, view, bench, study, train, evaluate, predict,
    enhance, enhance_train, grad_cam,
)  # fmt: skip

EXTRAS = {
    **dict.fromkeys(("train", "evaluate", "predict"), "train"),
    **dict.fromkeys(("study", "enhance", "enhance-train", "grad-cam"), "study"),
}
"""What to install for a command that lacks a library."""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="cvdecode",
        description="Motion vectors, references, residuals, QP, block types and bits of a video, "
        "as tensors, exactly as coded.",
    )
    top.add_argument("--version", action="version", version=f"cvdecode {cvdecode.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        name = module.__name__.rsplit(".", 1)[1].replace("_", "-")
        summary = (module.__doc__ or "").splitlines()[0]
        command = commands.add_parser(name, help=summary, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; 0 = done, 1 = an input failed, 2 = wrong usage, 130 = interrupted."""
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (cvdecode.Error, OSError, ValueError, IndexError, MemoryError) as error:
        print(f"cvdecode {arguments.command}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(arguments.command)
        if extra is None:
            raise
        needs = f"it needs {error.name}: pip install 'cvdecode[{extra}]'"
        print(f"cvdecode {arguments.command}: {needs}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
