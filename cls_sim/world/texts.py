"""Text queries, domain by domain: hashed n-grams with inverse document frequencies of the past."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.core.part import Spec
from cls_sim.core.settings import fixed, needed, setting
from cls_sim.world.stream import Stream
from cls_sim.world.table import Data, Table

Query = tuple[str, str, str]  # text, intent, domain
Encoder = Callable[[list[str]], Any]


@dataclass(frozen=True)
class Corpus:
    """Queries for training and for tests (None: a share is held out), and queries that are out of scope."""

    learn: Sequence[Query]
    tests: Sequence[Query] | None = None
    out_of_scope: Sequence[str] = ()


class Texts(Stream):
    """Text queries with their intents as labels; contexts are domains of intents, one after another.

        x_j = t_j(w) idf_j / ‖ t(w) · idf ‖,    idf_j = ln((1 + n) / (1 + n_j)) + 1

    t_j(w) is 1 if the text w holds an n-gram that is hashed to j, else 0: single words and pairs of words use one half
    of `width`, groups of 3 to 5 letters within words the other half.  n is the number of queries met so far and n_j the
    number of them with j, counted up to the latest end of a day.  The end of a day therefore changes the encoding of
    every text, in experience and in evaluations.  Stored texts can be encoded again (see NGrams).

    contexts    number of domains, in their order; None: all
    width       width of x, a multiple of 16
    encoder     None: as above; a function from a list of texts to numbers [n, x], such as a sentence embedding; or the
                name of a model of the package sentence-transformers; its output is not changed
    eval_split  the questions of evaluations: `test` or `validation`

    Further settings as in Stream; every intent is one label.

    Source: hashed features, Weinberger et al. 2009; inverse document frequency, Spärck Jones 1972, smoothed.
    """

    derived = Stream.derived | {"encoder", "domains", "intents"}

    _clock = _texts = None

    contexts: int | None = setting(None)
    shuffle_classes: bool = fixed(False)
    per_context: int = setting(30)
    batch: int = setting(50)
    validation: float = fixed(0.0)
    test: float | None = fixed(None)
    views: str = fixed("plain")
    width: int = setting(2048, 16, 2**20)
    encoder: Encoder | str | None = setting(None)

    def _ready(self) -> None:
        refuse_if(self.width % 16, "width", f"{self.width} is not a multiple of 16", "give one, such as 2048")
        if self.encoder is not None and not callable(self.encoder) and not isinstance(self.encoder, str):
            reason = f"{self.encoder!r} is not a function"
            raise ConfigError("encoder", reason, "give one, the name of a model, or none")
        if self.scenario == "domain":
            raise ConfigError("scenario", "is domain, but no two domains share an intent", "use class or task")
        self._opens, self.contexts = self.contexts, self.contexts or 1
        self.asks, self.eval_split = self.eval_split, "test"
        super()._ready()

    @abstractmethod
    def corpus(self) -> Corpus:
        """The queries; the test queries are those of the split `self.asks`."""

    # -- text as numbers ----------------------------------------------------------------------------------

    def setup(self, spec: Spec) -> Spec:
        corpus = self.corpus()
        self.domains = tuple(dict.fromkeys(domain for _, _, domain in corpus.learn))
        if self._opens is not None and self._opens > len(self.domains):
            raise ConfigError("contexts", f"is {self._opens}, and there are {len(self.domains)} domains", "give fewer")
        self.domains = self.domains[: self._opens]
        self.contexts = len(self.domains)
        known = [query for domain in self.domains for query in corpus.learn if query[2] == domain]
        self.intents = tuple(dict.fromkeys(intent for _, intent, _ in known))
        self._met: list[Tensor] = []
        self._now: tuple[Any, Tensor] | None = None
        self._texts = self._table(corpus, known)
        spec = super().setup(spec)
        self._strange = self._encoded(list(corpus.out_of_scope), spec.inputs)
        return spec

    def data(self, seeds: tuple[int, ...] = (0,)) -> Data:
        if self._texts is None:
            raise ConfigError("", "reads its texts in setup", "call setup first")
        return self._texts

    def _table(self, corpus: Corpus, known: Sequence[Query]) -> Data:
        tests = None
        if corpus.tests is not None:
            asked = [query for query in corpus.tests if query[2] in self.domains]
            if odd := next((intent for _, intent, _ in asked if intent not in self.intents), None):
                raise ConfigError("tests", f"has the intent {odd!r}, which no training query has", "give queries of it")
            tests = self._numbered(asked, None)
        return self._numbered(known, tests)

    def _numbered(self, queries: Sequence[Query], tests: Data | None) -> Data:
        number = {intent: i for i, intent in enumerate(self.intents)}
        y = np.array([number[intent] for _, intent, _ in queries], np.int64)
        context = np.array([self.domains.index(domain) for _, _, domain in queries], np.int64)
        quantum = None if self.encoder is not None else 1.0
        x = self._encoded([text for text, _, _ in queries], (self.width,))
        return Data(x=x, y=y, context=context, tests=tests, quantum=quantum)

    def _encoded(self, texts: list[str], inputs: tuple[int, ...]) -> np.ndarray:
        """The n-grams of each text, uint8 [n, x]; or the output of the encoder, float32."""
        if self.encoder is None:
            return hashed(texts, self.width)
        if not texts:
            return np.zeros((0, *inputs), np.float32)
        encode = _model(self.encoder) if isinstance(self.encoder, str) else self.encoder
        x = np.ascontiguousarray(np.asarray(encode(texts), np.float32))
        if x.ndim != 2 or len(x) != len(texts) or not np.isfinite(x).all():
            raise ConfigError("encoder", f"made {x.shape} of {len(texts)} texts", "give [texts, numbers], all finite")
        return x

    def _told(self, spec: Spec, data: Data, protocol: Any) -> Spec:
        weighed = None if self.encoder is not None else self.idf
        return replace(super()._told(spec, data, protocol), quantum=None, input_weights=weighed)

    # -- weights of n-grams over time -----------------------------------------------------------------------

    def attach(self, spec: Spec, clock: Clock) -> None:
        super().attach(spec, clock)
        self._clock = clock

    def idf(self, clock: Clock) -> Tensor:
        """Inverse document frequency of each n-gram after the completed days: [s, x], from 1; 1 on the first day."""
        days = clock.experience // clock.per_day
        key = (clock.per_day, days.tobytes())
        if self._now is None or self._now[0] != key:
            met = self._counted(clock.per_day, int(days.max()))
            lived = np.minimum(days * clock.per_day, self._plan.shape[1])
            n = torch.from_numpy(1.0 + lived * self.batch).float().to(met.device)[:, None]
            at = torch.from_numpy(days.copy()).to(met.device)
            counts = met[at, torch.arange(len(days), device=met.device)]
            self._now = (key, (n / (1 + counts)).log() + 1)
        return self._now[1]

    def _counted(self, per_day: int, day: int) -> Tensor:
        """The number of queries with each n-gram before each day up to this one: [days, s, x]."""
        if self._now is not None and self._now[0][0] != per_day:
            self._met = []
        x = self._learnt.x
        if not self._met:
            self._met = [torch.zeros(len(self._plan), x.shape[1], device=x.device)]
        for d in range(len(self._met), day + 1):
            items = self._plan[:, (d - 1) * per_day : d * per_day].flatten(1)
            new = torch.zeros_like(self._met[0])
            for some in items.split(500, 1):
                rows = x.index_select(0, some.reshape(-1).long()).view(*some.shape, -1)
                new += rows.sum(1, dtype=torch.float32)
            self._met.append(self._met[-1] + new)
        return torch.stack(self._met[: day + 1])

    def _weighed(self, x: Tensor) -> Tensor:
        """Texts [s, b, x] in the current encoding."""
        if self.encoder is not None:
            return x
        return normalize(x if self._clock is None else x * self.idf(self._clock)[:, None], dim=2)

    def _batch(
        self, data: Table, items: Tensor, born: Tensor, weight: Tensor | None = None, known: bool = True
    ) -> Batch:
        batch = super()._batch(data, items, born, weight, known)
        return batch.with_(x=self._weighed(batch.x))

    def out_of_scope(self) -> Batch:
        """Queries that are out of scope: [s, n, x], label -1."""
        seeds, device = self._spec.seeds, self._spec.device
        x = torch.from_numpy(self._strange).to(device).float().expand(len(seeds), -1, -1)
        return Batch.lived(self._weighed(x), torch.full(x.shape[:2], -1, dtype=torch.int64, device=device))


class Queries(Texts):
    """Your own queries, as a list of (text, intent, domain).

    queries       training queries; domains and intents are numbered in the order of their first query
    tests         test queries; None: 15 % of each intent is held out
    out_of_scope  texts that belong to no domain, which a subject should hand over to an operator

    Further settings as in Texts.

    >>> words = [("open an account", "open", "bank"), ("close my account", "close", "bank")]
    >>> travel = [("book a flight", "flight", "travel"), ("find a hotel", "hotel", "travel")]
    >>> world = Queries(queries=words * 8 + travel * 8, out_of_scope=["who are you"], batch=4)
    >>> spec = world.setup(Spec())
    >>> spec.outputs, spec.contexts, world.domains, world.out_of_scope().rows
    (4, 2, ('bank', 'travel'), 1)
    """

    derived = Texts.derived | {"queries", "tests", "odd"}

    queries: Sequence[Query] = needed(lambda key, queries: _checked(key, queries))
    eval_split: str = fixed("test")
    tests: Sequence[Query] | None = setting(None, check=lambda key, queries: _checked(key, queries))
    out_of_scope: Sequence[str] = setting(())  # pyright: ignore

    def _ready(self) -> None:
        super()._ready()
        self.odd = [str(text) for text in vars(self).pop("out_of_scope")]
        refuse_if(not self.queries, "queries", "is empty", "give at least one (text, intent, domain)")

    def corpus(self) -> Corpus:
        return Corpus(self.queries, self.tests, self.odd)


def _checked(key: str, queries: Sequence[Query]) -> list[Query]:
    found = [tuple(query) for query in queries]
    for i, query in enumerate(found):
        if len(query) != 3 or not all(isinstance(word, str) for word in query):
            raise ConfigError(f"{key}[{i}]", f"is {query!r}", "give (text, intent, domain), three strings")
    return found  # pyright: ignore[reportReturnType]


def hashed(texts: Sequence[str], width: int) -> np.ndarray:
    """The n-grams of each text, hashed to `width` places: uint8 [n, width].

    >>> hashed(["hello", "hello world"], 64).sum(1).tolist() == hashed(["HELLO", "World, hello"], 64).sum(1).tolist()
    False
    >>> hashed(["hello"], 64).tolist() == hashed(["HELLO"], 64).tolist()
    True
    """
    return _hashed(tuple(texts), width)


@lru_cache(maxsize=8)  # every arm of an experiment reads the same texts
def _hashed(texts: tuple[str, ...], width: int) -> np.ndarray:
    if not texts:
        return np.zeros((0, width), np.uint8)
    try:
        from sklearn.feature_extraction.text import HashingVectorizer
    except ImportError:
        reason, remedy = "texts are hashed by scikit-learn, which is not installed", "pip install cls-sim[text]"
        raise ConfigError("encoder", reason, remedy) from None
    halves = [
        HashingVectorizer(n_features=width // 2, analyzer=kind, ngram_range=span, binary=True, alternate_sign=False)
        for kind, span in (("word", (1, 2)), ("char_wb", (3, 5)))
    ]
    found: list[Any] = [half.transform(texts) for half in halves]  # sparse
    return np.concatenate([np.asarray(half.toarray() > 0, np.uint8) for half in found], 1)


def _model(name: str) -> Encoder:
    """The sentence encoder with this name."""
    try:
        from sentence_transformers import SentenceTransformer  # pyright: ignore[reportMissingImports]
    except ImportError:
        remedy = "pip install sentence-transformers, or give a function, or null for hashed n-grams"
        raise ConfigError("encoder", f"{name} needs sentence-transformers, which is not installed", remedy) from None
    return SentenceTransformer(name).encode
