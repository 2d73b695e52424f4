"""The index of H.264 streams: order, types and starts against libavcodec; loss, framing, scope."""

from __future__ import annotations

import csv
import random
import re
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from cvdecode import CorruptStream, _core
from h264_headers import CLIPS, Stream, clip_params, open_stream, x264

MISSING = -3


def split(data: bytes) -> list[bytes]:
    """NAL units of an Annex B byte stream."""
    parts = re.split(rb"\x00\x00\x01", data)[1:]
    return [part.rstrip(b"\x00") for part in parts]


def annex_b(nals: list[bytes]) -> bytes:
    return b"".join(b"\x00\x00\x00\x01" + nal for nal in nals)


def index_of(packets: list[bytes], extradata: bytes = b"", length: int = 0) -> dict[str, Any]:
    return Stream([(p, None, False, b"") for p in packets], [], extradata, length).index()


def decode(stream: Stream, first: int = 0, last: int | None = None) -> dict[int, av.VideoFrame]:
    """libavcodec's frames by the number of the packet in which they begin, in output order."""
    codec = av.CodecContext.create("h264", "r")
    if stream.extradata:
        codec.extradata = stream.extradata
    codec.thread_count = 1
    # strict: without it pictures come out before their order is settled.
    codec.options = {
        "flags": "+output_corrupt+unaligned",
        "skip_loop_filter": "all",
        "strict": "1",
    }
    frames = {}
    stop = len(stream.packets)
    for number in range(first, stop if last is None else min(last + 1, stop)):
        packet = av.Packet(stream.packets[number][0])
        packet.pts = packet.dts = number
        try:
            frames.update({f.pts: f for f in codec.decode(packet)})
        except av.InvalidDataError:
            continue
    frames.update({f.pts: f for f in codec.decode(None)})
    return frames


def output_order(index: dict[str, Any]) -> list[int]:
    """Decode numbers in output order, pictures that are not presented included."""
    pictures = index["pictures"]
    return sorted(
        range(len(pictures)), key=lambda i: (pictures[i]["sequence"], pictures[i]["order"], i)
    )


def lists(picture: dict[str, Any]) -> list[Any]:
    return [s["RefPicList"] for s in picture["slices"]]


# What libavcodec does not decode as the standard says.
NOT_BY_LIBAVCODEC = {
    "FM1_FT_E.264": "libavcodec does not decode slice groups",
    "foreman.264": "libavcodec does not decode SP slices",
}


@pytest.mark.parametrize("path", clip_params("h264-conformance", "h264"))
def test_order_and_types_equal_libavcodec(path: Path) -> None:
    if path.name in NOT_BY_LIBAVCODEC:
        pytest.skip(NOT_BY_LIBAVCODEC[path.name])
    stream = open_stream(path)
    index = stream.index()
    pictures = index["pictures"]
    frames = decode(stream)
    order = output_order(index)
    assert [pictures[i]["slices"][0]["packet"] for i in order] == list(frames)
    for i, frame in zip(order, frames.values(), strict=True):
        if not pictures[i]["field_coded"]:  # libavcodec names a field pair after one field
            assert pictures[i]["type"] == av.video.frame.PictureType(frame.pict_type).name, i
    assert len(index["presentation"]) == sum(p["presentation"] >= 0 for p in pictures)
    assert not any(p["damaged"] for p in pictures)


STARTS = [
    "HPCA_BRCM_C.264", "CVWP3_TOSHIBA_E.264", "CABA3_SVA_B.264", "MR1_BT_A.h264",
    "CVFC1_Sony_C.jsv", "CVPA1_TOSHIBA_B.264", "CAMA3_Sand_E.264", "HCMP1_HHI_A.264", "demo.mp4",
    "FRExt4_Panasonic.avc", "freh4.264",
]  # fmt: skip


