"""What names of version 0.1 are called now.  docs/glossary.md lists the same names; a test compares the two.

Nothing here is needed by who knows the new names: an old one is refused, and the error names the new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

VERSION = "0.2"

# names of the package: cls_sim.OLD
CLASSES = {
    "Refused": "ConfigError",
    "Settling": "NightlyDecay",
    "Allowance": "DoseLimited",
    "Everything": "FullBatch",
    "Settled": "Reencoded",
    "Blended": "Mixup",
    "Old": "RecencyShare",
    "Interfered": "MaximallyInterfered",
    "Pull": "QuadraticPenalty",
    "Stiffen": "ImportanceScaledRate",
    "Alike": "UniformImportance",
    "Sensitivity": "OutputSensitivity",
    "Path": "PathIntegral",
    "Walk": "RiemannianWalk",
    "Label": "SupervisedLoss",
    "Distil": "DistillationLoss",
    "FeatureDistil": "FeatureDistillation",
    "Asymmetric": "AsymmetricLoss",
    "Dark": "DarkExperienceLoss",
    "Cortex": "CortexReadout",
    "Slow": "SlowCopyReadout",
    "Memory": "HippocampusReadout",
    "Summed": "LogitSum",
    "Both": "MostConfident",
    "Together": "RecallFirst",
    "Load": "HandoverRate",
    "AtOnce": "ImmediateRecall",
    "Desk": "TriageRates",
    "Current": "CurrentAccuracy",
    "Recalled": "RecalledShare",
    "Strength": "MemoryStrength",
    "Score": "ConsolidationScore",
    "Modes": "SingularModes",
    "Grams": "NGrams",
    "Winners": "KWinners",
    "Binary": "BinaryDistillation",
    "Routed": "HippocampalShare",
    "ROOMS": "PART_KINDS",
}

# settings of a class, by its new name
SETTINGS: dict[str, dict[str, str]] = {
    "Nights": {"wake": "experiences_per_day", "night": "steps_per_night"},
    "GrowingNights": {"wake": "experiences_per_day", "night": "steps_per_night"},
    "ContextNights": {"wake": "experiences_per_day", "night": "steps_per_night"},
    "Validated": {
        "wake": "experiences_per_day",
        "night": "steps_per_night",
        "check": "steps_between_checks",
        "share": "held_out",
    },
    "Estimated": {"wake": "experiences_per_day", "night": "steps_per_night", "by": "estimator"},
    "Sleepless": {"wake": "experiences_per_day"},
    "NremRem": {"wake": "experiences_per_day"},
    "Counted": {"wake": "experiences_per_day"},
    "Pressure": {
        "wake": "experiences_per_day",
        "rise": "rise_per_experience",
        "fall": "fall_per_step",
        "high": "threshold",
        "error": "error_gain",
        "novelty": "novelty_gain",
    },
    "Naps": {"wake": "experiences_per_day", "every": "experiences_between_naps", "nap": "steps_per_nap"},
    "WakeNight": {"wake": "wake_rate", "night": "night_rate"},
    "NightlyDecay": {"wake": "wake_rate"},
    "Store": {"keep": "eviction"},
    "Sparse": {"keep": "eviction"},
    "Trisynaptic": {"keep": "eviction"},
    "Remerge": {"keep": "eviction"},
    "Episodic": {"keep": "eviction"},
    "Exemplars": {"choose": "selection"},
    "Copies": {"night": "steps_per_night", "spawn": "copying", "chance": "stochastic"},
    "Autoencoder": {"renew": "renew_every"},
    "Feedback": {"renew": "renew_every", "rebuild": "reconstruction_weight"},
    "GenerativeClassifier": {"gather": "accumulate"},
    "Gaussians": {"of": "features", "squash": "nonlinearity", "shared": "shared_covariance"},
    "Mixtures": {"kinds": "components", "waves": "frequencies"},
    "Growing": {"enough": "loss_threshold"},
    "Augmented": {"shift": "translation", "turn": "rotation", "scale": "scaling", "alike": "min_autocorrelation"},
    "Mixup": {"most": "max_share"},
    "Preferred": {"by": "preference", "importance": "correction", "pool": "candidates"},
    "Thinned": {"by": "preference"},
    "Similar": {"by": "compare"},
    "Descent": {"rule": "optimizer"},
    "Projected": {"rule": "optimizer", "rounds": "max_iterations"},
    "Clipped": {"rule": "optimizer"},
    "Downscaled": {"rule": "consolidation"},
    "BennaFusi": {"rule": "consolidation"},
    "Fading": {"rule": "consolidation"},
    "Cascade": {"rule": "consolidation"},
    "Partition": {"rule": "consolidation"},
    "SpikingSleep": {"rule": "consolidation"},
    "BinarySynapses": {"rule": "consolidation"},
    "Averaging": {
        "rule": "consolidation",
        "slow": "slow_decay",
        "fast": "fast_decay",
        "slow_chance": "slow_probability",
        "fast_chance": "fast_probability",
    },
    "QuadraticPenalty": {"keep": "accumulation"},
    "Stream": {"told": "boundaries_known", "examined": "eval_split"},
    "Arrays": {"told": "boundaries_known", "examined": "eval_split"},
    "Candies": {"told": "boundaries_known", "examined": "eval_split"},
    "Species": {"told": "boundaries_known", "examined": "eval_split"},
    "Abalone": {"told": "boundaries_known", "examined": "eval_split"},
    "Texts": {"told": "boundaries_known", "examined": "eval_split"},
    "Clinc": {"told": "boundaries_known", "examined": "eval_split"},
    "Digits": {"told": "boundaries_known", "examined": "eval_split"},
    "Mnist": {"told": "boundaries_known", "examined": "eval_split"},
    "Queries": {"told": "boundaries_known", "strange": "out_of_scope"},
    "Associations": {"told": "boundaries_known"},
    "Semantic": {"lessons": "schedule", "first": "epochs_before", "then": "epochs_with"},
    "Tree": {"nothing": "empty_experiences"},
}

# methods of a base class
METHODS: dict[str, dict[str, str]] = {
    "Part": {"begin": "setup", "begin_inside": "setup_inside", "join": "attach"},
    "Neocortex": {
        "meet": "before_step",
        "learnt": "after_step",
        "taught": "training_outputs",
        "within": "mask_logits",
        "plastic": "plastic_mask",
        "taps": "activations",
        "imagine": "reconstruct",
    },
    "Objective": {"rows": "row_losses", "wrong": "error", "of": "losses", "moved": "after_step"},
    "Penalty": {"moved": "after_step", "pull": "adjust_gradients"},
    "Importance": {"moved": "after_step"},
    "Preference": {"of": "priority"},
    "Replay": {"lesson": "training_batch"},
    "World": {"exam": "evaluation"},
    "Texts": {"strange": "out_of_scope"},
    "Ca3": {"hear": "prepare_cue"},
}

# fields of the specification that parts receive
FIELDS: dict[str, dict[str, str]] = {
    "Spec": {
        "context_told": "task_id_known",
        "known": "context_sizes",
        "weighed": "input_weights",
        "names": "recall_answers",
        "among": "cohort",
    }
}

# keys of a configuration below a kind of part, wherever they stand
PATHS: dict[str, dict[str, str]] = {
    "rhythm": {
        "wake": "experiences_per_day",
        "night": "steps_per_night",
        "check": "steps_between_checks",
        "share": "held_out",
        "by": "estimator",
        "rise": "rise_per_experience",
        "fall": "fall_per_step",
        "high": "threshold",
        "error": "error_gain",
        "novelty": "novelty_gain",
        "every": "experiences_between_naps",
        "nap": "steps_per_nap",
    },
    "plasticity": {"wake": "wake_rate", "night": "night_rate"},
    "hippocampus": {
        "keep": "eviction",
        "choose": "selection",
        "night": "steps_per_night",
        "spawn": "copying",
        "chance": "stochastic",
        "renew": "renew_every",
        "gather": "accumulate",
        "of": "features",
        "squash": "nonlinearity",
        "shared": "shared_covariance",
        "kinds": "components",
        "waves": "frequencies",
    },
    "neocortex": {"renew": "renew_every", "rebuild": "reconstruction_weight", "enough": "loss_threshold"},
    "replay": {
        "shift": "translation",
        "turn": "rotation",
        "scale": "scaling",
        "alike": "min_autocorrelation",
        "most": "max_share",
        "by": "compare or preference",
        "importance": "correction",
        "pool": "candidates",
    },
    "consolidation": {
        "rule": "optimizer",
        "rounds": "max_iterations",
        "slow": "slow_decay",
        "fast": "fast_decay",
        "slow_chance": "slow_probability",
        "fast_chance": "fast_probability",
        "keep": "accumulation",
    },
    "world": {
        "told": "boundaries_known",
        "examined": "eval_split",
        "strange": "out_of_scope",
        "lessons": "schedule",
        "first": "epochs_before",
        "then": "epochs_with",
        "nothing": "empty_experiences",
    },
}

# options of a kind of part: conf/KIND/OLD.yaml
OPTIONS: dict[str, dict[str, str]] = {
    "plasticity": {"settling": "nightly_decay", "allowance": "dose_limited"},
    "replay": {"everything": "full_batch", "settled": "reencoded", "blended": "mixup"},
    "readout": {"both": "most_confident", "summed": "logit_sum", "together": "recall_first"},
    "probes": {"desk": "triage"},
}

# keys of arms, claims and others in an experiment's file; "" is its top
KEYS: dict[str, dict[str, str]] = {
    "": {"off": "ablation"},
    "arm": {"from": "branch_from", "at": "branch_at", "do": "overrides", "keep": "keep_parts", "in": "scenarios"},
    "method": {"do": "overrides"},
    "claims": {"is": "kind", "says": "statement"},
    "ablation": {"do": "overrides", "fails": "must_fail"},
    "parts": {"do": "overrides"},
}

CLAIM_KINDS = {
    "interior": "interior_optimum",
    "top_at": "maximum_at",
    "spares": "selective_advantage",
    "along": "profile_trend",
    "kept": "preserved",
    "order_kept": "order_preserved",
    "forgets_as": "forgetting_law",
    "jost": "jost_law",
}
FIGURE_KINDS = {"beside": "side_by_side"}
SUMMARY = {"says": "statement", "context_told": "task_id_known"}


def now(key: str) -> str | None:
    """The present name of a key of version 0.1; None if it is no such key.

    >>> now("world.told"), now("arm.lesioned.from"), now("world.order")
    ('world.boundaries_known', 'arm.lesioned.branch_from', None)
    """
    first, *rest = key.lstrip("+~").split(".")
    if not rest:
        return KEYS[""].get(first)
    if first in PATHS:
        names = PATHS[first]
        new = [names.get(name, name) for name in rest]
    elif first in KEYS and first:
        new = [*rest[:-1], KEYS[first].get(rest[-1], rest[-1])] if len(rest) == (1 if first in FLAT else 2) else rest
    else:
        return None
    return ".".join((first, *new)) if new != rest else None


FLAT = ("ablation", "method")  # their keys stand directly below them


def word(old: str) -> str | None:
    """The present name of a class, an option, or a kind of claim or figure."""
    for names in (CLASSES, *OPTIONS.values(), CLAIM_KINDS, FIGURE_KINDS):
        if old in names:
            return names[old]
    return None


def find(cfg: Mapping[str, Any]) -> str | None:
    """The first key of version 0.1 in a composed configuration, None if there is none."""
    for key, value in cfg.items():
        if key in KEYS[""]:
            return key
        if key in PATHS and (found := next(_below(key, key, value), None)):
            return found
        if key in KEYS:
            for name, node in ({"": value} if key in FLAT else _mapping(value)).items():
                for old in (old for old in _mapping(node) if old in KEYS[key]):
                    return ".".join(part for part in (key, str(name), old) if part)
    return None


def _mapping(value: Any) -> Mapping[str, Any]:
    """This mapping; an empty one for any other value."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _below(kind: str, path: str, node: Any) -> Iterator[str]:
    """Old keys of a part and of the parts inside it."""
    given = _mapping(node)
    target = str(given.get("_target_", ""))
    name = target.rpartition(".")[2]
    own = SETTINGS.get(CLASSES.get(name, name), {}) if target else PATHS[kind]
    if target and not target.startswith("cls_sim."):
        return
    for key, value in given.items():
        if key in own:
            yield f"{path}.{key}"
        yield from _below(kind, f"{path}.{key}", value)


