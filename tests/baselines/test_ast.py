"""AST behind the same front end: transformers' outputs, any length, any size."""

import pytest
import torch

from atgnn.audio.frontend import LogMel
from atgnn.baselines.ast import AST, ASTNetwork

transformers = pytest.importorskip("transformers", reason="needs the extra 'baselines' (transformers)")


def small(**options: object) -> ASTNetwork:
    network = ASTNetwork(5, 32, 2, 4, n_mels=32, n_frames=96, **options)
    torch.nn.init.normal_(network.encoder.embeddings.position_embeddings)
    return network.eval()


@torch.inference_mode()
def test_logits_are_those_of_transformers() -> None:
    network = small()
    log_mel = torch.randn(2, 1, 32, 96)
    theirs = network.encoder(0.5 * log_mel.squeeze(1).transpose(1, 2)).pooler_output
    torch.testing.assert_close(network(log_mel).logits, network.head(theirs))


@torch.inference_mode()
@pytest.mark.parametrize("frames", [1, 15, 50, 96, 97, 200])
def test_any_number_of_frames(frames: int) -> None:
    assert small()(torch.randn(2, 1, 32, frames)).logits.shape == (2, 5)


@torch.inference_mode()
def test_its_input_is_ast_s_own_normalisation() -> None:
    """The published front end divides by two standard deviations."""
    network, frontend = small(), LogMel(n_mels=32, mean=-4.0, std=3.0)
    log_mel = frontend(torch.randn(1, 160 * 96))
    theirs = (log_mel + 4.0) / (2 * 3.0)
    expected = network.head(network.encoder(theirs.squeeze(1).transpose(1, 2)).pooler_output)
    torch.testing.assert_close(network(frontend.normalize(log_mel)).logits, expected)


@pytest.mark.parametrize(("sizes", "millions"), [((768, 12, 12), 86), ((192, 4, 4), 2)])
def test_sizes(sizes: tuple[int, int, int], millions: int) -> None:
    with torch.device("meta"):
        network = ASTNetwork(200, *sizes)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6) == millions


def test_waveforms_to_logits_and_back() -> None:
    model = AST(["Dog", "Rain"], 32, 1, 4, n_mels=32, clip_seconds=0.5)
    model(torch.randn(2, 8000)).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_another_number_of_bands_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a log-mel \(B, 1, 32, L\), got \(1, 1, 16, 96\)"):
        small()(torch.zeros(1, 1, 16, 96))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="that 5 heads divide"):
        ASTNetwork(2, 32, 1, 5)
