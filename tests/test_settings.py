"""Declared settings: defaults, checks, inheritance, and the types that an editor sees; what of a part is state."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch

import cls_sim
from cls_sim.core.errors import ConfigError, several, whole
from cls_sim.core.part import Part, Spec
from cls_sim.core.settings import Settings, part, setting
from cls_sim.core.trees import held


class Leaf(Settings, Part):
    count: int = setting(3, 2)
    rate: float | None = setting(None, 0.0, 1.0)
    word: str = setting("one", ("one", "two"))
    title: str = setting("anything")
    sizes: tuple[int, ...] = setting((1, 2), "sizes", "[1, 2]", whole, check=several)


class Tree(Settings, Part):
    inner: Leaf = part(Leaf, default_factory=Leaf, kw_only=False)
    total: int = setting(1)

    def _ready(self) -> None:
        if self.total > self.inner.count:
            raise ConfigError("total", "is too much", "give less")


class Small(Leaf):
    count: int = setting(2, 2)


def test_settings_have_their_defaults_and_given_values():
    assert vars(Leaf()) == {"count": 3, "rate": None, "word": "one", "title": "anything", "sizes": (1, 2)}
    assert vars(Leaf(rate=1, sizes=[5], title="x"))["rate"] == 1.0
    assert Small().count == 2 and Leaf().count == 3 and list(vars(Small())) == list(vars(Leaf()))
    assert not hasattr(Leaf, "count")


def test_a_part_inside_is_given_by_place_by_name_or_by_none():
    leaf = Leaf()
    assert Tree(leaf).inner is leaf and Tree(inner=leaf).inner is leaf
    assert isinstance(Tree().inner, Leaf) and Tree().inner is not Tree(None).inner  # pyright: ignore


@pytest.mark.parametrize(
    "given, says",
    [
        ({"count": 1}, "count: 1 is out of range; give a whole number from 2"),
        ({"rate": 2.0}, "rate: 2.0 is out of range; give a finite number from 0 to 1"),
        ({"word": "three"}, "word: 'three' is none of one, two; choose one of one, two"),
        ({"sizes": 3}, "sizes: 3 is not a list of sizes; write [1, 2]"),
        ({"sizes": [1, 0]}, "sizes[1]: 0 is out of range; give a whole number from 1"),
    ],
)
def test_a_wrong_value_is_refused_under_its_name(given: dict[str, Any], says: str):
    with pytest.raises(ConfigError) as refused:
        Leaf(**given)
    assert str(refused.value) == says


def test_settings_are_checked_together_and_only_known_ones_are_taken():
    with pytest.raises(ConfigError, match=r"total: is too much"):
        Tree(total=9)
    with pytest.raises(ConfigError, match=r"inner: 3 is not a Leaf; give a Leaf"):
        Tree(3)  # pyright: ignore
    for call in (lambda: Leaf(cuont=3), lambda: Leaf(3)):  # pyright: ignore
        with pytest.raises(TypeError):
            call()
    assert [p.kind.name for p in inspect.signature(Tree).parameters.values()] == [
        "POSITIONAL_OR_KEYWORD",
        "KEYWORD_ONLY",
    ]


@pytest.mark.parametrize("name", sorted(cls_sim.VOCABULARY))
def test_an_editor_asks_for_declared_settings_only(name: str):
    """A variable with a type and no value would be a required setting for an editor."""
    public = getattr(cls_sim, name)
    if not inspect.isclass(public) or not issubclass(public, Settings):
        return
    for base in public.__mro__:
        if issubclass(base, Settings):
            typed = {n for n, hint in vars(base).get("__annotations__", {}).items() if "ClassVar" not in hint}
            assert not {n for n in typed - set(public._declared) if not hasattr(base, n)}


class Tables(Part):
    """A part with state, with tables of its own, and with a private part inside."""

    derived = frozenset({"named"})

    def __init__(self):
        self.memory, self._table, self.named = torch.zeros(2), torch.ones(2), torch.ones(2)
        self._inner = Counting()


class Counting(Part):
    def __init__(self):
        self.count = torch.zeros(1)


def test_private_attributes_are_no_state_and_copies_share_them():
    part_ = Tables()
    twin = copy.deepcopy(part_)
    assert set(part_.state()) == {"memory"}
    assert twin._table is part_._table and twin.named is part_.named
    assert twin.memory is not part_.memory and twin._inner is not part_._inner
    assert twin._inner.count is not part_._inner.count
    assert [leaf.tolist() for leaf in held([part_], without=Spec)] == [[0.0, 0.0]]
