"""The sizes that ATGNN comes in: the published ones, and small ones for a CPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Variant:
    """Widths and depths of one size.

    Args:
        kind: a pyramid halves the grid and widens the patches from stage to stage; isotropic keeps both.
        channels: width C of the patches in every stage.
        blocks: PGN blocks in every stage.
        mlg_blocks: PLG + LLG blocks at the end of every stage; none for isotropic sizes, which are encoders only.
        reductions: r of every stage; the k-NN sources are the patches pooled r×r.
        head_channels: hidden width of the patch head.
    """

    kind: Literal["pyramid", "isotropic"]
    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    mlg_blocks: tuple[int, ...]
    reductions: tuple[int, ...]
    head_channels: int = 1024

    def with_depth(self, depth: int) -> Variant:
        """The same widths with ``depth`` PGN blocks in all; a pyramid splits them about as its own blocks are split.

        Raises:
            ValueError: if there are fewer blocks than stages.
        """
        stages = len(self.blocks)
        if depth < stages:
            raise ValueError(f"expected a depth of at least {stages} (one PGN block a stage), got {depth}")
        total = sum(self.blocks)
        blocks = [max(1, depth * count // total) for count in self.blocks]
        blocks[self.blocks.index(max(self.blocks))] += depth - sum(blocks)
        mlg = [max(1, own * new // old) for own, new, old in zip(self.mlg_blocks, blocks, self.blocks, strict=False)]
        return replace(self, blocks=tuple(blocks), mlg_blocks=tuple(mlg))


def _pyramid(*channels: int, blocks: tuple[int, ...], mlg_blocks: tuple[int, ...], head: int = 1024) -> Variant:
    return Variant("pyramid", channels, blocks, mlg_blocks, (4, 2, 1, 1), head)


def _isotropic(channels: int, blocks: int, head: int = 1024) -> Variant:
    return Variant("isotropic", (channels,), (blocks,), (), (1,), head)


VARIANTS: dict[str, Variant] = {
    "pyramid-ti": _pyramid(48, 96, 240, 384, blocks=(2, 2, 6, 2), mlg_blocks=(1, 1, 3, 1)),
    "pyramid-s": _pyramid(80, 160, 400, 640, blocks=(2, 2, 6, 2), mlg_blocks=(1, 1, 3, 1)),
    "pyramid-m": _pyramid(96, 192, 384, 768, blocks=(2, 2, 16, 2), mlg_blocks=(1, 1, 6, 1)),
    "pyramid-b": _pyramid(128, 256, 512, 1024, blocks=(2, 2, 18, 2), mlg_blocks=(1, 1, 6, 1)),
    "isotropic-ti": _isotropic(192, 12),
    "isotropic-s": _isotropic(320, 16),
    "isotropic-b": _isotropic(640, 16),
    "pyramid-nano": _pyramid(16, 32, 64, 96, blocks=(1, 1, 2, 1), mlg_blocks=(1, 1, 1, 1), head=128),
    "pyramid-micro": _pyramid(32, 64, 128, 192, blocks=(1, 1, 3, 1), mlg_blocks=(1, 1, 1, 1), head=256),
    "isotropic-nano": _isotropic(64, 4, head=128),
}


def variant(size: str | Variant | dict[str, Any]) -> Variant:
    """A size by its name, or of one's own as plain values.

    Raises:
        ValueError: naming the sizes there are, or what is wrong with the values.
    """
    if isinstance(size, Variant):
        return size
    if isinstance(size, dict):
        try:
            return Variant(**{key: tuple(v) if isinstance(v, list) else v for key, v in size.items()})  # type: ignore[arg-type]
        except TypeError as error:
            raise ValueError(f"expected the values of a Variant, got {size!r}: {error}") from error
    if size not in VARIANTS:
        raise ValueError(f"expected a variant of {', '.join(VARIANTS)}; got {size!r}")
    return VARIANTS[size]