def check_starts(stream: Stream) -> int:
    """Decoding from decode_start gives what decoding from the front gives. Returns how many."""
    pictures = stream.index()["pictures"]
    whole = decode(stream)
    starts = sorted({p["decode_start"] for p in pictures})
    checked = 0
    for start in starts[1:4] + starts[4:][-1:]:
        members = [p for p in pictures if p["decode_start"] == start]
        # Two frames more than needed, so that the order of output is settled.
        part = decode(stream, pictures[start]["first_packet"], members[-1]["last_packet"] + 2)
        for picture in members:
            key = picture["slices"][0]["packet"]
            assert key in part, (start, key)
            assert np.array_equal(part[key].to_ndarray(), whole[key].to_ndarray()), (start, key)
            checked += 1
    return checked


@pytest.mark.parametrize(
    "path", [p for p in clip_params("h264-conformance", "h264") if p.id in STARTS or not p.id]
)
def test_decode_start_gives_exact_pictures(path: Path) -> None:
    stream = open_stream(path)
    checked = check_starts(stream)
    assert checked > 0 or len({p["decode_start"] for p in stream.index()["pictures"]}) == 1


def test_decode_start_in_open_gops(x264_matrix: dict[str, Path]) -> None:
    stream = open_stream(x264_matrix["open-gop"])
    pictures = stream.index()["pictures"]
    intra = [i for i, p in enumerate(pictures) if p["all_intra"]]
    assert [i for i in intra if pictures[i]["is_idr"]] == [0]
    assert len(intra) >= 3
    assert all(pictures[i]["is_key"] for i in intra)
    assert all(pictures[i]["decode_start"] == i for i in intra)
    # Leading pictures look across the I picture before them in decode order.
    leading = [
        p for i, p in enumerate(pictures)
        for k in intra[1:] if k < i and p["order"] < pictures[k]["order"]
    ]  # fmt: skip
    assert leading
    for p in leading:
        assert p["decode_start"] < max(k for k in intra if pictures[k]["order"] > p["order"])
    assert check_starts(stream) > 0


def test_intra_refresh_has_no_key_frames_but_the_first(x264_matrix: dict[str, Path]) -> None:
    pictures = open_stream(x264_matrix["intra-refresh"]).index()["pictures"]
    assert [i for i, p in enumerate(pictures) if p["is_key"]] == [0]
    assert {p["decode_start"] for p in pictures} == {0}


# -- loss ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """I P P P ..., three references, an IDR picture every 10."""
    path = tmp_path_factory.mktemp("loss") / "plain.264"
    text = "bframes=0:ref=3:keyint=10:min-keyint=10:scenecut=0:weightp=0"
    return open_stream(x264(path, text, frames=30))


def without(stream: Stream, *numbers: int) -> Stream:
    packets = [p for i, p in enumerate(stream.packets) if i not in numbers]
    return Stream(packets, [], stream.extradata, stream.nal_length_size)


def test_lost_reference_leaves_no_shifted_list(plain: Stream) -> None:
    whole = plain.index()["pictures"]
    index = without(plain, 13).index()
    pictures = index["pictures"]
    assert len(pictures) == 29
    for i, picture in enumerate(pictures):
        lost = 13 <= i < 19  # up to the next IDR picture
        assert picture["references_sure"] == (not lost), i
        entries = [e for s in lists(picture) for x in s for e in x]
        if lost:
            assert entries
            assert all(e == (MISSING, False) for e in entries), i
        else:
            shift = 0 if i < 13 else 1
            same = [[[(n + shift, t) for n, t in x] for x in s] for s in lists(picture)]
            assert same == lists(whole[i + shift]), i
    assert any("1 reference frame(s) are missing" in w for w in index["warnings"])


