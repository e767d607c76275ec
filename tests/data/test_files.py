"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from leadline.errors import UserError
from leadline.files import write_whole


def test_what_was_there_is_replaced(tmp_path: Path):
    assert write_whole(tmp_path / "new" / "a", b"one").read_bytes() == b"one"
    write_whole(tmp_path / "new" / "a", b"two")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "new").iterdir()] == [("a", b"two")]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_file_that_could_not_be_finished(tmp_path: Path, monkeypatch, error: BaseException):
    write_whole(tmp_path / "a", b"one")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises((UserError, KeyboardInterrupt)):
        write_whole(tmp_path / "a", b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"one")]
