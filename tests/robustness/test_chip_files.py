"""Every wrong chip file or key gives one clear error that says where, what came and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spinnaker_like import NUMBER, spinnaker_like

from hwmodels import Chip, chip_names, load_chip
from hwmodels.quantity import COUNT, ENERGY, POWER, SIZE, TIME, Dimension, parse_number
from neurosim.errors import ChipError, InputError

HEAD = 'schema = "neurosim.chip/1"\nname = "mine"\ntitle = "T"\nsummary = "S"\nextends = "loihi2"\n'


def error_of(path: Path, body: str, head: str = HEAD) -> str:
    path.write_text(head + body, encoding="utf-8")
    with pytest.raises(ChipError) as caught:
        load_chip(str(path))
    return str(caught.value).replace(str(path), path.name)


def axon_in_time(rest: str) -> str:
    return f"[core.axon_in]\ntime = {{ {rest} }}\n"


FIRM = 'kind = "measured", source = "bench"'
WAY_OUT = "write it with s, ms, us, ns or ps"


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ('"3.5 V"', f'"3.5 V" is not a time; {WAY_OUT}'),
        ('"3.5 pJ"', f'"3.5 pJ" is not a time; {WAY_OUT}'),
        ('"3.5"', f'"3.5" has no unit; {WAY_OUT}'),
        ("3.5", f'3.5 has no unit; {WAY_OUT}, in quotes: "4.1 ns"'),
        ("0", f'0 has no unit; {WAY_OUT}, in quotes: "4.1 ns"'),
        ("true", f"True is not a time; {WAY_OUT}"),
        ('"soon"', f'"soon" is not a time; {WAY_OUT}'),
        ('""', f'"" is not a time; {WAY_OUT}'),
        ('"2 min"', f'"2 min" is not a time; {WAY_OUT}'),
        ('"-4 ns"', '"-4 ns" is negative; a time is zero or more'),
        ('"nan s"', '"nan s" is not a finite number; write one that is'),
        ('"inf ns"', '"inf ns" is not a finite number; write one that is'),
        ('"1e400 s"', '"1e400 s" is not a finite number; write one that is'),
        ('"1.0555 ns"', '"1.0555 ns" is not a whole number of 1 ps; round it to one'),
        ('"1 Ms"', '"1 Ms" is more than the limit of 1000 s'),
    ],
)
def test_a_wrong_time_names_file_key_line_value_and_way_out(tmp_path: Path, value: str, complaint: str) -> None:
    message = error_of(tmp_path / "mine.toml", axon_in_time(f"value = {value}, {FIRM}"))
    assert message == f"mine.toml: core.axon_in.time (line 7): {complaint}"


@pytest.mark.parametrize(
    ("raw", "dimension", "complaint"),
    [
        ("3 V", ENERGY, "not an energy; write it with J, uJ, nJ, pJ or fJ"),
        ("3 ns", POWER, "not a power; write it with W, mW or uW"),
        ("3 W", SIZE, "not a size; write it with bit, B, KiB or MiB"),
        ("12 words", SIZE, "not a size"),
        ("0.5 bit", SIZE, "not a whole number of 1 bit"),
        ("9 TiB", SIZE, "more than the limit of 1 TiB"),
        ("4 ns", COUNT, "not a count; write a whole number without a unit"),
        (4.0, COUNT, "not a count"),
        (True, COUNT, "not a count"),
        ("-4", COUNT, "not a count"),
        (-4, COUNT, "-4 is negative"),
        (2**40, COUNT, "more than the limit of 2147483647"),
        ("9" * 5000, COUNT, "5002 characters"),
        (float("nan"), ENERGY, "nan has no unit"),
        (None, TIME, "None is not a time"),
    ],
)
def test_wrong_numbers_of_every_dimension(raw: object, dimension: Dimension, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_number(raw, dimension)


@pytest.mark.parametrize(
    ("rest", "complaint"),
    [
        (
            f'value = "3 ns", low = "4 ns", {FIRM}',
            "time (line 7): value 3 ns is outside its range 4 ns to 3 ns",
        ),
        (
            f'value = "3 ns", high = "2 ns", {FIRM}',
            "time (line 7): value 3 ns is outside its range 3 ns to 2 ns",
        ),
        (f'value = "3 ns", low = "1 V", {FIRM}', 'time.low (line 7): "1 V" is not a time'),
        (f'value = "3 ns", low = "-1 ns", {FIRM}', 'time.low (line 7): "-1 ns" is negative'),
        ('value = "3 ns", kind = "measured"', "time.source (core.axon_in.time at line 7): is missing"),
        ('value = "3 ns", source = "bench"', "time.kind (core.axon_in.time at line 7): is missing"),
        (FIRM, "time (core.axon_in.time at line 7): has no value"),
        ('value = "3 ns", kind = "measured", source = " "', "time.source (line 7): is empty; name the paper"),
        ('value = "3 ns", kind = "estimate", source = "us"', "time (line 7): is an estimate without a note"),
        (
            'value = "3 ns", kind = "guess", source = "us"',
            'time.kind (line 7): "guess" is not a kind; use measured',
        ),
        ('value = "3 ns", kind = "estimat", source = "us"', '; did you mean "estimate"?'),
        ('value = "3 ns", kind = "architecture", source = "us"', "a time cannot be of kind architecture"),
        (f'value = "3 ns", hihg = "4 ns", {FIRM}', 'time.hihg (line 7): unknown key; did you mean "high"?'),
    ],
)
def test_a_quantity_that_is_not_whole(tmp_path: Path, rest: str, complaint: str) -> None:
    message = error_of(tmp_path / "mine.toml", axon_in_time(rest))
    assert message.startswith("mine.toml: core.axon_in.")
    assert complaint in message


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (
            '[core.axon_in]\ntime = "4 ns"\n',
            '"4 ns" is not a table; write { value = "4 ns", kind = "...", source',
        ),
        ("[core.axon_im]\nx = 1\n", 'core.axon_im (line 6): unknown key; did you mean "axon_in"?'),
        ("[zzz]\nx = 1\n", "zzz (line 6): unknown key; the keys here are schema, name, title"),
        (
            '[network]\nlink_interval = { value = "0 ns", KIND }\n',
            "is zero; a time above zero is needed here",
        ),
        ("[network]\nbuffer = { value = 0, KIND }\n", "is zero; a count above zero is needed here"),
        ('[network]\nflit = { value = "0 bit", KIND }\n', "is zero; a size above zero is needed here"),
        ('[mesh]\ntopology = "ring"\n', "mesh.topology (line 7): \"ring\" is not one of 'mesh' or 'torus'"),
        ('[mesh]\ntopology = "torus"\n', "fewer than 2 network.virtual_channels: its rings can deadlock"),
        ("[mesh]\ncolumns = { value = 4000000, KIND }\n", "64000000 cores are more than the limit"),
        ("[mesh]\ncores_usable = { value = 129, KIND }\n", "cores_usable 129 is more than the 128 cores"),
        (
            "[core]\nneurons_usable = { value = 5000, KIND }\n",
            "neurons_usable 5000 is more than neurons 4096",
        ),
        (
            '[core.memory_pool]\nsize = { value = "1 KiB", KIND }\n',
            "memories.synapse.size 96 kB is more than",
        ),
        ("[core.weights]\nsign_modes = 1\n", "core.weights.sign_modes (line 7): 1 is neither true nor false"),
        ("[core.weights]\nbits = { value = [8, 1], KIND }\n", "[8, 1] does not ascend"),
        (
            "[core.weights]\nbits = { value = [0.5], KIND }\n",
            "[0.5] is not a list of whole numbers above zero",
        ),
        ("[core.weights]\nbits = { value = [], KIND }\n", "[] is not a list of whole numbers above zero"),
        (
            "[core.weights]\nbits = { value = [true], KIND }\n",
            "[True] is not a list of whole numbers above zero",
        ),
        ("[sync]\nbarrier = []\n", "sync.barrier (line 7): is empty; give at least one"),
        ("[sync]\nbarrier = 3\n", "sync.barrier (line 7): 3 is not a list"),
        ('[sync]\nkind = "tock"\n', "\"tock\" is not one of 'barrier', 'tick', 'timer' or 'none'"),
        ('[sync]\nkind = "tick"\n', 'kind "tick": period is for kinds tick and timer, and must be there for them'),
        ("[core]\naxon_in = 5\n", "core.axon_in (line 7): 5 is not a table with keys time, energy, queue"),
    ],
)
def test_a_file_that_breaks_the_schema(tmp_path: Path, body: str, complaint: str) -> None:
    assert complaint in error_of(tmp_path / "mine.toml", body.replace("KIND", FIRM))


PROCESSOR = {key: {"value": "1 us", **NUMBER} for key in ("packet_time", "row_setup_time", "row_time", "timer_time")}
ONE_MESH: dict[str, object] = {"chips": None, "network__blocked": None}
PIPELINE: dict[str, object] = {
    "core__kind": "pipeline",
    "core__processor": None,
    "core__memories__synapse__shared": None,
}
BARRIER: dict[str, object] = {
    "sync": {"kind": "barrier", "barrier": [{"tiles": 1, "time": {"value": "1 us", **NUMBER}}]}
}


@pytest.mark.parametrize(
    ("changes", "key", "complaint"),
    [
        ({"core__processor": None}, "core", 'kind "processor" and the table processor belong together'),
        ({"core__kind": None}, "core", 'kind "processor" and the table processor belong together'),
        ({"core__kind": "pipeline"}, "core", 'kind "processor" and the table processor belong together'),
        ({"core__kind": "cpu"}, "core.kind", "\"cpu\" is not one of 'pipeline', 'processor' or 'crossbar'"),
        (
            {"core__processor": PROCESSOR | {"buffer": {"value": 0, **NUMBER}}},
            "core.processor.buffer",
            "is zero; a count above zero is needed here",
        ),
        ({"core__processor": PROCESSOR}, "core.processor.buffer", "is missing"),
        ({"core__lanes": 4}, "core", "lanes is for cores with stages of their own; a processor does one at a time"),
        ({"core__phases": {}}, "core.phases", "is not one of 'overlap' or 'strict'"),
        (PIPELINE | BARRIER | {"core__lanes": 0}, "core.lanes", "is zero"),
        ({"core__memories__synapse__shared": "chip"}, "core.memories.synapse.shared", "\"chip\" is not one of 'tile'"),
        ({"core__memories__synapse__banks": 0}, "core.memories.synapse.banks", "is zero"),
        (
            {"core__memories__accumulator__banks": 2},
            "core",
            "memories.accumulator.banks: the times of a processor hold all its accesses but those of the synapse",
        ),
        (
            PIPELINE | BARRIER | {"core__memories__synapse__shared": "tile"},
            "core",
            "memories synapse: only the synapse memory of processor cores can be shared by a tile",
        ),
        ({"core__neuron__sweep": "some"}, "core.neuron.sweep", "\"some\" is not one of 'all' or 'touched'"),
        ({"network__tables__entries": 0}, "network.tables.entries", "is zero; a count above zero is needed here"),
        ({"network__tables": {"default_routing": True}}, "network.tables.entries", "is missing"),
        ({"network__tables__default_routing": {}}, "network.tables.default_routing", "is neither true nor false"),
        (
            {"network__blocked__emergency": False},
            "network.blocked",
            "emergency true and emergency_wait belong together; give both or neither",
        ),
        (
            {"network__blocked__emergency_wait": None},
            "network.blocked",
            "emergency true and emergency_wait belong together; give both or neither",
        ),
        ({"network__blocked__wait": "0 ns"}, "network.blocked.wait", "is zero; a time above zero is needed here"),
        (
            {"network__blocked__reinjection": "1 us"},
            "network.blocked",
            "reinjection and reinjection_queue belong together; give both or neither",
        ),
        (
            {"network__blocked__reinjection_queue": 3},
            "network.blocked",
            "reinjection and reinjection_queue belong together; give both or neither",
        ),
        (
            {"network__payload": "32 bit"},
            "network",
            "blocked: only packets of one flit can give up waiting; a header of 40 bit and a payload of 32 bit need "
            "more than a flit of 40 bit",
        ),
        (
            {"network__virtual_channels": 2},
            "file",
            "network.blocked is for one virtual channel; leave network.virtual_channels out",
        ),
        (
            {"sync__period": None},
            "sync",
            'kind "timer": period is for kinds tick and timer, and must be there for them',
        ),
        ({"sync__kind": "barrier"}, "sync", 'kind "barrier": period is for kinds tick and timer'),
        (
            {"sync": {"kind": "barrier"}},
            "sync",
            'kind "barrier": barrier is for kind barrier, and must be there for it',
        ),
        (
            {"sync": {**BARRIER["sync"], "kind": "none"}},  # type: ignore[dict-item]
            "sync",
            'kind "none": barrier is for kind barrier, and must be there for it',
        ),
        ({"sync__period": "0 ms"}, "sync.period", "is zero; a time above zero is needed here"),
        (PIPELINE, "file", 'sync.kind "timer" needs core.kind "processor": only their late work is carried on'),
        ({"sync": {"kind": "none"}}, "file", 'sync.kind "none" needs cores of kind "pipeline"'),
        ({"chips__topology": "ring"}, "chips.topology", "\"ring\" is not one of 'mesh' or 'triangular_torus'"),
        ({"mesh__columns": 2}, "file", "each chip has one router; set mesh columns and rows to 1"),
        ({"mesh__topology": "torus"}, "file", "chips join meshes only; set mesh.topology to mesh or leave"),
        (
            {"chips__topology": "mesh"},
            "file",
            "network.blocked.emergency: only chips on a triangular_torus have links for a way round",
        ),
        ({"chips": None}, "file", "network.blocked.emergency: only chips on a triangular_torus have links"),
        (
            {"network__blocked": None},
            "file",
            "a torus with fewer than 2 network.virtual_channels: its rings can deadlock; give "
            "network.virtual_channels a value of 2, or network.blocked so that packets give up",
        ),
        (ONE_MESH | {"mesh__topology": "torus"}, "file", "a torus with fewer than 2 network.virtual_channels"),
        ({"chips__columns": 40_000}, "file", "4080000 cores on all chips are more than the limit of 1048576"),
    ],
)
def test_rules_of_processors_tables_and_timers(changes: dict[str, object], key: str, complaint: str) -> None:
    with pytest.raises(ChipError) as caught:
        spinnaker_like(**changes)
    assert f"spinnaker_like: {key}: " in str(caught.value)
    assert complaint in str(caught.value)


def test_a_port_is_shared_by_two_stages_at_least(tmp_path: Path) -> None:
    for stages in ([], ["sweep"], ["sweep", "sweep"]):
        message = error_of(tmp_path / "mine.toml", f"[core]\nshared_port = {stages}\n")
        assert "core (line 6): shared_port names fewer than two stages; name those that share it" in message
    message = error_of(tmp_path / "mine.toml", '[core]\nshared_port = ["sweep", "send"]\n')
    assert "\"send\" is not one of 'sweep', 'synapse_read' or 'accumulate'" in message


CROSSBAR = '[core]\nkind = "crossbar"\n'


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('shared_port = ["sweep", "accumulate"]\n', "shared_port: a crossbar has no stages that read or add up"),
        (f"lanes = {{ value = 8, {FIRM} }}\n", "lanes: a crossbar has no stages that read or add up messages"),
        ('[core.neuron]\nsweep = "touched"\n', "neuron.sweep: a crossbar visits every neuron with its row"),
        (
            '[core.encodings.conv]\nsynops = "structural"\n',
            "give dense, sparse and conv the same synops and synop_time",
        ),
        (
            f'[core.encodings.dense]\nsynop_time = {{ value = "9 ns", {FIRM} }}\n',
            "a crossbar stores all synapses in one",
        ),
    ],
)
def test_a_crossbar_works_in_one_way_only(tmp_path: Path, body: str, complaint: str) -> None:
    message = error_of(tmp_path / "mine.toml", CROSSBAR + body)
    assert message.startswith("mine.toml: core (line 6): ")
    assert complaint in message
    (tmp_path / "mine.toml").write_text(HEAD + CROSSBAR)
    assert load_chip(str(tmp_path / "mine.toml")).core.kind == "crossbar"


def test_what_the_rules_allow(tmp_path: Path) -> None:
    """The neighbours of the cases above, which must pass."""
    (tmp_path / "mine.toml").write_text(
        HEAD
        + '[core]\nphases = "strict"\nshared_port = ["sweep", "accumulate"]\n'
        f'lanes = {{ value = 8, {FIRM} }}\n[core.neuron]\nsweep = "touched"\n'.replace("measured", "architecture")
    )
    assert load_chip(str(tmp_path / "mine.toml")).core.phases == "strict"
    assert spinnaker_like(**ONE_MESH).chips is None
    assert spinnaker_like(**(ONE_MESH | {"mesh__topology": "torus", "network__virtual_channels": 2})).tiles == 1
    assert spinnaker_like(network__blocked=None, network__virtual_channels=2).hexagonal
    flow = {"sync": {"kind": "none"}, "network__blocked": None, "network__virtual_channels": 2}
    assert spinnaker_like(**(PIPELINE | flow)).sync.barrier is None
    assert spinnaker_like(**BARRIER).barrier_ps(3) == 10**6
    assert spinnaker_like(sync__kind="tick").barrier_ps(3) == 0
    assert not spinnaker_like(
        network__blocked={"wait": {"value": "1 us", **NUMBER}, "emergency": False}
    ).network.blocked.emergency  # type: ignore[union-attr]
    queued = spinnaker_like(network__blocked__reinjection="1 us", network__blocked__reinjection_queue=3)
    assert Chip.from_dict(queued.to_dict()) == queued


def test_barrier_points_must_ascend(tmp_path: Path) -> None:
    point = f'[[sync.barrier]]\ntiles = %d\ntime = {{ value = "1 us", {FIRM} }}\n'
    message = error_of(tmp_path / "mine.toml", point % 4 + point % 4)
    assert message.startswith("mine.toml: sync.barrier (line 6): tiles [4, 4] do not ascend")


def test_all_errors_of_a_file_come_at_once_with_their_lines(tmp_path: Path) -> None:
    body = (
        "[core]\n"
        f"neurons = {{ value = -1, {FIRM} }}\n"
        "[core.axon_in]\n"
        f'time = {{ value = "3.5 V", {FIRM} }}\n'
        "queu = 4\n"
        "[core.axon_out.energy]\n"
        'value = "3"\n'
        'source = "bench"\n'
    )
    lines = error_of(tmp_path / "mine.toml", body).splitlines()
    assert lines[0] == "mine.toml: 5 errors"
    assert set(lines[1:]) == {
        "  - core.neurons (line 7): -1 is negative; a count is zero or more",
        f'  - core.axon_in.time (line 9): "3.5 V" is not a time; {WAY_OUT}',
        '  - core.axon_in.queu (line 10): unknown key; did you mean "queue"?',
        '  - core.axon_out.energy (line 12): "3" has no unit; write it with J, uJ, nJ, pJ or fJ',
        "  - core.axon_out.energy.kind (core.axon_out.energy at line 11): is missing; a chip file must give it",
    }


def test_an_error_in_a_base_names_the_base(tmp_path: Path) -> None:
    base = tmp_path / "base.toml"
    base.write_text(HEAD + axon_in_time(f'value = "3.5 V", {FIRM}'))
    message = error_of(tmp_path / "mine.toml", "", HEAD.replace("loihi2", "base.toml"))
    assert message.startswith(f'mine.toml: core.axon_in.time ({base} line 7): "3.5 V" is not a time')


def test_a_file_must_name_itself(tmp_path: Path) -> None:
    message = error_of(tmp_path / "mine.toml", "", 'extends = "loihi2"\n')
    missing = {line.split(":")[0].removeprefix("  - ") for line in message.splitlines()[1:]}
    assert missing == {"schema", "name", "title", "summary"}
    message = error_of(tmp_path / "mine.toml", "", HEAD.replace("chip/1", "chip/9"))
    assert message == "mine.toml: schema (line 1): \"neurosim.chip/9\" is not one of 'neurosim.chip/1'"


def test_extending_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(HEAD.replace("loihi2", "./mine.toml"))
    message = error_of(tmp_path / "mine.toml", "", HEAD.replace("loihi2", "base.toml"))
    assert "extends (line 5): a circle: mine.toml -> " in message
    message = error_of(tmp_path / "mine.toml", "", HEAD.replace("loihi2", "mine.toml"))
    assert "extends (line 5): a circle" in message


def test_extending_what_is_not_there(tmp_path: Path) -> None:
    message = error_of(tmp_path / "mine.toml", "", HEAD.replace("loihi2", "loihi_bord"))
    assert message.startswith('mine.toml: extends (line 5): unknown chip "loihi_bord"; did you mean "loihi_board"?')
    message = error_of(tmp_path / "mine.toml", "", HEAD.replace("loihi2", "gone.toml"))
    assert "extends (line 5)" in message
    assert "no such file" in message
    message = error_of(tmp_path / "mine.toml", "", HEAD.replace('"loihi2"', "7"))
    assert message == 'mine.toml: extends: 7 is not a text; write extends = "loihi"'


def test_an_unknown_chip_lists_the_known() -> None:
    with pytest.raises(ChipError, match='unknown chip "lohi2"; did you mean "loihi2"') as caught:
        load_chip("lohi2")
    assert ", ".join(chip_names()) in str(caught.value)
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("key", "text", "complaint"),
    [
        ("core.axon_in.tme", "3 ns", 'not a key that can be set; did you mean "core.axon_in.time"?'),
        ("zzz", "3 ns", "not a key that can be set; list the keys with: neurosim chips NAME"),
        ("", "3 ns", "not a key that can be set"),
        ("core.axon_in.time.unit", "3 ns", "not a key that can be set"),
        ("sync.barrier.7.time", "3 ns", "not a key that can be set"),
        ("schema", "neurosim.chip/2", "not a key that can be set"),
        ("core.axon_in", "3 ns", "is a table; set one of its keys"),
        ("core.axon_in.time.kind", "measured", "only the value of core.axon_in.time can be set"),
        ("core.axon_in.time", "3.5 V", f'"3.5 V" is not a time; {WAY_OUT}'),
        ("core.axon_in.time", "3", f'"3" has no unit; {WAY_OUT}'),
        ("core.axon_in.time", "-3 ns", "is negative"),
        ("core.neurons", "many", '"many" is not a count'),
        ("core.weights.sign_modes", "maybe", '"maybe" cannot stand here; write true or false'),
        ("core.weights.bits", "8", "a value of the same form as [1, 2, 3, 4, 5, 6, 7, 8]"),
        ("core.conv_patch", "rows", "\"rows\" is not one of 'columns_power_of_two' or 'any'"),
    ],
)
def test_a_key_that_cannot_be_set_so(key: str, text: str, complaint: str) -> None:
    with pytest.raises(ChipError) as caught:
        load_chip("loihi2", {key: text})
    assert str(caught.value).startswith(f"loihi2.toml: {key} (set from outside): ")
    assert complaint in str(caught.value)


def test_all_wrong_settings_come_at_once() -> None:
    with pytest.raises(ChipError, match="3 errors"):
        load_chip("loihi2", {"core.axon_in.tme": "3 ns", "core.axon_in.time": "3 V", "mesh.rows": "x"})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"schema = ", "is not TOML: Invalid value"),
        (b"name = 1\nname = 2\n", "is not TOML: Cannot overwrite a value"),
        (b"\xff\xfe\x00", "is not UTF-8 text at byte 0"),
        (b"# " + b"x" * 2**20, "is larger than 1048576 bytes"),
        (b"x = " + b"[" * 5000 + b"]" * 5000, "is nested too deep"),
        (b"a." * 3000 + b"b = 1", "is nested too deep"),
        (b"", "errors"),
    ],
)
def test_a_file_that_is_no_chip_file(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(ChipError) as caught:
        load_chip(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)


def test_a_folder_or_a_path_that_no_file_can_have(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    for path in (tmp_path / "folder.toml", tmp_path / "nul\0.toml", tmp_path / "gone.toml"):
        with pytest.raises(ChipError):
            load_chip(str(path))


def test_a_plain_dict_is_checked_like_a_file() -> None:
    plain = load_chip("loihi2").to_dict()
    plain["core"]["axon_in"]["time"]["value"] = "3.5 V"
    del plain["network"]["flit"]
    with pytest.raises(ChipError) as caught:
        Chip.from_dict(plain)
    assert str(caught.value).splitlines()[0] == "chip loihi2: 2 errors"
    assert f'core.axon_in.time: "3.5 V" is not a time; {WAY_OUT}' in str(caught.value)
    assert "network.flit: is missing" in str(caught.value)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
plain_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_value_anywhere_gives_anything_but_a_chip_error(data: st.DataObject) -> None:
    plain = load_chip("loihi").to_dict()
    held: object = plain
    while isinstance(held, (dict, list)) and held:
        holder, place = (
            held,
            data.draw(st.sampled_from(list(held) if isinstance(held, dict) else range(len(held)))),
        )
        held = holder[place]
        if data.draw(st.booleans()):
            break
    holder[place] = data.draw(plain_values)
    try:
        chip = Chip.from_dict(plain)
    except ChipError:
        return
    assert Chip.from_dict(chip.to_dict()) == chip


@settings(max_examples=300, deadline=None)
@given(raw=st.text(max_size=12) | scalars, dimension=st.sampled_from([TIME, ENERGY, POWER, SIZE, COUNT]))
def test_no_text_is_read_as_a_number_out_of_bounds(raw: object, dimension: Dimension) -> None:
    try:
        number = parse_number(raw, dimension)
    except ValueError:
        return
    assert 0 <= number <= dimension.limit
