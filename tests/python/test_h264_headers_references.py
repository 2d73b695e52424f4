"""Picture order, marking and lists: against libavcodec's own trace and a literal second reading."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cvdecode import _core
from h264_headers import (
    X264_MATRIX,
    clip_params,
    open_stream,
    trace_headers,
)
from literal_h264_references import MISSING, References
from test_h264_headers import elements_of, expected_pps, expected_slice, expected_sps


def read_literally(path: Path) -> tuple[References, list[dict[str, Any]], bool]:
    """The literal reading of a file from trace_headers' output, its slices (redundant ones left
    out), whether it has fields.

    Parameter sets of an avcC come from our parser, whose reading test_h264_headers.py checks.
    """
    stream = open_stream(path)
    reader = _core.H264HeaderReader(stream.extradata, stream.nal_length_size)
    sps_by_id = {n["seq_parameter_set_id"]: n for n in reader.extradata if n["nal_unit_type"] == 7}
    pps_by_id = {n["pic_parameter_set_id"]: n for n in reader.extradata if n["nal_unit_type"] == 8}
    literal = References()
    slices = []
    for title, elements in trace_headers(path):
        if title == "Sequence Parameter Set":
            sps = expected_sps(elements)
            sps_by_id[sps["seq_parameter_set_id"]] = sps
        elif title == "Picture Parameter Set":
            sps = sps_by_id[elements_of(elements)["seq_parameter_set_id"]]
            pps = expected_pps(elements, sps)
            pps_by_id[pps["pic_parameter_set_id"]] = pps
        elif title == "Slice Header":
            pps = pps_by_id[elements_of(elements)["pic_parameter_set_id"]]
            sps = sps_by_id[pps["seq_parameter_set_id"]]
            header = expected_slice(elements, pps, sps)
            if header["field_pic_flag"]:
                return literal, slices, True
            if not header["redundant_pic_cnt"]:
                slices.append(header | {"poc_type": sps["pic_order_cnt_type"]})
            literal.slice(header, sps)
    literal.finish()
    return literal, slices, False


def libavcodec_marking(path: Path) -> list[tuple[list[tuple[int, int]], list[tuple[int, int]]]]:
    """(short-term list, long-term list) as (frame_num or index, poc) before every slice."""
    text = subprocess.run(
        ["ffmpeg", "-hide_banner", "-nostdin", "-debug", "mmco", "-threads", "1", "-flags",
         "unaligned", "-i", str(path), "-map", "0:v:0", "-f", "null", "-"],
        capture_output=True, check=True, text=True, errors="replace",
    ).stderr  # fmt: skip
    # Probing decodes too, through a context of its own: the last one is the decoder's.
    lines = [m.groups() for m in re.finditer(r"^\[h264 @ (\w+)\] (.*)$", text, re.M)]
    decoder = [context for context, line in lines if line == "short term list:"][-1]
    states: list[tuple[list[tuple[int, int]], list[tuple[int, int]]]] = []
    after_marking = False
    reading = -1
    for context, line in lines:
        if context != decoder:
            continue
        entry = re.match(r"(\d+) fn:(\d+) poc:(-?\d+)", line)
        if line == "no mmco here" or line.startswith("mmco:"):
            after_marking = True
        elif line == "short term list:":
            reading = 0
            states.append(([], []))
        elif line == "long term list:":
            reading = 1
            if after_marking:
                states.pop()
                states.append(([], []))
                reading = 2  # of the picture after marking: read over
        elif entry and reading in (0, 1):
            index, frame_num, poc = (int(g) for g in entry.groups())
            states[-1][reading].append((frame_num if reading == 0 else index, poc))
        elif not entry and reading == 2:
            states.pop()
            after_marking = False
            reading = -1
    if reading == 2:
        states.pop()
    return states


def check_index(path: Path) -> bool:
    """Our index against the literal reading. False: fields, nothing to compare."""
    literal, slices, fields = read_literally(path)
    if fields:
        return False
    index = open_stream(path).index()
    assert len(index["pictures"]) == len(literal.pictures)
    sequence = -1
    order = []
    number = 0
    for i, (ours, theirs) in enumerate(zip(index["pictures"], literal.pictures, strict=True)):
        assert (ours["TopFieldOrderCnt"], ours["BottomFieldOrderCnt"]) == (
            theirs.top,
            theirs.bottom,
        ), i
        assert ours["references_sure"], i
        assert [s["RefPicList"] for s in ours["slices"]] == theirs.lists, i
        first = slices[number]
        number += len(ours["slices"])
        if first["nal_unit_type"] == 5 or theirs.mmco5:
            sequence += 1
        order.append((sequence, min(theirs.top, theirs.bottom), i))
        types = {s["slice_type"] % 5 for s in ours["slices"]}
        assert ours["type"] == ("I" if types <= {2, 4} else "B" if 1 in types else "P"), i
    assert index["presentation"] == [i for _, _, i in sorted(order)] or any(
        p["presentation"] < 0 for p in index["pictures"]
    )
    return True


def check_marking(path: Path) -> int:
    """The literal reading against libavcodec's marking. Returns how many slices were compared."""
    literal, slices, fields = read_literally(path)
    if fields:
        return 0
    states = libavcodec_marking(path)
    assert len(states) == len(slices)
    number = 0
    compared = 0
    for i, picture in enumerate(literal.pictures):
        for _ in picture.lists:
            header = slices[number]
            short, long = states[number]
            number += 1
            # libavcodec's counts of type 0 begin at 65536 after an IDR picture; it invents
            # pictures with counts of their own for gaps.
            base = 65536 if header["poc_type"] == 0 else 0
            if not any(p.gap for p in literal.pictures):
                assert [(n, poc - base) for n, poc in short] == picture.short_before, i
                assert [(n, poc - base) for n, poc in long] == picture.long_before, i
            else:
                assert [n for n, _ in short] == [n for n, _ in picture.short_before], i
            compared += 1
    return compared


# Not decodable by libavcodec (FMO, ASO), or damaged on purpose.
NOT_BY_LIBAVCODEC = {"FM1_FT_E.264"}


@pytest.mark.parametrize("path", clip_params("h264-conformance", "h264"))
def test_index_of_shared_clips(path: Path) -> None:
    check_index(path)


@pytest.mark.parametrize("name", X264_MATRIX)
def test_index_of_x264(name: str, x264_matrix: dict[str, Path]) -> None:
    assert check_index(x264_matrix[name])


@pytest.mark.parametrize("path", clip_params("h264-conformance"))
def test_marking_of_shared_clips(path: Path) -> None:
    if path.name in NOT_BY_LIBAVCODEC:
        pytest.skip("libavcodec does not decode slice groups")
    check_marking(path)


@pytest.mark.parametrize("name", ["pyramid", "pyramid-strict", "open-gop", "ref16", "slices4"])
def test_marking_of_x264(name: str, x264_matrix: dict[str, Path]) -> None:
    assert check_marking(x264_matrix[name]) >= 24


def test_missing_is_what_the_core_calls_it() -> None:
    assert MISSING == -3
