"""The `leadline` program itself: help, errors, exit codes."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from leadline.cli import main as main_module
from leadline.cli.main import COMMANDS, main
from leadline.errors import UserError


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from leadline.cli.main import run; sys.argv = ['leadline', '--help']\n"
        "try: run()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'numpy', 'cv2', 'lightning', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


def test_help_of_predict_imports_no_torch():
    code = (
        "import sys; from leadline.cli.main import main\n"
        "main(['predict', '--help'], standalone_mode=False)\n"
        "assert not {'torch', 'cv2'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--baseline" in done.stdout


def test_unknown_command_and_option_exit_with_2():
    unknown = CliRunner().invoke(main, ["predikt"])
    assert unknown.exit_code == 2
    assert "did you mean 'predict'" in unknown.stderr
    assert CliRunner().invoke(main, ["--nonsense"]).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--nonsense"], "no such option"),
        (["predict", "a", "b", "-o", "c", "--ocluded", "mask"], "'--occluded'"),
        (["predict", "a", "b", "-o", "c", "--focal", "x"], "'--focal': 'x' is not a valid float"),
        (["predict", "a"], "missing argument 'RIGHT'"),
        (["data", "chek"], "'check'"),
    ],
)
def test_a_call_that_is_wrong_is_told_in_one_line(arguments, told):
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("leadline: ")
    assert result.stderr.count("\n") == 1
    assert told.replace("'", "") in result.stderr.replace("'", "")  # click's versions differ in their quotes
    assert result.stderr.endswith(" --help`)\n")


@pytest.mark.parametrize("arguments", [[], ["data"]])
def test_without_a_command_the_help_is_shown(arguments):
    assert "Commands:" in CliRunner().invoke(main, arguments).output


@pytest.fixture
def failing(monkeypatch):
    """A command "fails" that raises what it is given."""

    def with_error(error, *arguments):
        @click.command()
        def command():
            raise error

        monkeypatch.setitem(COMMANDS, "fails", "")
        monkeypatch.setattr(main_module, "import_module", lambda name: type("module", (), {"command": command}))
        return CliRunner().invoke(main, [*arguments, "fails"])

    return with_error


def test_a_user_error_is_one_line_and_exit_code_2(failing):
    result = failing(UserError("here: wrong:\ndo that"))
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", "leadline: here: wrong: do that\n")


def test_an_unexpected_error_is_one_line_and_exit_code_1(failing):
    result = failing(ValueError("odd"))
    assert result.exit_code == 1
    assert result.stderr.startswith("leadline: unexpected ValueError: odd")
    assert result.stderr.count("\n") == 1


def test_debug_lets_errors_through(failing):
    assert isinstance(failing(UserError("x"), "--debug").exception, UserError)
    assert isinstance(failing(ValueError("x"), "--debug").exception, ValueError)


def test_ctrl_c_is_told_without_a_traceback(failing):
    result = failing(KeyboardInterrupt())
    assert (result.exit_code, result.stderr) == (130, "leadline: stopped\n")
