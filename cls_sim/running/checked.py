"""Checks of an experiment's claims, ablation and figures before anything runs."""

from __future__ import annotations

from cls_sim import claims, figures
from cls_sim.config.experiments import Experiment


def checked(experiment: Experiment) -> Experiment:
    """The experiment; raises ConfigError if a claim, its ablation or a figure names what does not exist."""
    cfg = experiment.cfg
    claims.check(cfg["claims"] or {}, {**(cfg["arm"] or {}), **experiment.arms})
    claims.check_ablation(cfg["ablation"], cfg["claims"] or {})
    for name, figure_spec in (cfg["figures"] or {}).items():
        figures.kind_of(name, figure_spec)
    return experiment
