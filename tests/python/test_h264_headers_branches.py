"""Every branch of parameter set and slice header syntax in scope, from a stream made for it."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

import header_writer
from h264_headers import trace_headers
from test_h264_headers import check
from test_h264_headers_references import check_index

# By ffmpeg's names (gaps_in_frame_num_value_allowed_flag is shorter there). Flags: both values.
FLAGS = """
    qpprime_y_zero_transform_bypass_flag seq_scaling_matrix_present_flag
    seq_scaling_list_present_flag delta_pic_order_always_zero_flag gaps_in_frame_num_allowed_flag
    frame_mbs_only_flag direct_8x8_inference_flag frame_cropping_flag vui_parameters_present_flag
    aspect_ratio_info_present_flag overscan_info_present_flag overscan_appropriate_flag
    video_signal_type_present_flag video_full_range_flag colour_description_present_flag
    chroma_loc_info_present_flag timing_info_present_flag fixed_frame_rate_flag
    nal_hrd_parameters_present_flag vcl_hrd_parameters_present_flag cbr_flag low_delay_hrd_flag
    pic_struct_present_flag bitstream_restriction_flag motion_vectors_over_pic_boundaries_flag

    entropy_coding_mode_flag bottom_field_pic_order_in_frame_present_flag weighted_pred_flag
    deblocking_filter_control_present_flag constrained_intra_pred_flag
    redundant_pic_cnt_present_flag transform_8x8_mode_flag pic_scaling_matrix_present_flag
    pic_scaling_list_present_flag

    direct_spatial_mv_pred_flag num_ref_idx_active_override_flag
    ref_pic_list_modification_flag_l0 ref_pic_list_modification_flag_l1
    luma_weight_l0_flag luma_weight_l1_flag chroma_weight_l0_flag chroma_weight_l1_flag
    no_output_of_prior_pics_flag long_term_reference_flag adaptive_ref_pic_marking_mode_flag
"""
VALUES = {
    "chroma_format_idc": range(2),
    "pic_order_cnt_type": range(3),
    "num_ref_frames_in_pic_order_cnt_cycle": range(4),
    "weighted_bipred_idc": range(3),
    "slice_type": (0, 1, 2, 5, 6, 7),
    "nal_unit_type": (1, 5, 7, 8),
    "modification_of_pic_nums_idc": range(4),
    "memory_management_control_operation": range(7),
    "redundant_pic_cnt": range(2),
    "cabac_init_idc": range(3),
    "disable_deblocking_filter_idc": range(3),
    # Sent or not; with both signs where they have one.
    "delta_pic_order_cnt_bottom": (-1, 0, 1),
    "delta_pic_order_cnt": (-1, 0, 1),
    "offset_for_non_ref_pic": (-1, 0),
    "offset_for_top_to_bottom_field": (-1, 0, 1),
    "second_chroma_qp_index_offset": (-1, 0, 1),
    "field_pic_flag": (0,),
    "mb_adaptive_frame_field_flag": (0,),
    "aspect_ratio_idc": (1, 255),
    "cpb_cnt_minus1": range(2),
}


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("headers") / "random.264"
    path.write_bytes(header_writer.Writer(1).write(60, 8))
    return path


def test_every_branch_is_in_the_stream(stream: Path) -> None:
    met: dict[str, set[int]] = defaultdict(set)
    scaling = set()
    for title, elements in trace_headers(stream):
        for name, value, _ in elements:
            met[re.sub(r"\[\d+\]", "", name)].add(value)
        scaling |= scaling_lists(title, [(name, value) for name, value, _ in elements])
    wanted = {name: {0, 1} for name in FLAGS.split()}
    wanted |= {name: set(values) for name, values in VALUES.items()}
    missing = {name: values - met[name] for name, values in wanted.items() if values - met[name]}
    assert not missing
    ways = ("absent", "default", "cut short", "complete")
    sets = ("Sequence Parameter Set", "Picture Parameter Set")
    assert scaling == {(s, size, way) for s in sets for size in ("4x4", "8x8") for way in ways}


def scaling_lists(title: str, elements: list[tuple[str, int]]) -> set[tuple[str, str, str]]:
    """(title, size, in which of the four ways it is sent) of each scaling list (7.3.2.1.1.1)."""
    out = set()
    for at, (name, present) in enumerate(elements):
        found = re.match(r"(seq|pic)_scaling_list_present_flag\[(\d+)\]", name)
        if found is None:
            continue
        full = 16 if int(found[2]) < 6 else 64
        sent = 0
        while at + 1 + sent < len(elements) and elements[at + 1 + sent][0].startswith("delta_sc"):
            sent += 1
        scale = 8 + sum(value for _, value in elements[at + 1 : at + 1 + sent])
        way = "complete" if scale % 256 else "default" if sent == 1 else "cut short"
        out.add((title, "4x4" if full == 16 else "8x8", way if present else "absent"))
        assert not present or sent == full or way != "complete"
    return out


def test_it_is_read_as_ffmpeg_reads_it(stream: Path) -> None:
    counts = check(stream)
    assert counts["sps"] == 60
    assert counts["pps"] == 120
    assert counts["slice"] >= 480


def test_order_and_lists_are_those_of_the_text(stream: Path) -> None:
    assert check_index(stream)
