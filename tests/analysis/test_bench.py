"""The bench, in its short form: every figure is there, in every form it is written in. How fast is not tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from atgnn.analysis.bench import bench
from atgnn.analysis.bench_report import GOALS
from atgnn.errors import InputError


@pytest.mark.slow
def test_every_figure_is_measured(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs transformers, of the extra baselines")
    page = tmp_path / "page.md"
    page.write_text("<!-- bench -->\n<!-- /bench -->\n")
    bench(fast=True, json_file=tmp_path / "bench.json", page=page, plot=tmp_path / "bench.png")
    figures = json.loads((tmp_path / "bench.json").read_text())
    assert figures["ratios"].keys() == {goal for goal in GOALS if "4 clips" not in goal or "step" in goal}
    assert all(found["median"] > 0 for found in figures["ratios"].values())
    assert all(row["low"] <= row["seconds"] <= row["high"] for row in figures["networks"])
    assert figures["computation"]["AST-base"]["parameters"] > 80e6
    assert set(figures["growth"]) == {"length of clip (s)", "K", "N", "C"}
    assert "| k-NN search |" in page.read_text()
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_a_size_without_labels_is_refused() -> None:
    with pytest.raises(InputError, match="expected a pyramid to measure, got 'isotropic-ti'"):
        bench(variant="isotropic-ti")
