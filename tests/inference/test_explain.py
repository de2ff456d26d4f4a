"""Explanations: what is told of a score is what the network did."""

import pytest
import soundfile
import torch

from atgnn import ATGNN
from atgnn.errors import InputError
from atgnn.inference.explain import explain_sound


def test_the_score_is_the_largest_of_the_windows(explanation, model, clip):
    tag = next(tag for tag in model.tag(clip) if tag.label == "Tabla")
    assert explanation.score == pytest.approx(tag.score, abs=1e-4)


def test_the_logit_is_the_sum_of_its_parts(explanation):
    logit = explanation.patch_logit + explanation.own_logit + sum(value for _, value in explanation.links)
    assert torch.tensor(logit).sigmoid() == pytest.approx(explanation.score, abs=1e-4)
    assert [value for _, value in explanation.links] == sorted((v for _, v in explanation.links), reverse=True)


def test_patches_tile_the_spectrogram(explanation, model):
    height, width = explanation.log_mel.shape
    for stage, blocks in zip(explanation.stages, (1, 1, 1, 1), strict=True):
        assert sum((f2 - f) * (t2 - t) for f, t, f2, t2 in stage.patches) == height * width
        assert sum(stage.gathered.values()) == blocks * 9
        assert len(stage.neighbors) == len(stage.patches)
        assert {len(near) for near in stage.neighbors} == {9}
        assert max(map(max, stage.neighbors)) < len(stage.sources)


def test_removing_everything_is_hearing_nothing(explanation, model):
    from atgnn.inference.explain import _without

    log_mel = explanation.log_mel[None, None]
    gone = _without(log_mel, explanation.stages[2].patches, -4.5)
    assert (gone == -4.5).all()
    assert len(explanation.removals) == 5
    assert all(len(removal.random) == 3 for removal in explanation.removals)


def test_short_and_unknown(model, tmp_path):
    soundfile.write(tmp_path / "a.wav", torch.rand(8000).numpy() - 0.5, 16000)
    short = explain_sound(model, tmp_path / "a.wav", draws=1)
    assert short.label in model.labels
    assert short.frames == 48
    with pytest.raises(InputError, match="expected a label of the model"):
        explain_sound(model, tmp_path / "a.wav", "Dog")
    with pytest.raises(InputError, match="plg: true"):
        explain_sound(ATGNN(["Dog"], "pyramid-nano", n_mels=32, plg=False, llg=False).eval(), tmp_path / "a.wav")
