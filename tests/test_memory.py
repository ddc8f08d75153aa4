"""Freed memory stays in the process: repeated large allocations cost no page faults; and huge pages are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dpjax import memory
from dpjax.memory import _huge_pages_for_the_asking, restart_with_huge_pages

PROGRAM = """
import ctypes, resource
from dpjax.memory import keep_freed_memory
kept = keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def use(size=50_000_000):
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**env) -> tuple[int, int]:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=env)
    kept, number = done.stdout.split()
    return int(kept), int(number)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_memory_is_kept_unless_the_user_says_no():
    kept, number = faults()
    if not kept:
        pytest.skip("the C library has no mallopt")
    assert number < 1000
    kept, number = faults(DPJAX_KEEP_MEMORY="0")
    assert not kept
    assert number > 10_000


RESTARTED = """
import os
from dpjax.memory import restart_with_huge_pages
print("begun", flush=True)
restart_with_huge_pages()
print(os.environ.get("GLIBC_TUNABLES"))
"""


@pytest.mark.skipif(not _huge_pages_for_the_asking(), reason="the system does not give huge pages to those who ask")
@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, ["begun", "begun", "glibc.malloc.hugetlb=1"]),
        ({"GLIBC_TUNABLES": "glibc.malloc.perturb=0"}, ["begun", "begun", "glibc.malloc.perturb=0:glibc.malloc.hugetlb=1"]),
        ({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, ["begun", "glibc.malloc.hugetlb=0"]),
        ({"DPJAX_KEEP_MEMORY": "0"}, ["begun", "None"]),
    ],
    ids=["", "other settings", "refused", "off"],
)  # fmt: skip
def test_a_program_begins_again_once_where_huge_pages_can_be_had(env, expected):
    done = subprocess.run([sys.executable, "-c", RESTARTED], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == expected


INSIDE = {
    "other arguments": "import sys; sys.argv[1:] = ['input.json']",
    "jax is loaded": "import sys; sys.modules['jax'] = sys",
}


@pytest.mark.parametrize("before", INSIDE.values(), ids=INSIDE)
def test_a_program_inside_another_one_does_not_end_it(before):
    done = subprocess.run(
        [sys.executable, "-c", before + RESTARTED], capture_output=True, text=True, check=True, env={}
    )
    assert done.stdout.split() == ["begun", "None"]


@pytest.mark.parametrize(("library", "pages"), [("musl", "[madvise]"), ("glibc", "[never]"), ("glibc", None)])
def test_a_program_goes_on_where_huge_pages_cannot_be_had(monkeypatch, tmp_path, library, pages):
    file = tmp_path / "enabled"
    if pages:
        file.write_text(f"always madvise never {pages}")
    monkeypatch.setattr(memory, "_PAGES", file)
    monkeypatch.setattr(memory, "_is_all_there_is", lambda: True)
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: (library, "2.36"))
    monkeypatch.setattr(memory.os, "execve", lambda *_: pytest.fail("began again"))
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    restart_with_huge_pages()
