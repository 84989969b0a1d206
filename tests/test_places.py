"""What YAML means here: plain words, strict keys, lines that are right, and nothing that blows up."""

from __future__ import annotations

import math
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from curate import places
from curate.errors import RecipeError


def value(text: str) -> object:
    return places.parse(text, "r.yaml")[0]


def refused(text: str) -> str:
    with pytest.raises(RecipeError) as error:
        places.parse(text, "r.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("1.4e12", 1.4e12),
        ("1e6", 1e6),
        ("100e6", 100e6),
        ("-2.5E-3", -0.0025),
        (".5", 0.5),
        ("1.", 1.0),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("17", 17),
        ("+17", 17),
        ("1_000_000", 1_000_000),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
    ],
)
def test_a_word_is_what_it_looks_like(word: str, meant: object) -> None:
    found = value(f"a: {word}")
    assert found == {"a": meant}
    assert type(found["a"]) is type(meant)


@pytest.mark.parametrize(
    "word", ["no", "on", "Yes", "off", "y", "2024-01-31", "2024-13-45", "2001-12-14t21:59:43.10-05:00", "12:30:45", "1e"]
)
def test_norwegian_dates_and_times_are_text(word: str) -> None:
    assert value(f"a: {word}") == {"a": word}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: 2\na: 3", 3, "a stands twice"),
        ("x:\n  - {b: 1,\n     b: 2}", 3, "b stands twice"),
        ("1: x", 1, "the key 1 is not text; quote it"),
        ("a: 1\ntrue: x", 2, "the key true is not text"),
        ("? [a]\n: 1", 1, "a key is one word"),
        ("a: !!int abc", 1, "abc is no value of the kind int"),
        ("a: 1\nb: .nan", 2, "b: .nan is no value of the kind float"),
        ("a: {b: [1, .nan]}", 1, "b: .nan is no value of the kind float"),
        ("a: " + "9" * 5000, 1, "is no value of the kind int"),
        ("a: !!python/object/apply:os.system [echo]", 1, "not for recipes"),
        ("a: !!binary aGk=", 1, "!!binary is not for recipes"),
        ("a: !mine x", 1, "!mine is not for recipes"),
        ('a: 1\nb: "x\\0y"', 2, "NUL"),
        ('a: "\\ud800"', 1, "surrogate"),
        ("a: 1\n\nb: [1, 2", 3, "not YAML"),
        ("a: *nothing", 1, "undefined alias"),
        ("a: *.jsonl", 1, "must be quoted"),
        ("a:\n\t- b", 2, "a tab cannot indent"),
        ("a: 1\n---\nb: 2", 2, "another document"),
        ("a: 1\nb: \x07", 2, "U+0007"),
        ("a: {<<: 5}", 1, "<< takes a mapping"),
        ("a: {<<: {b: 1}, <<: {c: 1}}", 1, "<< stands twice"),
    ],
)
def test_what_cannot_be_meant_is_one_message_with_its_line(text: str, line: int, says: str) -> None:
    message = refused(text)
    assert message.startswith(f"r.yaml:{line}")
    assert says in message
    assert "\n" not in message
    assert len(message) < 300


def test_every_value_knows_its_line() -> None:
    text = "name: x\nsources:\n  web:\n    - a.B: {k: 1,\n        j: 2}\n    - c.D\nlist:\n  - 1\n  -\n    - 2\n"
    _, lines = places.parse(text, "r.yaml")
    wanted = {
        (): 1,
        ("name",): 1,
        ("sources",): 2,
        ("sources", "web"): 3,
        ("sources", "web", 0): 4,
        ("sources", "web", 0, "a.B", "k"): 4,
        ("sources", "web", 0, "a.B", "j"): 5,
        ("sources", "web", 1): 6,
        ("list", 0): 8,
        ("list", 1, 0): 10,
    }
    assert {path: lines[path] for path in wanted} == wanted


def test_aliases_are_copies_and_merged_keys_give_way_to_written_ones() -> None:
    found = value("base: &b {k: 1, j: [1]}\nother: &o {j: 2, i: 3}\na: {<<: [*b, *o], k: 9}\nc: *b\n")
    assert found["a"] == {"k": 9, "j": [1], "i": 3}
    assert found["c"] == found["base"]
    assert found["c"] is not found["base"]
    found["c"]["j"].append(2)
    assert found["base"]["j"] == [1]


def test_a_merged_value_has_the_line_where_it_is_written() -> None:
    _, lines = places.parse("base: &b\n  k: 1\na:\n  <<: *b\n  j: 2\n", "r.yaml")
    assert lines["a", "k"] == 2
    assert lines["a", "j"] == 5


@pytest.mark.parametrize("first", ["[x, x]", "{x: 1}"])
def test_a_billion_laughs_end_in_a_message(first: str) -> None:
    repeat = "[{}]" if first.startswith("[") else "{{<<: [{}]}}"
    text = "\n".join([f"a0: &a0 {first}", *(f"a{n}: &a{n} " + repeat.format(", ".join([f"*a{n - 1}"] * 9)) for n in range(1, 12))])
    began = time.monotonic()
    assert "more than 100,000 values" in refused(text)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: {c: *a}}", "&a {<<: *a}", "[" * 600])
def test_what_holds_itself_or_has_no_end_is_a_message(text: str) -> None:
    assert "nested too deeply, or an alias within what it stands for" in refused(text)


def test_an_empty_file_is_nothing() -> None:
    assert places.parse("", "r.yaml")[0] is None
    assert places.parse("# only words\n", "r.yaml")[0] is None


@pytest.mark.parametrize("setting", ["1e3", "[a, b]", "{k: 1}", "no", "", "'5'"])
def test_a_value_on_the_command_line_means_what_it_means_in_a_recipe(setting: str) -> None:
    assert places.scalar(setting) == value(f"a: {setting}")["a"]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
LOOKALIKES = st.sampled_from(
    [
        "\x85",
        "a\u2028 b",
        "\r",
        "no",
        "1e5",
        "0o7",
        "0x1",
        "~",
        "null",
        "",
        "<<",
        "=",
        ".5",
        "1:30",
        "2020-01-01",
        "1_0",
        ".nan",
        "*a",
        "- x",
        "!x",
        "#",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXT | LOOKALIKES
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(TEXT | LOOKALIKES, v, max_size=4), max_leaves=12)


@given(VALUES)
def test_what_is_dumped_is_read_back_the_same(tree: object) -> None:
    found = value(places.dump(tree))
    assert found == tree
    assert repr(found) == repr(tree)  # 1 is not 1.0 and not True


@given(st.dictionaries(TEXT | LOOKALIKES, LOOKALIKES, max_size=4))
def test_other_programs_read_the_same_text_from_a_dump(tree: dict[str, str]) -> None:
    assert yaml.safe_load(places.dump(tree)) == tree
