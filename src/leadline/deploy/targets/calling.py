"""How other people's converters are called: quietly, and with what they raise told in one line."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings


@contextlib.contextmanager
def quiet():
    """The converters print their progress and warn of their own internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def first_line(error: BaseException) -> str:
    """What an exception says, in its first line that is not empty, without where libraries are installed."""
    text = re.sub(r"\S*/site-packages/", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
