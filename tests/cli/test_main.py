"""The group of commands: light to start, honest in its exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module

import click
import numpy as np
import pytest

from neurosim import __version__, cli
from neurosim.errors import InputError

HELP = "from neurosim.cli import main; code = main(['--help'])"


def stand_in(monkeypatch: pytest.MonkeyPatch, callback: Callable[[], object]) -> None:
    """Put a command that calls `callback` in the place of `neurosim info`."""
    module = type(sys)("neurosim.cli.info")
    module.command = click.Command("info", callback=callback)
    monkeypatch.setitem(sys.modules, "neurosim.cli.info", module)


def test_help_names_every_command_and_loads_none() -> None:
    report = "import json, sys; print(json.dumps(list(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", f"{HELP}; {report}"], capture_output=True, text=True, check=True)
    for name, text in cli.COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert text in " ".join(done.stdout.split())
    loaded = set(json.loads(done.stderr))
    assert loaded.isdisjoint({"numpy", "numba", "rich", "pydantic", "networkx", "h5py"})
    assert loaded.isdisjoint({f"neurosim.cli.{name}" for name in cli.COMMANDS})


def test_help_takes_hardly_longer_than_click_itself() -> None:
    """Two and a half times the interpreter with click at most, each the quickest of five taken in turn."""
    quickest = {HELP: 1e9, "import click": 1e9}
    for _ in range(5):
        for code in quickest:
            start_s = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
            quickest[code] = min(quickest[code], time.perf_counter() - start_s)
    assert quickest[HELP] < 2.5 * quickest["import click"]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_short_help_is_the_commands_own_first_line(name: str) -> None:
    command = import_module(f"neurosim.cli.{name}").command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help is not None
    assert command.help.strip().splitlines()[0] == cli.COMMANDS[name]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_no_option_is_there_twice(name: str) -> None:
    options = [text for given in import_module(f"neurosim.cli.{name}").command.params for text in given.opts]
    assert len(options) == len(set(options))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"neurosim, version {__version__}\n"


@pytest.mark.parametrize("args", [["simulate"], ["--chip"]])
def test_wrong_usage_is_exit_code_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(args) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert args[0] in streams.err


def test_mistyped_command_is_given_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compil"]) == 2
    assert "'compile'" in capsys.readouterr().err


def test_bad_input_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise InputError("frames.npy: holds 3 channels, the network takes 1; drop two")

    stand_in(monkeypatch, refuse)
    assert cli.main(["info"]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err == "neurosim: error: frames.npy: holds 3 channels, the network takes 1; drop two\n"


def test_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    stand_in(monkeypatch, fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["info"])


def test_interrupt_is_exit_code_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    stand_in(monkeypatch, interrupt)
    assert cli.main(["info"]) == 130
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.strip() == "neurosim: interrupted; nothing was written"


def test_too_little_memory_is_exit_code_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def ask() -> None:
        np.empty(1 << 62, dtype=np.int8)

    stand_in(monkeypatch, ask)
    assert cli.main(["info"]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("neurosim: error: out of memory: Unable to allocate")
    assert "use fewer timesteps or smaller buffers" in streams.err


def test_handler_of_sigterm_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main(["--version"]) == 0
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("lines", [1, 100_000], ids=["buffered", "longer than the pipe"])
def test_reader_that_went_away_leaves_no_complaint(lines: int) -> None:
    code = (
        "import sys, click, types\n"
        "from neurosim.cli import main\n"
        "module = types.ModuleType('neurosim.cli.info')\n"
        f"module.command = click.Command('info', callback=lambda: print('x\\n' * {lines}))\n"
        "sys.modules['neurosim.cli.info'] = module\n"
        "sys.stdin.readline()\n"
        "sys.exit(main(['info']))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.close()
    child.stdin.write(b"\n")
    child.stdin.flush()
    _, errors = child.communicate(timeout=30)
    assert errors.strip() == b""
    assert child.returncode == 1
