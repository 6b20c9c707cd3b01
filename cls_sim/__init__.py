"""cls_sim: a laboratory for complementary learning systems.

The public vocabulary is the table below (name → module); a name is imported when it is first used, so that
`cls-sim --help` needs no torch.  A new tenant adds its line here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

ROOMS = ("world", "rhythm", "plasticity", "neocortex", "hippocampus", "replay", "consolidation", "readout")
"""The rooms of a life, in the order in which their tenants begin."""

VOCABULARY = {
    # life
    "Life": "life",
    "run": "runs",
    "build": "configs",
    "figures": "figures",
    "statistics": "statistics",
    "theory": "theory",
    "Batch": "batch",
    "Spec": "part",
    "Refused": "errors",
    # worlds
    "World": "world.base",
    "Digits": "world.digits",
    "Mnist": "world.mnist",
    "Arrays": "world.arrays",
    "Teacher": "world.teacher",
    "RandomItems": "world.random_items",
    "NoisyWorld": "world.wraps",
    "Patterns": "world.patterns",
    "Cohorts": "world.patterns",
    "Hierarchy": "world.hierarchy",
    "Deficit": "world.deficit",
    "Satellites": "world.satellites",
    "Associations": "world.associations",
    "Tree": "world.tree",
    "Semantic": "world.semantic",
    # hippocampi
    "Hippocampus": "hippocampus.base",
    "Sparse": "hippocampus.sparse",
    "Store": "hippocampus.store",
    "Gaussians": "hippocampus.gaussians",
    "Copies": "hippocampus.copies",
    "Autoencoder": "hippocampus.autoencoder",
    "Trisynaptic": "hippocampus.trisynaptic",
    "Winners": "hippocampus.dentate",
    "Index": "hippocampus.dentate",
    "Attractor": "hippocampus.ca3",
    "ModernHopfield": "hippocampus.ca3",
    "DreamingHopfield": "hippocampus.ca3",
    "Coarse": "hippocampus.codes",
    "NoHippocampus": "hippocampus.none",
    "Lesion": "hippocampus.wraps",
    "TwoPaths": "hippocampus.paths",
    "Frozen": "hippocampus.wraps",
    # neocortices
    "Neocortex": "neocortex.base",
    "Linear": "neocortex.mlp",
    "Mlp": "neocortex.mlp",
    "Module": "neocortex.module",
    "Feedback": "neocortex.feedback",
    "CortexLesion": "neocortex.wraps",
    "Gated": "neocortex.routed",
    "Attentive": "neocortex.routed",
    "Columns": "neocortex.columns",
    "Growing": "neocortex.columns",
    "Packed": "neocortex.packed",
    "Averaged": "neocortex.averaged",
    "Relational": "neocortex.relational",
    # plasticity
    "Plasticity": "plasticity",
    "Constant": "plasticity",
    "Exponential": "plasticity",
    "PowerLaw": "plasticity",
    "CriticalPeriod": "plasticity",
    "Allowance": "plasticity",
    "WakeNight": "plasticity",
    "Modulated": "plasticity",
    # rhythm
    "Rhythm": "rhythm",
    "Sleepless": "rhythm",
    "Nights": "rhythm",
    "ContextNights": "rhythm",
    "Naps": "rhythm",
    "Deprived": "rhythm",
    # replay
    "Replay": "replay.base",
    "Uniform": "replay.stored",
    "Recent": "replay.stored",
    "OldNew": "replay.stored",
    "Everything": "replay.stored",
    "Dreamed": "replay.dreamed",
    "Shuffled": "replay.wraps",
    "Interleaved": "replay.wraps",
    "Disrupted": "replay.disturbed",
    "NoisyReplay": "replay.disturbed",
    "Cued": "replay.cued",
    "Mixed": "replay.wraps",
    "Preferred": "replay.preferred",
    "Thinned": "replay.preferred",
    "Preference": "replay.preferences",
    "Surprise": "replay.preferences",
    "Weakness": "replay.preferences",
    "Novelty": "replay.preferences",
    "Balanced": "replay.preferences",
    "Old": "replay.preferences",
    "Similar": "replay.preferences",
    "Augmented": "replay.altered",
    "Blended": "replay.altered",
    # consolidation
    "Consolidation": "consolidation.base",
    "Descent": "consolidation.descent",
    "Drift": "consolidation.drift",
    "Sgd": "optimisers",
    "Momentum": "optimisers",
    "Adam": "optimisers",
    "Imm": "consolidation.wraps",
    "Retrain": "consolidation.wraps",
    "FromScratch": "consolidation.wraps",
    "Projected": "consolidation.projected",
    "Penalty": "consolidation.penalties",
    "Pull": "consolidation.penalties",
    "Stiffen": "consolidation.penalties",
    "Fisher": "consolidation.importance",
    "Path": "consolidation.importance",
    "Sensitivity": "consolidation.importance",
    "Alike": "consolidation.importance",
    "Label": "consolidation.objectives",
    "Distil": "consolidation.objectives",
    "Lwf": "consolidation.teachers",
    "FeatureDistil": "consolidation.teachers",
    "Binary": "consolidation.teachers",
    "Asymmetric": "consolidation.rehearsal",
    "Dark": "consolidation.rehearsal",
    "Hat": "consolidation.attention",
    "Averaging": "consolidation.averaging",
    "Hebb": "consolidation.hebb",
    "BennaFusi": "consolidation.synapses",
    "Fading": "consolidation.synapses",
    "Cascade": "consolidation.binary",
    "Partition": "consolidation.binary",
    # readout
    "Readout": "readout.base",
    "Cortex": "readout.systems",
    "Slow": "readout.systems",
    "Memory": "readout.systems",
    "Both": "readout.systems",
    "NearestMean": "readout.prototypes",
    "ExpertGate": "readout.prototypes",
    # probes
    "Probe": "probes.base",
    "Accuracy": "probes.accuracy",
    "Dependence": "probes.accuracy",
    "RehearsalGap": "probes.accuracy",
    "Generalisation": "probes.accuracy",
    "Memorisation": "probes.accuracy",
    "Amnesia": "probes.amnesia",
    "TransferTime": "probes.amnesia",
    "NoveltyGate": "probes.novelty",
    "Routed": "probes.novelty",
    "Current": "probes.plasticity_state",
    "PlasticityState": "probes.plasticity_state",
    "DoubleDissociation": "probes.dissociation",
    "Savings": "probes.relearning",
    "Interference": "probes.relearning",
    "Belief": "probes.semantics",
    "Distance": "probes.semantics",
    "Residual": "probes.semantics",
    "Distinctions": "probes.semantics",
    "SchemaConsistency": "probes.semantics",
    "Retention": "probes.frontier",
    "Acquisition": "probes.frontier",
    "Dose": "probes.night",
    "Passes": "probes.night",
    "NightContent": "probes.night",
    "MemorySignal": "probes.memory",
    "Score": "probes.predictability",
    "BayesExcess": "probes.predictability",
    "Predictability": "probes.predictability",
    "Strength": "probes.memory",
    "Recalled": "probes.memory",
    "Separation": "probes.recollection",
    "Completion": "probes.recollection",
    "Recollection": "probes.recollection",
    "Dreams": "probes.recollection",
    "Modes": "probes.differentiation",
    "Differentiation": "probes.differentiation",
}

__all__ = ["ROOMS", "VOCABULARY", "__version__", *VOCABULARY]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in VOCABULARY:
        raise AttributeError(f"module 'cls_sim' has no attribute {name!r}")
    module = import_module(f"cls_sim.{VOCABULARY[name]}")
    return module if VOCABULARY[name] == name else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
