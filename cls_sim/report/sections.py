"""The sections of a report on one run: each gives blocks, or none where it does not apply."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cls_sim import figures, statistics
from cls_sim.report import expected
from cls_sim.report.blocks import Blocks, Heading, Picture, Points, Table, Text
from cls_sim.report.facts import Arm, Facts, Published
from cls_sim.sinks.console import interval, number, p_value

MOODS = {
    "inside": "good",
    "outside": "bad",
    "not decided": "unsure",
    "shown, not counted": "unsure",
    "not at full size": "unsure",
    "higher": "good",
    "lower": "bad",
    "holds": "good",
    "does not hold": "bad",
    "not judged": "unsure",
}
VAGUE = 3.0  # points: above this SEM of ours nothing is decided
FEW_PAIRS = 8  # subjects below which p is that of a t test: sign flips of so few can show nothing after correction
ALL_PAIRS = 6  # arms up to which all pairs are compared
MANY = 14  # readings shown of an experiment without a main one
LEVEL = 0.05
COSTS = {
    "stored_bytes": "stored",
    "extra_bytes": "extra",
    "parameters": "parameters",
    "wake_passes": "passes awake",
    "night_passes": "passes asleep",
    "revisited": "revisits",
}


def head(run: Facts) -> Blocks:
    """What the run is."""
    cohort = sorted({arm.lived for arm in run.arms.values()})
    many = "no" if not cohort else str(cohort[0]) if len(cohort) == 1 else f"{cohort[0]} to {cohort[-1]}"
    about = [
        ("Experiment", f"`{run.experiment}`" + (f", scenario {run.scenario}" if run.scenario else "")),
        *([("After", run.cite)] if run.cite else []),
        ("Subjects", f"{many}, seeds from {run.seed}, size `{run.size}`"),
        ("Arms", ", ".join(run.arms) or "none"),
        ("Command", f"`cls-sim {' '.join(run.overrides)}`"),
        ("Made", _made(run)),
    ]
    blocks: Blocks = [Points(about)]
    if run.seed < 1000:
        blocks.append(Text("Seeds below 1000 are for choosing settings: nothing here is a result.", "warning"))
    if run.missing:
        blocks += [Text("**This run is not complete.** " + "; ".join(run.missing) + ".", "warning")]
    return blocks


def _made(run: Facts) -> str:
    env = run.environment
    when = str(env.get("time", ""))[:10]
    parts = [f"cls_sim {run.version}", *(f"{k} {env[k]}" for k in ("python", "torch", "device") if env.get(k)), when]
    return ", ".join(filter(None, parts))


def protocol(run: Facts) -> Blocks:
    """The protocol in words, arms that share one together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for arm, lines in run.protocol.items():
        groups.setdefault(tuple(lines), []).append(arm)
    if not groups:
        return []
    blocks: Blocks = [Heading("Protocol")]
    common, *others = sorted(groups.items(), key=lambda pair: -len(pair[1]))
    if others:
        blocks.append(Text(f"Of {_names(common[1])}:"))
    blocks.append(Points(list(common[0])))
    for lines, arms in others:
        odd = [line for line in lines if line not in common[0]]
        same = len(lines) > len(odd)
        blocks += [Text(f"Of {_names(arms)}{', where it differs' if same else ''}:"), Points(odd)]
    return blocks


def _names(arms: Sequence[str]) -> str:
    return ", ".join(f"`{arm}`" for arm in arms)


# -- the methods ------------------------------------------------------------------------------------------------


def verdict(ours: statistics.Estimate, known: Published, size: str = "paper") -> tuple[float, str]:
    """Half the band in points, and whether our mean lies in it.

    |ours - published| <= max(1.5, 3 sqrt(SEM_published^2 + SEM_ours^2)); not decided where our SEM is above 3 points
    or not known; without a published SEM the number is shown and not counted, and what is run at another size than
    that of the publication is not judged.

    >>> verdict(statistics.estimate([0.195, 0.199, 0.2, 0.201, 0.203]), Published(19.89, 0.02, ""))
    (1.5, 'inside')
    """
    sem = 100 * ours.sem
    band = max(1.5, 3 * math.hypot(known.sem or 0.0, sem if math.isfinite(sem) else 0.0))
    if known.sem is None:
        return band, "shown, not counted"
    if size != "paper":
        return band, "not at full size"
    if not sem <= VAGUE:
        return band, "not decided"
    return band, "inside" if abs(100 * ours.mean - known.value) <= band else "outside"


