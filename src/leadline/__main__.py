"""`python -m leadline`."""

from leadline.cli.main import run

run()
