"""Every wrong chip file or key gives one clear error that says where, what came and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
        ('[sync]\nkind = "tick"\n', "\"tick\" is not one of 'barrier'"),
        ("[core]\naxon_in = 5\n", "core.axon_in (line 7): 5 is not a table with keys time, energy, queue"),
    ],
)
def test_a_file_that_breaks_the_schema(tmp_path: Path, body: str, complaint: str) -> None:
    assert complaint in error_of(tmp_path / "mine.toml", body.replace("KIND", FIRM))


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
