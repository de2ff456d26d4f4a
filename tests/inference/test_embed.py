"""Embeddings: a recording in blocks as in one piece, every stage side by side, and where they belong."""

import pytest
import soundfile
import torch

from atgnn.inference.embed import embed_sound, frame_embeddings, frame_seconds, patch_frames


def test_a_column_covers_four_frames(model):
    assert patch_frames(model) == 4
    assert frame_seconds(model) == pytest.approx(0.04)


def test_the_stages_are_those_of_the_network(model):
    waveform = 0.1 * torch.randn(2, 24000)
    with torch.inference_mode():
        patches = model.tagger.output(waveform).patches
    frames = frame_embeddings(model, waveform)
    assert frames.shape == (2, patches[0].size(3), sum(stage.size(1) for stage in patches))
    width = patches[0].size(1)
    torch.testing.assert_close(frames[..., :width], patches[0].mean(2).transpose(1, 2))
    second = patches[1].mean(2).transpose(1, 2)
    for column in range(frames.size(1)):
        torch.testing.assert_close(frames[:, column, width : width + second.size(2)], second[:, column // 2])


def test_a_file_in_blocks_is_its_waveform_in_one_piece(model, tmp_path):
    waveform = 0.1 * torch.randn(16000 * 11)
    soundfile.write(tmp_path / "a.wav", waveform.numpy(), 16000, subtype="FLOAT")
    whole = frame_embeddings(model, waveform[None])[0].mean(0)
    torch.testing.assert_close(embed_sound(model, tmp_path / "a.wav"), whole, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(embed_sound(model, waveform, 16000), whole, atol=1e-4, rtol=1e-4)
