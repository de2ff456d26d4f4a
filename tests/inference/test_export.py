"""`atgnn export`: the same scores from one graph, at batch sizes and lengths that it was not made with."""

import json

import pytest
import torch

from atgnn import ATGNN
from atgnn.checkpoint import save_model
from atgnn.errors import InputError
from atgnn.inference.export import export


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    small = {"kind": "pyramid", "channels": [8, 16], "blocks": [1, 1], "mlg_blocks": [1, 1], "reductions": [2, 1]}
    small["head_channels"] = 16
    model = ATGNN(["Dog", "Whoosh, swoosh", "Zürich"], small, n_mels=32, clip_seconds=1.0).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    path = tmp_path_factory.mktemp("model") / "model.ckpt"
    save_model(model, path)
    return path, model


def scores(model, input, sound):
    with torch.no_grad():
        tagger = model.tagger
        log_mel = tagger.frontend(sound) if input == "waveform" else sound
        return tagger.network(tagger.frontend.normalize(log_mel)).logits.sigmoid()


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "input"), [("onnx", "waveform"), ("pt2", "log_mel")])
def test_the_graph_gives_the_same_scores(checkpoint, tmp_path, input, ending):
    path, model = checkpoint
    out = tmp_path / f"model.{ending}"
    said = export(out, checkpoint=path, input=input)
    if ending == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(out)
        about = session.get_modelmeta().custom_metadata_map

        def run(sound):
            return torch.from_numpy(session.run(["scores"], {input: sound.numpy()})[0])
    else:
        about = dict.fromkeys(("labels", "sample_rate", "input", "shortest", "trained_seconds"), "")
        run = torch.export.load(out, extra_files=about).module()
    assert json.loads(about["labels"]) == model.labels
    assert about["sample_rate"] == "16000"
    shortest = int(about["shortest"])
    unit = 1 if input == "waveform" else 160
    assert shortest < 7777 / unit
    assert f"at least {shortest} " in said
    for batch, samples in ((1, 16000), (3, 11111), (2, 40000), (2, shortest * unit), (2, 7777)):
        sound = 0.1 * torch.randn(batch, samples)
        sound = sound if input == "waveform" else model.tagger.frontend(sound)
        torch.testing.assert_close(run(sound), scores(model, input, sound), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_larger_variant(tmp_path):
    """All four stages, dilated neighbours, a label graph of 200: the size of the published networks.

    Untrained, its scores change by tenths where a sound changes by a millionth, because near ties change neighbours; so
    what blocks add is made small, and that they then hardly change is tested, too.
    """
    onnxruntime = pytest.importorskip("onnxruntime")
    model = ATGNN([f"label {n}" for n in range(200)], "pyramid-s", clip_seconds=2.0).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(
                ("after.1.weight", "project.1.weight", "conv.nn.1.weight", "label_readout", "head.4.weight")
            ):
                parameter.mul_(0.01)
    save_model(model, tmp_path / "model.ckpt")
    export(tmp_path / "model.onnx", checkpoint=tmp_path / "model.ckpt")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for batch, seconds in ((1, 2.0), (2, 2.71)):
        sound = 0.1 * torch.randn(batch, round(16000 * seconds))
        expected = scores(model, "waveform", sound)
        assert expected.std() > 0.001, "scores that differ from label to label"
        torch.testing.assert_close(scores(model, "waveform", sound * (1 + 1e-6)), expected, rtol=0, atol=5e-5)
        found = torch.from_numpy(session.run(["scores"], {"waveform": sound.numpy()})[0])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"expected OUT to end with \.onnx or \.pt2"):
        export(tmp_path / "model.tflite")
