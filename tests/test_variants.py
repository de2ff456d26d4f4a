from __future__ import annotations

import pytest

from atgnn.variants import VARIANTS, Variant, variant


@pytest.mark.parametrize(
    ("name", "channels", "blocks", "mlg_blocks"),
    [
        ("pyramid-ti", (48, 96, 240, 384), (2, 2, 6, 2), (1, 1, 3, 1)),
        ("pyramid-s", (80, 160, 400, 640), (2, 2, 6, 2), (1, 1, 3, 1)),
        ("pyramid-m", (96, 192, 384, 768), (2, 2, 16, 2), (1, 1, 6, 1)),
        ("pyramid-b", (128, 256, 512, 1024), (2, 2, 18, 2), (1, 1, 6, 1)),
        ("isotropic-ti", (192,), (12,), ()),
        ("isotropic-s", (320,), (16,), ()),
        ("isotropic-b", (640,), (16,), ()),
    ],
)
def test_published_sizes(
    name: str, channels: tuple[int, ...], blocks: tuple[int, ...], mlg_blocks: tuple[int, ...]
) -> None:
    kind = name.split("-")[0]
    reductions = (4, 2, 1, 1) if kind == "pyramid" else (1,)
    assert variant(name) == Variant(kind, channels, blocks, mlg_blocks, reductions, head_channels=1024)


@pytest.mark.parametrize("name", VARIANTS)
def test_depth_is_the_number_of_blocks(name: str) -> None:
    size = variant(name)
    for depth in range(len(size.blocks), 49):
        changed = size.with_depth(depth)
        assert sum(changed.blocks) == depth
        assert min(changed.blocks) >= 1
        assert all(1 <= mlg <= blocks for mlg, blocks in zip(changed.mlg_blocks, changed.blocks, strict=False))
        assert len(changed.mlg_blocks) == len(size.mlg_blocks)
    assert size.with_depth(sum(size.blocks)) == size


@pytest.mark.parametrize(
    ("depth", "blocks", "mlg_blocks"),
    [(4, (1, 1, 1, 1), (1, 1, 1, 1)), (12, (2, 2, 6, 2), (1, 1, 3, 1)), (24, (4, 4, 12, 4), (2, 2, 6, 2))],
)
def test_pyramids_split_their_depth_2_2_6_2(depth: int, blocks: tuple[int, ...], mlg_blocks: tuple[int, ...]) -> None:
    size = variant("pyramid-s").with_depth(depth)
    assert (size.blocks, size.mlg_blocks) == (blocks, mlg_blocks)


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a variant of pyramid-ti, .*; got 'pyramid-xl'"):
        variant("pyramid-xl")
    with pytest.raises(ValueError, match=r"expected a depth of at least 4 \(one PGN block a stage\), got 3"):
        variant("pyramid-s").with_depth(3)