def methods(run: Facts) -> Blocks:
    """Every arm's main reading, beside what was published; without a main reading, all readings."""
    if not run.main:
        return _every_reading(run)
    estimates = {arm.name: statistics.estimate(arm.values[run.main]) for arm in run.arms.values()}
    families = any(expected.family(arm.method) for arm in run.arms.values())
    known = {arm: run.published[arm] for arm in run.arms if arm in run.published}
    heads = ["arm", *(["family"] if families else []), run.main, "SEM", "95 % interval", "n"]
    judged = run.size == "paper"
    heads += ["published", "band", *(["verdict"] if judged else [])] if known else []
    rows, bands = [], {}
    count: dict[str, int] = {"inside": 0, "outside": 0, "not decided": 0}
    for name, arm in run.arms.items():
        e = estimates[name]
        row = [name, *([expected.family(arm.method)] if families else []), number(e.mean), number(e.sem)]
        row += [interval((e.low, e.high)), str(e.n)]
        if known:
            row += _beside(e, known.get(name), run.size, bands, name, count)[: 3 if judged else 2]
        rows.append(row)
    blocks: Blocks = [Heading("Methods" if families else "Arms")]
    if known:
        sources = "; ".join(dict.fromkeys(p.source for p in known.values() if p.source))
        decided = count["inside"] + count["outside"]
        told = (
            f"Of {sum(count.values())} published numbers {decided} are decided, {count['inside']} of them inside the "
            f"band; {count['not decided']} not decided (our SEM is above {VAGUE:g} points, or one subject)."
            if run.size == "paper"
            else "This run is smaller than what was published: it shows direction, and is not judged against it."
        )
        blocks.append(Text(f"{told} Published: {sources}."))
    low = {e.n for e in estimates.values() if e.n < statistics.FEWEST}
    note = f" No interval is given below {statistics.FEWEST} subjects." if low else ""
    caption = f"Mean of the last {_words(run.main)} over subjects, contexts weighing alike.{note}"
    if known:
        caption += " The band is the published mean ± max(1.5, 3 √(SEM² + SEM²)) points, both SEM counted."
    blocks.append(Table(heads, rows, caption, frozenset({"arm", "family", "verdict"}), MOODS))
    values = {name: arm.values[run.main] for name, arm in run.arms.items()}
    picture = figures.arms(values, ylabel=_words(run.main), bands=bands or None)
    said = "Mean (stroke), 95 % interval (box) and every subject (dot)" + ("; grey: published band." if bands else ".")
    blocks.append(_picture("methods", picture, said))
    return blocks


def _beside(e: Any, known: Published | None, size: str, bands: dict, name: str, count: dict[str, int]) -> list[str]:
    """What was published, its band, and the verdict."""
    if known is None:
        return ["", "", ""]
    band, said = verdict(e, known, size)
    if said in count:
        count[said] += 1
    low, high = (known.value - band) / 100, min(1.0, (known.value + band) / 100)
    bands[name] = (low, high)
    sem = "" if known.sem is None else f" ± {known.sem / 100:.4f}"
    return [f"{known.value / 100:.4f}{sem}", f"{low:.3f} to {high:.3f}", said]


def _every_reading(run: Facts) -> Blocks:
    names = list(dict.fromkeys(name for arm in run.arms.values() for name in arm.values))
    if not names:
        return []
    rows = []
    for name in names[:MANY]:
        for arm in run.arms.values():
            if name in arm.values:
                e = statistics.estimate(arm.values[name])
                rows.append(
                    [_words(name), arm.name, number(e.mean), number(e.sem), interval((e.low, e.high)), str(e.n)]
                )
    heads = ["reading", "arm", "mean", "SEM", "95 % interval", "n"]
    more = f" The first {MANY} of {len(names)} readings." if len(names) > MANY else ""
    caption = f"Mean of the last reading over subjects, places of a profile weighing alike.{more}"
    return [Heading("Readings"), Table(heads, rows, caption, frozenset({"reading", "arm"}))]


