"""Write the figures of `make reliability` into docs/reliability.md, each behind the comment that names it."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Replace what stands between a name and the end of its cell."""
    page = ROOT / "docs" / "reliability.md"
    text = page.read_text()
    for name, value in json.loads((ROOT / "experiments" / "results" / "reliability.json").read_text()).items():
        text = re.sub(rf"(<!-- {name} -->)[^|\n]*\|", lambda match, value=value: f"{match[1]} {value} |", text)
    page.write_text(text)


if __name__ == "__main__":
    main()
