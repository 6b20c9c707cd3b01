"""Readouts that compare a question with prototypes of classes, or with the inputs of contexts."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.core.part import Spec, View, ended, stretches
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.readout.base import CORTEX, Answer, Readout, by


class NearestMean(Readout):
    """Nearest-mean classifier in the feature space of the cortex (iCaRL).

        ŷ = argmin_c ‖ f(x) - μ_c ‖,   μ_c the mean of f over the stored episodes of c;  f and μ of length 1

    Scores are -‖f - μ_c‖², and -1e9 for classes without stored episodes; novelty = ‖f - μ_ŷ‖² / 4.  Raises ConfigError
    in regression.

    Source: Rebuffi, Kolesnikov, Sperl & Lampert (2017), iCaRL.

    >>> NearestMean().setup(Spec(outputs=2)).outputs
    2
    """

    def setup(self, spec: Spec) -> Spec:
        refuse_if(spec.regression, "", "needs class labels, and this is regression", "use another readout")
        self.spec = spec
        return spec

    def answer(self, x: Tensor, context: Tensor | None, hippocampus: Hippocampus, neocortex: Neocortex) -> Answer:
        mean, known = self._means(hippocampus, neocortex)
        f = normalize(neocortex.features(x, context), dim=2)
        away = 2 - 2 * f @ mean.mT  # both have length 1
        scores = neocortex.mask_logits((-away).masked_fill(~known[:, None], -1e9), context)
        return Answer(scores, by(CORTEX, x), (-scores.amax(2) / 4).clamp(0, 1))

    def _means(self, hippocampus: Hippocampus, neocortex: Neocortex) -> tuple[Tensor, Tensor]:
        """The class means [s, o, f], of length 1, and which classes have one: bool [s, o]."""
        traces = hippocampus.traces()
        slots = torch.arange(traces.alive.shape[1], device=traces.alive.device).expand(self.spec.subjects, -1)
        sums = torch.zeros(self.spec.subjects, self.spec.outputs, self.spec.features, device=slots.device)
        known = torch.zeros(self.spec.subjects, self.spec.outputs, device=slots.device)
        classes = torch.arange(self.spec.outputs, device=slots.device)
        for some in slots.split(1000, 1):
            rows = hippocampus.fetch(some.contiguous())
            votes = ((rows.y[..., None] == classes) & rows.present()[..., None]).float()  # [s, n, o]
            features = neocortex.features(rows.x, rows.context if self.spec.task_id_known else None)
            sums += votes.mT @ normalize(features, dim=2)
            known += votes.sum(1)
        return normalize(sums, dim=2), known > 0


class ExpertGate(Settings, Readout):
    """Expert gate: infers the context of a question from its reconstruction error; the expert of that context answers.

        k̂ = argmin_k ‖ (x - μ_k) - V_k V_kᵀ (x - μ_k) ‖²

    V_k are the first `components` principal axes of the inputs of context k: the optimum of a linear under-complete
    autoencoder.  If the task identity is known, it is used instead.

    components  from 1 to the number of inputs - 1

    Raises ConfigError in `setup` if context boundaries are unknown, or if the cortex has no expert for each context
    (use Columns).

    Source: Aljundi, Chakravarty & Tuytelaars (2017), Expert gate; there with a sigmoid code, trained by descent.

    >>> ExpertGate(components=4).components
    4
    """

    guesses = True

    components: int = setting(30)

    def setup(self, spec: Spec) -> Spec:
        remedy = "give a world with order=sharp and boundaries_known=true"
        refuse_if(not spec.ends, "", "needs known context boundaries", remedy)
        refuse_if(not spec.routed, "", "needs a cortex with one expert per context", "give neocortex=columns")
        width = math.prod(spec.inputs)
        if self.components >= width:
            raise ConfigError("components", f"is {self.components}, and there are {width} inputs", "give fewer")
        self.spec, self.known = spec, np.zeros((spec.subjects, spec.contexts), bool)  # contexts whose inputs are known
        self.centre = torch.zeros(spec.subjects, spec.contexts, width, device=spec.device)
        self.axes = torch.zeros(spec.subjects, spec.contexts, width, self.components, device=spec.device)
        return spec

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        width, k = self.centre.shape[2], torch.from_numpy(stretches(self.spec)[0][ended(self.spec, clock)])[who]
        moment = torch.zeros(self.spec.subjects, width, width, device=self.spec.device)
        total, rows = torch.zeros(self.spec.subjects, width, device=self.spec.device), moment.new_zeros(len(who), 1)
        for batch in view.revisit(1000):
            x, w = batch.x.flatten(2), batch.weights()[..., None]
            moment += (x * w).mT @ x
            total, rows = total + (x * w).sum(1), rows + w.sum(1)
        mine = torch.from_numpy(np.flatnonzero(who)).to(total.device)
        mean = (total / rows)[mine]
        spread = moment[mine] - rows[mine, :, None] * mean[:, :, None] * mean[:, None]
        self.centre[mine, k] = mean
        self.axes[mine, k] = torch.linalg.eigh(spread.double()).eigenvectors[..., -self.components :].float()
        self.known[np.flatnonzero(who), k] = True

    def answer(self, x: Tensor, context: Tensor | None, hippocampus: Hippocampus, neocortex: Neocortex) -> Answer:
        flat, errors = x.flatten(2), []
        for k in range(self.spec.contexts):
            away = flat - self.centre[:, k, None]
            unmet = torch.from_numpy(~self.known[:, k]).to(flat.device)[:, None]
            error = away.square().sum(2) - (away @ self.axes[:, k]).square().sum(2)
            errors.append(error.masked_fill(unmet, torch.inf))
        error = torch.stack(errors, 2)  # [s, b, k]
        guess = error.argmin(2) if context is None else context
        novelty = (error.amin(2) / flat.square().sum(2).clamp(min=1e-6)).clamp(0, 1)
        return Answer(neocortex.scores(x, guess), by(CORTEX, x), novelty)
