"""Convolutional networks behind the same front end: any size of log-mel, any model of timm."""

import pytest
import torch

from atgnn.baselines.cnn import CNN, CNNNetwork

timm = pytest.importorskip("timm", reason="needs the extra 'baselines' (timm)")


@torch.inference_mode()
@pytest.mark.parametrize("name", ["vgg", "efficientnet_b2", "resnet18"])
@pytest.mark.parametrize("frames", [16, 101])
def test_any_number_of_frames(name: str, frames: int) -> None:
    assert CNNNetwork(5, name).eval()(torch.randn(2, 1, 32, frames)).logits.shape == (2, 5)


def test_sizes() -> None:
    with torch.device("meta"):
        networks = {name: CNNNetwork(200, name) for name in ("efficientnet_b2", "vgg")}
    millions = {name: sum(p.numel() for p in network.parameters()) / 1e6 for name, network in networks.items()}
    assert millions == pytest.approx({"efficientnet_b2": 8.0, "vgg": 5.1}, abs=0.05)


def test_waveforms_to_logits_and_back() -> None:
    model = CNN(["Dog", "Rain"], "vgg", n_mels=32, clip_seconds=0.5)
    model(torch.randn(2, 8000)).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_a_name_that_timm_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a model of timm or vgg, got 'efficientnet_z9'"):
        CNNNetwork(2, "efficientnet_z9")


def test_a_log_mel_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a log-mel \(B, 1, F, L\), got \(2, 32, 64\)"):
        CNNNetwork(2, "vgg")(torch.zeros(2, 32, 64))


def test_further_arguments_make_other_sizes() -> None:
    sizes = {
        "vgg": {"widths": [20, 40, 80, 160]},
        "efficientnet_b0": {"channel_multiplier": 0.33, "depth_multiplier": 1.0},
        "resnet18": {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128]},
    }
    parameters = {
        name: sum(p.numel() for p in CNN([*"abcdefg"], name, n_mels=64, options=options).parameters())
        for name, options in sizes.items()
    }
    assert parameters == {"vgg": 485467, "efficientnet_b0": 505601, "resnet18": 319207}
