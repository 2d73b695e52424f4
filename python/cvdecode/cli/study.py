"""How compression changes recognition: transcode a set, measure it, run a model over it, report."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

from cvdecode.cli._inputs import expand
from cvdecode.cli._terminal import print_table, progress, readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from cvdecode.study.transcode import Estimate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, add in ACTIONS.items():
        run_it, fill = add
        summary = (run_it.__doc__ or "").splitlines()[0]
        action = actions.add_parser(name, help=summary, description=run_it.__doc__)
        fill(action)
        action.add_argument("--json", action="store_true", help="print the result as JSON")
        action.set_defaults(act=run_it)


def run(arguments: argparse.Namespace) -> int:
    return int(arguments.act(arguments))


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: whole numbers, separated by commas") from None


def _command(arguments: argparse.Namespace) -> str:
    return shlex.join(["cvdecode", *sys.argv[1:]]) if sys.argv else ""


def _transcode_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="a video, a folder of videos, or a .txt list")
    parser.add_argument("out", help="output folder; the same command goes on where it stopped")
    parser.add_argument("--codec", choices=("h264", "hevc", "jpeg"), default="h264")
    rates = parser.add_mutually_exclusive_group()
    values = "LIST"
    rates.add_argument("--crf", type=_numbers, metavar=values, help="(default: 0,10,20,30,40,50)")
    rates.add_argument("--qp", type=_numbers, metavar=values, help="QP of every macroblock")
    rates.add_argument("--bitrate", type=_numbers, metavar=values, help="kbit/s, one pass")
    rates.add_argument("--strength", type=_numbers, metavar=values, help="JPEG: 0 to 100")
    rates.add_argument("--quality", type=_numbers, metavar=values, help="JPEG: 1 to 100")
    parser.add_argument("--gop", type=_numbers, default=[12], metavar=values, help="(default: 12)")
    parser.add_argument("--preset", default="medium", help="of x264 or x265 (default: medium)")
    parser.add_argument("--bframes", type=int, help="(default: the encoder's)")
    parser.add_argument(
        "--short-side",
        type=int,
        default=360,
        help="scale a clip whose short side is longer to this; 0 = never (default: 360)",
    )
    parser.add_argument(
        "--join",
        action="store_true",
        help="send small clips of equal size through one encoder process with CRF and bitrate "
        "too; its rate control then carries over from clip to clip",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="clips at a time")


def transcode(arguments: argparse.Namespace) -> int:
    """Encode every clip with every setting of a grid: parallel, resumable, verified."""
    from cvdecode.study.grid import RATES, grid
    from cvdecode.study.transcode import transcode as work

    codec = arguments.codec
    given = {
        rate: getattr(arguments, rate)
        for rate in ("crf", "qp", "bitrate", "strength", "quality")
        if getattr(arguments, rate)
    }
    usual = {"strength": list(range(0, 101, 10))} if codec == "jpeg" else {}
    rate, values = next(iter((given or usual or {"crf": [0, 10, 20, 30, 40, 50]}).items()))
    if rate not in RATES[codec]:
        raise ValueError(f"--{rate} does not go with --codec {codec}: {', '.join(RATES[codec])}")
    settings = grid(
        codec,
        rate,
        values,
        arguments.gop,
        preset=arguments.preset,
        bframes=arguments.bframes,
        short_side=arguments.short_side or None,
    )

    def tell(estimate: Estimate) -> None:
        print(
            f"{estimate.items} outputs to write, about {readable(estimate.bytes)}; "
            f"{estimate.done_before} done before; {readable(estimate.free)} free",
            file=sys.stderr,
        )

    with progress() as bar:
        task = bar.add_task("transcoding", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        summary = work(
            expand([arguments.source]),
            settings,
            arguments.out,
            jobs=arguments.jobs,
            join=arguments.join,
            command=_command(arguments),
            on_estimate=tell,
            on_progress=show,
        )
    rows = cell_rows(summary.records)
    if arguments.json:
        said = {"cells": rows, "failed": summary.failed, "done_before": summary.done_before}
        print(json.dumps(said))
        return 1 if summary.failed else 0
    print_table(
        f"{arguments.out}: one folder a setting",
        ("setting", "clips", "frames", "size", "kbit/s", "mean QP"),
        [
            (
                r["setting"],
                str(r["clips"]),
                str(r["frames"]),
                readable(r["bytes"]),
                f"{r['kbps']:.1f}",
                "" if r["mean_qp"] is None else f"{r['mean_qp']:.2f}",
            )
            for r in rows
        ],
    )
    if summary.failed:
        print_table(
            "not made",
            ("clip", "setting", "why"),
            [(f["source"], f["setting"] or "", f["error"]) for f in summary.failed],
        )
    return 1 if summary.failed else 0


def cell_rows(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a setting from the lines of a manifest."""
    cells: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        cells.setdefault(record["setting"], []).append(record)
    rows = []
    for name, those in cells.items():
        seconds = sum(r["seconds"] for r in those)
        qps = [(r["mean_qp"], r["frames"]) for r in those if r.get("mean_qp") is not None]
        frames = sum(n for _, n in qps)
        rows.append(
            {
                "setting": name,
                "clips": len(those),
                "frames": sum(r["frames"] for r in those),
                "bytes": sum(r["bytes"] for r in those),
                "kbps": 8e-3 * sum(r["video_bytes"] for r in those) / seconds if seconds else 0.0,
                "mean_qp": sum(q * n for q, n in qps) / frames if frames else None,
            }
        )
    return rows


