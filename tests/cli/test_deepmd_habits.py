"""What DeePMD-kit users type: every flag of its commands is known, and a choice of a backend is answered."""

from __future__ import annotations

import pytest

from dpjax.cli import main as cli
from dpjax.cli.backend import BACKENDS

FLAGS = {
    "train": "-m --mpi-log -i --init-model -r --restart -f --init-frz-model -t --finetune --use-pretrain-script -o --output "
    "--skip-neighbor-stat --model-branch --force-load",
    "train-nvnmd": "-i --init-model -r --restart -s --step --skip-neighbor-stat",
    "freeze": "-c --checkpoint-folder --checkpoint -o --output -n --node-names -w --nvnmd-weight --head --model-branch --hessian "
    "--lower-kind",
    "test": "-m --model -s --system -f --datafile --train-data --valid-data -S --set-prefix -n --numb-test -r --rand-seed "
    "--shuffle-test -d --detail-file -a --atomic --head --model-branch",
    "eval-desc": "-m --model -s --system -f --datafile -o --output --dtype --head --model-branch",
    "embed": "-m --model -s --system -f --datafile -o --output --dtype --head --model-branch",
    "compress": "-m --mpi-log -i --input -o --output -s --step -e --extrapolate -f --frequency -c --checkpoint-folder "
    "-t --training-script --head --model-branch",
    "doc-train-input": "--out-type --multi-task",
    "model-devi": "-m --models -s --system -S --set-prefix -o --output -f --frequency --real_error --atomic "
    "--relative --relative_v",
    "neighbor-stat": "-s --system -r --rcut -t --type-map --mixed-type --one-type",
    "change-bias": "-s --system -f --datafile -b --bias-value -n --numb-batch -m --mode -o --output --model-branch",
    "gui": "-p --port --bind_all",
    "convert-backend": "--atomic-virial",
    "show": "",
}
"""Options of DeePMD-kit 3.2, by command."""


@pytest.fixture
def quiet_check(monkeypatch):
    """Lets `dpjax check` do nothing."""
    from dpjax.cli import check

    monkeypatch.setattr(check, "run", lambda args: None)


@pytest.mark.parametrize("verb", FLAGS)
def test_every_flag_is_explained(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main([verb, "--help"]) == 0
    words = capsys.readouterr().out.replace(",", " ").split()
    for flag in f"-v --log-level -l --log-path {FLAGS[verb]}".split():
        assert flag in words, flag


@pytest.mark.parametrize(
    "flags", [["--pt"], ["--pt-expt"], ["-b", "pytorch"], ["--backend", "tf"], ["--backend=paddle"]]
)
@pytest.mark.parametrize("after", [False, True])
def test_a_backend_is_answered_in_one_line(quiet_check, capsys, flags, after):
    argv = ["check", *flags, "in.json"] if after else [*flags, "check", "in.json"]
    assert cli.main(argv) == 0
    asked = " ".join(flags).replace("=", " ")
    assert capsys.readouterr().err == f"{asked} changes nothing: dpjax has one backend, JAX\n"


def test_jax_is_what_dpjax_uses(quiet_check, capsys):
    assert cli.main(["--jax", "check", "in.json"]) == 0
    assert cli.main(["check", "-b", "jax", "in.json"]) == 0
    assert capsys.readouterr().err == ""


def test_unknown_backends_are_mistakes(capsys):
    assert cli.main(["-b", "torch", "check", "in.json"]) == 2
    assert "invalid choice: 'torch'" in capsys.readouterr().err


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda c: c.name)
def test_every_command_takes_every_backend(command):
    example = command.examples[0].split()
    for name in BACKENDS:
        assert cli._parser(command, command.name).parse_args([*example, f"--{name}"])
