"""A function in a process of its own: what it costs when an item goes wrong, and that no process outlives its use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.errors import CurateError
from stages.read.apart import Apart, Failed

MODULE = """
    import ctypes, os, signal, sys, time

    def worker(settings):
        if settings == "broken":
            raise RuntimeError("no such settings")
        seen = []

        def work(item):
            seen.append(item)
            match item:
                case ["sleep", seconds]:
                    time.sleep(seconds)
                case ["burn", seconds]:
                    end = time.process_time() + seconds
                    while time.process_time() < end:
                        pass
                case ["spin"]:
                    while True:
                        pass
                case ["stubborn"]:
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                    ctypes.CDLL(None).pause()
                case ["stop"]:
                    os.kill(os.getpid(), signal.SIGSTOP)
                case ["allocate", megabytes]:
                    return len(bytearray(megabytes << 20))
                case ["hoard", megabytes]:
                    seen.append(bytearray(megabytes << 20))
                case ["raise", words]:
                    raise ValueError(words)
                case ["surrogate"]:
                    raise ValueError(chr(0xDCFF))
                case ["recurse"]:
                    return work(item)
                case ["crash"]:
                    ctypes.string_at(0)
                case ["quit"]:
                    os._exit(3)
                case ["print"]:
                    print("to be found on the error stream", flush=True)
                case ["object"]:
                    return object()
            return item

        return work
