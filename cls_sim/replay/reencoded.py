"""Replay whose rows are recalled or re-encoded by the present hippocampus or cortex."""

from __future__ import annotations

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import View
from cls_sim.core.settings import setting
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Within


class Inferred(Within):
    """Replays stored inputs as cues, with the answers that the hippocampus recalls now, its inferences included.

    policy  the policy that chooses the cues

    The recalled answers are soft targets: `scores` = ln of the recalled answer, normalised to a distribution (for the
    objective DistillationLoss with temperature 1).  Labels and sources are those of the episodes.  Awake, the policy is
    unchanged.

    Source: consolidation of inferences, Kumaran & McClelland 2012; Kumaran, Hassabis & McClelland 2016.

    >>> from cls_sim.core.part import Spec
    >>> from cls_sim.replay.stored import Uniform
    >>> Inferred(Uniform(batch=8)).setup(Spec()).subjects
    1
    """

    null = None

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        batch = self.policy.draw(hippocampus, neocortex, view, clock)
        if batch.y.is_floating_point():
            return batch.with_(scores=hippocampus.recall(batch.x).scores)
        said = hippocampus.recall(batch.x).scores.clamp(min=0.0)
        share = said / said.sum(2, keepdim=True).clamp(min=1e-12)
        return batch.with_(scores=share.clamp(min=1e-6).log())


class Reencoded(Within):
    """Reinstates the episodes of an index (Indexed) in the neocortex, and encodes the reinstated inputs anew.

        x̂ = reinstate(stored pattern),   new pattern = f(x̂)

    policy  the policy that chooses the episodes
    renew   True: the new patterns are given to the hippocampus, which stores them in place of the old ones;
            False: stored patterns stay as they are

    Rows are the inputs that the present feedback connections reinstate, without a label; the episode itself is nowhere.
    A neocortex that is plastic by night learns to reconstruct these rows.  Raises ConfigError for a hippocampus that
    stores no patterns, and for a neocortex without feedback connections.

    Source: off-line replay that keeps the hippocampal index valid, Káli & Dayan 2004.

    >>> from cls_sim.core.part import Spec
    >>> from cls_sim.replay.stored import Uniform
    >>> Reencoded(Uniform(batch=8)).setup(Spec()).subjects
    1
    """

    null = None

    renew: bool = setting(True)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        batch = self.policy.draw(hippocampus, neocortex, view, clock)
        if batch.features is None:
            raise ConfigError("", "needs a hippocampus that stores patterns", "use hippocampus=indexed")
        x = neocortex.reinstate(batch.features)
        return batch.with_(x=x, features=view.features(x) if self.renew else None)


class ThroughCode(Within):
    """The awake neocortex learns experience as the hippocampus would give it back, like the rows that it replays.

        x ← read(write(x))    with the code of the hippocampus, for the rows of experience that the neocortex learns

    policy  the policy that chooses the replayed rows

    Without it, a neocortex could tell new from replayed by the details that a code of few bytes loses (see Product).
    The hippocampus stores the experience itself.  Nothing changes if it stores inputs exactly, or none.

    Source: both are reconstructed in REMIND, Hayes et al. 2020.

    >>> from cls_sim.core.part import Spec
    >>> from cls_sim.replay.stored import Uniform
    >>> ThroughCode(Uniform(batch=8)).setup(Spec()).subjects
    1
    """

    null = None

    def training_batch(
        self, lived: Batch, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock
    ) -> Batch:
        seen = lived.with_(x=hippocampus.coded(lived.x))
        return self.policy.training_batch(seen, hippocampus, neocortex, view, clock)
