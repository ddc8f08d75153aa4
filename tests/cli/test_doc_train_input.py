"""`dpjax doc-train-input`: what the formats hold; that every section is there is tested with `dpjax check`."""

from __future__ import annotations

import json

import pytest

from dpjax.cli.main import main
from dpjax.cli.option_docs import markdown
from dpjax.config.schema import REQUIRED, Component, Option, Registry


def _no_mistakes(config, path, context):
    return iter(())


def _descriptors() -> Registry:
    """A kind with a component that is built and one that is not."""
    width = Option("width", int, "Number of columns.", 3)
    wide = Option("wide", bool, "Whether it is wide.", False)
    built = Component("narrow", dict, lambda: [width], _no_mistakes, alias=("thin",), doc="A narrow one.")
    later = Component("broad", dict, lambda: [wide], _no_mistakes, built=False)
    return Registry("shape", (built, later), default="narrow", doc="Which shape.")


@pytest.fixture
def section():
    """A section with an option of every kind."""
    options = [
        Option("steps", int, "How many\nsteps.", REQUIRED, alias=["nsteps", "n"]),
        Option("name", [str, None], "A name.", None, not_built="names"),
        Option("tf32", bool, "Use TF32.", False, no_effect="XLA decides"),
        Option("data", dict, "The data.", sub_fields=[Option("path", list[str], "Where.", REQUIRED)], not_built="data"),
    ]
    return Option("box", dict, "A box.", REQUIRED, sub_fields=options, sub_variants=[_descriptors().variant()])


def test_markdown(section):
    blocks = markdown([section], "Boxes").split("\n\n")
    assert blocks[0] == "# Boxes"
    assert blocks[2:] == [
        "## box",
        "(`dict`; required) A box.",
        "- **`steps`** (`int`; required; also `nsteps`, `n`) How many steps.\n"
        "- **`name`** (`null` or `str`; default: `null`) A name. *Not built yet: names.*\n"
        "- **`tf32`** (`bool`; default: `false`) Use TF32. *Not applicable: XLA decides.*\n"
        "- **`data`** (`dict`; optional) A section: see `box/data`.\n"
        '- **`type`** (`str`; default: `"narrow"`) Which shape. One of `narrow`, `broad`.',
        "### box/data",
        "(`dict`; optional) The data. *Not built yet: data.*",
        "- **`path`** (`list[str]`; required) Where.",
        "### box[narrow]",
        "(`type`: `narrow`; also `thin`) A narrow one.",
        "- **`width`** (`int`; default: `3`) Number of columns.",
        "### box[broad]",
        "(`type`: `broad`) *Not built yet: the shape `broad`.*",
        "- **`wide`** (`bool`; default: `false`) Whether it is wide.\n",
    ]


def test_markdown_of_the_real_input(capsys):
    assert main(["doc-train-input", "--out-type", "md"]) == 0
    text = capsys.readouterr().out
    for heading in ("## training\n", "### training/training_data\n", "### model[standard]/descriptor[se_e2_a]\n"):
        assert heading in text
    assert "- **`numb_steps`** (`int`; optional; also `stop_batch`" in text


@pytest.mark.parametrize("out_type", ["rst", "md", "json", "json_schema"])
def test_several_tasks(out_type, capsys):
    assert main(["doc-train-input", "--multi-task", "--out-type", out_type]) == 0
    assert "model_dict" in capsys.readouterr().out


def test_the_schema_is_that_of_the_reader(tmp_path, capsys):
    from dpjax.config import json_schema

    path = tmp_path / "deep" / "schema.json"
    assert main(["doc-train-input", "--out-type", "json_schema", "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"wrote {path}\n"
    assert json.loads(path.read_text()) == json.loads(json.dumps(json_schema()))


def test_unwritable_output(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["doc-train-input", "-o", str(tmp_path / "file" / "x.rst")]) == 1
    assert "cannot write the documentation" in capsys.readouterr().err
