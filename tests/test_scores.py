"""Scores: pooled over folds, measured, refused when they do not fit."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score, roc_auc_score

from atgnn.errors import InputError
from atgnn.scores import Scores


def make(keys: str, labels: tuple[str, ...] = ("a", "b", "c"), seed: int = 0, about: dict | None = None) -> Scores:
    rng = np.random.default_rng(seed)
    targets = (rng.random((len(keys), len(labels))) < 0.5).astype(np.uint8)
    targets[:, -1] = 0
    return Scores(list(keys), list(labels), rng.random(targets.shape).astype(np.float32), targets, about or {})


def test_a_file_holds_what_was_saved(tmp_path):
    scores = make("pqrs")
    scores.about = {"steps": 7, "seconds": 2.5}
    scores.save(tmp_path / "runs" / "scores.npz")
    loaded = Scores.load(tmp_path / "runs" / "scores.npz")
    assert loaded.keys == scores.keys
    assert loaded.labels == scores.labels
    np.testing.assert_array_equal(loaded.scores, scores.scores)
    np.testing.assert_array_equal(loaded.targets, scores.targets)
    assert loaded.about == {"steps": 7, "seconds": 2.5}


def test_folds_are_pooled_before_average_precision(tmp_path):
    parts = [make("pqrs", seed=1), make("tuvwx", seed=2)]
    for number, part in enumerate(parts):
        part.about["seconds"] = 2.0
        part.save(tmp_path / f"{number}.npz")
    pooled = Scores.load(tmp_path / "0.npz", tmp_path / "1.npz")
    assert pooled.about["seconds"] == 4.0
    pooled = pooled.average_precision()
    for label in range(2):
        expected = average_precision_score(
            np.concatenate([p.targets[:, label] for p in parts]), np.concatenate([p.scores[:, label] for p in parts])
        )
        assert pooled[label] == pytest.approx(expected)
    assert np.isnan(pooled[2]), "a label without a positive has no average precision"


def test_chance_is_the_share_of_positives():
    scores = Scores(["p", "q"], ["a", "b"], np.zeros((2, 2)), np.array([[1, 0], [0, 0]]))
    np.testing.assert_array_equal(scores.chance(), [0.5, np.nan])


def test_measures_are_those_of_scikit_learn():
    scores = make("pqrstuvwxyz", seed=3)
    for label in range(2):
        expected = roc_auc_score(scores.targets[:, label], scores.scores[:, label])
        assert scores.roc_auc()[label] == pytest.approx(expected)
    positives = scores.targets.sum(1)
    lrap = label_ranking_average_precision_score(scores.targets, scores.scores, sample_weight=positives)
    assert scores.lwlrap() == pytest.approx(lrap)


def test_labels_that_no_clip_or_every_clip_has():
    scores = Scores(["p", "q"], ["a", "b"], np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([[1, 0], [1, 0]]))
    np.testing.assert_array_equal(scores.average_precision(), [1, np.nan])
    np.testing.assert_array_equal(scores.roc_auc(), [np.nan, np.nan])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"one.npz": make("pq"), "two.npz": make("qr")}, "got clip 'q' twice"),
        ({"one.npz": make("pq"), "two.npz": make("rs", ("a", "b", "d"))}, "got others"),
        (
            {"one.npz": make("pq"), "two.npz": make("rs", about={"protocol": "windows", "scale": "logits"})},
            r"expected probabilities by protocol first as in .*one.npz, got logits by windows in .*two.npz",
        ),
    ],
)
def test_parts_that_do_not_pool(tmp_path, files, message):
    for name, scores in files.items():
        scores.save(tmp_path / name)
    with pytest.raises(InputError, match=message):
        Scores.load(*(tmp_path / name for name in files))


def test_not_a_file_of_scores(tmp_path):
    with pytest.raises(InputError, match="got none"):
        Scores.load(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InputError, match="got something else"):
        Scores.load(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="got something else"):
        Scores.load(tmp_path / "other.npz")
