"""Models that start from published, ImageNet or other weights."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.test_weights import needs_vectors, read

from atgnn import ATGNN
from atgnn.checkpoint import load_model, save_model
from atgnn.errors import InputError
from atgnn.network import ATGNNNetwork
from atgnn.transfer import export_weights, import_weights, read_published, start_from, transfer
from atgnn.weights import published_state_dict

LABELS = [f"label {number}" for number in range(10)]


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(LABELS))
    return path


@pytest.fixture
def imagenet(tmp_path):
    """Weights in the layout of a Pyramid-ViG for images of 64×64 in three colours, as training scripts wrap them."""
    torch.manual_seed(0)
    network = ATGNNNetwork(1000, "pyramid-nano", n_mels=64, n_frames=64, plg=False, llg=False, tables=True)
    torch.nn.init.normal_(network.position.weight)
    state = published_state_dict(network)
    grey = state["stem.convs.0.weight"]
    state["stem.convs.0.weight"] = torch.cat((grey - 1, grey, grey + 1), dim=1)
    path = tmp_path / "pvig.pth.tar"
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, path)
    return path, network


@needs_vectors
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_imported_weights_give_the_published_logits(tmp_path, labels, suffix):
    settings, weights, expected = read("pyramid_mr_mlg")
    torch.save({"state_dict": weights}, tmp_path / "published.pth.tar")
    report = import_weights(
        tmp_path / "published.pth.tar",
        tmp_path / f"out{suffix}",
        labels=labels,
        k=settings["k"],
        label_k=settings["k_plg"],
    )
    assert f"loaded all {len(weights)} tensors" in report
    model = load_model(tmp_path / f"out{suffix}")
    assert model.labels == LABELS
    with torch.inference_mode():
        logits = model.tagger.network(expected["input"].transpose(1, 2).unsqueeze(1)).logits
    torch.testing.assert_close(logits, expected["logits"], atol=1e-4, rtol=1e-4)
    assert model(torch.randn(1, 16000)).shape == (1, 10)  # any other length, too

    export_weights(tmp_path / f"out{suffix}", tmp_path / "again.safetensors")
    again = load_file(tmp_path / "again.safetensors")
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[key], weights[key]) for key in weights)


@needs_vectors
def test_labels_must_be_as_many_as_the_weights_know(tmp_path, labels):
    _, weights, _ = read("pyramid_mr")
    save_file({key: value.contiguous() for key, value in weights.items()}, tmp_path / "published.safetensors")
    labels.write_text("Dog\nCat")
    with pytest.raises(InputError, match="expected the 10 labels of the weights, got 2"):
        import_weights(tmp_path / "published.safetensors", tmp_path / "out.ckpt", labels=labels)
    assert not (tmp_path / "out.ckpt").exists()


def test_an_encoder_starts_from_an_image_model(tmp_path, labels, imagenet):
    path, image = imagenet
    report = import_weights(path, tmp_path / "out.ckpt", labels=labels, imagenet=True, clip_seconds=1.28)
    model = ATGNN.load_from_checkpoint(tmp_path / "out.ckpt", weights_only=True)
    network = model.tagger.network
    torch.testing.assert_close(network.stem[0].weight, image.stem[0].weight)  # the mean of the three colours
    torch.testing.assert_close(network.stages[2][1].conv.nn[0].weight, image.stages[2][1].conv.nn[0].weight)
    assert network.position.weight.shape == (1, 16, 32, 32)
    torch.testing.assert_close(
        network.position.weight,
        torch.nn.functional.interpolate(image.position.weight, size=(32, 32), mode="bicubic"),
    )
    assert "resized     2  position.weight, stem.0.weight" in report
    assert "left        5" in report  # the tables: ours needs none
    assert "stages.0.0.graph.table" in report
    assert "fresh" in report
    assert "head.0.weight" in report


def test_tables_are_resized():
    small, large = (
        ATGNNNetwork(3, "pyramid-nano", n_mels=32, n_frames=frames, plg=False, llg=False, tables=True)
        for frames in (32, 64)
    )
    done = transfer(small.state_dict(), large, same_labels=True)
    assert "stages.3.0.graph.table" in done.resized
    assert not done.left
    assert not done.fresh


def test_what_belongs_to_labels_is_left_to_other_labels(tmp_path):
    torch.manual_seed(0)
    settings = {"variant": "pyramid-nano", "n_mels": 32, "clip_seconds": 0.5}
    old, new = ATGNN(["Dog", "Cat"], **settings), ATGNN(["Rain", "Wind"], **settings)
    save_model(old, tmp_path / "old.ckpt")
    before = new.tagger.network.label_embedding.clone()
    done = start_from(new, tmp_path / "old.ckpt")
    assert torch.equal(new.tagger.network.label_embedding, before)
    assert {"head.4.weight", "label_embedding", "label_readout", "label_stages.0.support.0.weight"} <= set(done.fresh)
    assert torch.equal(new.tagger.network.head[0].weight, old.tagger.network.head[0].weight)

    same = ATGNN(["Dog", "Cat"], **settings)
    assert not start_from(same, tmp_path / "old.ckpt").fresh
    assert torch.equal(same.tagger.network.label_embedding, old.tagger.network.label_embedding)


def test_weights_of_another_size_do_not_start_a_model(tmp_path):
    save_model(ATGNN(["Dog"], "pyramid-nano", n_mels=32, clip_seconds=0.5), tmp_path / "old.ckpt")
    with pytest.raises(InputError, match=r"whose encoder does not fit; set model\.variant"):
        start_from(ATGNN(["Dog"], "pyramid-micro", n_mels=32, clip_seconds=0.5), tmp_path / "old.ckpt")


@pytest.mark.parametrize("name", ["noise.pth.tar", "noise.safetensors"])
def test_not_weights(tmp_path, name):
    with pytest.raises(InputError, match="got no such file"):
        read_published(tmp_path / name)
    (tmp_path / name).write_bytes(bytes(range(256)) * 10)
    with pytest.raises(InputError, match="which is neither"):
        read_published(tmp_path / name)


def test_code_in_a_file_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth.tar")
    with pytest.raises(InputError, match="which is neither"):
        read_published(tmp_path / "evil.pth.tar")
    assert not (tmp_path / "ran").exists()


def test_the_command(tmp_path, labels, imagenet):
    path, _ = imagenet
    command = [
        sys.executable,
        "-c",
        "from atgnn.cli import run; run()",
        "weights",
        "import",
        str(path),
        str(tmp_path / "out.ckpt"),
    ]
    done = subprocess.run([*command, "--labels", str(labels), "--imagenet", "true"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "10 labels" in done.stdout
