"""The figures of `atgnn bench` as tables and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from atgnn.pages import markdown

#: What is promised and hoped for: times as fast, or as little memory.
GOALS = {
    "inference fp32, 1 clip, against naive": (1.8, 3.0),
    "inference fp32, 4 clips, against naive": (1.8, 3.0),
    "inference bf16, 1 clip, against naive fp32": (3.0, 5.0),
    "inference bf16, 4 clips, against naive fp32": (3.0, 5.0),
    "training step, 4 clips, against naive": (2.0, 3.0),
    "memory of that training step (tensors), against naive": (2.0, 4.0),
    "memory of that training step (process), against naive": (2.0, 4.0),
    "inference fp32, 1 clip, against AST-base": (5.0, 8.0),
    "front end, batch of 16, against kaldi.fbank in a loop": (3.0, 10.0),
}


def tables(figures: dict[str, Any]) -> list[Table]:
    """The ratios first, then each network, its parts, and how it grows."""
    return [table(figures) for table in (_ratio_table, _network_table, _part_table, _growth_table)]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _ratio_table(figures: dict[str, Any]) -> Table:
    about = figures["about"]
    title = f"{about['variant']}, {about['classes']} labels, clips of 10.24 s, {about['machine']}"
    table = _table(title, "", "times as good", "quartiles", "floor", "aim")
    for name, found in figures["ratios"].items():
        floor, aim = GOALS[name]
        quartiles = "–" if found["low"] == found["high"] else f"{found['low']:.2f} … {found['high']:.2f}"
        table.add_row(name, f"{found['median']:.2f}", quartiles, f"{floor:g}", f"{aim:g}")
    return table


def _network_table(figures: dict[str, Any]) -> Table:
    table = _table("inference", "network", "clips", "ms (median)", "quartiles", "clips/s", "parameters", "MACs")
    for row in figures["networks"]:
        size = figures["computation"].get(row["name"].partition(",")[0].removesuffix(" bf16"), {})
        quartiles = f"{1e3 * row['low']:.0f} … {1e3 * row['high']:.0f}"
        cells = [f"{1e3 * row['seconds']:.0f}", quartiles, f"{row['clips'] / row['seconds']:.1f}"]
        cells += [f"{size['parameters'] / 1e6:.1f} M", f"{size['multiply_adds'] / 1e9:.1f} G"] if size else ["", ""]
        table.add_row(row["name"], str(row["clips"]), *cells)
    return table


def _part_table(figures: dict[str, Any]) -> Table:
    table = _table("one clip from waveform to logits", "part", "ms", "share")
    total = sum(figures["parts"].values())
    for name, seconds in figures["parts"].items():
        table.add_row(name, f"{1e3 * seconds:.1f}", f"{seconds / total:.0%}")
    return table


def _growth_table(figures: dict[str, Any]) -> Table:
    table = _table(
        "growth: of the network with the clip, of the search with K, N and C", "with", "from … to", "s", "∝ sizeᵉ"
    )
    for name, grown in figures["growth"].items():
        ends = [f"{grown[what][0]:.3g} … {grown[what][-1]:.3g}" for what in ("sizes", "seconds")]
        table.add_row(name, *ends, f"{grown['exponent']:.2f}")
    return table


def titled(table: Table) -> str:
    """A table for a page, with its title above."""
    return f"*{table.title}*\n\n{markdown(table)}"


def draw(figures: dict[str, Any], path: Path) -> None:
    """Draw time of each network, where the time goes, and how it grows with the clip and with the sizes of a search."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 3.6), layout="constrained")
    speed, share, grown, searched = figure.subplots(1, 4, width_ratios=[1.2, 1.2, 1, 1])
    rows = [row for row in figures["networks"] if row["clips"] == 1]
    colors = ["#D55E00" if row["name"].startswith("atgnn") else "0.6" for row in rows]
    speed.barh([row["name"] for row in rows], [1e3 * row["seconds"] for row in rows], color=colors)
    speed.invert_yaxis()
    speed.set_xlabel("ms for a clip of 10.24 s")
    names, seconds = [*figures["parts"]], [1e3 * value for value in figures["parts"].values()]
    share.barh(names, seconds, color="#0072B2")
    share.invert_yaxis()
    share.set_xlabel("ms in each part of atgnn")
    for (name, one), marker in zip(figures["growth"].items(), "osD^", strict=True):
        panel, symbol = (grown, "length") if name.startswith("length") else (searched, name)
        label = f"∝ {symbol}^{one['exponent']:.2f} (upper half)"
        panel.loglog(one["sizes"], one["seconds"], f"{marker}-", label=label)
    grown.set_xlabel("length of clip (s)")
    grown.set_ylabel("seconds of the network")
    searched.set_xlabel("K, N or C")
    searched.set_ylabel("seconds of one search")
    for panel in (grown, searched):
        panel.legend(frameon=False, fontsize="small", loc="upper left")
        panel.set_ylim(top=3 * panel.get_ylim()[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
