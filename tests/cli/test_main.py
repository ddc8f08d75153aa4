"""The command's frame: help, unknown and unbuilt commands, errors as one line, exit codes."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings

import pytest

from dpjax.cli import main as cli
from dpjax.errors import DataError


@pytest.fixture
def failing_command(monkeypatch):
    """Lets `dpjax check` raise what a test asks for."""
    from dpjax.cli import check

    def install(error: BaseException):
        def run(args):
            raise error

        monkeypatch.setattr(check, "run", run)
        return ["check", "input.json"]

    return install


def test_help_lists_every_command(capsys):
    assert cli.main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for command in cli.COMMANDS:
        assert f" {command.name} " in text
        assert (f"{command.help} (not built yet)" in text) == (not command.module)


@pytest.mark.parametrize("command", [c for c in cli.COMMANDS if c.module], ids=lambda c: c.name)
def test_every_command_explains_itself(command, capsys):
    for name in (command.name, *command.aliases):
        assert cli.main([name, "--help"]) == 0
        assert f"usage: dpjax {command.name} " in capsys.readouterr().out


@pytest.mark.parametrize("command", [c for c in cli.COMMANDS if not c.module], ids=lambda c: c.name)
def test_unbuilt_commands_are_refused_with_any_arguments(command, capsys):
    assert cli.main([command.name, "-m", "model.dp", "--anything"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert f"`dpjax {command.name}` is not built yet" in captured.err


@pytest.mark.parametrize(
    "argv", [[], ["trian"], ["train"], ["train", "a.json", "--config", "b.json"], ["test", "-m", "x"]]
)
def test_mistakes_on_the_command_line_exit_with_2(argv, capsys):
    assert cli.main(argv) == 2
    assert "usage: dpjax" in capsys.readouterr().err


def test_an_error_is_one_line(failing_command, capsys, monkeypatch):
    monkeypatch.delenv("DPJAX_DEBUG", raising=False)
    assert cli.main(failing_command(DataError("type.raw is missing"))) == 1
    assert capsys.readouterr().err == "dpjax: error: type.raw is missing\n"


@pytest.mark.parametrize("how", ["option", "environment"])
def test_debug_shows_the_traceback(failing_command, capsys, monkeypatch, how):
    argv = failing_command(DataError("type.raw is missing"))
    if how == "option":
        argv.append("--debug")
    else:
        monkeypatch.setenv("DPJAX_DEBUG", "1")
    assert cli.main(argv) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("dpjax: error: type.raw is missing\n")


def test_our_own_mistakes_keep_their_traceback(failing_command):
    with pytest.raises(ZeroDivisionError):
        cli.main(failing_command(ZeroDivisionError()))


def test_an_interrupt_ends_with_130(failing_command, capsys):
    assert cli.main(failing_command(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "dpjax: interrupted\n"


def test_log_file_and_level(tmp_path, failing_command, capsys):
    assert cli.main(["check", "x.json", "-v", "loud"]) == 2
    assert "expected one of ERROR" in capsys.readouterr().err
    assert cli.main([*failing_command(DataError("x")), "--log-path", str(tmp_path / "no" / "log")]) == 1
    assert "cannot write messages" in capsys.readouterr().err


def test_messages_go_to_stderr_and_the_file_while_a_command_runs(monkeypatch, tmp_path, capsys):
    from dpjax.cli import check

    def run(args):
        logging.getLogger("dpjax.somewhere").info("reading")
        logging.getLogger("dpjax.somewhere").debug("details")
        warnings.warn("sel is small", stacklevel=1)

    monkeypatch.setattr(check, "run", run)
    path = tmp_path / "log"
    before = logging.getLogger("dpjax").handlers[:], logging.getLogger("dpjax").propagate
    assert cli.main(["check", "x.json", "-l", str(path)]) == 0
    assert path.read_text() == capsys.readouterr().err == "reading\nwarning: sel is small\n"
    assert cli.main(["check", "x.json", "-v", "1"]) == 0
    assert capsys.readouterr().err == "warning: sel is small\n"
    assert (logging.getLogger("dpjax").handlers, logging.getLogger("dpjax").propagate) == before


def test_help_and_mistakes_load_no_jax():
    code = (
        "import sys; from dpjax.cli.main import main; main(['--help']); main(['train', '--help']); main(['check', 'nowhere.json']);"
        "print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert done.stderr.startswith("dpjax: error: nowhere.json")


def test_python_m_dpjax_is_the_command():
    done = subprocess.run([sys.executable, "-m", "dpjax", "gui"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("dpjax: error: `dpjax gui` is not built yet")


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m dpjax doc-train-input | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith("model")
    assert done.stderr == ""
