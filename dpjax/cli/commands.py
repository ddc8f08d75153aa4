"""The table of subcommands, and DeePMD-kit's verbs that are none here."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Command:
    """A line of the table.

    Attributes:
        name: as typed.
        help: one line.
        examples: command lines, without ``dpjax``.
        module: below ``dpjax.cli``; has ``add_arguments(parser)`` and ``run(args) -> int | None``.
        aliases: other spellings.
    """

    name: str
    help: str
    examples: tuple[str, ...]
    module: str
    aliases: tuple[str, ...] = ()

    def load(self) -> ModuleType:
        """The module, imported now."""
        return importlib.import_module(f"dpjax.cli.{self.module}")


COMMANDS = (
    Command("train", "train a model from an input file", ("train input.json -o run", "train input.json -o run --restart"), "train"),
    Command("test", "compare a model with labelled data", ("test -m run -s data/valid -n 100 -d run/test",), "test"),
    Command("plot", "draw the learning curve of a training", ("plot run/lcurve.out -o lcurve.png",), "plot"),
    Command("check", "check an input file before a training", ("check input.json", "check input.json -o full.json"), "check"),
    Command("neighbor-stat", "count neighbours in data, to choose sel", ("neighbor-stat -s data -r 6.0 -t O H",), "neighbor_stat"),
    Command("show", "print what a model is made of", ("show run type-map descriptor",), "show"),
    Command("convert", "write a model in another format", ("convert run model.dp",), "convert", ("convert-backend",)),
    Command("freeze", "write a model as one portable file", ("freeze -c run -o model.dpx",), "freeze"),
    Command(
        "doc-train-input", "print the documentation of every input key",
        ("doc-train-input --out-type md -o input.md", "doc-train-input --out-type json_schema -o schema.json"),
        "doc_train_input",
    ),
    Command(
        "show-options", "list every input option and what it means in this version",
        ("show-options training", "show-options --status refused"), "show_options",
    ),
    Command("gui", "edit an input file in a browser", ("gui -p 6042",), "gui"),
    Command(
        "md", "molecular dynamics of a structure",
        (
            "md model.dp water.xyz -o md --ensemble nvt --temperature 300 --steps 20000",
            "md model.dp water.xyz -o md --ensemble nvt --temperature 300 --steps 40000 --restart",
        ),
        "md",
    ),
    Command(
        "train-nvnmd", "train one of the two stages of a model for the NVNMD hardware",
        ("train-nvnmd cnn.json -s s1", "train-nvnmd qnn.json -s s2"), "train_nvnmd",
    ),
    Command(
        "compress", "write a model with tables in place of its embedding nets",
        ("compress -i run -o model.dpx", "compress -i model.dp -t input.json -o model.dpx"), "compress",
    ),
    Command(
        "model-devi", "deviation between models on given structures",
        ("model-devi -m a.dp b.dp -s data -o model_devi.out", "model-devi -m ensemble_run -s data"), "model_devi",
    ),
    Command(
        "change-bias", "change the bias per type of a model, to new data or to given numbers",
        ("change-bias run -s data -o shifted", "change-bias model.dp -b -94.1 -187.5 -o shifted.dp"), "change_bias",
    ),
    Command(
        "eval-desc", "write descriptors of given structures",
        ("eval-desc -m model.dp -s data -o desc", "eval-desc -m run -s data --last-layer"), "eval_desc",
    ),
    Command(
        "embed", "write descriptors and features of given structures as one file",
        ("embed -m run -s data -o embedding.hdf5",), "embed",
    ),
)  # fmt: skip

ELSEWHERE = {
    "convert-from": "brings old frozen TensorFlow files up to date, which dpjax does not read. Let DeePMD-kit write a file that "
    "both read: `dp convert-from -i old.pb -o new.pb`, then `dp convert-backend new.pb model.dp`",
    "transfer": "copies parameters between frozen TensorFlow files, which dpjax does not read. To start a training from "
    "the parameters of another model, use `dpjax train INPUT --init-model MODEL`",
    "pretrained": "downloads models, which dpjax does not do. Fetch one with `dp pretrained download`, and bring it over with "
    "`dp convert-backend MODEL model.dp`",
}
"""Verbs of DeePMD-kit without a command here: how a sentence that begins with the verb goes on."""


def command_of(word: str) -> Command | None:
    """The command of a name or alias."""
    return next((c for c in COMMANDS if word == c.name or word in c.aliases), None)


def names() -> Iterable[str]:
    """Every name and alias."""
    return [name for c in COMMANDS for name in (c.name, *c.aliases)]
