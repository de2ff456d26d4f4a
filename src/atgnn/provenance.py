"""Where a result comes from: commit, machine and versions."""

from __future__ import annotations

import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

import atgnn


def provenance() -> dict[str, Any]:
    """Date, commit of the sources where they lie in a repository, package and torch version, machine and threads."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = None
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit,
        "atgnn": atgnn.__version__,
        "torch": torch.__version__,
        "machine": machine(),
        "threads": torch.get_num_threads(),
    }


def machine() -> str:
    """The processor, or the GPU where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