def _words(reading: str) -> str:
    return reading.replace("_", " ").replace(".", ", ")


def expectations(run: Facts) -> Blocks:
    """A sentence for each method: what is expected in this scenario, and what came."""
    if run.main != "accuracy" or not run.scenario:
        return []
    means = {arm.method: float(np.nanmean(arm.values["accuracy"])) for arm in run.arms.values() if arm.method}
    items = []
    for name, arm in run.arms.items():
        said = expected.told(arm.method, run.scenario)
        if said:
            mean = float(np.nanmean(arm.values["accuracy"]))
            ours = expected.found(arm.method, run.scenario, mean, means.get("none"), means.get("joint"))
            items.append((name, f"{said[0].upper()}{said[1:]}. {ours}"))
    if not items:
        return []
    note = (
        f"In the {run.scenario} scenario of Split MNIST at full size. **At the floor** is less than a fifth of the way "
        "from `none` to `joint`, **near joint** is four fifths or more."
    )
    return [Heading("What is expected of each method"), Text(note), Points(items)]


# -- contexts ---------------------------------------------------------------------------------------------------


def matrices(run: Facts) -> Blocks:
    """Accuracy after each context (rows) on each context (columns), an arm a panel."""
    if not run.main:
        return []
    found = {name: m for name, arm in run.arms.items() if (m := arm.matrix(run.main)) is not None}
    shapes: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    for name, matrix in found.items():
        shown = matrix[:, 1:] if np.isnan(matrix[:, 0]).all() else matrix
        if shown.shape[1] and np.isfinite(shown).any():
            shapes.setdefault(shown.shape[1:], {})[name] = shown
    blocks: Blocks = [Heading("Accuracy by context")] if shapes else []
    for i, (shape, panels) in enumerate(shapes.items()):
        if shape[1] > 20:
            continue
        picture = figures.matrix(panels, label=_words(run.main))
        said = (
            f"{_words(run.main).capitalize()} on each context (columns) after each context (rows), mean over subjects."
        )
        blocks.append(_picture("matrices" + ("" if not i else f"_{i + 1}"), picture, said))
    return blocks if len(blocks) > 1 else []


MEASURES = {
    "forgetting": (
        "forgetting",
        "mean over contexts but the last of the best reading at earlier context ends less the last (Chaudhry 2018)",
    ),
    "backward": (
        "backward transfer",
        "mean over contexts but the last of the last reading less that just after learning (Lopez-Paz & Ranzato 2017)",
    ),
    "forward": (
        "forward transfer",
        "mean over contexts but the first of the reading just before learning less that at birth (the same)",
    ),
    "stability_gap": (
        "stability gap",
        "what an old context loses for a while and wins back within a later one (De Lange et al. 2023)",
    ),
    "min_old": (
        "least since learnt",
        "the least reading of an old context since it was learnt, mean (min-ACC, the same)",
    ),
}


def transfer(run: Facts) -> Blocks:
    """Forgetting, transfer, the stability gap and the rehearsal gap."""
    if not run.main:
        return []
    keys = [(f"{run.main}.{key}", *told) for key, told in MEASURES.items()]
    keys.append(
        ("rehearsal_gap", "rehearsal gap", "accuracy of the cortex on stored episodes less that on unseen questions")
    )
    shown = [key for key in keys if any(_there(arm, key[0]) for arm in run.arms.values())]
    if not shown:
        return []
    rows = []
    for name, arm in run.arms.items():
        row = [name]
        for key, *_ in shown:
            e = statistics.estimate(arm.values[key]) if _there(arm, key) else None
            row.append("" if e is None else f"{number(e.mean)} {interval((e.low, e.high))}".rstrip())
        rows.append(row)
    heads = ["arm", *(label for _, label, _ in shown)]
    blocks: Blocks = [
        Heading("Forgetting and transfer"),
        Table(heads, rows, "Mean over subjects and its 95 % interval.", frozenset({"arm"})),
        Points([(label.capitalize(), f"{what}.") for _, label, what in shown]),
    ]
    absent = {key[1] for key in keys} - {key[1] for key in shown}
    if "stability gap" in absent:
        at = "[life.begin,day.end,context.end,life.end]"
        blocks.append(
            Text(
                "The stability gap is not measured here: it needs readings within contexts, "
                f"`probes.{run.main}.at={at}`."
            )
        )
    if "rehearsal gap" in absent and any(_cost(arm, "stored_bytes") for arm in run.arms.values()):
        blocks.append(
            Text(
                "The rehearsal gap is not measured here: "
                "`++probes.rehearsal_gap={_target_: cls_sim.RehearsalGap}` does."
            )
        )
    return blocks


