"""The command line's root, and what its commands share.

Commands are thin; heavy imports sit inside, so that --help answers at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand

from evals.run.setting_panels import in_order
from pipeline.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])


OPTIONS = "Options"
"""The title of the options that are in no panel."""


class EachOnce(TyperCommand):
    """A command that refuses an option given twice; otherwise the last one would silently win. Its help has a section
    for each panel of options."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, the command's own options, and each panel; the panels come first if the only own option is
        `--help`."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                sections.setdefault(_title(param), []).append(record)
        titles = in_order(sections)
        if len(sections.get(OPTIONS, ())) == 1:
            titles.append(titles.pop(titles.index(OPTIONS)))
        for title in titles:
            with formatter.section(title):
                formatter.write_dl(sections[title])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")  # pydantic's words, before those of typer
            raise

    def make_parser(self, ctx: Any) -> Any:
        parser = super().make_parser(ctx)
        if ctx.resilient_parsing:  # a shell asks what may follow
            return parser
        parse = parser.parse_args

        def parse_args(args: list[str]) -> Any:
            parsed = parse(args)
            given = [one for one in parsed[2] if one.param_type_name == "option" and not one.multiple]
            for number, option in enumerate(given):
                if option in given[:number]:
                    raise UsageError(f"{' or '.join(_spellings(option))} is given twice; give it once")
            return parsed

        parser.parse_args = parse_args  # type: ignore[method-assign]
        return parser


def _title(param: Any) -> str:
    """The section of a help that lists a parameter."""
    if param.param_type_name == "argument":
        return "Arguments"
    return getattr(param, "rich_help_panel", None) or OPTIONS


def _spellings(option: Any) -> list[str]:
    """The long names of an option; a switch has another one that turns it off."""
    return [name for name in (*option.opts, *option.secondary_opts) if name.startswith("--")]


class _App(typer.Typer):
    def command(self, *names: Any, **settings: Any) -> Callable[[Command], Command]:
        made: Callable[[Command], Command] = super().command(*names, **{"cls": EachOnce, **settings})
        return made


app = _App(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time of --help
    help="An economy of language-model agents in which tax policy is designed, voted on and studied.",
)

Db = Annotated[str, typer.Option("--db", help="DuckDB file of the traces")]
AllowCode = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-code", metavar="MODULE:NAME", help="code named in the database that may be imported; repeatable"
    ),
]
AllowFile = Annotated[
    list[str] | None,
    typer.Option("--allow-file", metavar="FILE", help="file named in the database that may be opened; repeatable"),
]
DEFAULT_DB = "economist.duckdb"
