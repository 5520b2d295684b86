"""Files take their places whole, together, or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from neurosim.errors import InputError
from neurosim.files import atomic_path, file_sha256, make_folder, together


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_files_appear_when_the_last_is_written(tmp_path: Path) -> None:
    written: list[Path] = []
    with together(written):
        for name in ("a", "b"):
            with atomic_path(tmp_path / name) as part:
                part.write_text(name)
        assert names(tmp_path).isdisjoint({"a", "b"})
        assert written == []
    assert written == [tmp_path / "a", tmp_path / "b"]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "a", "b": "b"}


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    written: list[Path] = []

    def work() -> None:
        with together(written):
            make_folder(tmp_path / "made")
            for name in ("a", "b", "made/c"):
                with atomic_path(tmp_path / name) as part:
                    part.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert names(tmp_path) == {"a"}
    assert (tmp_path / "a").read_text() == "old"
    assert written == []


def test_file_that_failed_is_not_among_those_that_take_their_places(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_path(tmp_path / "bad") as part:
            part.write_text("half")
            raise ZeroDivisionError

    with together():
        with pytest.raises(ZeroDivisionError):
            fail()
        with atomic_path(tmp_path / "good") as part:
            part.write_text("whole")
    assert names(tmp_path) == {"good"}


def test_place_that_cannot_be_taken_is_an_input_error_and_says_which_were(tmp_path: Path) -> None:
    written: list[Path] = []

    def work() -> None:
        with together(written):
            for name in ("a", "taken", "c"):
                with atomic_path(tmp_path / name) as part:
                    part.write_text(name)
            (tmp_path / "taken").mkdir()

    with pytest.raises(InputError, match="taken: cannot be written"):
        work()
    assert written == [tmp_path / "a"]
    assert names(tmp_path) == {"a", "taken"}


def test_folder_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with together():
        make_folder(tmp_path / "mine")
        make_folder(tmp_path / "empty")
    assert names(tmp_path) == {"mine"}
    make_folder(tmp_path / "alone")
    assert names(tmp_path) == {"mine", "alone"}
    with pytest.raises(InputError, match="the folder cannot be made"):
        make_folder(tmp_path / "no" / "folder")


def test_hash_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert file_sha256(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(InputError, match="cannot be read"):
        file_sha256(tmp_path / "none")
