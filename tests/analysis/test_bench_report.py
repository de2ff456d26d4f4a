"""The figures of the bench as tables and as a picture, from values chosen by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atgnn.analysis.bench_report import GOALS, draw, tables, titled


def figures() -> dict[str, Any]:
    one = {"sizes": [1.0, 10.0], "seconds": [0.5, 5.0], "exponent": 1.0}
    return {
        "about": {"variant": "pyramid-s", "classes": 200, "machine": "a machine"},
        "ratios": {name: {"median": 2.5, "low": 2.0, "high": 3.0} for name in GOALS},
        "networks": [{"name": "atgnn, not fused", "clips": 1, "seconds": 0.25, "low": 0.2, "high": 0.3}],
        "computation": {"atgnn": {"parameters": 35_400_000, "multiply_adds": 15_300_000_000}},
        "parts": {"stem": 0.1, "labels": 0.3},
        "growth": dict.fromkeys(("length of clip (s)", "K", "N", "C"), one),
    }


def test_tables_say_what_was_measured() -> None:
    ratios, networks, parts, growth = map(titled, tables(figures()))
    assert "pyramid-s, 200 labels, clips of 10.24 s, a machine" in ratios
    for name, (floor, aim) in GOALS.items():
        assert f"| {name} | 2.50 | 2.00 … 3.00 | {floor:g} | {aim:g} |" in ratios
    assert "| atgnn, not fused | 1 | 250 | 200 … 300 | 4.0 | 35.4 M | 15.3 G |" in networks
    assert "| labels | 300.0 | 75% |" in parts
    assert all(f"| {name} | 1 … 10 | 0.5 … 5 | 1.00 |" in growth for name in ("length of clip (s)", "K", "N", "C"))


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    draw(figures(), tmp_path / "new" / "bench.png")
    assert (tmp_path / "new" / "bench.png").read_bytes().startswith(b"\x89PNG")