def _there(arm: Arm, key: str) -> bool:
    return key in arm.values and bool(np.isfinite(arm.values[key]).any())


# -- budget -----------------------------------------------------------------------------------------------------


def budget(run: Facts, reference: str) -> Blocks:
    """What each arm cost, and in what it differs from the reference."""
    if not any(arm.budget for arm in run.arms.values()):
        return []
    costs = {key: label for key, label in COSTS.items() if any(_cost(arm, key) for arm in run.arms.values())}
    heads = ["arm", *costs.values(), "task told at test", "seconds a subject"]
    rows = []
    for name, arm in run.arms.items():
        row = [name, *(_bytes(_cost(arm, k)) if k.endswith("bytes") else _count(_cost(arm, k)) for k in costs)]
        rows.append([*row, "yes" if _cost(arm, "context_told") else "no", f"{arm.seconds / max(1, arm.lived):.0f}"])
    caption = (
        "Mean over subjects. Stored: episodes, or a generator. Extra: what the learner keeps beside its weights and "
        "its optimiser (penalties, teachers, masks, averages). A pass is one sample forward and backward through the "
        "cortex; a revisit is one more look at a context's data at its end."
    )
    blocks: Blocks = [Heading("Budget"), Table(heads, rows, caption, frozenset({"arm"}))]
    if reference in run.arms and len(run.arms) > 1:
        blocks += [Text(f"Beside `{reference}`:"), Points(list(_differences(run, reference)))]
    return blocks


def _cost(arm: Arm, key: str) -> float:
    return float((arm.budget or {}).get(key) or 0.0)


def _differences(run: Facts, reference: str) -> list[str]:
    """In what the arms' budgets differ from the reference's, those that differ alike together."""
    base = run.arms[reference]
    said: dict[str, list[str]] = {}
    for name, arm in run.arms.items():
        if name == reference:
            continue
        odd = []
        for key, label in COSTS.items():
            a, b = _cost(arm, key), _cost(base, key)
            if abs(a - b) > 0.01 * max(a, b):
                shown = _bytes if key.endswith("bytes") else _count
                odd.append(f"{shown(a)} {label}" + (f" for {shown(b)}" if b else ""))
        if _cost(arm, "context_told") != _cost(base, "context_told"):
            odd.append("the task is told at test" if _cost(arm, "context_told") else "the task is not told at test")
        if arm.parts.get("world") != base.parts.get("world"):
            odd.append("another world")
        said.setdefault("; ".join(odd) or "at equal budget (within 1 %)", []).append(name)
    return [f"{_names(names)}: {what}." for what, names in said.items()]


def _bytes(count: float) -> str:
    """Bytes in words.

    >>> _bytes(800_000), _bytes(0)
    ('800 kB', '0')
    """
    size, unit = next(((s, u) for s, u in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if count >= s), (1.0, "B"))
    return f"{count / size:.3g} {unit}" if count else "0"


def _count(value: float) -> str:
    return f"{value:,.0f}"


# -- tests ------------------------------------------------------------------------------------------------------


