"""The command's frame: help, version, unknown and unbuilt commands, errors and their lines, exit codes."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings

import pytest

from dpjax.cli import main as cli
from dpjax.errors import ConfigError, DataError


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
        assert command.help in text


def test_help_documents_the_exit_status(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for line in (
        "  0    success",
        "  1    an error that dpjax explains",
        "  2    a mistake on the command line",
        "  130  ",
    ):
        assert line in text


def test_the_bare_command_prints_its_help(capsys):
    assert cli.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: dpjax")
    assert "exit status:" in captured.err


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda c: c.name)
def test_every_command_explains_itself_with_an_example(command, capsys):
    for name in (command.name, *command.aliases):
        assert cli.main([name, "--help"]) == 0
        out = capsys.readouterr().out
        assert f"usage: dpjax {command.name} " in out
        assert f"example:\n  dpjax {command.examples[0]}\n" in out


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda c: c.name)
def test_the_examples_are_right(command):
    for example in command.examples:
        args = cli._parser(command, command.name).parse_args(example.split())
        assert args.log_level == "INFO"


@pytest.mark.parametrize("verb", cli.ELSEWHERE)
def test_verbs_of_deepmd_kit_say_what_to_do_instead(verb, capsys):
    assert cli.main(["--tf", verb, "-i", "graph.pb"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"dpjax: error: DeePMD-kit's `{verb}` ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "argv", [["train"], ["train", "a.json", "--config", "b.json"], ["test", "-m", "x"], ["--debug"]]
)
def test_mistakes_on_the_command_line_exit_with_2(argv, capsys):
    assert cli.main(argv) == 2
    assert "usage: dpjax" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("trian", "did you mean `train`?"),
        ("convert_backend", "`convert-backend`?"),
        ("xyz", "`dpjax --help` lists them"),
    ],
)
def test_unknown_commands_suggest_the_nearest(word, hint, capsys):
    assert cli.main([word, "-o", "x"]) == 2
    assert f"there is no command {word!r}; " in (err := capsys.readouterr().err)
    assert hint in err


def test_version_names_what_is_installed_and_the_devices(capsys):
    import jax

    assert cli.main(["--version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("dpjax ")
    assert lines[1].startswith(f"jax {jax.__version__}, jaxlib ")
    assert lines[2].startswith("Python 3.")
    assert lines[3].startswith("devices: ")
    assert jax.devices()[0].platform in lines[3]


def test_version_where_jax_cannot_start(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    assert cli.main(["--version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("dpjax ")
    assert lines[3].startswith("devices: none, jax cannot start: import of jax")


def test_an_error_is_one_line(failing_command, capsys, monkeypatch):
    monkeypatch.delenv("DPJAX_DEBUG", raising=False)
    assert cli.main(failing_command(DataError("type.raw is missing"))) == 1
    assert capsys.readouterr().err == "dpjax: error: type.raw is missing\n"


def test_several_mistakes_in_an_input_keep_their_lines(failing_command, capsys):
    text = "in.json: 2 mistakes\n  line 3: model: a\n  line 5: loss: b"
    assert cli.main(failing_command(ConfigError(text, problems=("a", "b")))) == 1
    assert capsys.readouterr().err == f"dpjax: error: {text}\n"
    assert cli.main(failing_command(ConfigError("in.json: odd\n  quote", problems=("a",)))) == 1
    assert capsys.readouterr().err == "dpjax: error: in.json: odd quote\n"


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
        "import sys; from dpjax.cli.main import COMMANDS, main; main(['--help']); main(['trian']); main([]);"
        "[main([c.name, '--help']) for c in COMMANDS]; main(['train', '-t', 'x']);"
        "print('numpy' in sys.modules); main(['check', 'nowhere.json']); print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["False", "False"]
    assert "dpjax: error: nowhere.json" in done.stderr


def test_python_m_dpjax_is_the_command():
    done = subprocess.run([sys.executable, "-m", "dpjax", "transfer"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("dpjax: error: DeePMD-kit's `transfer` copies")


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m dpjax doc-train-input | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith("model")
    assert done.stderr == ""
