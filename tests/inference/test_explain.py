"""Explanations: what is told of a score is what the network did."""

import time

import pytest
import soundfile
import torch

from atgnn import ATGNN
from atgnn.checkpoint import load_model
from atgnn.errors import InputError
from atgnn.inference.explain import explain_sound
from atgnn.inference.explain_page import explain, explanation_page


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def clip(pytestconfig):
    return pytestconfig.rootpath / "data" / "mini" / "clips" / "loop_tabla.flac"


@pytest.fixture(scope="module")
def explanation(model, clip):
    return explain_sound(model, clip, "Tabla", draws=3)


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
    gone = _without(log_mel, explanation.stages[2].patches)
    assert not gone.any()
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


def test_page_and_picture(clip, tmp_path):
    explain(clip, label="Tabla", out=tmp_path / "new" / "a.html", draws=1)
    page = (tmp_path / "new" / "a.html").read_text()
    assert "Tabla" in page
    assert 'src="http' not in page
    assert 'href="http' not in page
    explain(clip, out=tmp_path / "a.png", draws=1)
    assert (tmp_path / "a.png").stat().st_size > 20_000
    with pytest.raises(InputError, match=r"\.html or \.png"):
        explain(clip, out=tmp_path / "a.txt")
    with pytest.raises(InputError, match="expected --draws of at least 1"):
        explain(clip, out=tmp_path / "a.png", draws=0)


@pytest.mark.slow
def test_the_page_in_a_browser(browser, explanation, model, tmp_path):
    """Choose a stage, then a patch by a click: its neighbours are framed. The cursor follows the sound."""
    (tmp_path / "a.html").write_text(explanation_page(model, explanation))
    browser.get((tmp_path / "a.html").as_uri())
    third = explanation.stages[2]
    browser.find_elements("css selector", "input[name=stage]")[2].click()
    assert len(browser.find_elements("css selector", "#boxes rect")) == 2 * len(third.gathered)
    chosen = browser.execute_script("""
        const area = document.querySelector("#inside image").getBoundingClientRect();
        const place = {clientX: area.left + 0.55 * area.width, clientY: area.top + 0.7 * area.height, bubbles: true};
        document.getElementById("inside").dispatchEvent(new MouseEvent("click", place));
        document.querySelector("audio").currentTime = 1;
        return chosen;
    """)
    bins, frames = explanation.log_mel.shape
    f, t, f_end, t_end = third.patches[chosen]
    assert f <= 0.3 * bins < f_end
    assert t <= 0.55 * frames < t_end
    boxes = len(third.gathered) + 1 + len(third.neighbors[chosen])
    assert len(browser.find_elements("css selector", "#boxes rect")) == 2 * boxes
    cursor = browser.find_element("id", "cursor")
    end = time.monotonic() + 5
    while float(cursor.get_attribute("x1")) != 100 and time.monotonic() < end:
        time.sleep(0.1)
    assert float(cursor.get_attribute("x1")) == 100  # 10 ms a frame
