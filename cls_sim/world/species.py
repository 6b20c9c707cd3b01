"""Ages of animals: two synthetic species with more or less similar rules, and abalone."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.random import Generator

from cls_sim.core.draws import generator
from cls_sim.core.settings import fixed, setting
from cls_sim.world.files import DataFileError, at_hand, read_bytes
from cls_sim.world.stream import Grouped
from cls_sim.world.table import Data

MEAN, SPREAD = 10.0, 3.0  # years
ANIMALS, CONTENT = 4177, "714afe1aa3d9a3df67e40d633bcbd494"
HOME = "https://archive.ics.uci.edu/dataset/1/abalone"


class Species(Grouped):
    """Two species: the same measurements predict age, by a different rule for each species.

        age = 10 + 3 x·w_k + noise · ε years,  x ~ N(0, I),  |w_k| = 1,  w_1·w_2 = similarity

    similarity  similarity of the two rules, -1 to 1; 1: both species have the same rule
    features    measurements of an animal, from 2
    animals     animals of each species, from 10; animals and rules are drawn for each subject
    mark        size, from 0, of two further inputs that mark the species, one for each (0: species are not marked)
    noise       standard deviation in years, from 0, of the age that measurements do not predict

    Context 0 is the first species, context 1 the second.  Targets are in units of the standard deviation of the first
    species' ages (`unit` [s], years).  Further settings as in Stream (`test` is .15 of each species).

    Source: two teachers of a given similarity, Lee, Goldt & Saxe (2021), Continual learning in the teacher-student
    setup.

    >>> from cls_sim.core.part import Spec
    >>> world = Species(similarity=0.5)
    >>> spec = world.setup(Spec(seeds=(0, 1)))
    >>> spec.inputs, spec.contexts, spec.regression, world.unit.round(1).tolist()
    ((10,), 2, True, [3.1, 3.1])
    """

    similarity: float = setting(0.5, -1.0, 1.0)
    features: int = setting(8, 2)
    animals: int = setting(1000, 10)
    mark: float = setting(1.0, 0.0)
    noise: float = setting(0.8, 0.0)
    contexts: int = fixed(2)
    batch: int = setting(20)

    def data(self, seeds: tuple[int, ...] = (0,)) -> Data:
        x, age = (np.stack(column) for column in zip(*(self._born(seed) for seed in seeds), strict=True))
        first = age[:, : self.animals]
        unit = first.std(1)
        y = (age - first.mean(1, keepdims=True)) / unit[:, None]
        context = np.repeat(np.arange(2), self.animals)
        return Data(x=x, y=y[..., None].astype(np.float32), context=context, own=True, unit=unit)

    def _born(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Measurements [n, features + 2] and ages [n] of one subject's animals."""
        x = generator(seed, "species.x").standard_normal((2 * self.animals, self.features), np.float32)
        rules = _rules(generator(seed, "species.rules"), self.features, self.similarity)
        told = (x * np.repeat(rules, self.animals, 0)).sum(1)
        mark = self.mark * np.repeat(np.eye(2, dtype=np.float32), self.animals, 0)
        x = np.concatenate([x, mark], 1)
        return x, MEAN + SPREAD * told + self.noise * generator(seed, "species.noise").standard_normal(len(x))


class Abalone(Grouped):
    """The age of 4,177 abalones (rings + 1.5 years) from 7 measurements: first infants, then females, then males.

    Inputs and targets are standardised by the means and standard deviations of the infants, the data of the first
    context (`unit`, years).  The file abalone.data is read from the folder abalone/ of $CLS_SIM_DATA_DIR; its checksum
    is checked.  Settings as in Stream (`test` is .15 of each context).

    Source: Nash, Sellers, Talbot, Cawthorn & Ford (1994), UCI; CC BY 4.0.

    >>> Abalone().contexts
    3
    """

    contexts: int = fixed(3)
    batch: int = setting(20)

    def data(self, seeds: tuple[int, ...] = (0,)) -> Data:
        context, numbers = _read()
        infants = numbers[context == 0]
        scaled = ((numbers - infants.mean(0)) / infants.std(0)).astype(np.float32)
        years = float(infants[:, -1].std())  # one ring a year
        return Data(x=scaled[:, :-1], y=scaled[:, -1:], context=context, unit=years)


def _rules(source: Generator, features: int, similarity: float) -> np.ndarray:
    """Two vectors [2, features] of length 1 whose dot product is the similarity.

    >>> a, b = _rules(np.random.default_rng(0), 5, 0.3)
    >>> round(float(a @ b), 6), round(float(b @ b), 6)
    (0.3, 1.0)
    """
    one, other = np.linalg.qr(source.standard_normal((features, 2)))[0].T
    return np.stack([one, similarity * one + np.sqrt(1 - similarity**2) * other])


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Infant 0, female 1 or male 2 [n], and the 7 measurements and rings [n, 8]."""
    path, remedy = at_hand("abalone", "abalone", "abalone.data", HOME)
    lines = read_bytes(path, remedy).decode("latin1").split()
    rows = [line.split(",") for line in lines if line[:2] in ("I,", "F,", "M,")]
    try:
        numbers = np.array([row[1:] for row in rows], np.float64).reshape(len(rows), 8)
    except ValueError:
        raise DataFileError(str(path), "is not the table of abalones", remedy) from None
    context = np.array(["IFM".index(row[0]) for row in rows], np.int64)
    whole_numbers = np.column_stack([context, np.rint(numbers * 10_000)]).astype("<i8")
    found = hashlib.md5(whole_numbers.tobytes(), usedforsecurity=False).hexdigest()
    if len(rows) != ANIMALS or found != CONTENT:
        raise DataFileError(str(path), f"has content of md5 {found} in {len(rows)} rows, expected {CONTENT}", remedy)
    return context, numbers
