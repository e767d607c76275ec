"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something the user can mend: a path, a file, a name, an option.

    The message is one line that says what is wrong, where, and what to do. The command line prints it to
    stderr and exits with code 2; Python callers may catch it like any exception.
    """


def unknown_name(kind: str, name: str, known: list[str]) -> UserError:
    """The error for a name that is not among `known`, with the closest one suggested."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
    return UserError(f"unknown {kind} {name!r}: {hint}")