def test_lost_non_reference_picture_changes_nothing(tmp_path: Path) -> None:
    stream = open_stream(x264(tmp_path / "b.264", "bframes=2:b-pyramid=none:ref=2:b-adapt=0"))
    whole = stream.index()["pictures"]
    victim = next(i for i, p in enumerate(whole) if not p["is_reference"])
    pictures = without(stream, victim).index()["pictures"]
    assert all(p["references_sure"] for p in pictures)
    for i, picture in enumerate(pictures):
        old = i if i < victim else i + 1
        moved = [[[(n + (n >= victim), t) for n, t in x] for x in s] for s in lists(picture)]
        assert moved == lists(whole[old])


def test_one_reference_frame_heals_after_one_picture(tmp_path: Path) -> None:
    text = "bframes=0:ref=1:keyint=60:scenecut=0:weightp=0"
    stream = open_stream(x264(tmp_path / "one.264", text))
    pictures = without(stream, 7, 15, 16).index()["pictures"]
    assert [i for i, p in enumerate(pictures) if not p["references_sure"]] == [7, 14]
    assert lists(pictures[8]) == [[[(7, False)], []]]


def test_stream_cut_at_an_open_gop(x264_matrix: dict[str, Path]) -> None:
    stream = open_stream(x264_matrix["open-gop"])
    whole = stream.index()["pictures"]
    cut = next(i for i, p in enumerate(whole) if p["all_intra"] and i > 0)
    pictures = without(stream, *range(cut)).index()["pictures"]
    assert pictures[0]["is_key"]
    for i, picture in enumerate(pictures):
        leading = picture["order"] < pictures[0]["order"] and picture["sequence"] == 0
        assert picture["references_sure"] == (not leading), i
        if not leading:
            moved = [[[(n + cut, t) for n, t in x] for x in s] for s in lists(picture)]
            assert moved == lists(whole[i + cut])


def test_lost_recovers_at_a_recovery_point(x264_matrix: dict[str, Path]) -> None:
    stream = open_stream(x264_matrix["open-gop"])
    whole = stream.index()["pictures"]
    keys = [i for i, p in enumerate(whole) if p["all_intra"]]
    victim = next(i for i, p in enumerate(whole) if p["is_reference"] and i > keys[0])
    assert victim < keys[1]
    pictures = without(stream, victim).index()["pictures"]
    recovered = keys[1] - 1
    assert not any(p["references_sure"] for p in pictures[victim:recovered])
    for p in pictures[recovered:]:
        assert p["references_sure"] == (p["order"] >= pictures[recovered]["order"])


def test_shared_clip_with_a_lost_picture() -> None:
    path = CLIPS / "damaged" / "BA_MW_D_P_LOST.264"
    if not path.exists():
        pytest.skip(f"no shared clips under {CLIPS}")
    whole = open_stream(CLIPS / "h264-conformance" / "BA_MW_D.264").index()["pictures"]
    pictures = open_stream(path).index()["pictures"]
    assert len(pictures) == len(whole) - 1
    next_idr = next(i for i, p in enumerate(pictures) if i > 0 and p["is_idr"])
    assert [p["references_sure"] for p in pictures] == [
        i == 0 or i >= next_idr for i in range(len(pictures))
    ]


def test_unreadable_picture_is_a_damaged_one(plain: Stream) -> None:
    packets = [p[0] for p in plain.packets]
    packets[12] = b"\x00\x00\x00\x01\x41" + bytes(20) + b"\x80"
    index = index_of(packets, plain.extradata)
    pictures = index["pictures"]
    assert len(pictures) == 30
    assert [i for i, p in enumerate(pictures) if p["damaged"]] == [12]
    assert len(index["presentation"]) == 30
    assert not any(p["references_sure"] for p in pictures[12:20])
    assert all(p["references_sure"] for p in pictures[20:])


# -- framing ---------------------------------------------------------------------------------------


def what_it_says(index: dict[str, Any]) -> list[Any]:
    """All of an index that must not depend on packets."""
    places = ("packet", "offset", "size")
    out = []
    for picture in index["pictures"]:
        kept = {k: v for k, v in picture.items() if k not in ("first_packet", "last_packet", "pts")}
        kept["slices"] = [
            {k: v for k, v in s.items() if k not in places} for s in picture["slices"]
        ]
        out.append(kept)
    return [out, index["presentation"], index["unsupported"]]


