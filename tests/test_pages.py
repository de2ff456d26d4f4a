"""Results into pages: a row for each experiment, between the markers, nothing else touched."""

import json

import pytest
from rich.table import Table

from atgnn.errors import InputError
from atgnn.pages import markdown, replace_between, write_results


def result(path, title, score, runs=1):
    figures = {
        "title": title,
        "clips": 40,
        "runs": runs,
        "mAP": {"chance": 0.1, "linear probe": 0.2, "atgnn": score},
        "about": {"parameters": 512_000, "steps": 600, "seconds": 120.0 * runs, "threads": 2},
        "labels": {"a": {}, "b": {}},
    }
    path.write_text(json.dumps(figures))
    return path


def test_seeds_share_a_row_and_folds_are_counted(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    results = [result(tmp_path / f"{n}.json", "scenes", 0.5 + n / 10) for n in range(3)]
    results.append(result(tmp_path / "folds.json", "clips", 0.61, runs=5))
    write_results(results, page)
    text = page.read_text()
    assert text.startswith("before\n<!-- results -->\n| data |")
    assert text.endswith("|\n<!-- /results -->\nafter\n")
    assert "\nold\n" not in text
    assert (
        "| scenes | 2 | 40 (first) | 0.100 | 0.200 / 0.200 / 0.200 | **0.500 / 0.600 / 0.700** | 0.51 M | "
        "600 steps, 2.0 min on 2 cores |" in text
    )
    assert "| **0.610** | 0.51 M | 600 steps, 2.0 min on 2 cores, for each of 5 folds |" in text


def test_a_single_run_shows_its_intervals_and_protocol(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("<!-- results --><!-- /results -->")
    path = result(tmp_path / "one.json", "scenes", 0.444)
    ends = {"linear probe": [0.181, 0.219], "atgnn": [0.412, 0.476]}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"interval": ends, "protocol": "windows"}))
    write_results([path], page)
    assert "| 40 (windows) | 0.100 | 0.200 [0.18, 0.22] | **0.444 [0.41, 0.48]** |" in page.read_text()
    write_results([path, path], page)
    assert "| 0.100 | 0.200 / 0.200 | **0.444 / 0.444** |" in page.read_text()


def test_writing_twice_changes_nothing(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("<!-- results --><!-- /results -->")
    results = [result(tmp_path / "one.json", r"back\1slash", 0.5)]
    write_results(results, page)
    once = page.read_text()
    write_results(results, page)
    assert page.read_text() == once


def test_a_page_without_markers(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("no markers")
    with pytest.raises(InputError, match="expected the lines <!-- results -->"):
        replace_between(page, "results", "text")


def test_a_bar_in_a_cell_is_no_border():
    table = Table("setting", "mAP:a|b")
    table.add_row("a|b", "0.5")
    assert markdown(table).splitlines() == [r"| setting | mAP:a\|b |", "| --- | --- |", r"| a\|b | 0.5 |"]
