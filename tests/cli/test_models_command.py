"""leadline models: the table and its JSON."""

import json

from click.testing import CliRunner

from leadline import models
from leadline.cli.main import main


def test_every_network_and_classical_algorithm_is_listed():
    text = CliRunner().invoke(main, ["models"])
    told = CliRunner().invoke(main, ["models", "--json"])
    assert (text.exit_code, told.exit_code) == (0, 0)
    names = {entry["name"] for entry in json.loads(told.stdout)["models"]}
    assert names >= {"sgbm", "sgbm-padded", "bm", *models.names()}
    assert all(name in text.stdout for name in names)
