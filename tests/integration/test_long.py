"""Long recordings: memory that does not grow with their length, and faster than they are heard.

An hour, as `docs/recordings.md` tells of, is measured by hand on a machine that does nothing else. Here are minutes of
it, in seconds of a processor, which do not depend on what else the machine does: two cores take half of them.
"""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from atgnn import ATGNN
from atgnn.checkpoint import save_model

SCRIPT = """
import sys, time
from atgnn import cli
failed = cli.main(["tag", *sys.argv[1:], "--format", "json"])
# Not getrusage: its peak is that of the process that started this one, if that was larger.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("MEASURED", failed, time.process_time(), int(peak.split()[1]) / 1e6)
"""


def measure(folder, minutes, *options):
    """Seconds of a processor and gigabytes that it takes to tag a recording."""
    path, noise = folder / f"{minutes}.flac", np.random.default_rng(0).standard_normal(16000 * 60).astype("f4") / 20
    with soundfile.SoundFile(path, "w", 16000, 1) as file:
        for _ in range(minutes):
            file.write(noise)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, path, *options], capture_output=True, text=True, timeout=300, check=True
    )
    failed, seconds, gigabytes = run.stdout.splitlines()[-1].split()[1:]
    assert failed == "0"
    return float(seconds), float(gigabytes)


@pytest.mark.slow
def test_memory_does_not_grow_with_length(tmp_path):
    _, short = measure(tmp_path, 2)
    seconds, long = measure(tmp_path, 10)
    assert long < short + 0.1
    assert long < 1.5
    assert seconds < 10 * 60 / 20


@pytest.mark.slow
def test_a_large_network_fits(tmp_path):
    save_model(ATGNN([f"label {n}" for n in range(200)], "pyramid-s").eval(), tmp_path / "large.ckpt")
    seconds, gigabytes = measure(tmp_path, 1, "--checkpoint", tmp_path / "large.ckpt")
    assert gigabytes < 1.5
    assert seconds < 60 / 2
