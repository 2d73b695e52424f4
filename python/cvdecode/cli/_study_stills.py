"""cvdecode study stills, matrix, qp, report."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from cvdecode.cli._inputs import command
from cvdecode.cli._study_grid import names, numbers
from cvdecode.cli._study_train import pair_of, print_matrices
from cvdecode.cli._terminal import print_table, progress


def stills_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "images",
        help="a .npz file with images (N, H, W) or (N, H, W, 3) and labels (N,), or a folder with "
        "one folder of images a class",
    )
    parser.add_argument("out", help="output folder: one .npy a variant, labels.npy, the streams")
    parser.add_argument("--qp", type=numbers, default=[10, 25, 37, 41, 46, 50], metavar="LIST")
    parser.add_argument("--bitrate", type=numbers, default=[], metavar="LIST", help="kbit/s")
    parser.add_argument("--frames", type=numbers, default=[0, 2, 3, 6], metavar="LIST")
    parser.add_argument("--double", action="store_true", help="double the images first (Lanczos)")


def stills(arguments: argparse.Namespace) -> int:
    """Still images as seven-frame clips at every QP and frame type, as arrays to train on."""
    from cvdecode.study import stills as module
    from cvdecode.study.records import save_array

    images, labels = module.load_images(arguments.images)
    if arguments.double:
        images = module.double(images)
    records = module.synthesise(
        images,
        arguments.out,
        qps=arguments.qp,
        bitrates=arguments.bitrate,
        frames=arguments.frames,
        command=command(),
    )
    save_array(os.path.join(arguments.out, "labels.npy"), labels)
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


def matrix_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="output folder of cvdecode study stills")
    parser.add_argument("--out", help="JSON lines (default: matrix.jsonl in the folder)")
    parser.add_argument(
        "--train",
        type=names,
        default=[],
        metavar="LIST",
        help="variants; all, all+plane, all+film see every one that is tested on (default: "
        "yuv444, each rate at frame 0, and these three)",
    )
    parser.add_argument(
        "--test", type=names, default=[], metavar="LIST", help="(default: yuv444, rates at frame 0)"
    )
    parser.add_argument(
        "--pretrain", type=names, metavar="A,B", help="train A and B further on A and B too"
    )
    parser.add_argument("--seeds", type=numbers, default=[0], metavar="LIST", help="(default: 0)")
    parser.add_argument("--steps", type=int, default=30_000, help="(default: %(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="(default: %(default)s)")
    parser.add_argument("--lr", type=float, default=2e-3, help="of Adam (default: %(default)s)")
    parser.add_argument(
        "--channels", type=int, default=64, help="of the convolutions (default: %(default)s)"
    )
    parser.add_argument("--deeper", action="store_true", help="one more convolution")
    parser.add_argument("--no-crop", action="store_true", help="whole pictures, no random crops")
    parser.add_argument("--no-flip", action="store_true", help="where left and right matter")
    parser.add_argument("--device", default="cpu", help="(default: cpu)")


def matrix(arguments: argparse.Namespace) -> int:
    """Train a network on each quality of still images and test it on each (Johnston et al.)."""
    from cvdecode.recipes import stills as module

    pair = pair_of(arguments.pretrain)
    schedule = module.Schedule(
        arguments.steps,
        arguments.batch,
        arguments.lr,
        arguments.channels,
        deeper=arguments.deeper,
        crop=not arguments.no_crop,
        flip=not arguments.no_flip,
        device=arguments.device,
    )
    with progress() as bar:
        task = bar.add_task("training", total=schedule.steps)
        records = module.matrix(
            arguments.folder,
            arguments.out or os.path.join(arguments.folder, "matrix.jsonl"),
            schedule,
            trained_on=arguments.train,
            tested_on=arguments.test,
            pretrain=pair,
            seeds=arguments.seeds,
            command=command(),
            tick=lambda name, step: bar.update(task, description=name, completed=step),
        )
    print_matrices(records, as_json=arguments.json)
    return 0


def qp_arguments(parser: argparse.ArgumentParser) -> None:
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
    called = [box.name or f"box {n}" for n, box in enumerate(boxes)]
    inside = list(zip(called, found.boxes, strict=True))
    whole = ("all frames", found.frames.sum(axis=0))
    print_table(
        f"{arguments.video}: {found.scale}",
        ("where", "mean", "least", "most"),
        [row(name, counts) for name, counts in (whole, *of_kind, *inside)],
    )
    return 0


def report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", help="the HTML file")
    parser.add_argument(
        "results", nargs="+", help="JSON lines of evaluations, measures, stills, matrices"
    )
    parser.add_argument("--title", default="", help="(default: the models' names)")


def report(arguments: argparse.Namespace) -> int:
    """Draw the figures of a study on one self-contained HTML page, from its JSON lines."""
    from cvdecode.report.study import write_study_page

    path = write_study_page(arguments.results, arguments.out, title=arguments.title)
    print(json.dumps({"page": str(path)}) if arguments.json else path)
    return 0
