"""``dpjax check``: whether a training with an input could start, and what it would need; nothing is trained."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpjax.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("input", metavar="INPUT", help="input file, JSON or YAML")
    complete = parser.add_mutually_exclusive_group()
    complete.add_argument("-o", "--output", metavar="FILE", help="write the input with all defaults there")
    complete.add_argument(
        "--print", action="store_true", help="print the input with all defaults, and check nothing else"
    )
    parser.add_argument(
        "--config-only", action="store_true",
        help="check the input alone, neither data nor memory; options that are not built yet are listed, not refused",
    )  # fmt: skip
    parser.add_argument(
        "--no-compile", action="store_true", help="do not compile a step, and leave its memory out of the estimate"
    )


def run(args: argparse.Namespace) -> None:
    """Checks and reports."""
    from dpjax.config import Config, load_any, normalize

    config = None if args.config_only else load_any(_thawed(args.input))
    text = json.dumps(normalize(args.input) if config is None else config.raw, indent=4)
    if args.print:
        print(text)
        return
    print(f"input: {args.input} is valid")
    if args.output:
        _write(args.output, text)
    if config is None:
        _list_not_built(args.input)
    elif isinstance(config, Config):
        _forecast(config, compiled=not args.no_compile)
    else:
        for name, task in config.configs.items():
            print(f"task {name}:")
            _forecast(task, compiled=not args.no_compile)


def _write(path: str, text: str) -> None:
    from dpjax.errors import OutputError

    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot write the input: {error.strerror}") from error
    print(f"wrote {path}")


def _thawed(path: str) -> Any:
    """The input, with the models of their files in the places of frozen ones: only these need more than the input."""
    from dpjax.config.files import read

    data = read(Path(path))[0]
    model = data.get("model") if isinstance(data, dict) else None
    models = model.get("models") if isinstance(model, dict) else None
    parts = models.values() if isinstance(models, dict) else models if isinstance(models, list) else ()
    if not any(isinstance(part, dict) and part.get("type") == "frozen" for part in (model, *parts)):
        return path
    from dpjax.interfaces.train import with_frozen

    return with_frozen(path)[0]


def _list_not_built(path: str) -> None:
    from dpjax.config import not_built

    problems = not_built(path)
    if problems:
        print("not built yet in this version:")
    for problem in problems:
        print(f"  {problem}")


def _forecast(config: Config, compiled: bool) -> None:
    from dpjax.interfaces.modifiers import MODIFIERS
    from dpjax.training.forecast import forecast
    from dpjax.training.report import lines

    for line in lines(forecast(config, compiled, MODIFIERS)):
        print(line)
