"""Every syntax element of parameter sets and slice headers against ffmpeg's trace_headers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvdecode import _core
from h264_headers import (
    X264_MATRIX,
    Element,
    clip_params,
    open_stream,
    trace_headers,
)

DEFAULTS = {
    "4x4": (
        [6, 13, 13, 20, 20, 20, 28, 28, 28, 28, 32, 32, 32, 37, 37, 42],
        [10, 14, 14, 20, 20, 20, 24, 24, 24, 24, 27, 27, 27, 30, 30, 34],
    ),
    "8x8": (
        [6, 10, 10, 13, 11, 13, 16, 16, 16, 16, 18, 18, 18, 18, 18, 23, 23, 23, 23, 23, 23, 25,
         25, 25, 25, 25, 25, 25, 27, 27, 27, 27, 27, 27, 27, 27, 29, 29, 29, 29, 29, 29, 29, 31,
         31, 31, 31, 31, 31, 33, 33, 33, 33, 33, 36, 36, 36, 36, 38, 38, 38, 40, 40, 42],
        [9, 13, 13, 15, 13, 15, 17, 17, 17, 17, 19, 19, 19, 19, 19, 21, 21, 21, 21, 21, 21, 22,
         22, 22, 22, 22, 22, 22, 24, 24, 24, 24, 24, 24, 24, 24, 25, 25, 25, 25, 25, 25, 25, 27,
         27, 27, 27, 27, 27, 28, 28, 28, 28, 28, 30, 30, 30, 30, 32, 32, 32, 33, 33, 35],
    ),
}  # fmt: skip


def expected_scaling_lists(elements: list[Element], kind: str,
                           sequence: list[list[int]] | None) -> list[list[int]]:  # fmt: skip
    """Lists 0..11 from the elements as sent: 7.3.2.1.1.1 and Table 7-2, written out plainly."""
    sent: dict[int, list[int]] = {}
    present: dict[int, int] = {}
    current = -1
    for name, value, _ in elements:
        if name.startswith(f"{kind}_scaling_list_present_flag["):
            current = int(name.split("[")[1][:-1])
            present[current] = value
            sent[current] = []
        elif name.startswith("delta_scale["):
            sent[current].append(value)
    lists: list[list[int]] = []
    for i in range(12):
        size, default = (16, DEFAULTS["4x4"]) if i < 6 else (64, DEFAULTS["8x8"])
        own_default = default[i // 3] if i < 6 else default[i % 2]
        if present.get(i):
            scale = 8
            result: list[int] = []
            for delta in sent[i]:
                following = (scale + delta) % 256
                if following == 0:
                    break
                scale = following
                result.append(scale)
            if not result:
                result = list(own_default)
            lists.append((result + [result[-1]] * size)[:size])
        elif i in (0, 3, 6, 7):
            lists.append(list(own_default) if sequence is None else sequence[i])
        else:
            lists.append(lists[i - 1] if i < 6 else lists[i - 2])
    return lists


def elements_of(elements: list[Element]) -> dict[str, int]:
    return {name: value for name, value, _ in elements}


def expected_sps(elements: list[Element]) -> dict[str, Any]:
    e = elements_of(elements)
    out: dict[str, Any] = {
        name: e.get(name, 0)
        for name in [
            "nal_ref_idc",
            "nal_unit_type",
            "profile_idc",
            "level_idc",
            "seq_parameter_set_id",
            "separate_colour_plane_flag",
            "bit_depth_luma_minus8",
            "bit_depth_chroma_minus8",
            "qpprime_y_zero_transform_bypass_flag",
            "seq_scaling_matrix_present_flag",
            "log2_max_frame_num_minus4",
            "pic_order_cnt_type",
            "log2_max_pic_order_cnt_lsb_minus4",
            "delta_pic_order_always_zero_flag",
            "offset_for_non_ref_pic",
            "offset_for_top_to_bottom_field",
            "num_ref_frames_in_pic_order_cnt_cycle",
            "max_num_ref_frames",
            "pic_width_in_mbs_minus1",
            "pic_height_in_map_units_minus1",
            "frame_mbs_only_flag",
            "mb_adaptive_frame_field_flag",
            "direct_8x8_inference_flag",
            "frame_cropping_flag",
            "frame_crop_left_offset",
            "frame_crop_right_offset",
            "frame_crop_top_offset",
            "frame_crop_bottom_offset",
            "vui_parameters_present_flag",
            "bitstream_restriction_flag",
            "aspect_ratio_idc",
            "sar_width",
            "sar_height",
            "video_full_range_flag",
            "chroma_sample_loc_type_top_field",
            "chroma_sample_loc_type_bottom_field",
            "timing_info_present_flag",
            "num_units_in_tick",
            "time_scale",
            "fixed_frame_rate_flag",
            "nal_hrd_parameters_present_flag",
            "vcl_hrd_parameters_present_flag",
            "pic_struct_present_flag",
        ]
    }
    out["constraint_set_flags"] = sum(e[f"constraint_set{i}_flag"] << i for i in range(6))
    out["chroma_format_idc"] = e.get("chroma_format_idc", 1)
    out["gaps_in_frame_num_value_allowed_flag"] = e["gaps_in_frame_num_allowed_flag"]
    count = out["num_ref_frames_in_pic_order_cnt_cycle"]
    out["offset_for_ref_frame"] = [e[f"offset_for_ref_frame[{i}]"] for i in range(count)]
    out["overscan_appropriate_flag"] = e.get("overscan_appropriate_flag", -1)
    out["video_format"] = e.get("video_format", 5)
    for name in ("colour_primaries", "transfer_characteristics", "matrix_coefficients"):
        out[name] = e.get(name, 2)
    out["max_num_reorder_frames"] = e.get("max_num_reorder_frames", -1)
    out["max_dec_frame_buffering"] = e.get("max_dec_frame_buffering", -1)
    if out["seq_scaling_matrix_present_flag"]:
        lists = expected_scaling_lists(elements, "seq", None)
    else:
        lists = [[16] * (16 if i < 6 else 64) for i in range(12)]
    out["ScalingList4x4"], out["ScalingList8x8"] = lists[:6], lists[6:]
    return out


def expected_pps(elements: list[Element], sps: dict[str, Any]) -> dict[str, Any]:
    e = elements_of(elements)
    out: dict[str, Any] = {
        name: e.get(name, 0)
        for name in [
            "nal_ref_idc",
            "nal_unit_type",
            "pic_parameter_set_id",
            "seq_parameter_set_id",
            "entropy_coding_mode_flag",
            "bottom_field_pic_order_in_frame_present_flag",
            "num_slice_groups_minus1",
            "slice_group_map_type",
            "num_ref_idx_l0_default_active_minus1",
            "num_ref_idx_l1_default_active_minus1",
            "weighted_pred_flag",
            "weighted_bipred_idc",
            "pic_init_qp_minus26",
            "pic_init_qs_minus26",
            "chroma_qp_index_offset",
            "deblocking_filter_control_present_flag",
            "constrained_intra_pred_flag",
            "redundant_pic_cnt_present_flag",
            "transform_8x8_mode_flag",
            "pic_scaling_matrix_present_flag",
        ]
    }
    out["second_chroma_qp_index_offset"] = e.get(
        "second_chroma_qp_index_offset", out["chroma_qp_index_offset"]
    )
    sequence = sps["ScalingList4x4"] + sps["ScalingList8x8"]
    lists = sequence
    if out["pic_scaling_matrix_present_flag"]:
        fall_back = sequence if sps["seq_scaling_matrix_present_flag"] else None
        lists = expected_scaling_lists(elements, "pic", fall_back)
    out["ScalingList4x4"], out["ScalingList8x8"] = lists[:6], lists[6:]
    return out


def expected_weights(e: dict[str, int], counts: list[int], monochrome: bool) -> Any:
    if "luma_log2_weight_denom" not in e:
        return None
    luma = e["luma_log2_weight_denom"]
    chroma = e.get("chroma_log2_weight_denom", 0)
    entries: list[list[tuple[int, int, list[int], list[int]]]] = [[], []]
    for x in range(2):
        for i in range(counts[x]):
            # trace_headers names the two chroma components by a second index.
            weights = [e.get(f"chroma_weight_l{x}[{i}][{j}]", 1 << chroma) for j in range(2)]
            offsets = [e.get(f"chroma_offset_l{x}[{i}][{j}]", 0) for j in range(2)]
            entries[x].append(
                (
                    e.get(f"luma_weight_l{x}[{i}]", 1 << luma),
                    e.get(f"luma_offset_l{x}[{i}]", 0),
                    weights,
                    offsets,
                )
            )
    return {
        "luma_log2_weight_denom": luma,
        "chroma_log2_weight_denom": chroma,
        "entry": entries,
    }


def expected_slice(elements: list[Element], pps: dict[str, Any],
                   sps: dict[str, Any]) -> dict[str, Any]:  # fmt: skip
    e = elements_of(elements)
    out: dict[str, Any] = {
        name: e.get(name, 0)
        for name in [
            "nal_ref_idc",
            "nal_unit_type",
            "first_mb_in_slice",
            "slice_type",
            "pic_parameter_set_id",
            "colour_plane_id",
            "frame_num",
            "field_pic_flag",
            "bottom_field_flag",
            "idr_pic_id",
            "pic_order_cnt_lsb",
            "delta_pic_order_cnt_bottom",
            "redundant_pic_cnt",
            "direct_spatial_mv_pred_flag",
            "no_output_of_prior_pics_flag",
            "long_term_reference_flag",
            "adaptive_ref_pic_marking_mode_flag",
            "cabac_init_idc",
            "slice_qp_delta",
            "sp_for_switch_flag",
            "slice_qs_delta",
            "slice_group_change_cycle",
            "disable_deblocking_filter_idc",
            "slice_alpha_c0_offset_div2",
            "slice_beta_offset_div2",
        ]
    }
    out["delta_pic_order_cnt"] = [e.get(f"delta_pic_order_cnt[{i}]", 0) for i in range(2)]
    kind = out["slice_type"] % 5
    counts = [
        e.get(f"num_ref_idx_l{x}_active_minus1", pps[f"num_ref_idx_l{x}_default_active_minus1"]) + 1
        for x in range(2)
    ]
    if kind in (2, 4):
        counts = [0, 0]
    elif kind != 1:
        counts[1] = 0
    out["num_ref_idx_active"] = counts
    modifications: list[list[tuple[int, int]]] = [[], []]
    mmco: list[dict[str, int]] = []
    which = 0
    idc = 3
    fields = [
        "difference_of_pic_nums_minus1",
        "long_term_pic_num",
        "long_term_frame_idx",
        "max_long_term_frame_idx_plus1",
    ]
    for full_name, value, _ in elements:
        name = full_name.split("[")[0]
        if name.startswith("ref_pic_list_modification_flag_l"):
            which = int(name[-1])
        elif name == "modification_of_pic_nums_idc":
            idc = value
        elif not mmco and name in ("abs_diff_pic_num_minus1", "long_term_pic_num"):
            modifications[which].append((idc, value))
        elif name == "memory_management_control_operation" and value != 0:
            mmco.append({name: value} | dict.fromkeys(fields, 0))
        elif mmco and name in fields:
            mmco[-1][name] = value
    out["ref_pic_list_modification"] = modifications
    out["mmco"] = mmco
    out["pred_weight_table"] = expected_weights(e, counts, sps["chroma_format_idc"] == 0)
    out["SliceQPY"] = 26 + pps["pic_init_qp_minus26"] + out["slice_qp_delta"]
    # Ours begins behind the NAL header; slice_data begins with the alignment.
    out["header_bits"] = [e[2] for e in elements if e[0] != "cabac_alignment_one_bit"][-1] - 8
    return out


def normal(value: Any) -> Any:
    """Numbers as numbers, sequences as lists: booleans and tuples compare like what they hold."""
    return json.loads(json.dumps(value), parse_constant=int)


def check(path: Path) -> dict[str, int]:
    """Compares all headers of a file; returns how many of each kind there were."""
    stream = open_stream(path)
    reader = _core.H264HeaderReader(stream.extradata, stream.nal_length_size)
    ours = [nal for packet in stream.packets for nal in reader.add(packet[0])]
    # Parameter sets of the container, in the form trace_headers would give them, come first.
    sps_by_id = {n["seq_parameter_set_id"]: normal(n) for n in reader.extradata
                 if n["nal_unit_type"] == 7}  # fmt: skip
    pps_by_id = {n["pic_parameter_set_id"]: normal(n) for n in reader.extradata
                 if n["nal_unit_type"] == 8}  # fmt: skip
    titles = {"Sequence Parameter Set": (7,), "Picture Parameter Set": (8,),
              "Slice Header": (1, 2, 5)}  # fmt: skip
    theirs = [(title, e) for title, e in trace_headers(path) if title in titles]
    ours = [nal for nal in ours if nal["nal_unit_type"] in (1, 2, 5, 7, 8)]
    assert len(theirs) == len(ours)
    counts = {"sps": 0, "pps": 0, "slice": 0}
    for number, ((title, elements), nal) in enumerate(zip(theirs, ours, strict=True)):
        assert nal["nal_unit_type"] in titles[title], number
        if title == "Sequence Parameter Set":
            expected = expected_sps(elements)
            sps_by_id[expected["seq_parameter_set_id"]] = expected
            counts["sps"] += 1
        elif title == "Picture Parameter Set":
            sps = sps_by_id[elements_of(elements)["seq_parameter_set_id"]]
            expected = expected_pps(elements, sps)
            pps_by_id[expected["pic_parameter_set_id"]] = expected
            counts["pps"] += 1
        else:
            pps = pps_by_id[elements_of(elements)["pic_parameter_set_id"]]
            expected = expected_slice(elements, pps, sps_by_id[pps["seq_parameter_set_id"]])
            counts["slice"] += 1
        got = normal(nal)
        for name, value in expected.items():
            assert got[name] == normal(value), (number, title, name)
        assert set(got) == set(expected), number
    return counts


@pytest.mark.parametrize("path", clip_params("h264-conformance", "h264"))
def test_headers_of_shared_clips(path: Path) -> None:
    counts = check(path)
    assert counts["slice"] > 0


@pytest.mark.parametrize("name", X264_MATRIX)
def test_headers_of_x264(name: str, x264_matrix: dict[str, Path]) -> None:
    counts = check(x264_matrix[name])
    assert counts["sps"] >= 1
    assert counts["pps"] >= 1
    assert counts["slice"] >= 24
