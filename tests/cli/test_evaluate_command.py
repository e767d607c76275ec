"""leadline evaluate at the terminal: what goes to stdout, to stderr, and the exit codes."""

import csv
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from leadline.cli.evaluate import command
from leadline.errors import UserError

sys.path.append(str(Path(__file__).parent.parent / "evaluation"))
from fakes import Offset, data_set, sample


@pytest.fixture
def run(monkeypatch):
    """Runs the command on a given data set with predictors named by their offset."""

    def run_on(samples, *arguments):
        dataset = data_set(samples) if isinstance(samples, list) else samples
        monkeypatch.setattr("leadline.evaluation.runner.open_data", lambda spec, task: dataset)
        monkeypatch.setattr("leadline.zoo.load", lambda name, device: Offset(name, float(name)))
        return CliRunner().invoke(command, [*arguments, "--data", "folder:somewhere"])

    return run_on


def test_table_has_both_aggregates_of_every_model(run):
    result = run([sample("one"), sample("two", truth=90)], "0", "4")
    assert result.exit_code == 0
    d1 = next(line for line in result.stdout.splitlines() if line.startswith("│ D1 [%]"))
    assert [cell.strip() for cell in d1.split("│")[2:-1]] == ["0.00", "0.00", "50.00", "50.00"]
    assert "mean of samples" in result.stdout
    assert "all pixels" in result.stdout
    assert "foreground" not in result.stdout  # nothing here has a mask


def test_many_models_are_all_shown(run):
    models = [str(offset) for offset in range(9)]
    result = run([sample("one")], *models)
    epe = next(line for line in result.stdout.splitlines() if line.startswith("│ EPE [px]"))
    assert [float(cell) for cell in epe.split("│")[2:-1:2]] == list(range(9))


def test_per_sample_rows_on_request(run):
    samples = [sample("first_pair"), sample("second_pair")]
    assert "first_pair" not in run(samples, "0").stdout
    shown = run(samples, "0", "--per-sample").stdout
    assert shown.index("first_pair") < shown.index("second_pair")


def test_json_alone_is_on_stdout(run):
    result = run([sample("one")], "0", "4", "--json")
    parsed = json.loads(result.stdout)
    assert [model["over_samples"]["d1"] for model in parsed["models"]] == [0, 100]
    assert parsed["data"] == "folder:somewhere"


def test_csv_and_limit(run, tmp_path):
    result = run([sample("one"), sample("two")], "1", "--csv", str(tmp_path / "r.csv"), "--limit", "1")
    assert result.exit_code == 0
    rows = list(csv.DictReader((tmp_path / "r.csv").open()))
    assert [row["sample"] for row in rows] == ["", "", "one"]


def test_a_place_for_the_csv_that_cannot_be_written_is_told_before_anything_is_measured(run, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "r.csv"):
        result = run([sample("one")], "1", "--json", "--csv", str(place))
        assert isinstance(result.exception, UserError)
        assert result.stdout == ""


def test_bad_samples_are_reported_and_the_exit_code_is_1(run):
    result = run(data_set([sample("one"), sample("two")], broken=[0]), "0", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["samples"][0]["sample"] == "two"
    assert result.stderr.strip() == "not evaluated: one: one/left.png: truncated: copy it again"


def test_nothing_readable_is_a_user_error(run):
    result = run(data_set([sample("one"), sample("two")], broken=[0, 1]), "0", "--json")
    assert result.stdout == ""
    assert isinstance(result.exception, UserError)  # which the program prints as one line and turns into exit code 2
    assert "none of 2 could be evaluated" in str(result.exception)
    assert "truncated" in str(result.exception)


def test_an_empty_data_set_is_a_user_error(run):
    assert "no samples" in str(run([], "0").exception)
