"""What a user is told. Each error is one message: what, where, what was expected, what to do."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """What may reach a terminal: names of files, ids and texts hold whatever their makers put there, escape sequences too."""
    return "".join(c if c.isprintable() or c in keep else "\ufffd" for c in text)


class CurateError(Exception):
    """Shown to the user without a traceback; `exit_code` is the command's."""

    exit_code = 1


class RecipeError(CurateError):
    """The recipe or the command is wrong; nothing was started."""

    exit_code = 2


class LedgerError(CurateError):
    """Documents or characters went missing between two counts: a bug in a stage or in the engine."""


class BudgetError(CurateError):
    """More bad records than the recipe allows."""


class StageError(CurateError):
    """A stage raised on a document: a bug, named by stage, shard and document."""


class Interrupted(Exception):
    """Ctrl-C or a request to stop; what is done stays done."""