"""


@pytest.fixture
def apart(tmp_path, monkeypatch):
    (tmp_path / "of_apart.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def make(seconds=20.0, memory=512 << 20, settings=None):
        made.append(Apart("of_apart:worker", settings, seconds, memory))
        return made[-1]

    yield make
    for one in made:
        one.close()


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists), max_size=5)))
def test_items_come_back_as_they_went_in_order(apart, batches):
    with apart() as echo:
        for batch in batches[:4]:
            assert echo(batch) == batch


def test_batches_larger_than_a_pipe_do_not_block(apart):
    with apart() as echo:
        batch = ["x" * 3_000_000] * 4 + ["y"] * 20_000
        assert echo(batch) == batch


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (["spin"], "takes more than 0.5 seconds of processor time"),
        (["allocate", 4000], "takes more than 512 MB of memory"),
        (["crash"], "ends its process by SIGSEGV"),
        (["quit"], "ends its process by status 3"),
        (["surrogate"], "ValueError: ?"),
        (["raise", "x" * 10_000], f"ValueError: {'x' * 288}"),
        (["object"], "TypeError: Type is not JSON serializable: object"),
    ],
)
def test_a_bad_item_costs_itself_and_says_why(apart, item, reason):
    with apart(seconds=0.5) as work:
        assert work(["a", item, "b", item, item, "c"]) == ["a", Failed(reason), "b", Failed(reason), Failed(reason), "c"]
        assert work(["d"]) == ["d"]


def test_deep_recursion_is_an_exception_like_others(apart):
    with apart() as work:
        (found, after) = work([["recurse"], "b"])
    assert found.reason.startswith("RecursionError")
    assert after == "b"


def test_memory_that_earlier_items_took_is_not_held_against_a_later_one(apart):
    with apart() as work:
        items = [["hoard", 60]] * 12
        assert work(items) == items
        assert work([["allocate", 150]]) == [150 << 20]


def test_time_is_for_each_item_and_not_for_the_batch_nor_for_waiting(apart):
    with apart(seconds=0.6) as work:
        items = [["burn", 0.2]] * 5
        assert work(items) == items
        time.sleep(0.8)
        assert work(["a"]) == ["a"]


def test_time_is_the_processors_and_not_the_clocks(apart):
    with apart(seconds=0.2) as work:
        assert work([["sleep", 1], ["burn", 1], "b"]) == [["sleep", 1], Failed("takes more than 0.2 seconds of processor time"), "b"]


@pytest.mark.parametrize("item", [["stubborn"], ["stop"], ["sleep", 1000]])
def test_an_item_that_waits_for_ever_costs_itself_after_twenty_times_the_time(apart, item):
    with apart(seconds=0.05) as work:
        began = time.monotonic()
        assert work(["a", item, "b"]) == ["a", Failed("takes longer than 1 seconds by the clock"), "b"]
        assert time.monotonic() - began >= 2  # once behind another item, and once in a process of its own


def test_a_process_that_was_stopped_from_outside_costs_no_item(apart):
    with apart(seconds=0.05) as work:
        for items in (["x" * 3_000_000, "b"], ["c"]):  # it does not read, it does not answer
            work(["a"])
            os.kill(work.pid, signal.SIGSTOP)
            assert work(items) == items


def test_a_machine_that_stalls_changes_no_result(tmp_path):
    """All processes of a run are stopped for longer than one that does not answer is waited for."""
    (tmp_path / "of_apart.py").write_text(textwrap.dedent(MODULE))
    program = """
        from stages.read.apart import Apart
        with Apart("of_apart:worker", None, 0.05, 1 << 29) as work:
            work(["a"])
            work.close()
            print("begun", flush=True)
            print(work([["sleep", 0.7]]), flush=True)
    """
    run = started(tmp_path, program)
    assert run.stdout.readline() == b"begun\n"
    time.sleep(0.5)
    os.killpg(run.pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.killpg(run.pid, signal.SIGCONT)
    assert run.communicate(timeout=20) == (b"[['sleep', 0.7]]\n", b"")


def test_what_is_printed_does_not_get_between_the_answers(apart, capfd):
    with apart() as work:
        assert work([["print"], "b"]) == [["print"], "b"]
    assert "to be found" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("function", "settings", "memory", "words"),
    [
        ("of_apart:worker", "broken", 512 << 20, "RuntimeError: no such settings"),
        ("of_apart:missing", None, 512 << 20, "AttributeError"),
        ("no_such_module:x", None, 512 << 20, "ModuleNotFoundError"),
    ],
)
def test_a_function_that_cannot_be_had_is_one_error_and_not_one_for_each_item(apart, function, settings, memory, words):
    apart()
    with Apart(function, settings, 1.0, memory) as work:
        with pytest.raises(CurateError, match=words):
            work(["a"])
        assert work.pid is None


@pytest.mark.parametrize(("seconds", "memory"), [(0, 1), (1, 0), (-1, 1)])
def test_without_time_or_memory_there_is_nothing_to_run(seconds, memory):
    with pytest.raises(ValueError, match="time and memory"):
        Apart("a:b", None, seconds, memory)


def test_the_process_is_gone_after_the_with_statement_however_it_is_left(apart):
    work = apart()

    def use():
        with work:
            work(["a"])
            pids.append(work.pid)
            raise KeyboardInterrupt

    pids: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        use()
    assert not alive(pids[0])


def test_ctrl_c_while_an_item_is_worked_on_ends_the_process_without_a_word(tmp_path):
    (tmp_path / "of_apart.py").write_text(textwrap.dedent(MODULE))
    program = """
        from stages.read.apart import Apart
        try:
            with Apart("of_apart:worker", None, 60.0, 1 << 29) as work:
                work(["a"])
                print(work.pid, flush=True)
                work([["spin"]])
        except KeyboardInterrupt:
            print("interrupted")
    """
    run = started(tmp_path, program)
    pid = int(run.stdout.readline())
    time.sleep(0.2)
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=20)
    assert (out, err) == (b"interrupted\n", b"")
    assert not alive(pid)


@pytest.mark.parametrize("item", ["'a'", "['sleep', 1]"])
def test_a_parent_that_is_killed_takes_the_process_with_it(tmp_path, item):
    (tmp_path / "of_apart.py").write_text(textwrap.dedent(MODULE))
    program = f"""
        import os, signal, threading
        from stages.read.apart import Apart
        work = Apart("of_apart:worker", None, 3.0, 1 << 29)
        work(["a"])
        print(work.pid, flush=True)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
        while True:
            work([{item}])
    """
    run = started(tmp_path, program)
    pid = int(run.stdout.readline())
    run.communicate(timeout=20)
    assert gone(pid, 5)


def test_a_forked_sibling_that_holds_the_pipe_does_not_keep_the_process(tmp_path):
    (tmp_path / "of_apart.py").write_text(textwrap.dedent(MODULE))
    program = """
        import os, signal, time
        from stages.read.apart import Apart
        work = Apart("of_apart:worker", None, 3.0, 1 << 29)
        work(["a"])
        sibling = os.fork()
        if not sibling:
            os.close(1), os.close(2)
            time.sleep(60)
            os._exit(0)
        print(work.pid, sibling, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run = started(tmp_path, program)
    pid, sibling = map(int, run.stdout.readline().split())
    try:
        run.communicate(timeout=20)
        assert gone(pid, 12)
    finally:
        os.kill(sibling, signal.SIGKILL)


def started(folder, program: str) -> subprocess.Popen:
    path = os.pathsep.join([str(folder), *(p for p in sys.path if p)])
    command = [sys.executable, "-c", textwrap.dedent(program)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, env={**os.environ, "PYTHONPATH": path}, start_new_session=True)
