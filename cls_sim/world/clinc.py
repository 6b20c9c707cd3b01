"""CLINC150: 23,700 queries to an assistant with 150 intents in ten domains, and 1,200 out of scope."""

from __future__ import annotations

import json
from functools import cache

from cls_sim.world.files import fetched, read_bytes
from cls_sim.world.texts import Corpus, Query, Texts

HOME = "https://raw.githubusercontent.com/clinc/oos-eval/master/data/"
FILES = {  # name → sha256
    "data_full.json": "36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0",
    "domains.json": "b947b579d3b8e74b06f93b01083d8efaff2888b43a3e362533bd88a6e1211b3a",
}
PARTS = {"test": ("test", "oos_test"), "validation": ("val", "oos_val")}


class Clinc(Texts):
    """The queries of CLINC150, domain by domain: banking, credit cards, and eight other domains of 15 intents each.

    Each intent has 100 training and 30 test queries (validation: 20); 1,000 queries (validation: 100) are out of scope.
    The files data_full.json and domains.json are read from the folder clinc150/ of $CLS_SIM_DATA_DIR, else from the
    user's cache, else downloaded to the cache; their checksums are checked.  Settings as in Texts.

    Source: Larson et al. 2019, An evaluation dataset for intent classification and out-of-scope prediction; CC BY 3.0.

    >>> Clinc(contexts=3).width
    2048
    """

    def corpus(self) -> Corpus:
        return _read(self.asks)


@cache
def _read(part: str) -> Corpus:
    checksums = FILES.items()
    contents = (read_bytes(*fetched("clinc150", name, HOME, f"sha256:{one}"), one) for name, one in checksums)
    splits, domains = map(json.loads, contents)
    home = {intent: domain for domain, intents in domains.items() for intent in intents}
    order = list(domains)

    def queries(split: str) -> list[Query]:
        found = [(text, intent, home[intent]) for text, intent in splits[split]]
        return sorted(found, key=lambda query: order.index(query[2]))

    tests, strange = PARTS[part]
    return Corpus(queries("train"), queries(tests), [text for text, _ in splits[strange]])
