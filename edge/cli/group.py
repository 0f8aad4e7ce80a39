"""A group of commands that imports a module only when one of its commands is used, so help stays fast."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class Group(click.Group):
    """The group.

    Args:
        modules: by command, the module that is imported on demand and in which the command has the same name.
    """

    def __init__(self, *arguments: Any, modules: Mapping[str, str], **options: Any) -> None:
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        super().__init__(*arguments, context_settings=settings, **options)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *self._modules})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands:  # if it is mistyped, click suggests similar ones among all
            for name in {cmd_name} & self._modules.keys() or self._modules:
                self.add_command(getattr(import_module(self._modules[name]), name))
        return super().get_command(ctx, cmd_name)
