"""How compression changes recognition: transcode a set, measure it, run a model over it, report."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cvdecode.cli import _study_enhance as enhancing
from cvdecode.cli import _study_grid as grid
from cvdecode.cli import _study_stills as stills
from cvdecode.cli import _study_train as training

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[argparse.Namespace], int]
    Fill = Callable[[argparse.ArgumentParser], None]

ACTIONS: tuple[tuple[Run, Fill], ...] = (
    (grid.transcode, grid.transcode_arguments),
    (grid.measure, grid.measure_arguments),
    (grid.models, grid.models_arguments),
    (grid.evaluate, grid.evaluate_arguments),
    (training.train, training.train_arguments),
    (enhancing.enhance, enhancing.enhance_arguments),
    (stills.stills, stills.stills_arguments),
    (stills.matrix, stills.matrix_arguments),
    (stills.qp, stills.qp_arguments),
    (stills.report, stills.report_arguments),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for run_it, fill in ACTIONS:
        summary = (run_it.__doc__ or "").splitlines()[0]
        action = actions.add_parser(run_it.__name__, help=summary, description=run_it.__doc__)
        fill(action)
        action.add_argument("--json", action="store_true", help="print the result as JSON")
        action.set_defaults(act=run_it)


def run(arguments: argparse.Namespace) -> int:
    return int(arguments.act(arguments))
