"""A result says which sources, versions and machine it comes from."""

import re
from datetime import date

import torch

import atgnn
from atgnn.provenance import machine, provenance


def test_it_names_what_a_result_depends_on() -> None:
    about = provenance()
    assert date.fromisoformat(about["date"]) <= date.today()
    assert about["commit"] is None or re.fullmatch(r"[0-9a-f]{12}(-dirty)?", about["commit"])
    assert about["atgnn"] == atgnn.__version__
    assert about["torch"] == torch.__version__
    assert about["threads"] == 1, "of the tests"


def test_the_machine_has_a_name() -> None:
    assert machine().endswith("1 threads") or torch.cuda.is_available()
