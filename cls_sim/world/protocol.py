"""The protocol of a stream: the classes, labels and splits of each subject."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from cls_sim.core.draws import generator
from cls_sim.core.errors import ConfigError
from cls_sim.world import plan
from cls_sim.world.table import Data

SCENARIOS = ("class", "domain", "task")


@dataclass(frozen=True)
class Share:
    """A data set from the point of view of one subject.

    lists, labels          the classes of each context, and the label of each class
    y, context, split      [n], of the training data: labels (with noise), contexts, and TRAIN, VALIDATION or TEST
    truth                  [n], the same labels without noise
    y_test, context_test   [n], of the test set of the data (empty if it has none)
    """

    lists: list[np.ndarray]
    labels: list[np.ndarray]
    y: np.ndarray
    context: np.ndarray
    split: np.ndarray
    y_test: np.ndarray
    context_test: np.ndarray
    truth: np.ndarray

    def items(self, split: int, context: int) -> np.ndarray:
        """The items of a context in a split, in order."""
        return np.flatnonzero((self.split == split) & (self.context == context))

    def questions(self, context: int) -> np.ndarray:
        """The items of a context in the test set of the data."""
        return np.flatnonzero(self.context_test == context)

    def told(self, context: int) -> str:
        """A context in words."""
        pairs = zip(self.lists[context], self.labels[context], strict=True)
        classes = ", ".join(f"{c} as {y}" for c, y in pairs)
        train, kept = (len(self.items(split, context)) for split in (plan.TRAIN, plan.VALIDATION))
        return f"context {context}: {f'classes {classes}' if classes else 'numbers'}; train {train}, validation {kept}"


@dataclass(frozen=True)
class Protocol:
    """The settings of a stream that determine classes, labels and splits (see Stream)."""

    scenario: str
    contexts: int
    shuffle_classes: bool
    label_noise: float
    validation: float
    test: float

    def check(self, data: Data) -> None:
        """Raise ConfigError if settings do not fit this data."""
        if not data.split_by_class and self.shuffle_classes:
            raise ConfigError("shuffle_classes", "is true, but the contexts are not made of classes", "leave it false")
        if data.regression and self.label_noise:
            raise ConfigError("label_noise", "is for labels, and these targets are numbers", "leave it 0")
        if data.split_by_class and data.classes % self.contexts:
            fit = ", ".join(str(k) for k in range(1, data.classes + 1) if data.classes % k == 0)
            remedy = f"give one of {fit}"
            raise ConfigError("contexts", f"{data.classes} classes do not split evenly into {self.contexts}", remedy)
        lists = self.lists(data)
        if self.label_noise and min(map(len, lists)) < 2:
            raise ConfigError("label_noise", "needs two classes in every context", "use fewer contexts, or no noise")
        apart = self.contexts > 1 and len(np.unique(np.concatenate(lists))) == sum(map(len, lists))
        if self.scenario == "domain" and apart and not data.split_by_class and not data.regression:
            raise ConfigError("scenario", "is domain, but no two contexts have a class in common", "use class or task")

    def outputs(self, data: Data) -> int:
        """The number of output units."""
        if data.regression:
            return data.y.shape[-1]
        if data.copies > 1 and self.scenario != "domain":
            return data.classes * self.contexts
        return data.classes // self.contexts if self.scenario == "domain" and data.split_by_class else data.classes

    def lists(self, data: Data, seed: int | None = None) -> list[np.ndarray]:
        """The classes of each context, for the subject with this seed."""
        if data.regression:
            return [np.zeros(0, np.int64)] * self.contexts
        if data.context is not None:
            return [np.unique(data.y[data.context == k]) for k in range(self.contexts)]
        order = np.arange(data.classes)
        if self.shuffle_classes and seed is not None:
            order = generator(seed, "world.classes").permutation(data.classes)
        return list(order.reshape(self.contexts, -1))

    def share(self, data: Data, seed: int) -> Share:
        """The share of the subject with this seed."""
        source = partial(generator, seed)
        lists = self.lists(data, seed)
        y, context = self._seen(data, lists, data.y)
        strata = context if data.regression else data.y + data.classes * context
        rows = data.rows  # a row is held out in all contexts that show it, or in none
        split = plan.held_out(source("world.split"), strata[:rows], self.validation, self.test)
        split = split if data.copies == 1 else np.tile(split, data.copies)
        truth = y
        if self.label_noise:
            trained = np.flatnonzero(split == plan.TRAIN)
            wrong = plan.mislabelled(source("world.noise"), data.y, context, trained, lists, self.label_noise)
            y, _ = self._seen(data, lists, wrong)
        none = np.zeros(0, np.int64)
        asked = (none, none) if data.tests is None else self._seen(data.tests, lists, data.tests.y)
        labels = [self._seen(data, lists, classes, k)[0] for k, classes in enumerate(lists)]
        return Share(lists, labels, y, context, split, *asked, truth)

    def _seen(
        self, data: Data, lists: list[np.ndarray], y: np.ndarray, one: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels and contexts [n] of the classes y by these lists of classes (all in the context `one`, if given)."""
        if not data.split_by_class:
            given = data.context if one is None else np.full(len(y), one)
            context = np.zeros(len(y), np.int64) if given is None else given
            apart = data.copies > 1 and self.scenario != "domain"  # the classes of every context are different classes
            return y + context * (1 + int(lists[0].max())) if apart else y, context
        label, home = np.arange(sum(map(len, lists))), np.zeros(sum(map(len, lists)), np.int64)
        for k, classes in enumerate(lists):
            home[classes] = k
            if self.scenario == "domain":
                label[classes] = np.arange(len(classes))
        return label[y], home[y]

    def heads(self, shares: list[Share], outputs: int) -> np.ndarray:
        """The outputs of each context's head: bool [s, k, o]."""
        return np.array([[np.isin(np.arange(outputs), labels) for labels in share.labels] for share in shares])