def avcc(sps: bytes, pps: bytes, length: int) -> bytes:
    return (
        b"\x01" + sps[1:4] + bytes([0xFC | (length - 1), 0xE1])
        + len(sps).to_bytes(2, "big") + sps + b"\x01" + len(pps).to_bytes(2, "big") + pps
    )  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[list[bytes]]:
    """NAL units of every access unit, each below 256 bytes."""
    path = tmp_path_factory.mktemp("framing") / "small.264"
    stream = open_stream(
        x264(path, "qp=50:bframes=2:slices=2:ref=2:repeat-headers=1", "testsrc2=size=64x48:rate=25",
             10, "null", ("-bsf:v", "filter_units=remove_types=6")),
    )  # fmt: skip
    units = [split(p[0]) for p in stream.packets]
    assert max(len(nal) for unit in units for nal in unit) < 256
    return units


def test_framings_give_one_index(small: list[list[bytes]]) -> None:
    expected = what_it_says(index_of([annex_b(unit) for unit in small]))
    assert len(expected[0]) == 10
    sps = next(n for u in small for n in u if n[0] & 31 == 7)
    pps = next(n for u in small for n in u if n[0] & 31 == 8)
    for length in (1, 2, 3, 4):
        bare = [
            b"".join(len(n).to_bytes(length, "big") + n for n in unit if n[0] & 31 in (1, 5))
            for unit in small
        ]
        extradata = avcc(sps, pps, length)
        assert what_it_says(index_of(bare, extradata, length)) == expected, length
        # Annex B inside MP4, and a whole access unit under one length
        assert what_it_says(index_of([annex_b(u) for u in small], extradata, length)) == expected
        if length >= 3:
            wrapped = [annex_b(u)[4:] for u in small]
            wrapped = [len(w).to_bytes(length, "big") + w for w in wrapped]
            assert what_it_says(index_of(wrapped, extradata, length)) == expected
    # Packet borders are hints: everything in one packet, and every NAL unit in one of its own.
    nals = [n for unit in small for n in unit]
    assert what_it_says(index_of([annex_b(nals)])) == expected
    assert what_it_says(index_of([annex_b([n]) for n in nals])) == expected
    # three-byte start codes, trailing zeros
    loose = [b"".join(b"\x00\x00\x01" + n + b"\x00\x00" for n in unit) for unit in small]
    assert what_it_says(index_of(loose)) == expected


def test_other_nal_types_are_skipped_and_counted(small: list[list[bytes]]) -> None:
    expected = what_it_says(index_of([annex_b(unit) for unit in small]))
    noise = [bytes([t | 0x60]) + b"\x11\x22\x80" for t in (14, 15, 19, 20, 21, 16, 24, 30, 31, 0)]
    uncounted = [b"\x09\x10", b"\x0c\xff\x80"]
    packets = [annex_b([*uncounted, *noise[:2], *unit, *noise[2:], *uncounted]) for unit in small]
    index = index_of(packets)
    assert what_it_says(index) == expected
    assert index["nals_skipped"] == len(noise) * len(small)