def _measure_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="what the grid was made from")
    parser.add_argument("grid", help="output folder of cvdecode study transcode")
    parser.add_argument("--out", help="JSON lines (default: measures.jsonl in the grid's folder)")
    parser.add_argument("--lpips", action="store_true", help="needs lpips and its weights")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="clips at a time")


def measure(arguments: argparse.Namespace) -> int:
    """Compare every clip of a grid with its original: MAE, RMSE, PSNR, SSIM, consistency."""
    from cvdecode.study.survey import measure_grid

    with progress() as bar:
        task = bar.add_task("measuring", total=None)
        records, failed = measure_grid(
            expand([arguments.source]),
            arguments.grid,
            arguments.out,
            perceptual=arguments.lpips,
            jobs=arguments.jobs,
            command=_command(arguments),
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if arguments.json:
        print(json.dumps({"records": records, "failed": failed}))
        return 1 if failed else 0
    names = ("mae", "rmse", "psnr", "ssim", "psnr_y", "tc", "lpips")
    cells: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        cells.setdefault(record["setting"], []).append(record)
    shown = [n for n in names if any(n in r for r in records)]
    print_table(
        "means over clips; TC by each stream's own vectors",
        ("setting", *(f"{n}, dB" if n in DECIBEL else n for n in shown)),
        [(name, *(_mean(rs, n) for n in shown)) for name, rs in cells.items()],
    )
    if failed:
        print_table("failed", ("clip", "setting", "why"), [_why(f) for f in failed])
    return 1 if failed else 0


DECIBEL = ("psnr", "psnr_y", "tc")


def _mean(records: list[dict[str, Any]], name: str) -> str:
    values = [r[name] for r in records if r.get(name) is not None]
    digits = 2 if name in DECIBEL else 4
    return f"{sum(values) / len(values):.{digits}f}" if values else ""


def _why(failure: dict[str, Any]) -> tuple[str, str, str]:
    return (failure["source"], failure["setting"] or "", failure["error"])


def _models_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def models(arguments: argparse.Namespace) -> int:
    """List the models known by name, their clip settings, and whether we ran them."""
    from cvdecode.study.models import MODELS

    rows = [
        {
            "model": name,
            "library": entry.library,
            "installed": entry.imports,
            "state": "tested" if entry.tested else "untested",
            "short_side": entry.spec.short_side,
            "crop": entry.spec.crop,
            "frames": entry.spec.frames,
            "stride": entry.spec.stride,
            "layout": entry.spec.layout,
        }
        for name, entry in MODELS.items()
    ]
    if arguments.json:
        print(json.dumps(rows))
        return 0
    print_table(
        "untested: never run by us with its true library, only a stand-in; absent: not installed",
        ("model", "library", "", "side/crop", "frames", "layout"),
        [
            (
                str(r["model"]),
                str(r["library"]),
                str(r["state"]) + ("" if r["installed"] else ", absent"),
                f"{r['short_side']}/{r['crop']}",
                f"{r['frames']}x{r['stride']}",
                str(r["layout"]),
            )
            for r in rows
        ],
    )
    return 0


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a name from `cvdecode study models`, or module:function")
    parser.add_argument("grid", help="output folder of cvdecode study transcode")
    parser.add_argument("--labels", required=True, help="CSV with the columns path and label")
    parser.add_argument("--weights", help="local file or folder with the trained weights")
    parser.add_argument("--originals", help="what the grid was made from, as a cell of its own")
    parser.add_argument("--out", default="evaluation.jsonl", help="(default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="clips to one call (default: 8)")
    parser.add_argument("--device", default="cpu", help="(default: cpu)")
    parser.add_argument("--seed", type=int, default=0, help="recorded, and of random weights")


def evaluate(arguments: argparse.Namespace) -> int:
    """Run a trained model over every cell of a grid: accuracy beside size, QP and bits."""
    from cvdecode.study.evaluate import evaluate as work
    from cvdecode.study.evaluate import read_labels
    from cvdecode.study.models import MODELS, build
    from cvdecode.study.transcode import load_manifest

    if arguments.model in MODELS and not arguments.weights:
        raise ValueError(f"{arguments.model} needs --weights: untrained it only guesses")
    names = sorted({r["source"] for r in load_manifest(arguments.grid)})
    labels, classes = read_labels(arguments.labels, names)
    model = build(arguments.model, arguments.weights, len(classes), arguments.device)
    with progress() as bar:
        task = bar.add_task("evaluating", total=None)
        cells = work(
            model,
            arguments.grid,
            labels,
            arguments.out,
            name=arguments.model,
            originals=expand([arguments.originals]) if arguments.originals else (),
            classes=classes,
            batch=arguments.batch,
            seed=arguments.seed,
            command=_command(arguments),
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if arguments.json:
        print(json.dumps(cells))
        return 0
    print_table(
        f"{arguments.model}; every clip in {arguments.out}",
        ("setting", "clips", "top-1", "top-5", "log loss", "size"),
        [
            (
                c["setting"],
                f"{c['clips']}" + (f" (+{c['failed']} failed)" if c["failed"] else ""),
                *(f"{100 * c[k]:.2f} %" if k in c else "" for k in ("top1", "top5")),
                f"{c['log_loss']:.4f}" if "log_loss" in c else "",
                readable(c.get("bytes", 0)),
            )
            for c in cells
        ],
    )
    return 0


def _stills_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "images",
        help="a .npz file with images (N, H, W) or (N, H, W, 3) and labels (N,), or a folder with "
        "one folder of images a class",
    )
    parser.add_argument("out", help="output folder: one .npy a variant, labels.npy, the streams")
    parser.add_argument("--qp", type=_numbers, default=[10, 25, 37, 41, 46, 50], metavar="LIST")
    parser.add_argument("--bitrate", type=_numbers, default=[], metavar="LIST", help="kbit/s")
    parser.add_argument("--frames", type=_numbers, default=[0, 2, 3, 6], metavar="LIST")
    parser.add_argument("--double", action="store_true", help="double the images first (Lanczos)")


def stills(arguments: argparse.Namespace) -> int:
    """Still images as seven-frame clips at every QP and frame type, as arrays to train on."""
    import numpy as np

    from cvdecode.study import stills as module

    images, labels = module.load_images(arguments.images)
    if arguments.double:
        images = module.double(images)
    records = module.synthesise(
        images,
        arguments.out,
        qps=arguments.qp,
        bitrates=arguments.bitrate,
        frames=arguments.frames,
    )
    np.save(os.path.join(arguments.out, "labels.npy"), labels)
    if arguments.json:
        print(json.dumps([r | {"qp_histogram": _plain(r.get("qp_histogram"))} for r in records]))
        return 0
    print_table(
        f"{arguments.out}: {len(images)} images of {images.shape[2]}x{images.shape[1]}; luma",
        ("variant", "PSNR, dB", "SSIM", "coded QP"),
        [
            (
                r["variant"],
                "same" if r["psnr"] is None else f"{r['psnr']:.2f}",
                "" if r["ssim"] is None else f"{r['ssim']:.4f}",
                f"{r['mean_qp']:.2f}" if "mean_qp" in r else "",
            )
            for r in records
        ],
    )
    return 0


def _plain(array: Any) -> Any:
    return None if array is None else array.tolist()


def _qp_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", help="a video file")
    parser.add_argument("--boxes", help="CSV: x, y, width, height, and if wanted frame, name")


def qp(arguments: argparse.Namespace) -> int:
    """Histograms of the QP that was really coded, of each frame and inside boxes."""
    from cvdecode.study import qp as module

    boxes = module.read_boxes(arguments.boxes) if arguments.boxes else []
    found = module.histograms(arguments.video, boxes)
    if arguments.json:
        said = {
            "scale": found.scale,
            "frame_types": found.frame_types,
            "frames": found.frames.tolist(),
            "boxes": [
                {**vars(box), "samples": row.tolist()}
                for box, row in zip(boxes, found.boxes, strict=True)
            ],
        }
        print(json.dumps(said))
        return 0

    def row(name: str, counts: Any) -> tuple[str, str, str, str]:
        coded = counts.nonzero()[0]
        if not len(coded):
            return (name, "", "", "")
        return (name, f"{module.mean(counts):.2f}", str(coded[0]), str(coded[-1]))

    kinds = sorted(set(found.frame_types))
    of_kind = [
        (f"{k}-frames", found.frames[[t == k for t in found.frame_types]].sum(axis=0))
        for k in kinds
    ]
    names = [box.name or f"box {n}" for n, box in enumerate(boxes)]
    inside = list(zip(names, found.boxes, strict=True))
    whole = ("all frames", found.frames.sum(axis=0))
    print_table(
        f"{arguments.video}: {found.scale}",
        ("where", "mean", "least", "most"),
        [row(name, counts) for name, counts in (whole, *of_kind, *inside)],
    )
    return 0


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", help="the HTML file")
    parser.add_argument("results", nargs="+", help="JSON lines of evaluations, measures, stills")
    parser.add_argument("--title", default="", help="(default: the models' names)")


def report(arguments: argparse.Namespace) -> int:
    """Draw the figures of a study on one self-contained HTML page, from its JSON lines."""
    try:
        from cvdecode.report.study import write_study_page
    except ImportError:
        raise SystemExit("pages need matplotlib: pip install 'cvdecode[study]'") from None
    path = write_study_page(arguments.results, arguments.out, title=arguments.title)
    print(json.dumps({"page": str(path)}) if arguments.json else path)
    return 0


ACTIONS: dict[
    str,
    tuple[Callable[[argparse.Namespace], int], Callable[[argparse.ArgumentParser], None]],
] = {
    "transcode": (transcode, _transcode_arguments),
    "measure": (measure, _measure_arguments),
    "models": (models, _models_arguments),
    "evaluate": (evaluate, _evaluate_arguments),
    "stills": (stills, _stills_arguments),
    "qp": (qp, _qp_arguments),
    "report": (report, _report_arguments),
}
