"""cls_sim: a laboratory for complementary learning systems.

The public vocabulary is the table below (module → names).  Python imports a name when it is first used, so that
`cls-sim --help` needs no torch.  A new public name is added here; `make stub` then adds it to the static types in
__init__.pyi.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

PART_KINDS = ("world", "rhythm", "plasticity", "neocortex", "hippocampus", "replay", "consolidation", "readout")
"""The kinds of part of a life, in the order in which they are set up."""

_NAMES = {  # module → its public names
    # life
    "life": "Life",
    "running.one_life": "run",
    "config.experiments": "build",
    "running.studies": "study",
    "running.opened": "open_run",
    "commands.fit.search": "fit",
    "people": "people",
    "figures": "figures",
    "statistics": "statistics",
    "theory": "theory",
    "core.batch": "Batch",
    "core.part": "Spec",
    "core.errors": "ConfigError",
    # worlds
    "world.base": "World",
    "world.digits": "Digits Mnist",
    "world.candies": "Candies",
    "world.species": "Species Abalone",
    "world.cifar": "Cifar10 Cifar100",
    "world.encoded": "Encoded",
    "world.encoders": "Pretrained Youth EfficientNetLite0",
    "world.random_items": "Patches RandomItems Dichotomy",
    "world.arrays": "Arrays",
    "world.features": "Features",
    "world.teacher": "Teacher Sources",
    "world.omniglot": "Omniglot",
    "world.texts": "Texts Queries",
    "world.clinc": "Clinc",
    "world.wraps": "NoisyWorld Mislabelled Deficit",
    "world.patterns": "Patterns Cohorts",
    "world.concepts": "Concepts",
    "world.sequences": "Sequences",
    "world.trees": "Hierarchy Tree Semantic",
    "world.acting": "Acting",
    "world.maze": "Maze",
    "world.rewards": "Rewards ByLot AtGoals",
    "world.bursts": "Bursts",
    "world.scenes": "Scenes",
    "world.communities": "Communities",
    "world.schemas": "Schemas",
    "world.real_time": "RealTime",
    "world.chains": "Chains",
    "world.associations": "Associations",
    # hippocampi
    "hippocampus.base": "Hippocampus",
    "hippocampus.sparse": "Sparse",
    "hippocampus.store": "Store",
    "hippocampus.compact": "Compact",
    "hippocampus.gaussians": "Gaussians",
    "hippocampus.mixtures": "Mixtures",
    "hippocampus.discriminant": "Discriminant RandomRidge",
    "hippocampus.copies": "Copies",
    "hippocampus.exemplars": "Exemplars",
    "hippocampus.generative": "GenerativeClassifier",
    "hippocampus.indexed": "Indexed",
    "hippocampus.autoencoder": "Autoencoder",
    "hippocampus.trisynaptic": "Trisynaptic",
    "hippocampus.dentate": "KWinners Index Relay",
    "hippocampus.attractor": "Attractor",
    "hippocampus.hopfield": "ModernHopfield DreamingHopfield",
    "hippocampus.bits": "Bits",
    "hippocampus.codes": "Coarse NGrams",
    "hippocampus.products": "Product",
    "hippocampus.wraps": "Operator Lesion Frozen",
    "hippocampus.slotless": "NoHippocampus",
    "hippocampus.paths": "TwoPaths",
    "hippocampus.remerge": "Remerge",
    "hippocampus.cognitive_map": "CognitiveMap",
    "hippocampus.fast_weights": "FastWeights",
    "hippocampus.causes": "Causes",
    "hippocampus.follows": "Follows",
    "hippocampus.theta": "Theta",
    "hippocampus.two_codes": "TwoCodes",
    "hippocampus.temporal_context": "TemporalContext",
    # neocortices
    "neocortex.base": "Neocortex",
    "neocortex.mlp": "Linear Mlp",
    "neocortex.module": "Module",
    "neocortex.layered": "LayerPeriods",
    "neocortex.convolutional": "SlimResNet18 Cnn4",
    "neocortex.feedback": "Feedback",
    "neocortex.wraps": "CortexLesion Averaged",
    "neocortex.routed": "Gated Attentive",
    "neocortex.columns": "Columns Growing",
    "neocortex.packed": "Packed",
    "neocortex.relational": "Relational",
    # plasticity
    "plasticity.base": "Plasticity",
    "plasticity.by_age": "Constant Exponential PowerLaw CriticalPeriod DoseLimited",
    "plasticity.by_state": "WakeNight NightlyDecay StageRates",
    "plasticity.wraps": "Modulated",
    # rhythm
    "rhythm.base": "Rhythm",
    "rhythm.nights": "Sleepless Nights GrowingNights ContextNights Naps NremRem Deprived",
    "rhythm.pressure": "Pressure",
    "rhythm.early_stopping": "Validated Estimated",
    "rhythm.pauses": "Pauses",
    "rhythm.proportional": "ProportionalNights",
    # replay
    "replay.base": "Replay",
    "replay.stored": "Uniform UniformPerRow Recent OldNew FullBatch",
    "replay.reencoded": "Reencoded ThroughCode Inferred",
    "replay.dreamed": "Dreamed Pseudorehearsal",
    "replay.wraps": "Shuffled Interleaved Mixed Staged AwakeAsleep",
    "replay.rationed": "Rationed",
    "replay.edited": "Edited",
    "replay.disrupted": "Disrupted NoisyReplay",
    "replay.cued": "Cued",
    "replay.preferred": "Preferred Thinned",
    "replay.preferences": "Preference Surprise Weakness Novelty Balanced RecencyShare MaximallyInterfered Similar",
    "replay.altered": "Augmented Jittered CropFlip Mixup",
    "replay.in_order": "InOrder",
    "replay.gain_need": "GainNeed",
    "replay.order": "Ordered",
    "replay.unfolded": "Unfolded",
    "replay.events": "Events",
    # consolidation
    "consolidation.base": "Consolidation",
    "consolidation.descent": "Descent",
    "consolidation.spiking": "SpikingSleep",
    "consolidation.homeostasis": "Drift Downscaled Homeostasis",
    "core.optimizers": "Sgd Momentum Adam Clipped",
    "consolidation.wraps": "Imm Retrain FromScratch",
    "consolidation.projected": "Projected",
    "consolidation.penalties": "Penalty QuadraticPenalty ImportanceScaledRate",
    "consolidation.importance": "Fisher PathIntegral OutputSensitivity UniformImportance RiemannianWalk",
    "consolidation.objectives": "SupervisedLoss DistillationLoss",
    "consolidation.teachers": "Lwf FeatureDistillation BinaryDistillation",
    "consolidation.rehearsal": "AsymmetricLoss DarkExperienceLoss Hebb PerceptronLoss",
    "consolidation.attention": "Hat",
    "consolidation.functional": "Fromp",
    "consolidation.averaging": "Averaging",
    "consolidation.caching": "Caching",
    "consolidation.synapses": "BennaFusi Fading",
    "consolidation.binary": "Cascade Partition",
    "consolidation.temporal_difference": "TemporalDifference",
    "consolidation.recall_gated": "RecallGated",
    "consolidation.tagging": "Tagging",
    "consolidation.scaled": "ScaledToInput",
    # readout
    "readout.base": "Readout",
    "readout.systems": "CortexReadout SlowCopyReadout HippocampusReadout LogitSum MostConfident RecallFirst",
    "readout.fitted": "FittedSum",
    "readout.prototypes": "NearestMean ExpertGate",
    "readout.softmax": "Softmax",
    # probes
    "probes.base": "Probe at",
    "probes.accuracy": "Accuracy AbsoluteError Dependence RehearsalGap "
    "Generalisation Memorisation Retention Acquisition",
    "probes.sampled": "AnytimeAccuracy SampledAccuracy RecencyBias",
    "probes.answers": "Prequential Answers",
    "probes.amnesia": "Amnesia TransferTime DoubleDissociation",
    "probes.triage": "NoveltyGate HippocampalShare HandoverRate ImmediateRecall TriageRates OutOfScope",
    "probes.plasticity_state": "CurrentAccuracy PlasticityState",
    "probes.relearning": "Savings Interference",
    "probes.semantics": "Belief Distance Residual Distinctions SchemaConsistency SingularModes Differentiation",
    "probes.imagery": "Imagery",
    "probes.cost": "ExtraBytes Energy",
    "probes.order": "ReplayOrder EpisodeSteps",
    "probes.events": "ReplayEvents",
    "probes.lists": "CuedRecall LayerOverlap",
    "probes.concepts": "ConceptOverlap",
    "probes.cascades": "ReplayedItems SequenceStrength",
    "probes.sequences": "SequenceLength",
    "probes.selectivity": "Selectivity GateShare",
    "probes.night": "Dose Passes NightContent NightAccuracy",
    "probes.content": "Content",
    "probes.priority": "SleepGain Priority",
    "probes.memory": "MemorySignal MemoryStrength RecalledShare DetailsAndGist Discriminability",
    "probes.predictability": "ConsolidationScore BayesExcess Predictability Regret",
    "probes.recollection": "Separation Completion Recollection Dreams",
    "probes.capacity": "Capacity",
    "probes.wrong": "WrongInMemory",
    "probes.drift": "IndexValidity RepresentationalDrift",
}
VOCABULARY = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = ["PART_KINDS", "VOCABULARY", "__version__", *VOCABULARY]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in VOCABULARY:
        from cls_sim.core import renamed  # core.renamed: names of version 0.1

        if name in renamed.CLASSES:
            new = renamed.CLASSES[name]
            raise AttributeError(f"cls_sim.{name} was renamed in {renamed.VERSION}; write cls_sim.{new}")
        raise AttributeError(f"module 'cls_sim' has no attribute {name!r}")
    module = import_module(f"cls_sim.{VOCABULARY[name]}")
    return module if VOCABULARY[name] == name else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
