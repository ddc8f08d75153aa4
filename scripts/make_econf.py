#!/usr/bin/env python3
"""Make ``dpjax/nn/electron_table.py``: the ground-state electron configurations of the 118 elements, from mendeleev.

    pip install mendeleev
    python scripts/make_econf.py

Configurations are written as chemists do, from the last noble gas on.
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from mendeleev import element

from dpjax.config.elements import ELEMENTS

# mendeleev now has 7p1 here; models are exchanged with DeePMD-kit, whose table, made with an older mendeleev, has 6d1
OLDER = {"Lr": {(7, "p"): 0, (6, "d"): 1}}
NOBLE = ("He", "Ne", "Ar", "Kr", "Xe", "Rn")
HEAD = '''"""Ground-state electron configurations of the elements in the order of their atomic numbers: data, no code.

Made by scripts/make_econf.py from the library mendeleev; not edited by hand.  ``3d5`` is five electrons in 3d, and a symbol
in brackets stands for the configuration of that noble gas.
"""

CONFIGURATIONS = """
'''


def occupation(symbol: str) -> dict[tuple[int, str], int]:
    """Electrons in each subshell (n, letter) of a neutral atom."""
    found = dict(element(symbol).ec.conf) | OLDER.get(symbol, {})
    return {shell: number for shell, number in found.items() if number}


def order(item: tuple[tuple[int, str], int]) -> tuple[int, int]:
    """Sorts subshells by n, then s, p, d, f."""
    (n, letter), _ = item
    return n, "spdf".index(letter)


def written(symbol: str) -> str:
    """The configuration as ``symbol:[core]3d5.4s1``."""
    own, core = occupation(symbol), ""
    for gas in NOBLE:
        inner = occupation(gas)
        if symbol != gas and all(own.get(shell) == number for shell, number in inner.items()):
            core = f"[{gas}]"
            outer = {shell: number for shell, number in own.items() if shell not in inner}
    outer = outer if core else own
    return f"{symbol}:{core}" + ".".join(
        f"{n}{letter}{number}" for (n, letter), number in sorted(outer.items(), key=order)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = Path(__file__).parents[1] / "dpjax" / "nn" / "electron_table.py"
    parser.add_argument("--output", type=Path, default=target, help="file to write")
    body = textwrap.fill(" ".join(map(written, ELEMENTS)), width=120, break_on_hyphens=False, break_long_words=False)
    path = parser.parse_args().output
    path.write_text(f'{HEAD}{body}\n"""\n')
    print(f"{len(ELEMENTS)} configurations in {path}")


if __name__ == "__main__":
    main()
