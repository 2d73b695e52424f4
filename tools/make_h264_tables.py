#!/usr/bin/env python3
"""Write csrc/*/*_tables.inc from the numeric tables of Rec. ITU-T H.264 held as JSON.

    python tools/make_h264_tables.py h264_tables.json [source folder, default csrc]

The JSON is keyed by the standard's table numbers. The files written are committed;
tests/python/test_h264_entropy_tables.py makes them again wherever the JSON is at hand.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]
TERMINATE = 276  # ctxIdx of the terminate bin
TERMINATE_NODE = 255  # how a tree node says so
CONTEXTS = 460  # ctxIdx 0..459 serve frame and field coding outside 4:4:4


def lines_of(values: list[str], indent: str = "    ", width: int = 100) -> str:
    """Join initialisers with commas, broken into lines of at most `width` columns."""
    lines: list[str] = []
    line = indent
    for value in values:
        if len(line) + len(value) + 2 > width and line.strip():
            lines.append(line.rstrip())
            line = indent
        line += value + ", "
    lines.append(line.rstrip())
    return "\n".join(lines)


def array(kind: str, name: str, dims: str, values: list[str], comment: str) -> str:
    return f"// {comment}\ninline constexpr {kind} {name}{dims} = {{\n{lines_of(values)}\n}};\n"


def braces(values: list[int] | list[list[int]]) -> str:
    return "{" + ", ".join(braces(v) if isinstance(v, list) else str(v) for v in values) + "}"  # type: ignore[arg-type]


def code(bits: str) -> list[int]:
    return [len(bits), int(bits, 2)]


def cabac(tables: Json) -> str:
    rows = {row[0]: row[1:] for row in tables["CABAC_init_m_n"]["rows"]}
    out = []
    init = []
    for column in range(4):
        cells = []
        for ctx in range(CONTEXTS):
            row = rows.get(ctx, [None] * 8)
            m, n = row[2 * column], row[2 * column + 1]
            cells.append(braces([m or 0, n or 0]))
        init.append("{" + ", ".join(cells) + "}")
    text = ",\n".join(
        "    {\n" + lines_of(re.findall(r"\{-?\d+, -?\d+\}", one), "        ") + "\n    }"
        for one in init
    )
    out.append(
        "// Tables 9-12 to 9-33: m and n of ctxIdx 0..459 for I slices, then for cabac_init_idc\n"
        "// 0, 1, 2. {0, 0} where a slice type has no such context (and at 276).\n"
        f"inline constexpr int8_t kCabacInitMN[4][{CONTEXTS}][2] = {{\n{text}\n}};\n"
    )
    inc = tables["Table 9-43 ctxIdxInc for ctxBlockCat 5, 9, 13"]
    for key, name in (
        ("significant_coeff_flag_frame", "kSignificant8x8CtxIdxInc"),
        ("last_significant_coeff_flag", "kLast8x8CtxIdxInc"),
    ):
        out.append(
            array(
                "uint8_t",
                name,
                "[63]",
                [str(v) for v in inc[key]],
                f"Table 9-43: ctxIdxInc of {key} by levelListIdx, ctxBlockCat 5.",
            )
        )
    base = tables["ctxIdx_base_by_ctxBlockCat"]
    for key, name in (
        ("coded_block_flag", "kCodedBlockFlagBase"),
        ("significant_coeff_flag_frame", "kSignificantBase"),
        ("last_significant_coeff_flag_frame", "kLastBase"),
        ("coeff_abs_level_minus1", "kAbsLevelBase"),
    ):
        out.append(
            array(
                "uint16_t",
                name,
                "[6]",
                [str(v) for v in base[key][:6]],
                f"ctxIdxOffset + ctxBlockCatOffset of {key}, ctxBlockCat 0..5.",
            )
        )
    out.append(trees(tables))
    return "\n".join(out)


def engine(tables: Json) -> str:
    out = []
    out.append(
        array(
            "uint8_t",
            "kRangeTabLPS",
            "[64][4]",
            [braces(row) for row in tables["Table 9-44 rangeTabLPS"]],
            "Table 9-44: rangeTabLPS by pStateIdx and qCodIRangeIdx.",
        )
    )
    trans = tables["Table 9-45"]
    assert trans["transIdxMPS"] == [*range(1, 63), 62, 63]
    out.append(
        array(
            "uint8_t",
            "kTransIdxLPS",
            "[64]",
            [str(v) for v in trans["transIdxLPS"]],
            "Table 9-45; transIdxMPS is Min(pStateIdx + 1, 62).",
        )
    )
    return "\n".join(out)


def tree(rows: list[list[Any]]) -> list[tuple[int, int, int]]:
    """Nodes (ctxIdx, next on 0, next on 1) of a set of bin strings; a leaf is -1 - value."""
    nodes: list[list[int]] = []

    def grow(prefix: str) -> int:
        for value, bits, _ in rows:
            if bits == prefix:
                return -1 - int(value)
        found = {ctxs[len(prefix)] for _, bits, ctxs in rows if bits.startswith(prefix)}
        assert len(found) == 1, (prefix, found)
        ctx = found.pop()
        index = len(nodes)
        nodes.append([TERMINATE_NODE if ctx == TERMINATE else ctx, 0, 0])
        nodes[index][1] = grow(prefix + "0")
        nodes[index][2] = grow(prefix + "1")
        return index

    grow("")
    return [(n[0], n[1], n[2]) for n in nodes]


def trees(tables: Json) -> str:
    out = [
        "// Bin strings of Tables 9-36 to 9-38 as trees: the ctxIdx of a node's bin (bin 0 with\n"
        "// ctxIdxInc 0; 255 = terminate bin) and where bin 0 and bin 1 lead: a node, or\n"
        "// -1 - value. Prefix trees of P and B slices end at kIntraPrefix where the mb_type of\n"
        "// an I slice follows.\n"
        "struct BinNode {\n  uint8_t ctxIdx;\n  int8_t next[2];\n};\n"
        "inline constexpr int kIntraPrefix = 100;\n"
    ]

    def emit(name: str, rows: list[list[Any]], comment: str) -> None:
        nodes = tree(rows)
        cells = [f"{{{c}, {{{a}, {b}}}}}" for c, a, b in nodes]
        out.append(array("BinNode", name, f"[{len(nodes)}]", cells, comment))

    emit("kMbTypeITree", tables["Table 9-36 mb_type I"]["rows"], "mb_type in I slices.")
    for slice_type, first, key in (
        ("P", 5, "Table 9-37 mb_type P, SP"),
        ("B", 23, "Table 9-37 mb_type B"),
    ):
        table = tables[key]
        prefix = table["prefix_intra"]
        own = [row for row in table["rows"] if row[0] < first]
        intra = [row for row in table["rows"] if row[0] >= first]
        assert all(row[1].startswith(prefix) for row in intra)
        contexts = {tuple(row[2][: len(prefix)]) for row in intra}
        assert len(contexts) == 1
        emit(
            f"kMbType{slice_type}Tree",
            [*own, [100, prefix, list(contexts.pop())]],
            f"mb_type in {slice_type} slices, prefix.",
        )
        emit(
            f"kMbTypeIIn{slice_type}Tree",
            [[v - first, b[len(prefix) :], c[len(prefix) :]] for v, b, c in intra],
            f"mb_type in {slice_type} slices, suffix: the mb_type of I slices.",
        )
    for slice_type in "PB":
        emit(
            f"kSubMbType{slice_type}Tree",
            tables[f"Table 9-38 sub_mb_type {slice_type}"]["rows"],
            f"sub_mb_type in {slice_type} slices.",
        )
    return "\n".join(out)


def macroblock(tables: Json) -> str:
    flags = {"Pred_L0": 1, "Pred_L1": 2, "BiPred": 3, "Direct": 4, None: 0}
    shapes = {(16, 16): 0, (16, 8): 1, (8, 16): 2, (8, 8): 3}
    sub = {(8, 8): 0, (8, 4): 1, (4, 8): 2, (4, 4): 3}
    out = []
    rows = [r for r in tables["Table 7-14 mb_type B"]["rows"] if isinstance(r[0], int)]
    assert [r[0] for r in rows] == list(range(len(rows)))
    out.append(
        "// Table 7-14: mb_type 0..22 of B slices. shape 0 16x16, 1 16x8, 2 8x16, 3 8x8; pred as\n"
        "// PredFlags (1 list 0, 2 list 1, 3 both, 4 direct, 0 told by sub_mb_type).\n"
        "struct MbTypeB {\n  uint8_t shape;\n  uint8_t pred[2];\n};\n"
        + "inline constexpr MbTypeB kMbTypesB[23] = {\n"
        + lines_of([f"{{{shapes[(r[5], r[6])]}, {{{flags[r[3]]}, {flags[r[4]]}}}}}" for r in rows])
        + "\n};\n"
    )
    rows = tables["Table 7-18 sub_mb_type B"]["rows"]
    out.append(
        "// Table 7-18: sub_mb_type of B slices: SubShape (of direct: not used) and PredFlags.\n"
        "struct SubMbTypeB {\n  uint8_t shape;\n  uint8_t pred;\n};\n"
        "inline constexpr SubMbTypeB kSubMbTypesB[13] = {\n"
        + lines_of([braces([sub[(r[4], r[5])], flags[r[3]]]) for r in rows])
        + "\n};\n"
    )
    rows = tables["Table 7-11 mb_type I"]["rows"][1:25]
    assert all(r[2] == (r[0] - 1) % 4 and r[3] == (r[0] - 1) // 4 % 3 for r in rows)
    assert all(r[4] == (0 if r[0] < 13 else 15) for r in rows)
    cbp = tables["Table 9-4 coded_block_pattern"]
    for key, name in (("ChromaArrayType 1 or 2", "420"), ("ChromaArrayType 0 or 3", "400")):
        for kind in ("Intra_4x4, Intra_8x8", "Inter"):
            values = cbp[key][kind]
            out.append(
                array(
                    "uint8_t",
                    f"kCbp{name}{'Inter' if kind == 'Inter' else 'Intra'}",
                    f"[{len(values)}]",
                    [str(v) for v in values],
                    f"Table 9-4: coded_block_pattern by codeNum, {key}, {kind}.",
                )
            )
    return "\n".join(out)


def cavlc(tables: Json) -> str:
    out = [
        "// A codeword: its length, its bits as a number, and what it stands for.\n"
        "struct CoeffTokenCode {\n  uint8_t length;\n  uint16_t code;\n  uint8_t total_coeff;\n"
        "  uint8_t trailing_ones;\n};\n"
        "struct VlcCode {  // the value is the place in its table; length 0 ends it\n"
        "  uint8_t length;\n  uint16_t code;\n};\n"
    ]
    tokens = tables["Table 9-5 coeff_token"]
    for key, name in (
        ("0 <= nC < 2", "kCoeffToken0Codes"),
        ("2 <= nC < 4", "kCoeffToken2Codes"),
        ("4 <= nC < 8", "kCoeffToken4Codes"),
        ("8 <= nC", "kCoeffToken8Codes"),
        ("nC == -1", "kCoeffTokenChromaDcCodes"),
    ):
        rows = tokens[key]
        cells = [braces([*code(r["codeword"]), r["total_coeff"], r["trailing_ones"]]) for r in rows]
        out.append(array("CoeffTokenCode", name, f"[{len(rows)}]", cells, f"Table 9-5, {key}."))

    def vlc(name: str, sets: list[list[str]], width: int, comment: str) -> None:
        cells = []
        for one in sets:
            rows = [code(c) for c in one] + [[0, 0]] * (width - len(one))
            cells.append("{" + ", ".join(braces(r) for r in rows) + "}")
        out.append(
            f"// {comment}\ninline constexpr VlcCode {name}[{len(sets)}][{width}] = {{\n"
            + "\n".join(
                "    {\n" + lines_of(re.findall(r"\{\d+, \d+\}", c), "        ") + "\n    },"
                for c in cells
            )
            + "\n};\n"
        )

    zeros = {
        **tables["Table 9-7 total_zeros 4x4, tzVlcIndex 1..7"],
        **tables["Table 9-8 total_zeros 4x4, tzVlcIndex 8..15"],
    }
    vlc(
        "kTotalZerosCodes",
        [zeros[str(i)] for i in range(1, 16)],
        16,
        "Tables 9-7 and 9-8: total_zeros of 4x4 blocks, tzVlcIndex 1..15.",
    )
    zeros = tables["Table 9-9(a) total_zeros chroma DC 2x2 (4:2:0)"]
    vlc(
        "kTotalZerosChromaDcCodes",
        [zeros[str(i)] for i in range(1, 4)],
        4,
        "Table 9-9(a): total_zeros of chroma DC 2x2, tzVlcIndex 1..3.",
    )
    runs = tables["Table 9-10 run_before"]
    vlc(
        "kRunBeforeCodes",
        [runs[k] for k in ("1", "2", "3", "4", "5", "6", ">6")],
        15,
        "Table 9-10: run_before, zerosLeft 1..6 and more than 6.",
    )
    return "\n".join(out)


def residual(tables: Json) -> str:
    def flat(kind: str, name: str, values: list[int], comment: str) -> str:
        return array(kind, name, f"[{len(values)}]", [str(v) for v in values], comment)

    def nested(name: str, rows: list[list[int]], comment: str) -> str:
        return array(
            "uint8_t", name, f"[{len(rows)}][{len(rows[0])}]", [braces(r) for r in rows], comment
        )

    return "\n".join(
        [
            flat(
                "uint8_t",
                "kZigzag4x4",
                tables["Table 8-13 4x4 scans"]["zig-zag"],
                "Table 8-13: raster place (row * 4 + column) of coefficient idx.",
            ),
            flat(
                "uint8_t",
                "kZigzag8x8",
                tables["Table 8-14 8x8 scans"]["zig-zag"],
                "Table 8-14: raster place (row * 8 + column) of coefficient idx.",
            ),
            nested(
                "kNormAdjust4x4",
                tables["normAdjust4x4"]["v"],
                "8.5.9: v_m0 (row and column even), v_m1 (both odd), v_m2 (else).",
            ),
            nested(
                "kNormAdjust8x8",
                tables["normAdjust8x8"]["v"],
                "8.5.9: v_m0 .. v_m5 of 8x8 blocks.",
            ),
            flat(
                "uint8_t",
                "kQPC",
                tables["Table 8-15 QPC"]["QPC"],
                "Table 8-15: QP_C by qP_I, 0..51.",
            ),
        ]
    )


PARTS = {
    "bitstream/cabac_engine_tables.inc": engine,
    "h264/cabac_tables.inc": cabac,
    "h264/macroblock_tables.inc": macroblock,
    "h264/cavlc_tables.inc": cavlc,
    "h264/residual_tables.inc": residual,
}


def generate(tables: Json) -> dict[str, str]:
    """Return {path below csrc: contents}."""
    head = (
        "// Written by tools/make_h264_tables.py from the tables of ITU-T H.264: do not edit.\n"
        "// clang-format off\n\n"
    )
    return {path: head + make(tables) for path, make in PARTS.items()}


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    folder = Path(sys.argv[2] if len(sys.argv) == 3 else "csrc")
    for name, text in generate(json.loads(Path(sys.argv[1]).read_text())).items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
