"""The feature table: complete, and what the files of results say."""

from __future__ import annotations

import json
import sys

import pytest

from tests.shared import REPOSITORY, load_script

rows = load_script("feature_rows")
maker = load_script("make_feature_table")
PEERS = json.loads(maker.PEERS.read_text())
TESTS = json.loads(maker.TESTS.read_text())


def test_the_pages_hold_what_the_files_give():
    wrong = [
        str(path.relative_to(REPOSITORY))
        for path, text in maker.pages(TESTS, PEERS).items()
        if path.read_text() != text
    ]
    assert not wrong, f"{wrong}: run python scripts/make_feature_table.py"


def test_every_component_has_a_row_in_both_tables():
    for path in maker.PAGES.values():
        table = path.read_text().split(maker.BEGIN)[1].split(maker.END)[0]
        missing = [row for row in rows.components() if f"`{row.partition('/')[2]}`" not in table]
        assert not missing, path


def test_results_are_of_rows_that_exist():
    known = set(rows.rows())
    assert set(TESTS["rows"]) <= known
    assert set(PEERS[maker.OTHER]) <= known
    kinds = {kind for counts in TESTS["rows"].values() for kind in counts}
    assert kinds <= set(rows.KINDS)


def test_rows_are_told_apart():
    assert len(set(rows.rows())) == len(rows.rows())
    assert set(maker.GROUPS) >= {row.partition("/")[0] for row in rows.rows()}


def test_the_probe_tries_every_component():
    probe = load_script("probe_deepmd")
    tried = {f"descriptor/{n}" for n in probe.DESCRIPTORS} | {f"fitting/{n}" for n in probe.FITTINGS}
    tried |= {f"loss/{n}" for n in probe.LOSSES} | {f"learning_rate/{n}" for n in probe.RATES}
    tried |= {f"optimizer/{n}" for n in probe.OPTIMIZERS}
    wanted = {row for row in rows.components() if not row.startswith(("model/", "modifier/"))}
    assert tried == wanted
    known = set(rows.rows())
    assert set(probe.MARKED_OPTIONS) | set(probe.MODULES) | set(probe.COMMON) | set(probe.PAGES) <= known


def entry(outcome, **found):
    return {"outcome": outcome, "rows": found}


RECORD = {
    "a": entry("passed", contract=["descriptor/se_e2_a", "fitting/ener"]),
    "b": entry("passed", contract=["descriptor/se_e2_a"], use=["use/ASE"]),
    "c": entry("failed", golden=["descriptor/se_e2_a"]),
    "d": entry("skipped", golden=["fitting/ener", "row/that-is-gone"]),
}


def results(record=RECORD):
    return {"dpjax": "1", "jax": "2", "tests": len(record), "rows": maker.counted(record)}


def test_tests_are_counted_by_row_and_kind():
    counts = results()["rows"]
    assert counts["descriptor/se_e2_a"] == {
        "contract": {"passed": 2, "failed": 0, "skipped": 0},
        "golden": {"passed": 0, "failed": 1, "skipped": 0},
    }
    assert counts["use/ASE"] == {"use": {"passed": 1, "failed": 0, "skipped": 0}}
    assert set(counts) == {"descriptor/se_e2_a", "fitting/ener", "use/ASE"}


def test_cells_say_what_ran():
    tests = results()
    assert maker.own_cell("descriptor/se_e2_a", tests) == "✗ (1 of 3 tests fail)"
    assert maker.own_cell("fitting/ener", tests) == "✓ (1)"
    assert maker.own_cell("use/JAX-MD", tests) == maker.UNSEEN
    assert maker.own_cell("use/ASE", results({"a": entry("skipped", use=["use/ASE"])})) == maker.SKIPPED
    assert maker.kind_cells("fitting/ener", tests) == ["1", "0, 1 skipped", "", ""]
    missing = [row for row, built in rows.components().items() if not built]
    assert all(maker.own_cell(row, tests) == maker.NONE for row in missing)


def test_cells_of_others_show_the_evidence():
    peers = {"rows": {"use/ASE": {"PyTorch": "built", "JAX": "docs"}}, "deepmd-jax": ["use/ASE"]}
    assert maker.peer_cells("use/ASE", peers) == ["–", "✓", "d", "s"]
    assert maker.peer_cells("use/JAX-MD", peers) == ["–"] * 4


def test_a_page_without_its_markers_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="expected one line"):
        maker.placed("# A page", "text", tmp_path / "page.md")
    page = f"before\n{maker.BEGIN}\nold\n{maker.END}\nafter\n"
    made = maker.placed(page, "new", tmp_path)
    assert made == f"before\n{maker.BEGIN}\n\nnew\n\n{maker.END}\nafter\n" == maker.placed(made, "new", tmp_path)


def test_a_missing_record_is_named(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["make_feature_table.py", "--record", "nowhere.json"])
    with pytest.raises(SystemExit, match="nowhere.json: no such file"):
        maker.main()
