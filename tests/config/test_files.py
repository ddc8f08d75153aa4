"""Input files: JSON and YAML are equal, and a broken file is located."""

from __future__ import annotations

import json

import pytest
import yaml

from dpjax import config
from dpjax.errors import ConfigError
from tests.config.inputs import WATER, water


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def message(path) -> str:
    with pytest.raises(ConfigError) as info:
        config.load(path)
    return str(info.value)


def test_json_and_yaml_are_equal(tmp_path):
    from_json = config.load(write(tmp_path, "input.json", json.dumps(WATER)))
    from_yaml = config.load(str(write(tmp_path, "input.yaml", yaml.safe_dump(WATER))))
    assert from_json == from_yaml
    assert from_json.raw == config.normalize(WATER)
    assert from_json.base == tmp_path


def test_yaml_numbers_are_written_as_people_write_them(tmp_path):
    data = yaml.safe_dump(water({"learning_rate": {"start_lr": 0.5}})).replace("start_lr: 0.5", "start_lr: 1e-3")
    assert config.load(write(tmp_path, "input.yml", data)).learning_rate.start_lr == 1e-3


def test_broken_json_names_line_and_column(tmp_path):
    path = write(tmp_path, "input.json", '{\n  "model": {},\n  "loss": {} "training": {}\n}')
    assert message(path).startswith(f"{path}, line 3, column 14: not valid JSON")


def test_empty_file(tmp_path):
    assert "line 1, column 1: not valid JSON: Expecting value: the file is empty" in message(
        write(tmp_path, "input.json", "")
    )
    for end in ("", "\n", "\n\n "):
        cut = write(tmp_path, "input.json", '{"model": {"type_map": ["O"]' + end)
        assert "the file ends there, before its sections are closed" in message(cut)


def test_broken_yaml_names_line_and_column(tmp_path):
    path = write(tmp_path, "input.yaml", "model:\n  a: [1, 2\nloss: 3\n")
    assert message(path).startswith(f"{path}, line 3, column")


@pytest.mark.parametrize("name", ["input.json", "input.yaml"])
def test_a_key_given_twice(tmp_path, name):
    path = write(tmp_path, name, '{"_comment": 1, "_comment": 2, "loss": {}, "loss": {}}')
    assert message(path) == f"{path}: the key `loss` is given twice in one section. Keep one."


@pytest.mark.parametrize(("name", "text"), [("a.json", "[1]"), ("a.yaml", "- 1\n"), ("b.yaml", "")])
def test_not_a_mapping(tmp_path, name, text):
    assert "expected a mapping" in message(write(tmp_path, name, text))


def test_missing_and_unreadable_files(tmp_path):
    assert "no such file" in message(tmp_path / "absent.json")
    assert "cannot be read" in message(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    assert "cannot be read" in message(tmp_path / "latin.json")


def test_errors_inside_name_the_file(tmp_path):
    path = write(tmp_path, "input.json", json.dumps(water({"modle": {}})))
    assert message(path).startswith(f"{path}, line 1: modle: unknown key")