def test_parameter_sets_may_change_and_in_band_wins(small: list[list[bytes]],
                                                    tmp_path: Path) -> None:  # fmt: skip
    other = open_stream(
        x264(tmp_path / "other.264", "bframes=0", "testsrc2=size=96x80:rate=25", 4, "null")
    )
    other_units = [split(p[0]) for p in other.packets]
    first = [annex_b(unit) for unit in small]
    second = [annex_b(unit) for unit in other_units]
    index = index_of(first + second)
    sizes = [(a, b, g["coded_width"], g["coded_height"]) for a, b, g in index["segments"]]
    assert sizes == [(0, 10, 64, 48), (10, 14, 96, 80)]
    # The same change through side data, with length-prefixed packets; extradata of the container
    # is the first one's.
    sets = [
        {t: next(n for u in units for n in u if n[0] & 31 == t) for t in (7, 8)}
        for units in (small, other_units)
    ]
    packets: list[tuple[bytes, int | None, bool, bytes]] = []
    for units, ps in ((small, sets[0]), (other_units, sets[1])):
        for number, unit in enumerate(units):
            data = b"".join(len(n).to_bytes(4, "big") + n for n in unit if n[0] & 31 in (1, 5))
            new = avcc(ps[7], ps[8], 4) if number == 0 and units is other_units else b""
            packets.append((data, None, False, new))
    by_side_data = Stream(packets, [], avcc(sets[0][7], sets[0][8], 4), 4).index()
    assert what_it_says(by_side_data) == what_it_says(index)
    # In-band sets win over those of the container, whatever the container says.
    wrong = index_of(second, avcc(sets[0][7], sets[0][8], 4))
    assert [(a, b, g["coded_width"]) for a, b, g in wrong["segments"]] == [(0, 4, 96)]


def test_equal_idr_pictures_are_two(small: list[list[bytes]]) -> None:
    index = index_of([annex_b(small[0])] * 3)
    assert [p["is_idr"] for p in index["pictures"]] == [True] * 3
    assert index["presentation"] == [0, 1, 2]


def test_discarded_packets_are_not_presented(plain: Stream) -> None:
    packets = [(p[0], 10 * i, i in (0, 1, 5), b"") for i, p in enumerate(plain.packets)]
    index = Stream(packets, [], plain.extradata, plain.nal_length_size).index()
    assert index["presentation"] == [i for i in range(30) if i not in (0, 1, 5)]
    assert [p["presentation"] for p in index["pictures"]][:6] == [-1, -1, 0, 1, 2, -1]
    assert [p["pts"] for p in index["pictures"]] == [10 * i for i in range(30)]


# -- scope -----------------------------------------------------------------------------------------

ELEMENT_OF_FEATURE = {
    "MBAFF": "mb_adaptive_frame_field_flag = 1",
    "PAFF": "field_pic_flag = 1",
    "field-only": "field_pic_flag = 1",
    "FMO": "num_slice_groups_minus1 = ",
    "4:2:2": "chroma_format_idc = 2",
    "4:4:4": "chroma_format_idc = 3",
    "9bit": "bit_depth_luma_minus8 = 1",
    "10bit": "bit_depth_luma_minus8 = 2",
}


def manifest() -> list[dict[str, str]]:
    path = CLIPS / "manifest.csv"
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


@pytest.mark.parametrize("path", clip_params("h264-conformance", "h264"))
def test_scope_is_the_manifests(path: Path) -> None:
    row = next(r for r in manifest() if Path(r["path"]).name == path.name)
    elements = [ELEMENT_OF_FEATURE[f] for f in row["features"].split() if f in ELEMENT_OF_FEATURE]
    if "SP:" in row["frame_types"]:
        elements.append("slice_type = ")
    index = open_stream(path).index()
    if elements:
        assert any(index["unsupported"].startswith(e) for e in elements), index["unsupported"]
        assert re.search(r" in NAL unit \d+ \(nal_unit_type \d+, packet \d+\)$",
                         index["unsupported"])  # fmt: skip
    else:
        assert index["unsupported"] == ""


