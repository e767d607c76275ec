"""The door from the terminal: `leadline COMMAND`. Commands are imported when called, so that --help stays quick."""

from __future__ import annotations

import difflib
import sys
from importlib import import_module

import click

from leadline.errors import UserError
from leadline.version import __version__

COMMANDS = {
    "predict": "Disparity, depth and point cloud of one pair or many.",
    "interpolate": "Frames between frames: pairs, folders, videos.",
    "flow": "Optical flow of frame pairs, folders and videos.",
    "motion-depth": "Depth from the motion of a camera.",
    "depth": "Depth of single images, by a monocular model.",
    "train": "Train a network from a recipe; resumable.",
    "evaluate": "Models against metrics on a data set.",
    "compress": "Prune, share weights, quantise, distil.",
    "benchmark": "Accuracy against latency, side by side.",
    "export": "Models for other runtimes, each proven there.",
    "inspect": "Layers, cost, and what quantising would break.",
    "blocks": "Building blocks: cost, targets, what they do for depth.",
    "data": "List and check data sets and procedural scenes.",
    "models": "What can be loaded, with measured numbers.",
    "demo": "Render pairs, predict, evaluate, write pictures.",
}  # each lives in leadline.cli.NAME as `command`

_HELP = getattr(click.exceptions, "NoArgsIsHelpError", ())  # what click shows the help with, since 8.2
INTERRUPTED = 130  # the shell's convention for a program stopped by Ctrl-C


class Failure(click.ClickException):
    """An error of the user's, told in one line on stderr."""

    exit_code = 2

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))

    def show(self, file=None) -> None:
        click.echo(f"leadline: {self.message}", file=file or sys.stderr)


class Misuse(Failure):
    """A command or option that is not there, missing or malformed; click would tell it in four lines."""

    def __init__(self, error: click.UsageError):
        told = error.format_message().rstrip(".")
        where = error.ctx.command_path if error.ctx is not None else "leadline"
        super().__init__(f"{told[:1].lower()}{told[1:]} (see `{where} --help`)")


class Unexpected(Failure):
    """An error of leadline's."""

    exit_code = 1


class Table(click.Group):
    """Knows its commands by name and imports each, as `command`, from the module of its name when it is called."""

    commands_in: str  # package
    table: dict[str, str]  # name -> what it does

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        return import_module(f"{self.commands_in}.{cmd_name.replace('-', '_')}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.table.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]):
        name = args[0]
        if name not in self.table and not name.startswith("-"):
            close = difflib.get_close_matches(name, self.table, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(self.table)}"
            raise click.UsageError(f"no such command {name!r}: {hint}", ctx)
        return super().resolve_command(ctx, args)


class Commands(Table):
    """The program: whatever goes wrong in a command becomes one line."""

    commands_in = "leadline.cli"
    table = COMMANDS

    def make_context(self, *args, **kwargs) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except _HELP:
            raise
        except click.UsageError as error:
            raise Misuse(error) from error

    def invoke(self, ctx: click.Context):
        """Runs the command; whatever goes wrong becomes one line, unless --debug asks for the traceback."""
        try:
            return super().invoke(ctx)
        except _HELP:
            raise
        except click.UsageError as error:
            raise Misuse(error) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("leadline: stopped", err=True)
            ctx.exit(INTERRUPTED)
        except UserError as error:
            if ctx.params["debug"]:
                raise
            raise Failure(str(error)) from error
        except Exception as error:
            if ctx.params["debug"]:
                raise
            raise Unexpected(
                f"unexpected {type(error).__name__}: {error}: run it again as `leadline --debug ...` and report it"
            ) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="leadline")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """From image pairs to a small, verified depth model on a device.

    Exit codes: 0 done · 1 some items of a batch failed, or an unexpected error · 2 something to mend in the call or
    its files.
    """


def run() -> None:
    """The `leadline` program."""
    main(prog_name="leadline")
