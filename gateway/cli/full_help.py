"""Help texts that are complete at any width of the terminal."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

NO_LIMIT = 10_000
"""Characters of a short help text: more than any has."""


class FullHelpGroup(TyperGroup):
    """A group of commands whose list has the whole first sentence of each, on as many lines as it needs."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list. The inherited version cuts each text to one line.

        typer exports neither type: `ctx` is its context, `formatter` writes the help.
        """
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, each.get_short_help_str(NO_LIMIT)) for name, each in commands if each and not each.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
