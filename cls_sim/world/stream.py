"""A data set as a stream of contexts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.arrays import alike
from cls_sim.core.batch import LIVED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import generator
from cls_sim.core.errors import ConfigError, refuse_if, suggest, whole
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, fixed, setting
from cls_sim.world import plan
from cls_sim.world.ahead import Ahead, gathered
from cls_sim.world.base import World
from cls_sim.world.protocol import SCENARIOS, Protocol, Share
from cls_sim.world.table import Data, Source, Table, copied, table
from cls_sim.world.views import KINDS, views

HELD_OUT = 0.15  # share of each class that is held out as the test set of data that has none


class Stream(Settings, World):
    """A data set presented as a sequence of contexts; base class of Digits, Mnist, Arrays and others.

    scenario          `class`: choose among all classes, context unknown; `task`: choose among the classes of the
                      context, context known; `domain`: give the position of the class within its context, context
                      unknown.  If the data defines the contexts (`context` of Arrays), labels do not change.
    contexts          number of contexts, from 1, into which the classes are split evenly
    shuffle_classes   True: the classes of each context are drawn for each subject; False: 0, 1, … in order
    order             `sharp`: one context after another; `fuzzy`: the same, but around a boundary the probability that
                      a row comes from the next context rises linearly; `recurring`: the sharp sequence `cycles` times,
                      with visits of per_context / cycles experiences; `iid`: all data mixed (joint training, the upper
                      bound); `cumulative`: in stretch k, the data of contexts 0 … k mixed
    per_context       experiences in each context, from 1; a life has contexts · per_context experiences in every order
    batch             rows in each experience, from 1
    boundaries_known  whether subjects know when a context (a visit) ends; always False for fuzzy and iid
    fuzziness         0 to 1, width of a fuzzy boundary, in contexts
    cycles            visits to each context in the recurring order, from 1
    label_noise       0 to 1, share of the training labels replaced by another class of the same context
    validation        0 to 1, share of each class of the training data that is held out for choosing settings
    test              0 to 1, share of each class that is held out as the test set; None: .15; only for data without a
                      test set
    eval_split        the questions of evaluations: `test` or `validation`
    views             `plain`: the classes are split among the contexts; `permuted`, `rotated`: every context has all
                      classes, with a different order of the pixels or a different rotation of the images (unchanged in
                      the first context).  Then `domain` asks for the class; `class` and `task` treat the classes of
                      every context as new classes

    Within a context items come without replacement, epoch by epoch.  Classes, splits, noise and order depend only on
    the subject's seed; `setup` plans the whole life.

    Source: van de Ven, Tuytelaars & Tolias (2022), Three types of incremental learning.
    """

    derived = frozenset({"unit", "recode"})
    source: ClassVar[Source | None] = None
    recode: Callable[[Data], Data] | None = fixed(None)  # changes the inputs before they are split (see Encoded)
    unit = 1.0  # size of one unit of the regression targets, after `setup`

    scenario: str = setting("class", SCENARIOS)
    contexts: int = setting(5)
    shuffle_classes: bool = setting(False)
    order: str = setting("sharp", plan.ORDERS)
    per_context: int = setting(100)
    batch: int = setting(32)
    boundaries_known: bool = setting(True)
    fuzziness: float = setting(0.2, 0.0, 1.0)
    cycles: int = setting(2)
    label_noise: float = setting(0.0, 0.0, 1.0)
    validation: float = setting(0.0, 0.0, 1.0)
    test: float | None = setting(None, 0.0, 1.0)
    eval_split: str = setting("test", ("test", "validation"))
    views: str = setting("plain", KINDS)

    def _ready(self) -> None:
        why = f"{self.per_context} is not a multiple of the {self.cycles} cycles"
        refuse_if(self.order == "recurring" and self.per_context % self.cycles, "per_context", why, "give a multiple")
        why, remedy = "is validation, but no data is held out for it", "set validation, such as 0.1"
        refuse_if(self.eval_split == "validation" and not self.validation, "eval_split", why, remedy)

    def _refuse(self, name: str) -> None:
        known = inspect.signature(type(self)).parameters
        raise ConfigError(name, f"is not a setting of {type(self).__name__}", suggest(name, known))

    def data(self, seeds: tuple[int, ...] = (0,)) -> Data:
        """The data set before it is split into contexts: that of the source, unless a subclass makes its own."""
        if self.source is None:
            raise ConfigError("source", "is not given", "set source = a Source, or define the method data")
        return self.source.data(seeds)

    # -- setup: everything is drawn and planned -----------------------------------------------------------

    def setup(self, spec: Spec) -> Spec:
        data = self.data(spec.seeds)
        data = data if self.recode is None else self.recode(data)
        self.unit = data.unit
        data = data if self.views == "plain" else copied(data, self.contexts)
        protocol = self._protocol(data)
        protocol.check(data)
        self._visits = plan.visits(self.order, self.contexts, self.cycles)
        self.length = self.per_context * self.contexts
        span = self.length // len(self._visits)
        self.ends = tuple(range(span, self.length + 1, span))
        self._shares = [protocol.share(data, seed) for seed in spec.seeds]
        self._spec = spec = self._told(spec, data, protocol)
        self._fill(data)
        return spec

    def _protocol(self, data: Data) -> Protocol:
        if data.tests is not None and self.test is not None:
            raise ConfigError("test", "is given, but this data has its own test set", "leave it out (null)")
        held_out = 0.0 if data.tests is not None else HELD_OUT if self.test is None else self.test
        if self.validation + held_out >= 1:
            raise ConfigError("validation", "and test leave nothing to learn from", "give less than 1 in all")
        return Protocol(self.scenario, self.contexts, self.shuffle_classes, self.label_noise, self.validation, held_out)

    def _told(self, spec: Spec, data: Data, protocol: Protocol) -> Spec:
        """The spec with the fields that describe this world."""
        outputs, heads = protocol.outputs(data), None
        if self.scenario == "task" and not data.regression:
            heads = torch.from_numpy(protocol.heads(self._shares, outputs)).to(spec.device)
        shown = self.boundaries_known and self.order not in ("fuzzy", "iid")
        known = np.array([[len(one.items(plan.TRAIN, k)) for k in range(self.contexts)] for one in self._shares])
        return replace(
            spec,
            inputs=data.inputs,
            outputs=outputs,
            regression=data.regression,
            batch=self.batch,
            contexts=self.contexts,
            context_sizes=known.cumsum(1) if self.order == "cumulative" else known,
            items=max(len(one.split) for one in self._shares),
            ends=self.ends if shown else (),
            visits=tuple(self._visits.tolist()) if shown else (),
            task_id_known=self.scenario == "task",
            heads=heads,
            quantum=data.quantum,
        )

    def _fill(self, data: Data) -> None:
        """Put data, plans and evaluations on the device."""
        seeds, device = self._spec.seeds, self._spec.device
        shares = self._shares if self.shuffle_classes or self.label_noise else self._shares[:1]
        pixels, plain = int(np.prod(data.inputs)), self.views == "plain"
        shown = None if plain else views(self.views, seeds, self.contexts, pixels, device)
        self._learnt = self._asked = table(data, [(one.y, one.context) for one in shares], len(seeds), device, shown)
        tests = data.tests if self.eval_split == "test" else None
        if tests is not None:
            self._asked = table(tests, [(one.y_test, one.context_test) for one in shares], len(seeds), device, shown)
        kept = plan.VALIDATION if self.eval_split == "validation" else plan.TEST
        self._exams = []
        for k in range(self.contexts):
            rows = [share.items(kept, k) if tests is None else share.questions(k) for share in self._shares]
            self._enough(self.eval_split if tests is None else "x_test", f"leaves nothing to ask of context {k}", rows)
            self._exams.append(plan.padded(rows))
        plans = [self._items(seed, share) for seed, share in zip(seeds, self._shares, strict=True)]
        self._plan = torch.from_numpy(np.stack(plans)).to(device)
        self._rows = torch.arange(len(seeds), device=device)
        self._ahead: Ahead | None = None
        self._latest = -1  # the experience that was asked for last, if it was the same for all subjects
        self._source = torch.full((1, 1), LIVED, dtype=torch.uint8, device=device)

    def _items(self, seed: int, share: Share) -> np.ndarray:
        """The plan of a subject's life: the item of each row, int [experiences, b]."""
        pools = [share.items(plan.TRAIN, k) for k in range(self.contexts)]
        for k, pool in enumerate(pools):
            self._enough("validation", f"and test leave nothing to learn of context {k}", [pool])
        source, times = partial(generator, seed), (self.per_context, self.batch, self.cycles, self.fuzziness)
        small = np.int16 if len(share.split) < 2**15 else np.int32
        return plan.item_plan(source, self.order, pools, *times).astype(small)

    @staticmethod
    def _enough(key: str, reason: str, rows: list[np.ndarray]) -> None:
        refuse_if(not all(map(len, rows)), key, reason, "give more data or another part")

    # -- experience and evaluation ------------------------------------------------------------------------

    def next(self, clock: Clock) -> Batch:
        """The experience of each subject at its `clock.experience` (after the end of the world: the last one)."""
        first = int(clock.experience[0]) if alike(clock.experience) else -1
        if (ahead := self._coming(first)) is not None:
            return ahead.batch(first, self._source)
        now, items = self._planned(clock)
        born = torch.from_numpy(now).to(items.device)[:, None]
        return self._batch(self._learnt, items, born)

    def _coming(self, first: int) -> Ahead | None:
        """The block of experiences with this one; None unless all subjects live one experience after another."""
        goes_on, self._latest = 0 <= first == self._latest + 1 < self._plan.shape[1], first
        if self._ahead is not None and self._ahead.holds(first):
            return self._ahead
        if goes_on and type(self)._batch is Stream._batch:
            self._ahead = gathered(self._learnt, self._plan, first)
            return self._ahead
        return None

    def contexts_at(self, clock: Clock) -> Tensor:
        return self._learnt.contexts_of(self._planned(clock)[1])

    def _planned(self, clock: Clock) -> tuple[np.ndarray, Tensor]:
        """The index [s] of each subject's current experience, and its items [s, b]."""
        now = np.minimum(clock.experience, self._plan.shape[1] - 1)
        if alike(now):
            return now, self._plan[:, int(now[0])].long()
        return now, self._plan[self._rows, torch.from_numpy(now).to(self._rows.device)].long()

    def _batch(
        self, data: Table, items: Tensor, born: Tensor, weight: Tensor | None = None, known: bool = True
    ) -> Batch:
        """A batch of these items [r, b] of a table; r = 1 if all subjects share them."""
        shape, items_of = (len(self._rows), items.shape[1]), items
        items = items.expand(shape)
        later: dict[str, Callable[[], Tensor]] = {
            "context": lambda: data.contexts_of(items),
            "born": lambda: born.expand(shape),
            "item": lambda: items if known else torch.full_like(items, -1),
            "source": lambda: self._source.expand(shape),
        }
        if (raw := data.raw(items_of)) is not None:
            raw = replace(raw, content=raw.content.expand(*shape, -1))
            return Batch.made(later, raw, y=data.answers_to(items), weight=weight)
        x = data.inputs_of(items_of)
        return Batch.made(later, x=x.expand(shape + x.shape[2:]), y=data.answers_to(items), weight=weight)

    def _of(self, data: Table, rows: tuple[np.ndarray, np.ndarray | None], born: np.ndarray | None = None) -> Batch:
        """A batch of items in padded lists (see plan.padded)."""
        device = self._rows.device
        items = torch.from_numpy(rows[0]).to(device)
        weight = None if rows[1] is None else torch.from_numpy(rows[1]).to(device)
        never = torch.full((1, 1), -1, device=device) if born is None else torch.from_numpy(born).to(device)
        return self._batch(data, items, never, weight, known=data is self._learnt)

    def evaluation(self, context: int) -> Batch:
        """The held-out questions of a context: [s, n, …], weight 0 where a subject has fewer than n.

        `item` is the row of the training data if the questions were held out from it, and -1 for a separate test set.
        """
        return self._of(self._asked, self._exams[whole("context", context, 0, self.contexts - 1)])

    def train(self, context: int = 0) -> Batch:
        """All training rows of a context with the subject's labels, to measure memorisation."""
        context = whole("context", context, 0, self.contexts - 1)
        return self._of(self._learnt, plan.padded([one.items(plan.TRAIN, context) for one in self._shares]))

    def true_labels(self) -> Tensor | None:
        if not self.label_noise:
            return None
        return torch.from_numpy(np.stack([one.truth for one in self._shares])).long().to(self._rows.device)

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """The items that each subject has met in the most recently ended context, each once, in batches of `size`.

        In the iid and cumulative orders these are the items of all contexts so far.  The order is drawn from the
        subject's seed for each visit to a context.  `born` is the last experience that contained the item.
        """
        size = whole("size", size)
        ended = np.minimum(clock.experience, self._plan.shape[1]) // self.ends[0]
        born = [self._lived(i, int(count)) for i, count in enumerate(ended)]
        items, weight = plan.padded(plan.mixed(self._spec.seeds, ended, [np.flatnonzero(when >= 0) for when in born]))
        born = np.take_along_axis(np.stack(born), np.broadcast_to(items, (len(born), items.shape[1])), 1)
        for start in range(0, items.shape[1], size):
            part = slice(start, start + size)
            rows = (items[:, part], None if weight is None else weight[:, part])
            yield self._of(self._learnt, rows, born[:, part])

    def _lived(self, subject: int, ended: int) -> np.ndarray:
        """The last experience with each item of the most recently ended stretch: int64 [n], -1: never."""
        share = self._shares[subject]
        end = ended * self.ends[0]
        born = np.full(len(share.split), -1, np.int64)
        born[self._plan[subject, :end].cpu().numpy().ravel()] = np.repeat(np.arange(end), self.batch)
        if ended and self.order not in ("iid", "cumulative"):
            born[share.context != self._visits[ended - 1]] = -1
        return born

    # -- description --------------------------------------------------------------------------------------

    def describe(self) -> str:
        """The protocol in a few lines: contexts, classes and labels of subject 0, outputs, scaling, order, splits."""
        spec = self._spec
        scale = "as given" if spec.quantum is None else f"raw/{1 / spec.quantum:.0f}"
        shown = "" if self.views == "plain" else f", all classes in every context, {self.views}"
        lines = [
            f"{type(self).__name__}: {'regression' if spec.regression else f'{self.scenario}-incremental'}, "
            f"{self.order} order, {self.length} experiences of {self.batch} rows; "
            f"contexts {'known' if spec.task_id_known else 'unknown'}, ends {'known' if spec.ends else 'unknown'}",
            f"inputs {'x'.join(map(str, spec.inputs))} {scale}, no normalisation; {spec.outputs} outputs, "
            f"{'the head of the context competes' if spec.heads is not None else 'all compete from the start'}; "
            f"classes {'drawn for each subject' if self.shuffle_classes else 'in order'}; "
            f"label noise {self.label_noise:g}; evaluations ask the {self.eval_split} split{shown}",
        ]
        asked = (items.shape[1] if weight is None else int(weight[0].sum()) for items, weight in self._exams)
        return "\n".join(lines + [f"{self._shares[0].told(k)}, asked {n}" for k, n in enumerate(asked)])


class Grouped(Stream):
    """The base class of streams whose data has its own contexts and targets, so that the protocol draws none."""

    scenario: str = fixed("domain")
    shuffle_classes: bool = fixed(False)
    label_noise: float = fixed(0.0)
    views: str = fixed("plain")
