"""Options as people type them, and what is said of wrong ones."""

import pytest

from atgnn import cli
from atgnn.options import in_a_sentence, typed


def search(files: "list[str]", *, max_depth: "int" = 3, follow: "bool" = False) -> None:
    """Stand for a command."""


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ("a.wav --max-depth 4", "a.wav --max_depth 4"),
        ("--max-depth=a-b --follow", "--max_depth=a-b --follow true"),
        ("--follow a-b.wav", "--follow true a-b.wav"),
        ("--follow false --max_depth 4", "--follow false --max_depth 4"),
        ("-o --follow -", "--out --follow true -"),
    ],
)
def test_dashes_and_switches(args, options):
    assert typed(args.split(), search) == options.split()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("tag", "expected files, got none; `atgnn tag --help`"),
        ("tag --top many x.wav", "expected a whole number for --top, got many"),
        ("tag --threshold x x.wav", "expected a number for --threshold, got x"),
        ("tag --format yaml x.wav", "expected table, json, csv, parquet, audacity, rttm for --format, got yaml"),
        ("tag --tops 3 x.wav", "unrecognized arguments: --tops"),
        ("tga x.wav", "got 'tga x.wav'; perhaps tag?"),
        ("shards wrote a b", "got 'shards wrote'; perhaps shards write"),
        ("weights", "or weights import or "),
        ("fit", "expected fit.data.shards, fit.model, got none; give a recipe, -c experiments/base.yaml"),
        ("fit -c BASE --model.kk 3", "expected a setting of model, got kk"),
        ("fit -c BASE --model.k many", "expected a whole number for --model.k, got many"),
        ("fit -c absent.yaml", "File does not exist"),
    ],
)
def test_wrong_options_are_told_in_one_sentence(args, said, capsys, pytestconfig):
    base = str(pytestconfig.rootpath / "experiments" / "base.yaml")
    assert cli.main(args.replace("BASE", base).split()) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line.startswith("atgnn: ")
    assert said in line


def test_what_is_not_known_is_told_as_it_is():
    assert in_a_sentence("argument --top:\n  expected one argument") == "argument --top: expected one argument"


def test_help_shows_what_can_be_typed(capsys):
    with pytest.raises(SystemExit):
        cli.main(["weights", "import", "--help"])
    printed = capsys.readouterr().out
    assert "--clip-seconds" in printed
    assert "(default: 4.5699)" in printed
    assert "(required)" in printed
    assert "Show this help" in printed
    assert "class '" not in printed
