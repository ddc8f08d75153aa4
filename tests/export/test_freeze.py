"""``dpjax freeze``."""

from __future__ import annotations

import dpjax
from dpjax.cli.main import main
from dpjax.export.runtime import Container
from tests.shared import golden


def test_freeze_a_model_file(tmp_path, capsys):
    model, path = golden("models", "ener_fparam") / "model.dp", tmp_path / "model.dpx"
    assert main(["freeze", "-m", str(model), "-o", str(path), "--platforms", "cpu", "cuda"]) == 0
    assert f"wrote {path} for cpu, cuda" in capsys.readouterr().out
    manifest = Container(path).manifest
    assert manifest["platforms"] == ["cpu", "cuda"]
    assert manifest["conventions"] == "reference" == dpjax.load(path).conventions


def test_mistakes_are_one_line(tmp_path, capsys):
    assert main(["freeze", "-c", str(tmp_path), "-o", str(tmp_path / "model.dpx")]) == 1
    assert "this is no training output" in capsys.readouterr().err
    model = str(golden("models", "ener_fparam") / "model.dp")
    assert main(["freeze", "-c", model, "-o", str(tmp_path / "model.dpx"), "--platforms", "gpu"]) == 1
    assert capsys.readouterr().err.startswith("dpjax: error: platforms: found ['gpu']")
