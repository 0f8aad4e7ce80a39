"""What the documentation site has beside docs/*.md: README as its first page, and every command's own help.

A hook of mkdocs (mkdocs.yml). README and the commands stay the one place where each thing is said. Nothing may be
loaded from elsewhere when a page is read; the last hook looks for it in what was built.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import griffe
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
SHOTS = ROOT / "build" / "page"  # pictures of the page, where its browser tests ran: make test-web


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made here."""
    files.append(File.generated(config, "index.md", content=readme()))
    files.append(File.generated(config, "commands.md", content="\n".join(commands())))
    for shot in SHOTS.glob("*-desktop-light.png"):
        files.append(File.generated(config, f"page/{shot.name}", abs_src_path=str(shot)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Show the page's pictures, and turn links to files of the project that are no pages into their paths."""

    def plain(link: re.Match[str]) -> str:
        text, path = link.groups()
        if not (ROOT / path).exists():
            raise PluginError(f"{page.file.src_uri}: there is no ../{path}")
        return f"{text} (`{path}`)" if text.strip("`") != path else f"`{path}`"

    def pictures(names: re.Match[str]) -> str:
        shots = [SHOTS / f"{name}-desktop-light.png" for name in names[1].split()]
        return "\n\n".join(
            f"![the page {shot.stem.split('-')[0]}](page/{shot.name})" for shot in shots if shot.exists()
        )

    markdown = re.sub("<!-- the page: ([a-z ]+) -->", pictures, markdown)
    return re.sub(r"\[([^]]+)\]\(\.\./([^)#]+)\)", plain, markdown)


def on_post_build(config: Any) -> None:
    """Refuse a site that loads anything from elsewhere."""
    loads = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=["']?((?:https?:)?//[^"' >]+)""")
    for file in Path(config["site_dir"]).rglob("*.html"):
        for address in loads.findall(file.read_text()):
            raise PluginError(f"{file.name} loads {address}; the site must work without a network")


class Doctests(griffe.Extension):
    """Shows the examples in docstrings, which doctest runs, as code."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = re.sub(r"(?m)^>>> .*(?:\n.+)*", "```pycon\n\\g<0>\n```", obj.docstring.value)


def readme() -> str:
    """Return README as the first page: its links to docs/ lead to the site's pages."""
    text = (ROOT / "README.md").read_text().replace("(CHANGELOG.md)", "(../CHANGELOG.md)")
    return text.replace("](docs/", "](")


def commands() -> Iterator[str]:
    """Yield the lines of the command reference, as each command's `--help` has it."""
    from edge.cli.app import cli as edge
    from export.cli.app import cli as export

    yield "# Commands\n\nMade from the commands themselves: `edge COMMAND --help` prints the same.\n"
    for name, group in (("edge", edge), ("edge-export", export)):
        yield f"## {name}\n\n{_prose(group.help)}\n"
        context = click.Context(group, info_name=name)
        for each in group.list_commands(context):
            command = group.get_command(context, each)
            assert command is not None
            below = click.Context(command, context, each)
            usage = " ".join(command.collect_usage_pieces(below))
            yield f"### {name} {each}\n\n```\n{name} {each} {usage}\n```\n\n{_prose(command.help)}\n"
            rows = [row for row in (option.get_help_record(below) for option in command.params) if row and row[1]]
            yield "| option | what it does |\n|---|---|" if rows else ""
            for option, says in rows:
                yield f"| `{option}` | {_prose(says)} |".replace("\n", " ")
            yield ""


def _prose(text: str | None) -> str:
    return inspect.cleandoc((text or "").replace("\b", "")).replace("<", "&lt;").replace("|", "\\|")
