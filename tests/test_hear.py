"""The HEAR API, point by point as its validator and its rules have it; embeddings of recordings."""

import pytest
import torch

from atgnn import hear
from atgnn.checkpoint import load_model
from atgnn.inference.embed import frame_embeddings


@pytest.fixture(scope="module")
def model():
    return hear.load_model()


def test_the_attributes(model):
    assert isinstance(model, torch.nn.Module)
    assert model.sample_rate in (16000, 22050, 44100, 48000)
    assert isinstance(model.scene_embedding_size, int)
    assert isinstance(model.timestamp_embedding_size, int)


@pytest.mark.parametrize("seconds", [0.01, 2.0, 3.74, 9.3])
def test_embeddings_and_timestamps(model, seconds):
    audio = torch.rand(3, int(seconds * model.sample_rate)) * 2 - 1
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    assert embeddings.dtype == torch.float32
    assert embeddings.shape == (*timestamps.shape, model.timestamp_embedding_size)
    steps = timestamps.diff()
    assert len(steps[0]) == 0 or (steps - steps.mean()).abs().max() < 1e-3
    assert len(steps[0]) == 0 or steps.mean() <= 50
    assert 0 < timestamps[0, 0] <= 50
    assert timestamps[0, -1] <= 1000 * seconds + 50
    scenes = hear.get_scene_embeddings(audio, model)
    assert scenes.shape == (3, model.scene_embedding_size)
    torch.testing.assert_close(hear.get_scene_embeddings(audio[1:2], model)[0], scenes[1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(load_model().embed(audio[0], 16000), scenes[0], rtol=1e-3, atol=1e-3)


def test_a_column_is_what_it_stands_for(model):
    """Silence, then noise: the embeddings change where the sound does."""
    audio = torch.cat((torch.zeros(1, 32000), torch.rand(1, 32000) - 0.5), dim=1)
    frames = frame_embeddings(model, audio)[0]
    width = model.network.stem[0].out_channels * 2
    change = (frames[1:, :width] - frames[:-1, :width]).norm(dim=1)[3:-3]  # the edges differ, too
    assert abs(int(change.argmax()) - 46) <= 2
