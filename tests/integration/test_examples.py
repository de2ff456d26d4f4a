"""Every example runs, and learns something."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "measure", "least"),
    [("fine_tune.py", "test/mAP", 0.0), ("one_layer.py", "test/accuracy", 0.8), ("new_labels.sh", "test/mAP", 0.0)],
)
def test_example(example, measure, least, tmp_path):
    program = sys.executable if example.endswith(".py") else "bash"
    environment = os.environ | {"ATGNN": str(Path(sys.executable).parent / "atgnn")}
    run = subprocess.run(
        [program, EXAMPLES / example], cwd=tmp_path, capture_output=True, text=True, timeout=300, env=environment
    )
    assert run.returncode == 0, run.stderr[-2000:]
    value = re.search(rf"{measure}\W+([\d.]+)", run.stdout)
    assert value, run.stdout[-2000:]
    assert float(value[1]) > least


def test_every_example_is_tested():
    tested = set(re.findall(r'"(\w+\.(?:py|sh))"', Path(__file__).read_text()))
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")} == tested