def table() -> list[tuple[str, str]]:
    """Every old name and its new one, as docs/glossary.md lists them."""
    rows = [("import cls_sim as cls", "import cls_sim as cs")]
    rows += [(f"cls_sim.{old}", f"cls_sim.{new}") for old, new in CLASSES.items()]
    before = {new: old for old, new in CLASSES.items()}
    for name, names in SETTINGS.items():
        rows += [(f"{before.get(name, name)}.{old}", f"{name}.{new}") for old, new in names.items()]
    for name, names in (*METHODS.items(), *FIELDS.items()):
        rows += [(f"{before.get(name, name)}.{old}", f"{name}.{new}") for old, new in names.items()]
    for kind, names in OPTIONS.items():
        rows += [(f"{kind}={old}", f"{kind}={new}") for old, new in names.items()]
    below = {"": "", "arm": "arm.NAME.", "claims": "claims.NAME.", "parts": "parts.NAME."}
    for place, names in KEYS.items():
        new_place = below.get(place, f"{place}.")
        old_place = new_place.replace("ablation", "off")
        rows += [(old_place + old, new_place + new) for old, new in names.items()]
    rows += [(f"claims.NAME.is: {old}", f"claims.NAME.kind: {new}") for old, new in CLAIM_KINDS.items()]
    rows += [(f"figures.NAME.kind: {old}", f"figures.NAME.kind: {new}") for old, new in FIGURE_KINDS.items()]
    return rows + [(f"summary.json: {old}", f"summary.json: {new}") for old, new in SUMMARY.items()]
