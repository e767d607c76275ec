"""`leadline blocks` as people call it."""

import csv

import pytest
from click.testing import CliRunner

from leadline.blocks import CATALOGUE
from leadline.cli.blocks import parse_time
from leadline.cli.main import main
from leadline.errors import UserError


def call(*arguments):
    return CliRunner().invoke(main, ["blocks", *map(str, arguments)])


def test_the_catalogue_is_listed():
    result = call()
    assert result.exit_code == 0
    for name in CATALOGUE:
        assert name in result.stdout


def test_one_family_on_one_target_to_a_file_and_a_page(tmp_path):
    pytest.importorskip("onnxruntime")
    table, page = tmp_path / "m.csv", tmp_path / "m.md"
    arguments = ("--block", "conv-1x1,channel-shuffle", "--target", "onnx", "-o", table, "--page", page)
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["block"] for row in rows] == ["conv-1x1", "channel-shuffle"]
    assert {row["result"] for row in rows} == {"agrees"}
    assert rows[1]["of_plain"] == ""
    assert "channel-shuffle" in page.read_text()
    again = call(*arguments)
    assert "channel-shuffle · onnx" not in again.stderr  # nothing is measured twice


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--family", "pool"], "did you mean 'pooling'"),
        (["--block", "blurpool"], "did you mean 'blur-pool'"),
        (["--target", "onx", "--block", "conv-1x1"], "did you mean 'onnx'"),
        (["--target", ",", "--block", "conv-1x1"], "empty list"),
        (["compare", "--family", "convs"], "did you mean 'conv'"),
        (["compare", "--family", "conv", "--budget", "10"], "write it as"),
        (["compare"], "family"),
    ],
)
def test_mistakes_are_one_line(arguments, told):
    result = call(*arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_times():
    assert [parse_time(text) for text in ("90s", "10min", "1.5h")] == [90, 600, 5400]
    with pytest.raises(UserError):
        parse_time("0s")