def test_arbitrary_slice_order_and_partitions_are_named(x264_matrix: dict[str, Path]) -> None:
    whole = [split(p[0]) for p in open_stream(x264_matrix["slices4"]).packets]

    def swapped(unit: list[bytes]) -> list[bytes]:
        assert len(unit) == 4
        return [unit[0], unit[2], unit[1], unit[3]]

    def partitions(unit: list[bytes]) -> list[bytes]:
        return [bytes([n[0] & 0xE0 | 2]) + n[1:] for n in unit]

    for change, name in (
        (swapped, "first_mb_in_slice (not increasing) = "),
        (partitions, "nal_unit_type = 2"),
    ):
        units = [change(u) if i in (3, 9) else u for i, u in enumerate(whole)]
        index = index_of([annex_b(u) for u in units])
        assert index["unsupported"].startswith(name)
        assert len(index["pictures"]) == len(units)
        # One picture among many is damage, and costs no more than its slices.
        units = [change(u) if i == 3 else u for i, u in enumerate(whole)]
        index = index_of([annex_b(u) for u in units])
        assert index["unsupported"] == ""
        assert any(name in w and "taken for damage" in w for w in index["warnings"])
        assert len(index["pictures"]) == len(units)
        left = [len(p["slices"]) for p in index["pictures"]]
        assert left == [0 if i == 3 and change is partitions else 4 for i in range(len(left))]


def test_a_few_pictures_outside_the_scope_are_damage_where_the_profile_has_none(
    tmp_path: Path,
) -> None:
    text = "slices=4:8x8dct=0:bframes=2:ref=3"
    stream = open_stream(x264(tmp_path / "main.264", text, frames=48))
    whole = [split(p[0]) for p in stream.packets]
    sps = next(n for n in whole[0] if n[0] & 31 == 7)
    assert sps[1] == 77

    def index_with(places: tuple[int, ...], profile_idc: int) -> dict[str, Any]:
        units = [
            [unit[0], unit[2], unit[1], unit[3]] if i in places else unit
            for i, unit in enumerate(whole)
        ]
        renamed = sps[:1] + bytes([profile_idc, 0]) + sps[3:]
        return index_of([annex_b([renamed if n == sps else n for n in unit]) for unit in units])

    index = index_with((3, 20, 41), 77)
    assert index["unsupported"] == ""
    assert any("in 3 of 48 pictures: taken for damage" in w for w in index["warnings"])
    assert [len(p["slices"]) for p in index["pictures"]] == [4] * 48
    # Where arbitrary slice order is legal, two pictures are enough; so are many anywhere.
    for places, profile_idc in (((3, 20), 66), ((3, 20), 88), ((3, 20, 30, 41), 77)):
        unsupported = index_with(places, profile_idc)["unsupported"]
        assert unsupported.startswith("first_mb_in_slice (not increasing) = ")


# -- hostile input ---------------------------------------------------------------------------------