def tests(run: Facts, reference: str) -> Blocks:
    """Every arm against the reference, and all pairs where they are few, corrected for being many."""
    if not run.main or reference not in run.arms or len(run.arms) < 2:
        return []
    others = [name for name in run.arms if name != reference]
    few = min(len(_common(run, reference, other)[0]) for other in others) < FEW_PAIRS
    rows = _compared(run, [(other, reference) for other in others], few)
    test = "Student's paired t test (sign flips of so few subjects can show nothing)" if few else "sign flips"
    caption = (
        f"Differences within subjects. p: {test}, two-sided; Holm's correction for {len(rows)} comparisons; an arm is "
        f"called higher or lower where the corrected p is below {LEVEL:g}."
    )
    heads = ["arm", f"less {reference}", "95 % interval", "pairs", "p", "p, corrected", "verdict"]
    left = frozenset({"arm", "verdict", "pair"})
    blocks: Blocks = [
        Heading(f"Paired tests against {reference}"),
        Table(heads, [[pair[0], *cells] for pair, cells in rows], caption, left, MOODS),
    ]
    if 2 < len(run.arms) <= ALL_PAIRS:
        names = list(run.arms)
        every = [(b, a) for i, a in enumerate(names) for b in names[i + 1 :]]
        found = _compared(run, every, few)
        cells = [[f"{a} - {b}", *told] for (a, b), told in found]
        note = f"All {len(every)} pairs, corrected together."
        blocks += [Heading("All pairs", 3), Table(["pair", "difference", *heads[2:]], cells, note, left, MOODS)]
    return blocks


def _common(run: Facts, a: str, b: str) -> tuple[np.ndarray, np.ndarray]:
    """The main readings of two arms, of the seeds that both have."""
    assert run.main is not None
    x, y = ({arm.seed + i: v for i, v in enumerate(arm.values[run.main])} for arm in (run.arms[a], run.arms[b]))
    seeds = [seed for seed in x if seed in y]
    return np.array([x[s] for s in seeds]), np.array([y[s] for s in seeds])


def _compared(run: Facts, pairs: Sequence[tuple[str, str]], few: bool) -> list[tuple[tuple[str, str], list[str]]]:
    found = []
    for a, b in pairs:
        x, y = _common(run, a, b)
        if len(x):
            e = statistics.paired(x, y)
            found.append(((a, b), e, statistics.t_test(x, y) if few else e.p))
    corrected = statistics.holm([p for *_, p in found])
    rows = []
    for (pair, e, p), q in zip(found, corrected, strict=True):
        said = "" if math.isnan(q) else "not told apart" if q >= LEVEL else "higher" if e.mean > 0 else "lower"
        ends = interval((e.low, e.high), "+")
        rows.append((pair, [number(e.mean, "+"), ends, str(e.n), p_value(p), p_value(float(q)), said]))
    return rows


# -- claims and figures -----------------------------------------------------------------------------------------


def claims(run: Facts) -> Blocks:
    """What the experiment claims, held against what it found."""
    rows = []
    for claim in run.claims:
        said = {True: "holds", False: "does not hold", None: "not judged"}[claim.get("passed")]
        what = str(claim.get("says") or str(claim.get("name")).replace("_", " "))
        missed = f" Known to miss: {claim['missed']}" if claim.get("missed") else ""
        tolerance = f" ± {_brief(claim['tolerance'])}" if claim.get("tolerance") else ""
        wanted = f"{_brief(claim.get('expected'))}{tolerance}"
        rows.append([what + missed, str(claim.get("source") or ""), wanted, _brief(claim.get("value")), said])
    if not rows:
        return []
    heads = ["claim", "source", "expected", "found", "verdict"]
    if not any(row[1] for row in rows):
        heads, rows = [heads[0], *heads[2:]], [[row[0], *row[2:]] for row in rows]
    return [Heading("Claims"), Table(heads, rows, "", frozenset({"claim", "source", "expected", "verdict"}), MOODS)]


def _brief(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def drawn(run: Facts) -> Blocks:
    """The figures that the experiment asked for, as the run left them."""
    if not run.figures:
        return []
    blocks: Blocks = [Heading("Figures of the experiment")]
    for name, path in run.figures:
        blocks.append(Picture(f"figure_{name}", path.read_bytes(), name.replace("_", " ")))
    return blocks


def _picture(name: str, figure: Any, caption: str) -> Picture:
    page = io.BytesIO()
    figure.savefig(page, format="png", dpi=200, metadata={"Software": None})
    return Picture(name, page.getvalue(), caption)
