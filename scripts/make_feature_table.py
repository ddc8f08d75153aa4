#!/usr/bin/env python3
"""The feature table from the tests that ran: ``python scripts/make_feature_table.py [--record runs/features.json]``.

``docs/features.json`` holds how many tests of each kind passed, failed and were skipped for each row, ``docs/features_deepmd.json``
what ``scripts/probe_deepmd.py`` found in DeePMD-kit and deepmd-jax.  Both become Markdown between two marker comments: a short
table in ``README.md``, a long one in ``docs/features.md``.  With ``--record`` the first of these files is made from what ``pytest
--features FILE`` wrote.  ``--check`` writes nothing and fails where something would change.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import feature_rows as rows

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"
TESTS, PEERS = DOCS / "features.json", DOCS / "features_deepmd.json"
PAGES = {"short": REPOSITORY / "README.md", "long": DOCS / "features.md"}
BEGIN = "<!-- features: begin (made by scripts/make_feature_table.py) -->"
END = "<!-- features: end -->"

BACKENDS, OTHER = ("TensorFlow", "PyTorch", "JAX"), "deepmd-jax"
OUTCOMES = ("passed", "failed", "skipped")
NONE = "–"
MARKS = {"built": "✓", "source": "s", "docs": "d"}
UNSEEN, SKIPPED = "not recorded", "only skipped"

GROUPS = {
    "descriptor": "descriptors",
    "fitting": "fittings",
    "model": "models",
    "modifier": "modifiers",
    "option": "parts",
    "loss": "losses",
    "optimizer": "optimizers",
    "learning_rate": "learning rates",
    "use": "uses",
}


# --- counts -----------------------------------------------------------------------------------------------------------------------


def counted(record: dict[str, dict]) -> dict[str, dict[str, dict[str, int]]]:
    """Row -> kind -> outcome -> number of tests, of what the plugin wrote (``tests/features/recorder.py``)."""
    counts: dict[str, dict[str, dict[str, int]]] = {row: {} for row in rows.rows()}
    for test in record.values():
        for kind, found in test["rows"].items():
            for row in counts.keys() & set(found):  # rows may have gone since
                of_kind = counts[row].setdefault(kind, dict.fromkeys(OUTCOMES, 0))
                of_kind[test["outcome"]] += 1
    return {
        row: {kind: counts[row][kind] for kind in rows.KINDS if kind in counts[row]} for row in counts if counts[row]
    }


def condensed(record: dict[str, dict]) -> dict:
    """What ``docs/features.json`` holds."""
    return {"dpjax": version("dpjax"), "jax": version("jax"), "tests": len(record), "rows": counted(record)}


# --- cells ------------------------------------------------------------------------------------------------------------------------


def peer_cells(row: str, peers: dict) -> list[str]:
    """One for each backend of DeePMD-kit, and deepmd-jax."""
    evidence = peers["rows"].get(row, {})
    return [
        *(MARKS[evidence[b]] if b in evidence else NONE for b in BACKENDS),
        MARKS["source"] if row in peers[OTHER] else NONE,
    ]


def own_cell(row: str, tests: dict, numbers: bool = True) -> str:
    """Whether dpjax has it, by its tests."""
    if not rows.components().get(row, True):
        return NONE
    passed, failed, skipped = totals(row, tests)
    if failed:
        return f"✗ ({failed} of {passed + failed} tests fail)"
    if passed:
        return f"✓ ({passed})" if numbers else "✓"
    return SKIPPED if skipped else UNSEEN


def totals(row: str, tests: dict) -> tuple[int, ...]:
    """Passed, failed, skipped."""
    kinds = tests["rows"].get(row, {}).values()
    return tuple(sum(kind[outcome] for kind in kinds) for outcome in OUTCOMES)


def kind_cells(row: str, tests: dict) -> list[str]:
    """One for each kind of test."""
    return [_shown(tests["rows"].get(row, {}).get(kind)) for kind in rows.KINDS]


def _shown(counts: dict[str, int] | None) -> str:
    if not counts:
        return ""
    parts = [f"{counts['passed']}"]
    parts += [f"{counts[name]} {name}" for name in ("failed", "skipped") if counts[name]]
    return ", ".join(parts)


def title(row: str) -> str:
    """How a row is called."""
    kind, _, name = row.partition("/")
    return rows.options()[row] if kind == "option" else name if kind == "use" else f"`{name}`"


# --- tables -----------------------------------------------------------------------------------------------------------------------


def grouped() -> Iterator[tuple[str, list[str]]]:
    """Titles of groups with their rows."""
    for kind, name in GROUPS.items():
        yield name, [row for row in rows.rows() if row.startswith(f"{kind}/")]


def table(header: list[str], lines: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *lines)]


def short(tests: dict, peers: dict) -> str:
    """The table of the README: rows of a group with the same cells stand together."""
    lines = []
    for name, found in grouped():
        alike: dict[tuple[str, ...], list[str]] = {}
        for row in found:
            alike.setdefault((*peer_cells(row, peers), own_cell(row, tests, numbers=False)), []).append(title(row))
        first = name
        for cells, titles in alike.items():
            lines.append([first, ", ".join(titles), *cells])
            first = ""
    return "\n".join([*table(["", "", *BACKENDS, OTHER, "dpjax"], lines), "", footing(tests, peers)])


def long(tests: dict, peers: dict) -> str:
    """The tables of ``docs/features.md``."""
    parts = []
    for name, found in grouped():
        lines = [[title(r), *peer_cells(r, peers), own_cell(r, tests), *kind_cells(r, tests)] for r in found]
        parts += [
            f"## {name[0].upper()}{name[1:]}",
            "",
            *table(["", *BACKENDS, OTHER, "dpjax", *rows.KINDS], lines),
            "",
        ]
    return "\n".join([footing(tests, peers), "", *parts]).rstrip()


def footing(tests: dict, peers: dict) -> str:
    """What the marks mean, and where they come from."""
    imported = " and ".join(sorted(peers["imported"], reverse=True))
    absent = [name for name in BACKENDS if name not in peers["imported"]]
    read = f"; {' and '.join(absent)} could not be imported there and was only read" if absent else ""
    return (
        f"TensorFlow, PyTorch, JAX: backends of DeePMD-kit {peers['deepmd-kit']}. ✓: `scripts/probe_deepmd.py` built it in the "
        f"{imported} backend{read}; s: found in the source; d: named in the documentation. {OTHER} "
        f"{peers.get('deepmd-jax version', '')}: from the types of model and the functions in its source; it has descriptors of "
        "its own. dpjax: ✓: tests of it ran and passed"
        f" ({tests['tests']} tests, dpjax {tests['dpjax']}, jax {tests['jax']}), as `pytest --features` noted; {NONE}: not there."
    )


def placed(page: str, text: str, path: Path) -> str:
    """A page with a text between its markers."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise SystemExit(
            f"{path}: expected one line {BEGIN!r} and after it one {END!r}, to write the table between them."
        )
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def pages(tests: dict, peers: dict) -> dict[Path, str]:
    """What the pages should hold."""
    made = {"short": short, "long": long}
    return {
        path: placed(path.read_text(encoding="utf-8"), made[name](tests, peers), path) for name, path in PAGES.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--record", type=Path, help="file that `pytest --features FILE` wrote; makes docs/features.json of it"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the pages are not up to date")
    args = parser.parse_args()
    if args.record:
        if not args.record.exists():
            raise SystemExit(f"{args.record}: no such file; write it with `pytest --features {args.record}`.")
        TESTS.write_text(json.dumps(condensed(json.loads(args.record.read_text())), indent=1) + "\n")
    wanted = pages(json.loads(TESTS.read_text()), json.loads(PEERS.read_text()))
    stale = [path for path, text in wanted.items() if path.read_text(encoding="utf-8") != text]
    if args.check:
        sys.exit(f"{', '.join(map(str, stale))}: run scripts/make_feature_table.py" if stale else 0)
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")


if __name__ == "__main__":
    main()
