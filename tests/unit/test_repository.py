"""The repository itself: what is installed, what is imported when, who may import whom."""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import neurosim

ROOT = Path(__file__).parents[2]
# Folder -> name under which it is installed.
INSTALLED = {"neurosim": "neurosim", "hwmodels": "hwmodels", "traces": "neurosim_traces"}

pytestmark = pytest.mark.skipif(not (ROOT / "setup.cfg").is_file(), reason="the tests run apart from the repository")


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser(interpolation=None)
    assert config.read(ROOT / "setup.cfg")
    return config


def modules_loaded_by(code: str) -> set[str]:
    """Top-level names in `sys.modules` after a fresh interpreter ran `code`."""
    report = "import json, sys; print(json.dumps([name for name in sys.modules if '.' not in name]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_every_package_is_listed(setup_cfg: configparser.ConfigParser) -> None:
    listed = setup_cfg["options"]["packages"].split()
    found = {
        ".".join((name, *init.parent.relative_to(ROOT / folder).parts))
        for folder, name in INSTALLED.items()
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert sorted(listed) == sorted(found)


def test_no_module_lies_outside_a_package() -> None:
    orphans = [
        str(module.relative_to(ROOT))
        for folder in INSTALLED
        for module in (ROOT / folder).rglob("*.py")
        if not (module.parent / "__init__.py").is_file()
    ]
    assert orphans == []


def test_every_data_file_is_installed(setup_cfg: configparser.ConfigParser) -> None:
    missed = []
    for folder, name in INSTALLED.items():
        patterns = setup_cfg["options.package_data"][name].split()
        installed = {path for pattern in patterns for path in (ROOT / folder).glob(pattern)}
        missed += [
            str(path.relative_to(ROOT))
            for path in (ROOT / folder).rglob("*")
            if path.is_file()
            and path.suffix != ".py"
            and path.name != ".gitignore"
            and "__pycache__" not in path.parts
            and path not in installed
        ]
    assert missed == []


def test_every_part_stands_in_a_layer(setup_cfg: configparser.ConfigParser) -> None:
    layers = set(setup_cfg["importlinter:contract:layers"]["layers"].replace("|", " ").split())
    parts = {
        f"neurosim.{path.stem}"
        for path in (ROOT / "neurosim").iterdir()
        if path.stem != "__init__" and (path.suffix == ".py" or (path / "__init__.py").is_file())
    }
    assert layers == parts | {"hwmodels"}


def test_numba_is_forbidden_to_every_part_but_the_engine(setup_cfg: configparser.ConfigParser) -> None:
    layers = set(setup_cfg["importlinter:contract:layers"]["layers"].replace("|", " ").split())
    bound = set(setup_cfg["importlinter:contract:numba"]["source_modules"].split())
    assert bound == layers - {"neurosim.engine"}


@pytest.mark.parametrize("code", ["import neurosim", "import neurosim.errors, neurosim.files"])
def test_import_is_light(code: str) -> None:
    assert modules_loaded_by(code).isdisjoint({"numpy", "numba", "networkx", "h5py", "pydantic", "rich", "click"})


def test_chip_models_know_neither_arrays_nor_kernels() -> None:
    assert modules_loaded_by("import hwmodels").isdisjoint({"numpy", "numba"})


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("Network", "neurosim.network"),
        ("NeurosimError", "neurosim.errors"),
        ("Program", "neurosim.compiler"),
        ("Result", "neurosim.costs"),
        ("compile", "neurosim.api"),
        ("load", "neurosim.api"),
        ("simulate", "neurosim.api"),
    ],
)
def test_public_name_is_its_home_modules_own(name: str, home: str) -> None:
    assert name in neurosim.__all__
    assert name in dir(neurosim)
    assert getattr(neurosim, name) is getattr(import_module(home), name)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'neurosim' has no attribute 'simulat'"):
        _ = neurosim.simulat


def test_changelog_names_the_version() -> None:
    assert f"## [{neurosim.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
