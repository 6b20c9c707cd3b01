"""Learning the values of actions from rewards."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.consolidation.objectives import Objective
from cls_sim.core.batch import Batch
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.neocortex.base import Neocortex


class TemporalDifference(Settings, Objective):
    """Q-learning: the scores of the cortex are the values Q(x, a) of actions, and a row is one step, or several.

        L = ½ (r + γ^n max_a' Q(x', a') - Q(x, a))²

    x' is what followed n steps later (`Batch.after`, `Batch.steps`), r the discounted reward until then; without the
    second term if the episode ended (n = 0).  The target is not differentiated.  With a linear cortex, one-hot inputs
    and `reduction: sum`, a step at rate α is Q(x, a) ← Q(x, a) + α (target - Q(x, a)).  Rows without action (-1, or a
    batch without actions) have loss 0.

    gamma  the discount γ of one step, in [0, 1]

    Source: Watkins 1989; Sutton & Barto 2018, section 6.5; several steps at once, Mattar & Daw 2018.

    >>> batch = Batch.lived(torch.zeros(1, 1, 2), torch.tensor([[1]]), action=torch.tensor([[1]]),
    ...     reward=torch.ones(1, 1), after=torch.zeros(1, 1, 2), steps=torch.tensor([[0]]))
    >>> TemporalDifference().row_losses(torch.zeros(1, 1, 2), batch).item()
    0.5
    """

    gamma: float = setting(0.9, 0.0, 1.0)

    def setup(self, spec: Spec) -> Spec:
        refuse_if(not spec.actions, "", "learns the values of actions, and this world asks for none", "use world=track")
        return spec

    def losses(self, neocortex: Neocortex, batch: Batch, context: Tensor | None) -> Tensor:
        worth = None
        if batch.after is not None:
            with torch.no_grad():
                worth = neocortex.scores(batch.after, context).amax(2)
        scores, own = neocortex.training_outputs(batch, context)
        rows = self.row_losses(scores, batch, worth)
        return rows if own is None else rows + own

    def row_losses(self, scores: Tensor, batch: Batch, worth: Tensor | None = None) -> Tensor:
        """The loss [s, b], with the worth [s, b] of what follows; None: nothing of value follows."""
        if batch.action is None or batch.reward is None:
            return scores.sum(2) * 0.0
        target = batch.reward
        if worth is not None and batch.steps is not None:
            target = target + torch.where(batch.steps > 0, self.gamma**batch.steps * worth, 0.0)
        value = scores.gather(2, batch.action.clamp(min=0)[..., None])[..., 0]
        return torch.where(batch.action >= 0, 0.5 * (target.detach() - value).square(), 0.0)
