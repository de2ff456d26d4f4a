"""Pages that lie elsewhere in the repository become part of the site; links out of the site go to the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()(?!https?://|#|mailto:)([^)#\s]+)")


def on_config(config: Any) -> Any:
    """Leave pages out of the navigation that have not been written, and take in experiments that it does not name."""
    config.nav = [entry for entry in config.nav if _is_there(entry)]
    listed = next(entry["Experiments"] for entry in config.nav if isinstance(entry, dict) and "Experiments" in entry)
    named = {page for entry in listed for page in (entry.values() if isinstance(entry, dict) else [entry])}
    pages = sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "experiments").rglob("README.md"))
    listed += [page for page in pages if page not in named]
    return config


def _is_there(entry: Any) -> bool:
    page = next(iter(entry.values())) if isinstance(entry, dict) else entry
    return not isinstance(page, str) or (ROOT / "docs" / page).exists() or (ROOT / page).exists()


def on_files(files: Files, config: Any) -> Files:
    """Take in the pages of the experiments, and all that they and the pages here link to inside the repository."""
    pages = sorted((ROOT / "experiments").rglob("*.md"))
    for page in pages:
        files.append(_file(page, config))
    for page in (*pages, *sorted((ROOT / "docs").glob("*.md"))):
        folder = ROOT if page.parent == ROOT / "docs" else page.parent  # of the site
        for link in LINK.findall(page.read_text()):
            target = (folder / link).resolve()
            if target.is_file() and target.is_relative_to(ROOT):
                source = target.relative_to(ROOT).as_posix()
                if files.get_file_from_path(source) is None:
                    files.append(_file(target, config))
    return files


def _file(path: Path, config: Any) -> File:
    return File(path.relative_to(ROOT).as_posix(), str(ROOT), config.site_dir, config.use_directory_urls)
