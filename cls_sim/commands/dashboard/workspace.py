"""The panels as a W&B workspace: made without network access, and uploaded only on request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cls_sim.commands.dashboard.panels import Panel, Run, panels
from cls_sim.core import parents
from cls_sim.core.errors import ConfigError, StorageError, refuse_if
from cls_sim.sinks.child import child, kill

PATIENCE = 60.0  # seconds that a push may take
COLUMNS = 4
PUSH = """from cls_sim.core.parents import bind; bind()
from cls_sim.commands.dashboard.workspace import pushed; pushed()"""


def workspace(folder: Path, runs: Sequence[Run], entity: str, project: str) -> dict[str, Any]:
    """The workspace in the format of W&B.  Raises ConfigError if wandb-workspaces is not installed."""
    try:
        model = _workspace(*_named(folder, runs), panels(runs), entity, project)._to_model()
        return json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
    except ImportError:
        raise ConfigError("wandb-workspaces", "is not installed", "pip install 'cls-sim[dashboards]'") from None
    except Exception as error:  # the package does not guarantee a stable format
        reason = f"cannot make this workspace ({type(error).__name__}: {error})"
        raise ConfigError("wandb-workspaces", reason, "pip install 'wandb-workspaces==0.4.13'") from error


def _workspace(name: str, groups: Sequence[str], shown: Sequence[Panel], entity: str, project: str) -> Any:
    from wandb_workspaces import workspaces as ws
    from wandb_workspaces.reports import v2 as wr

    sections: dict[str, list[Any]] = {}
    for panel in shown:
        sections.setdefault(panel.section, []).append(_panel(wr, panel))
    layout = ws.SectionLayoutSettings(columns=COLUMNS, rows=2)
    group = ws.Metric("Group")
    which = [group == groups[0]] if len(groups) == 1 else [group.isin(list(groups))]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            ws.Section(name=title, panels=made, is_open=True, layout_settings=layout)
            for title, made in sections.items()
        ],
        settings=ws.WorkspaceSettings(x_axis="day", max_runs=50),
        runset_settings=ws.RunsetSettings(filters=which, groupby=[ws.Metric("JobType")]),
    )


def _panel(wr: Any, panel: Panel) -> Any:
    y = list(panel.y)
    if panel.kind == "line":
        label = "age (days)" if panel.x == "day" else panel.x
        return wr.LinePlot(title=panel.title, x=panel.x, y=y, title_x=label, title_y=panel.says or None)
    if panel.kind == "points":
        return wr.ScatterPlot(title=panel.title, x=panel.x, y=y[0])
    if panel.kind == "bar":
        return wr.BarPlot(title=panel.title, metrics=y, orientation="h")
    if panel.kind == "table":
        return wr.WeavePanelSummaryTable(table_name=y[0])
    return wr.MediaBrowser(title=panel.title, media_keys=y)


def _named(folder: Path, runs: Sequence[Run]) -> tuple[str, list[str]]:
    """The name of the workspace, and the experiments of its runs."""
    groups = list(dict.fromkeys(run.experiment for run in runs))
    return f"cls-sim {', '.join(groups)}: {folder.resolve().name}"[:100], groups


def push(folder: Path, runs: Sequence[Run], entity: str, project: str) -> str:
    """Upload the workspace to W&B, in a process without a terminal (where W&B would prompt); returns its address."""
    remedy = "send them with --send first, or give --entity=NAME"
    refuse_if(not entity, "--push", "none of these runs is online", remedy)
    name, groups = _named(folder, runs)
    told = {"name": name, "groups": groups, "panels": [asdict(panel) for panel in panels(runs)]}
    process = child("-c", PUSH, env=parents.environment(os.environ | {"WANDB_SILENT": "true"}))
    try:
        answer, _ = process.communicate(json.dumps(told | {"entity": entity, "project": project}).encode(), PATIENCE)
        said = json.loads(answer.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise StorageError("--push", "W&B does not answer", "try again later") from None
    except (ValueError, IndexError):
        said = {"error": "the uploading process died"}
    finally:
        kill(process)
    if "error" in said:
        raise StorageError("--push", f"failed ({said['error']})", "log in with `wandb login`, and check the network")
    return said["url"]


def pushed() -> None:
    """Runs in a separate process: upload the workspace read from standard input, and print its address."""
    told = json.loads(sys.stdin.read())
    shown = [Panel(**panel | {"y": tuple(panel["y"])}) for panel in told["panels"]]
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps the output of W&B out of the answer
    try:
        made = _workspace(told["name"], told["groups"], shown, told["entity"], told["project"]).save()
        said = {"url": str(made.url)}
    except BaseException as error:
        said = {"error": " ".join(str(error).split())[:200] or type(error).__name__}
    print(json.dumps(said), file=answer, flush=True)
