"""A group of commands that imports a module only when one of its commands is used, so help stays fast."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class Group(click.Group):
    """The group.

    Args:
        modules: the defining module of each command that is imported on demand.
        arguments: passed on to `click.Group`.
    """

    def __init__(self, *arguments: Any, modules: Mapping[str, str], **options: Any) -> None:
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        super().__init__(*arguments, context_settings=settings, **options)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *self._modules})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._modules:
            import_module(self._modules[cmd_name])
        elif cmd_name not in self.commands:  # mistyped: click suggests similar commands
            for module in self._modules.values():
                import_module(module)
        return super().get_command(ctx, cmd_name)
