"""One run names every mistake, with the line on which it stands."""

from __future__ import annotations

import json

import pytest

from dpjax import config
from dpjax.config.positions import json_lines, line_of, yaml_lines
from dpjax.errors import ConfigError
from tests.config.inputs import REMOVE, water

YAML = """\
# water
model:
  type_map: [O, H]
  descriptor: {type: se_e2_a, sel: [46, 92],
    rcutt: 6.0}
  fitting_net:
    neuron:
      - 8
      - none
training:
  training_data: {systems: data}
  numb_stepp: 10
learning_rate: {start_lr: 0.001}
"""

SEVERAL = {
    "model/descriptor/rcut": -1.0,
    "model/descriptor/neuron": [4, "8"],
    "model/fitting_net/type": "enr",
    "learning_rate/start_lr": REMOVE,
    "loss/limit_pref_f": -3,
    "training/numb_stepp": 3,
    "training/training_data/batch_size": 0,
    "dpjax/prefetch": -1,
}


def several() -> list[str]:
    with pytest.raises(ConfigError) as info:
        config.normalize(water(SEVERAL))
    assert str(info.value).startswith(f"the input: {len(info.value.problems)} mistakes\n  ")
    return [str(p) for p in info.value.problems]


@pytest.mark.parametrize(
    "start",
    [
        "model/descriptor/neuron/1: found '8' (str), expected int.",
        "model/fitting_net/type: unknown fitting net 'enr'. Did you mean `ener`?",
        "learning_rate/start_lr: missing",
        "loss/limit_pref_f: found -3",
        "training/numb_stepp: unknown key",
        "training/training_data/batch_size: found 0",
        "dpjax/prefetch: found -1",
    ],
)
def test_every_mistake_is_named_at_once(start):
    assert any(text.startswith(start) for text in several())


def test_checks_of_a_section_wait_until_its_keys_are_right():
    assert not any("rcut: found -1" in text for text in several())  # neuron is of a wrong type there
    edits = {k: v for k, v in SEVERAL.items() if k != "model/descriptor/neuron"}
    with pytest.raises(ConfigError, match="rcut: found -1"):
        config.normalize(water(edits))


def test_json_lines(tmp_path):
    path = tmp_path / "input.json"
    path.write_text(json.dumps(water(SEVERAL), indent=2))
    lines = path.read_text().splitlines()
    with pytest.raises(ConfigError) as info:
        config.normalize(path)
    head, *rest = str(info.value).splitlines()
    assert head == f"{path}: {len(rest)} mistakes"
    numbers = []
    for text in rest:
        number, _, problem = text.removeprefix("  line ").partition(": ")
        key = problem.split(": ")[0].split("/")
        numbers.append(int(number))
        if "missing" in problem:  # the section that lacks the key
            assert f'"{key[-2]}"' in lines[int(number) - 1]
        elif not key[-1].isdigit():
            assert f'"{key[-1]}"' in lines[int(number) - 1]
        else:
            assert lines[int(number) - 1].strip() == '"8"'
    assert numbers == sorted(numbers)


def test_one_mistake_is_one_line(tmp_path):
    path = tmp_path / "input.json"
    path.write_text(json.dumps(water({"training/seeed": 1}), indent=2))
    number = next(i for i, line in enumerate(path.read_text().splitlines(), 1) if "seeed" in line)
    with pytest.raises(ConfigError) as info:
        config.normalize(path)
    assert str(info.value).startswith(f"{path}, line {number}: training/seeed: unknown key")
    assert len(str(info.value).splitlines()) == 1


def test_yaml_lines(tmp_path):
    path = tmp_path / "input.yaml"
    path.write_text(YAML)
    with pytest.raises(ConfigError) as info:
        config.normalize(path)
    text = str(info.value)
    assert "line 5: model/descriptor/rcutt: unknown key" in text
    assert "line 9: model/fitting_net/neuron/1: found 'none'" in text
    assert "line 12: training/numb_stepp: unknown key" in text


def test_positions_of_json():
    lines = json_lines('{"a": {"b": [1,\n[2, {"c\\n": "}"}]],\n"d": {}}, "e":\n 1}')
    assert lines == {
        "a": 1,
        "a/b": 1,
        "a/b/0": 1,
        "a/b/1": 2,
        "a/b/1/0": 2,
        "a/b/1/1": 2,
        "a/b/1/1/c\n": 2,
        "a/d": 3,
        "e": 3,
    }
    assert line_of(lines, "a/d/missing") == 3
    assert line_of(lines, "nowhere") is None


def test_an_empty_document_has_no_lines():
    assert yaml_lines(None) == {}
    assert json_lines("[]") == {}


def test_lines_of_moved_keys_are_those_of_their_section(tmp_path):
    path = tmp_path / "input.json"
    path.write_text(json.dumps(water({"training/warmup_steps": -4}), indent=1))
    number = next(i for i, line in enumerate(path.read_text().splitlines(), 1) if '"learning_rate"' in line)
    with pytest.raises(ConfigError, match=f"line {number}: learning_rate/warmup_steps: found -4"):
        config.normalize(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_are_finite(value):
    with pytest.raises(ConfigError, match=r"model/descriptor/rcut: found .*Numbers must be finite"):
        config.normalize(water({"model/descriptor/rcut": value}))