def sources() -> list[Path]:
    names = ("CABA3_SVA_B.264", "SL1_SVA_B.264", "FM1_FT_E.264", "CVPA1_TOSHIBA_B.264",
             "MR2_TANDBERG_E.264", "HCMP1_HHI_A.264")  # fmt: skip
    return [CLIPS / "h264-conformance" / n for n in names if (CLIPS / "h264-conformance").exists()]


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.name)
def test_damage_never_throws(path: Path) -> None:
    stream = open_stream(path)
    # The headers are what matters: keep the front of every NAL unit.
    packets = [
        annex_b([nal[:40] for nal in split(p[0])]) for p in stream.packets[:60]
    ]  # fmt: skip
    rng = random.Random(path.name)
    began = time.monotonic()
    rounds = 0
    for seed in range(400):
        damaged = [bytearray(p) for p in packets]
        for _ in range(1 + seed % 20):
            victim = rng.choice(damaged)
            victim[rng.randrange(len(victim))] = rng.choice((0, 1, 3, 255, rng.randrange(256)))
        if seed % 5 == 0:
            for victim in damaged:
                del victim[rng.randrange(len(victim)) :]
        index = _core.h264_index([(bytes(p), None, False, b"") for p in damaged],
                                 stream.extradata, 0, seed % 8 == 0)  # fmt: skip
        assert index["size"] <= sum(len(p) // 5 + 1 for p in damaged)
        rounds += 1
    assert rounds == 400
    assert time.monotonic() - began < 60


def test_truncated_everywhere(small: list[list[bytes]]) -> None:
    data = annex_b([n for unit in small for n in unit])
    for stop in range(len(data)):
        index = index_of([data[:stop]])
        assert len(index["pictures"]) <= 10
    assert len(index["pictures"]) == 10


@pytest.mark.parametrize("name", ["missing-ps.264", "max-logs.264", "no-refs-P-B-slice.264"])
def test_parser_edge_files(name: str) -> None:
    path = CLIPS / "h264-parser-edge" / name
    if not path.exists():
        pytest.skip(f"no shared clips under {CLIPS}")
    data = path.read_bytes()
    index_of([data])
    index_of([annex_b([nal]) for nal in split(data)])
    index_of([data], data, 4)


def test_random_bytes_are_corrupt_or_read() -> None:
    rng = random.Random(7)
    refused = 0
    for seed in range(3000):
        reader = _core.H264HeaderReader(b"", 0)
        kind = (7, 8, 1, 5, 6)[seed % 5]
        body = rng.randbytes(rng.randrange(40))
        if kind == 7:
            body = bytes((rng.choice((66, 77, 100, 244)), 0, 30)) + body
        try:
            reader.add(annex_b([bytes([0x60 | kind]) + body + b"\x80"]))
        except CorruptStream:
            refused += 1
    assert refused > 1000


def ue(value: int) -> str:
    text = bin(value + 1)[2:]
    return "0" * (len(text) - 1) + text


def nal_of(header: int, bits: str) -> bytes:
    """A NAL unit from its header byte and the bits before rbsp_trailing_bits."""
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    body = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    return bytes([header]) + re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", body)


def test_hostile_sizes_are_refused() -> None:
    # profile_idc 66, seq_parameter_set_id 0, then 2^16 x 2^16 macroblocks.
    bits = f"{66:08b}{0:08b}{30:08b}" + ue(0) + ue(0) + ue(0) + ue(0) + ue(1) + "0"
    sps = nal_of(0x67, bits + ue(65535) + ue(65535) + "1" + "1" + "0" + "0")
    with pytest.raises(CorruptStream, match="pic_width_in_mbs_minus1 = 65535"):
        _core.H264HeaderReader(b"", 0).add(annex_b([sps]))


def test_redundant_pictures_are_skipped_and_counted() -> None:
    bits = f"{66:08b}{0:08b}{30:08b}" + ue(0) + ue(0) + ue(2) + ue(1) + "0"
    sps = nal_of(0x67, bits + ue(1) + ue(1) + "1" + "1" + "0" + "0")
    # the last flag of the picture parameter set is redundant_pic_cnt_present_flag
    pps = nal_of(0x68, ue(0) + ue(0) + "00" + ue(0) * 3 + "000" + ue(0) * 3 + "001")

    def coded(first_mb: int, frame_num: int, redundant: int) -> bytes:
        idr = frame_num == 0
        bits = ue(first_mb) + ue(7 if idr else 5) + ue(0) + f"{frame_num:04b}"
        bits += ue(0) if idr else ""  # idr_pic_id; pic_order_cnt_type is 2
        bits += ue(redundant)
        bits += "00" if idr else "0" + "0" + "0"  # (override, modification, or) marking
        return nal_of(0x65 if idr else 0x61, bits + ue(0) + "1" * 40)

    units = [
        [sps, pps, coded(0, 0, 0), coded(2, 0, 0), coded(0, 0, 1), coded(0, 0, 2)],
        [coded(0, 1, 0), coded(0, 1, 1)],
        [coded(0, 2, 1)],  # the primary picture is lost
        [coded(0, 3, 0)],
    ]
    index = index_of([annex_b(unit) for unit in units])
    assert [len(p["slices"]) for p in index["pictures"]] == [2, 1, 1]
    assert [p["FrameNum"] for p in index["pictures"]] == [0, 1, 3]
    assert [p["references_sure"] for p in index["pictures"]] == [True, True, False]
    assert index["redundant_skipped"] == 4
    assert index["unsupported"] == ""
