"""VGG: halved once a pair, read out as it says, with as many numbers as counted by hand."""

import torch
from torch import nn

from atgnn.baselines.vgg import VGG


def test_numbers_of_a_small_one_by_hand() -> None:
    first, second = (9 * 1 * 2 + 4) + (9 * 2 * 2 + 4), (9 * 2 * 3 + 6) + (9 * 3 * 3 + 6)
    assert sum(p.numel() for p in VGG(5, widths=(2, 3)).parameters()) == first + second + (9 + 3) + (15 + 5)


def test_each_pair_halves_and_an_odd_end_is_kept() -> None:
    maps = VGG(5, widths=(2, 3)).eval().layers(torch.zeros(1, 1, 8, 13))
    assert maps.shape == (1, 3, 2, 4)


@torch.inference_mode()
def test_bands_are_averaged_and_time_by_maximum_plus_mean() -> None:
    model = VGG(2, widths=(2,)).eval()
    model.layers, model.hidden = nn.Sequential(nn.Identity()), nn.Linear(2, 2)
    nn.init.eye_(model.hidden.weight)
    nn.init.zeros_(model.hidden.bias)
    model.last = nn.Sequential(nn.Identity())
    maps = torch.tensor([[[[1.0, 3.0], [3.0, 9.0]], [[-8.0, -2.0], [0.0, -2.0]]]])
    # Bands: (2, 6) and (-4, -2); maximum plus mean: 6 + 4 and -2 - 3, of which nothing is left.
    assert model(maps).tolist() == [[10.0, 0.0]]
