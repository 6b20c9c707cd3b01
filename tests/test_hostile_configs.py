"""Hostile configurations, overrides and command lines: each is refused in one line, and nothing is run or written.

Every case goes through the doors in this process under an audit hook; a dozen also through the real command line.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from audit import watched

import cls_sim
from cls_sim.__main__ import main
from cls_sim.config import experiments, reader, validation
from cls_sim.core.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
SECRET = "hunter2-is-not-for-logs"


@dataclass
class Case:
    """Overrides, with files for --config-dir; or a whole command line.  MARK is a file that a payload would make."""

    id: str
    overrides: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    argv: list[str] | None = None


def mine(id: str, content: str, *overrides: str, **others: str) -> Case:
    """A user's experiment of this content, and other files (`a__b` is a/b.yaml)."""
    files = {"experiment/mine.yaml": content} | {f"{k.replace('__', '/')}.yaml": v for k, v in others.items()}
    return Case(id, ["experiment=mine", *overrides], files)


GLOBAL = "# @package _global_\n"
ONE = GLOBAL + "arm: {only: []}\n"

TARGETS = [
    "os.system",
    "posix.system",
    "subprocess.run",
    "subprocess.Popen",
    "subprocess.check_output",
    "builtins.open",
    "builtins.eval",
    "builtins.exec",
    "builtins.compile",
    "builtins.__import__",
    "builtins.breakpoint",
    "pathlib.Path",
    "pathlib.Path.write_text",
    "pathlib.Path.touch",
    "io.open",
    "setuptools._distutils.spawn.spawn",
    "distutils.spawn.spawn",
    "torch.load",
    "torch.hub.load",
    "torch.jit.load",
    "torch.save",
    "numpy.load",
    "numpy.save",
    "pickle.loads",
    "pickle.load",
    "marshal.loads",
    "shelve.open",
    "importlib.import_module",
    "runpy.run_path",
    "runpy.run_module",
    "webbrowser.open",
    "webbrowser.get",
    "shutil.rmtree",
    "shutil.copyfile",
    "os.remove",
    "os.rename",
    "os.execv",
    "os.fork",
    "os.putenv",
    "os.popen",
    "timeit.timeit",
    "code.interact",
    "pdb.run",
    "cProfile.run",
    "trace.Trace",
    "logging.FileHandler",
    "logging.os.system",
    "logging.config.dictConfig",
    "ctypes.CDLL",
    "ctypes.util.find_library",
    "socket.create_connection",
    "urllib.request.urlopen",
    "http.client.HTTPConnection",
    "ftplib.FTP",
    "smtplib.SMTP",
    "multiprocessing.Process",
    "concurrent.futures.ProcessPoolExecutor",
    "threading.Thread",
    "asyncio.run",
    "hydra.utils.instantiate",
    "hydra.utils.call",
    "hydra.utils.get_method",
    "hydra.main",
    "omegaconf.OmegaConf.load",
    "omegaconf.OmegaConf.save",
    "yaml.unsafe_load",
    "operator.methodcaller",
    "operator.attrgetter",
    "functools.partial",
    "types.FunctionType",
    "types.CodeType",
    "sqlite3.connect",
    "zipfile.ZipFile",
    "tarfile.open",
    "tempfile.mkdtemp",
    "antigravity",
    "this",
    "__main__.main",
    "site.main",
    "sys.exit",
    "gc.get_objects",
    "inspect.getsource",
    "joblib.load",
    "wandb.init",
    "cls_sim.config.experiments.os.system",
    "cls_sim.config.experiments.import_module",
    "cls_sim.config.experiments.make",
    "cls_sim.running.one_life.run",
    "cls_sim.running.runs.write",
    "cls_sim.storage.checkpoint.save",
    "cls_sim.storage.trace.Trace",
    "cls_sim.VOCABULARY",
    "cls_sim.ROOMS",
    "cls_sim.run",
    "cls_sim.build",
    "cls_sim.Life",
    "cls_sim.Batch",
    "cls_sim.Spec",
    "cls_sim.ConfigError",
    "cls_sim.figures",
    "cls_sim.statistics",
    "cls_sim.Hippocampus",
    "cls_sim.World",
    "cls_sim.Part",
    "cls_sim.__getattr__",
    "cls_sim.__dict__",
    "cls_sim.import_module",
    "cls_sim.Store.__init__",
    "cls_sim.Store.__class__",
    "cls_sim..Store",
    "cls_sim.Store.",
    ".Store",
    "Store",
    "cls_sim.",
    ".",
    "cls_sim",
    "cls_sim.store",
    "CLS_SIM.Store",
    "cls_sim.hippocampus.store.Store",
    "cls_sim.Ｓtore",
    "сls_sim.Store",
    "cls_sim.Store;os.system",
    "cls_sim:Store",
    "cls_sim/Store",
    "../cls_sim.Store",
    "object",
    "type",
    "builtins.object",
    "builtins.type",
    "builtins.int",
    "builtins.dict",
]

WRONG = {  # an option of another kind of part: key → target
    "hippocampus": "Uniform",
    "world": "Store",
    "neocortex": "Store",
    "rhythm": "Constant",
    "plasticity": "Nights",
    "replay": "CortexReadout",
    "consolidation": "Adam",
    "readout": "Accuracy",
    "probes.accuracy": "Store",
    "consolidation.optimizer": "SupervisedLoss",
    "consolidation.objective": "Sgd",
}

SGD = ["consolidation=sgd"]  # its rule has no settings

PLACES = {  # where a target may hide from a check of kinds of part
    "probe": "+probes.x={_target_: os.system, command: 'touch MARK'}",
    "probe_list": "+probes.x=[{_target_: os.system, command: 'touch MARK'}]",
    "list": "neocortex.hidden=[{_target_: os.system, command: 'touch MARK'}]",
    "deep_list": "neocortex.hidden=[[[{_target_: builtins.open, file: MARK, mode: w}]]]",
    "setting": "hippocampus.capacity={_target_: builtins.open, file: MARK, mode: w}",
    "rule": "consolidation.optimizer._target_=builtins.eval",
    "objective": "+consolidation.objective={_target_: os.system, command: 'touch MARK'}",
    "night": "plasticity.night_rate={_target_: os.system, command: 'touch MARK'}",
    "readout": "+probes.x={_target_: cls_sim.Accuracy, readout: {_target_: os.system, command: 'touch MARK'}}",
    "claim": "+claims.x={_target_: os.system, command: 'touch MARK'}",
    "claim_deep": "+claims.x={kind: at_most, cells: {a: {_target_: os.system}}}",
    "figure": "+figures.x={_target_: os.system, command: 'touch MARK'}",
    "figure_deep": "+figures.x={kind: life, panels: [{_target_: os.system, command: 'touch MARK'}]}",
    "title": "title={_target_: os.system, command: 'touch MARK'}",
    "top": "+_target_=os.system",
    "args": "+hippocampus._args_=[1]",
    "partial": "+hippocampus._partial_=true",
    "recursive": "+hippocampus._recursive_=false",
    "convert": "+hippocampus._convert_=all",
    "args_beside": "+probes.x={_args_: ['touch MARK'], command: 1}",
    "dunder": "+hippocampus.__class__=x",
    "target_list": "hippocampus._target_=[os.system]",
    "target_dict": "hippocampus._target_={a: os.system}",
    "target_null": "hippocampus._target_=null",
    "target_number": "hippocampus._target_=3",
    "room_list": "hippocampus=[{_target_: os.system}]",
    "room_text": "++hippocampus=os.system",
    "lesion_of_a_world": "++hippocampus={_target_: cls_sim.Lesion, hippocampus: {_target_: cls_sim.Digits}}",
    "module": "++neocortex={_target_: cls_sim.Module, module: {_target_: os.system, command: 'touch MARK'}}",
    "module_part": "++neocortex={_target_: cls_sim.Module, module: {_target_: cls_sim.Store}}",
    "arrays": "++world={_target_: cls_sim.Arrays, x: /dev/zero, y: /dev/zero}",
    "arrays_fifo": "++world={_target_: cls_sim.Arrays, x: FIFO, y: FIFO}",
    "arrays_pickle": "++world={_target_: cls_sim.Arrays, x: PICKLE, y: PICKLE}",
}

HYDRA_KEYS = [
    "hydra.run.dir=MARK",
    "hydra.sweep.dir=MARK",
    "hydra.sweep.subdir=../../x",
    "hydra.output_subdir=MARK",
    "hydra.job.chdir=true",
    "hydra.job.env_set.LD_PRELOAD=MARK",
    "+hydra.job.env_set={LD_PRELOAD:MARK}",
    "hydra.job.env_copy=[HOME]",
    "hydra.mode=MULTIRUN",
    "hydra.searchpath=[pkg://antigravity]",
    "hydra.searchpath=[file:///tmp]",
    "+hydra.callbacks.x._target_=builtins.open",
    "++hydra.callbacks={x:{_target_:builtins.open,file:MARK,mode:w}}",
    "hydra/job_logging=default",
    "hydra/hydra_logging=default",
    "hydra.job_logging.handlers.x.class=logging.FileHandler",
    "hydra/launcher=joblib",
    "hydra/sweeper=basic",
    "hydra/output=default",
    "hydra.launcher._target_=os.system",
    "hydra.sweeper._target_=os.system",
    "hydra/env=default",
    "hydra/help=default",
    "hydra/callbacks=x",
    "+hydra/callbacks=x",
    "~hydra.job_logging",
    "hydra.verbose=true",
    "hydra={}",
    "++hydra={callbacks:{}}",
    "hippocampus@hydra.callbacks.x=store",
    "+replay@hydra.callbacks=uniform",
    "replay@replay:hydra=uniform",
    "+hydra@x=y",
    "+x/hydra=y",
    "hydra.help.template=x",
    "=5",
    "+=",
    "++={hydra:{}}",
    "@hydra=x",
    "+@hydra.callbacks=store",
    "$hydra=1",
]

ENVIRONMENT = {
    "env": "title=${oc.env:CLS_SECRET}",
    "env_quoted": "title='${oc.env:CLS_SECRET}'",
    "env_default": "title=${oc.env:NOT_GIVEN,x}",
    "env_in_default": "title=${oc.env:SLURM_JOB_ID,${oc.env:CLS_SECRET}}",
    "env_escaped": r"title=$\{oc.env:CLS_SECRET\}",
    "env_spaces": "title='${ oc.env: CLS_SECRET }'",
    "env_nested": "title=${oc.env:${x}}",
    "env_prefix": "title=${oc.env:SLURM_JOB_ID_CLS_SECRET}",
    "decode": "title=${oc.decode:'${oc.env:CLS_SECRET}'}",
    "create": "title=${oc.create:{a:1}}",
    "select": "title=${oc.select:subjects}",
    "keys": "title=${oc.dict.keys:world}",
    "deprecated": "title=${oc.deprecated:subjects}",
    "hydra": "title=${hydra:runtime.cwd}",
    "now": "title=${now:%Y}",
    "unknown": "title=${exec:ls}",
    "room": "hippocampus=${oc.env:CLS_SECRET}",
    "out": "out=${oc.env:CLS_SECRET}",
    "seed": "seed=${oc.env:CLS_SECRET}",
    "target": "hippocampus._target_=${title}",
    "itself": "title=${title}",
    "circle": "+x={a: '${x.b}', b: '${x.a}'}",
    "inside": "+x={a: {b: '${x}'}}",
    "missing": "title=${nowhere.to.be.found}",
}

PATHS = {
    "experiment_up": "experiment=../../../../../tmp/evil",
    "experiment_absolute": "experiment=/tmp/evil",
    "room_up": "hippocampus=../experiment/digits",
    "room_url": "hippocampus=file:///tmp/evil",
    "room_package": "hippocampus=pkg://antigravity",
    "key_up": "+hippocampus/../../../tmp=evil",
    "at_up": "+replay@../x=uniform",
    "glob": "hippocampus=glob(*)",
    "arm_up": "+arm={../../x: []}",
    "arm_slash": "+arm={a/b: []}",
    "arm_absolute": "+arm={/tmp/x: []}",
    "arm_nul": "+arm={'a\0b': []}",
    "arm_line": "+arm={'a\nb': []}",
    "arm_long": f"+arm={{{'a' * 300}: []}}",
    "arm_empty": "+arm={'': []}",
    "arm_dot": "+arm={.: []}",
    "arm_number": "+arm={1: []}",
    "arm_bidi": "+arm={'a\u202eb': []}",
    "arm_hydra": "arms=[x]&+arm.x=['hydra.run.dir=/tmp/x']",
    "arm_env": "arms=[x]&+arm.x=['title=${oc.env:CLS_SECRET}']",
    "arm_target": "arms=[x]&+arm.x=['hippocampus._target_=os.system']",
    "arm_from": "arms=[x]&+arm.x={branch_from: [cls], overrides: []}",
    "small_hydra": "size=small&small=['hydra.run.dir=/tmp/x']",
    "figure_up": "+figures={../../x: {kind: life}}",
    "probe_up": "+probes={../../x: {_target_: cls_sim.Dose}}",
    "claim_up": "+claims={../x: {kind: at_most}}",
    "method_up": "++method={name: ../../x, overrides: []}",
    "method_hydra": "++method={name: x, overrides: ['hydra.run.dir=/tmp/x']}",
    "out_nul": "out='a\0b'",
    "out_line": "out='a\nb'",
    "out_long": f"out={'a' * 5000}",
    "out_escape": "out='\x1b]0;owned\x07'",
    "resume_nul": "resume='a\0b'",
    "title_escape": "title='\x1b]0;owned\x07'",
    "device": "device='cpu; touch MARK'",
    "engine": "engine=os.system",
    "wandb": "wandb={_target_: os.system}",
    "key_odd": "+a b=1",
    "no_key": "{}",
    "long": "title=" + "x" * 100_000,
    "deep": "+x=" + "[" * 5_000 + "]" * 5_000,
    "deep_call": "subjects=" + "int(" * 5_000 + "1" + ")" * 5_000,
    "digits": "subjects=" + "9" * 10_000,
    "surrogate": "title='\udcff'",
    "sweep": "subjects=1,2",
    "shuffle": "subjects=shuffle(range(9))",
}


def bomb(levels: int = 12, width: int = 10) -> str:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines)


def swelling(levels: int = 40) -> str:
    lines = [f"  a{i}: ${{claims.a{i + 1}}}${{claims.a{i + 1}}}" for i in range(levels)]
    return GLOBAL + "claims:\n" + "\n".join(lines) + f"\n  a{levels}: boom\n"


HANDLER = "hydra: {job_logging: {version: 1, handlers: {x: {class: logging.FileHandler, filename: MARK}}}}\n"
CALLBACK = "hydra: {callbacks: {x: {_target_: builtins.open, file: MARK, mode: w}}}\n"

FILES = [
    mine("file_callback", GLOBAL + CALLBACK),
    mine("file_logging", GLOBAL + HANDLER),
    mine("file_hydra_dotted", GLOBAL + "hydra.run.dir: MARK\n"),
    mine("file_hydra_null", GLOBAL + "hydra: null\n"),
    mine("file_hydra_quoted", GLOBAL + '"hydra": {run: {dir: MARK}}\n'),
    mine("file_hydra_escaped", GLOBAL + '"\\x68ydra": {run: {dir: MARK}}\n'),
    mine("file_package_hydra", "# @package hydra\nrun: {dir: MARK}\n"),
    mine("file_package_below", "# @package hydra.callbacks.x\n_target_: builtins.open\n"),
    mine("file_package_global_hydra", "# @package _global_.hydra\nrun: {dir: MARK}\n"),
    mine("file_package_reference", "# @package ${title}\nrun: {dir: MARK}\n"),
    mine("file_package_words", "# @package _global_ hydra\nsubjects: 2\n"),
    mine("file_override_launcher", GLOBAL + "defaults:\n  - override /hydra/launcher: joblib\n"),
    mine("file_override_logging", GLOBAL + "defaults:\n  - override /hydra/job_logging: default\n"),
    mine("file_override_relative", GLOBAL + "defaults:\n  - override hydra/job_logging: default\n"),
    mine("file_defaults_callbacks", GLOBAL + "defaults:\n  - /hydra/callbacks: x\n", hydra__callbacks__x=CALLBACK),
    mine("file_defaults_at_hydra", GLOBAL + "defaults:\n  - /replay@hydra.callbacks: uniform\n"),
    mine("file_defaults_at_global", GLOBAL + "defaults:\n  - /evil@_global_: x\n", evil__x=CALLBACK),
    mine("file_defaults_optional", GLOBAL + "defaults:\n  - optional /evil@_global_: x\n", evil__x=CALLBACK),
    mine("file_defaults_up", GLOBAL + "defaults:\n  - override /world: ../../../../../tmp/evil\n"),
    mine("file_defaults_absolute", GLOBAL + "defaults:\n  - /tmp/evil\n"),
    mine("file_defaults_reference", GLOBAL + "defaults:\n  - override /world: ${oc.env:CLS_SECRET}\n"),
    mine("file_defaults_key_reference", GLOBAL + "defaults:\n  - override /${title}: x\n"),
    mine("file_defaults_text", GLOBAL + "defaults: hydra/launcher\n"),
    mine("file_defaults_mapping", GLOBAL + "defaults: {hydra/launcher: joblib}\n"),
    mine("file_defaults_numbers", GLOBAL + "defaults: [1, [2]]\n"),
    mine("file_defaults_itself", GLOBAL + "defaults:\n  - mine\n"),
    mine("file_defaults_circle", GLOBAL + "defaults:\n  - other\n", experiment__other=GLOBAL + "defaults: [mine]\n"),
    mine("file_searchpath", GLOBAL + "hydra: {searchpath: ['pkg://antigravity']}\n"),
    mine("file_room_callback", ONE, "hippocampus=evil", hippocampus__evil=CALLBACK),
    mine("file_room_package", ONE, "hippocampus=evil", hippocampus__evil="# @package hydra.job_logging\nx: 1\n"),
    mine("file_room_target", ONE, "hippocampus=evil", hippocampus__evil="_target_: os.system\ncommand: touch MARK\n"),
    mine("file_room_probe", ONE, "+probes=evil", probes__evil="x: {_target_: os.system, command: touch MARK}\n"),
    mine("file_env", ONE + "title: ${oc.env:CLS_SECRET}\n"),
    mine("file_env_block", ONE + "title: |\n  harmless\n  ${oc.env:CLS_SECRET}\n"),
    mine("file_env_key", ONE + "claims: {'${oc.env:CLS_SECRET}': {kind: at_most}}\n"),
    mine("file_env_unused", ONE + "figures: {x: {kind: life, ylabel: '${oc.env:CLS_SECRET}'}}\n"),
    mine("file_env_arm", GLOBAL + "arm: {a: ['title=${oc.env:CLS_SECRET}']}\n"),
    mine("file_resolver", ONE + "title: ${oc.decode:'1'}\n"),
    mine("file_target_reference", ONE + "title: os.system\nhippocampus: {_target_: '${title}'}\n"),
    mine("file_python_tag", GLOBAL + "title: !!python/object/apply:os.system ['touch MARK']\n"),
    mine("file_python_name", GLOBAL + "title: !!python/name:os.system\n"),
    mine("file_python_path", GLOBAL + "out: !!python/object/apply:pathlib.Path [MARK]\n"),
    mine("file_own_tag", GLOBAL + "title: !evil x\n"),
    mine("file_binary_tag", GLOBAL + "title: !!binary aGVsbG8=\n"),
    mine("file_alias_bomb", GLOBAL + bomb()),
    mine("file_alias_itself", GLOBAL + "claims: &a {x: *a}\n"),
    mine("file_merge_bomb", GLOBAL + bomb().replace("[x, x, x, x, x, x, x, x, x, x]", "{x: 1}") + "\nz: {<<: *l11}\n"),
    mine("file_swelling", swelling()),
    mine("file_deep", GLOBAL + "claims: " + "[" * 20_000 + "]" * 20_000 + "\n"),
    mine("file_deep_block", GLOBAL + "\n".join("  " * i + "a:" for i in range(200))),
    mine("file_large", GLOBAL + "title: " + "x" * 2**21),
    mine("file_many", GLOBAL + "small: [" + ",".join(["x"] * 20_000) + "]\n"),
    mine("file_duplicate", GLOBAL + "subjects: 2\nsubjects: 3\n"),
    mine("file_two_documents", GLOBAL + "subjects: 2\n---\nsubjects: 3\n"),
    mine("file_list", GLOBAL + "- subjects\n"),
    mine("file_text", "just a text\n"),
    mine("file_broken", GLOBAL + "arm: {a: [}\n"),
    mine("file_tab", GLOBAL + "arm:\n\ta: []\n"),
    mine("file_nul", GLOBAL + "title: a\0b\n"),
    mine("file_escape", ONE + 'title: "\\e]0;owned\\a"\n'),
    mine("file_number_key", GLOBAL + "1: x\n"),
    mine("file_arm_number", GLOBAL + "arm: {1: []}\n"),
    mine("file_arm_true", GLOBAL + "arm: {on: []}\n"),
    mine("file_arm_list_key", GLOBAL + "arm: {[a]: []}\n"),
    mine("file_arm_line", GLOBAL + 'arm: {"a\\nb": []}\n'),
    mine("file_arm_empty", GLOBAL + 'arm: {"": []}\n'),
    mine("file_arm_space", GLOBAL + "arm: {a b: []}\n"),
    mine("file_package_group", ONE, "hippocampus=x", hippocampus__x="# @package _group_.hydra\nx: 1\n"),
    mine("file_defaults_value", GLOBAL + "defaults:\n  - /_global_: hydra/x\n", _global___hydra__x="verbose: true\n"),
    mine("file_arm_up", GLOBAL + "arm: {../../../x: []}\n"),
    mine("file_huge_number", GLOBAL + "subjects: " + "9" * 5_000 + "\n"),
    mine("file_sixty", GLOBAL + "subjects: 1:30\n", "subjects=1:30"),
    mine("file_unknown", GLOBAL + "preload: evil\n"),
    Case(
        "file_config_shadow", ["experiment=mine"], {"config.yaml": CALLBACK, "experiment/mine.yaml": GLOBAL + "x: 1\n"}
    ),
    Case("file_hydra_group", ["+hydra/x=y"], {"hydra/x/y.yaml": CALLBACK}),
]

ARGV = {
    "rerun": ["--experimental-rerun", "PICKLE"],
    "rerun_equals": ["--experimental-rerun=PICKLE"],
    "rerun_abbreviated": ["--exp", "PICKLE"],
    "rerun_abbreviated_sweep": ["-m", "--experimental-r=PICKLE"],
    "config_path": ["--config-path", "HERE", "--help"],
    "config_path_short": ["-cp", "HERE", "--cfg", "job"],
    "config_path_glued": ["-cpHERE", "-m"],
    "config_name": ["--config-name", "evil", "--help"],
    "config_name_short": ["-cn", "evil", "-m"],
    "package": ["--cfg", "job", "--package", "hydra"],
    "run": ["--run", "hydra.run.dir=MARK"],
    "cfg_hydra_key": ["--cfg", "job", "hydra.run.dir=MARK"],
    "cfg_nothing": ["--cfg"],
    "cfg_odd": ["--cfg", "evil"],
    "info_odd": ["--info", "evil"],
    "info_override": ["--info", "hydra.searchpath=[pkg://antigravity]"],
    "help_callback": ["--help", "+hydra.callbacks.x._target_=builtins.open"],
    "help_logging": ["-h", "hydra/job_logging=default"],
    "hydra_help_key": ["--hydra-help", "hydra.searchpath=[pkg://antigravity]"],
    "resolve_env": ["--cfg", "job", "--resolve", "title=${oc.env:CLS_SECRET}"],
    "resolve_escaped": ["--cfg", "job", "--resolve", r"title=$\{oc.env:CLS_SECRET\}"],
    "resolve_circle": ["--cfg", "job", "--resolve", "title=${title}"],
    "sweep_callback": ["-m", "+hydra.callbacks.x._target_=builtins.open", "seed=1,2"],
    "sweep_launcher": ["-m", "hydra/launcher=evil", "seed=1,2"],
    "sweep_launcher_target": ["-m", "hydra.launcher._target_=os.system", "seed=1,2"],
    "sweep_launcher_setup": ["-m", "hydra/launcher=submitit_slurm", "+hydra.launcher.setup=[touch MARK]"],
    "sweep_launcher_python": ["-m", "hydra/launcher=submitit_local", "hydra.launcher.python=MARK"],
    "sweep_launcher_folder": ["-m", "hydra/launcher=submitit_local", "hydra.launcher.submitit_folder=/tmp/x"],
    "sweep_launcher_line": ["-m", "hydra/launcher=submitit_slurm", "hydra.launcher.partition='a\ntouch MARK'"],
    "sweep_launcher_parameters": ["-m", "+hydra.launcher.additional_parameters={wrap: touch MARK}"],
    "sweep_pre_dispatch": ["-m", "hydra/launcher=joblib", "hydra.launcher.pre_dispatch=exit(1)"],
    "sweep_sweeper": ["-m", "hydra/sweeper=evil", "seed=1,2"],
    "sweep_dir": ["-m", "hydra.sweep.dir=MARK", "seed=1,2"],
    "sweep_subdir": ["-m", "hydra.sweep.subdir=../../x", "seed=1,2"],
    "sweep_up": ["-m", "seed=1,2", "++world={_target_: cls_sim.Arrays, x: ../../../../../x, y: y}"],
    "sweep_experiments": ["-m", "experiment=../../x,digits"],
    "sweep_env": ["-m", "title=${oc.env:CLS_SECRET}", "seed=1,2"],
    "sweep_files": ["-m", "--config-dir", "HERE", "experiment=callback"],
    "cfg_files": ["--cfg", "job", "--config-dir", "HERE", "experiment=callback"],
    "help_files": ["--help", "--config-dir", "HERE", "experiment=logging"],
    "resolve_files": ["--cfg", "job", "--resolve", "--config-dir=HERE", "experiment=secret"],
    "config_dir_missing": ["--config-dir", "HERE/none"],
    "config_dir_file": ["--config-dir", "PICKLE"],
    "config_dir_empty": ["--config-dir"],
    "config_dir_nul": ["--config-dir", "a\0b"],
    "config_dir_reference": ["--config-dir", "${oc.env:CLS_SECRET}"],
    "allow_path": ["--allow", "../evil", "subjects=2"],
    "allow_nothing": ["--allow"],
    "allow_other": ["--allow", "json", "arms=[cls]", "hippocampus._target_=os.system"],
    "allow_through": ["--allow", "json", "arms=[cls]", "hippocampus._target_=json.codecs.open"],
    "allow_ours": ["--allow", "cls_sim", "arms=[cls]", "hippocampus._target_=cls_sim.config.experiments.os.system"],
    "allow_ours_imported": ["--allow", "cls_sim", "arms=[cls]", "hippocampus._target_=cls_sim.config.experiments.Path"],
    "dashes": ["--"],
    "dash": ["-"],
    "shell": ["; touch MARK"],
    "resume_up": ["resume=HERE/none/../../x"],
    "resume_dev": ["resume=/dev/zero"],
    "resume_changed": ["resume=HERE", "hydra.run.dir=MARK"],
}

CASES = [
    *(Case(f"wrong_{key}", ["arms=[cls]", *SGD, f"{key}._target_=cls_sim.{name}"]) for key, name in WRONG.items()),
    *(Case(f"place_{name}", ["arms=[cls]", override]) for name, override in PLACES.items()),
    *(Case(f"hydra_{i}_{override[:20]}", ["arms=[cls]", override]) for i, override in enumerate(HYDRA_KEYS)),
    *(Case(f"env_{name}", ["arms=[cls]", override]) for name, override in ENVIRONMENT.items()),
    *(Case(f"path_{name}", override.split("&")) for name, override in PATHS.items()),
    *FILES,
    *(Case(f"argv_{name}", argv=argv) for name, argv in ARGV.items()),
]


class Reduced:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stranger's folder, everything imported that the program needs, and a secret in the environment."""
    import pickle

    import numpy as np

    folder = tmp_path_factory.mktemp("hostile")
    (folder / "experiment").mkdir()
    for name, content in {"callback": CALLBACK, "logging": HANDLER, "secret": "title: ${oc.env:CLS_SECRET}\n"}.items():
        (folder / "experiment" / f"{name}.yaml").write_text(GLOBAL + content.replace("MARK", str(folder / "mark")))
    (folder / "evil.pickle").write_bytes(pickle.dumps(Reduced(folder / "mark")))
    np.save(folder / "evil.npy", np.array([Reduced(folder / "mark")], object), allow_pickle=True)
    os.mkfifo(folder / "fifo.npy")
    for name in cls_sim.VOCABULARY:
        getattr(cls_sim, name)
    for overrides in (["arms=[cls]"], ["experiment=sun_2023_go_cls", "arms=[half_snr1]"]):
        for arm in experiments.read(overrides).arms.values():
            experiments.make_life(arm.cfg, 1)
    return folder


def filled(text: str, scene: Path) -> str:
    for word, path in {"MARK": "mark", "PICKLE": "evil.pickle", "FIFO": "fifo.npy"}.items():
        text = text.replace(word, str(scene / ("evil.npy" if word == "PICKLE" and "Arrays" in text else path)))
    return text.replace("HERE", str(scene))


def built(overrides: list[str], folders: list[str]) -> None:
    for arm in experiments.read(overrides, folders).arms.values():
        if arm.origin is None:
            experiments.make_life(arm.cfg, 1)
        for part_kind in experiments.PART_KINDS:
            experiments.make(part_kind, arm.cfg[part_kind], wrapping=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_refused_in_one_line_and_nothing_done(case: Case, scene: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("CLS_SECRET", SECRET)
    monkeypatch.setenv("CLS_SIM_ALLOW", "")
    monkeypatch.setattr(sys, "argv", ["cls-sim"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    for name, content in case.files.items():
        (tmp_path / "theirs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "theirs" / name).write_text(filled(content, scene))
    folders = [str(tmp_path / "theirs")] if case.files else []
    before, there = set(tmp_path.rglob("*")), set(scene.iterdir())
    with watched() as done:
        if case.argv is None:
            overrides = [filled(override, scene) for override in case.overrides]
            with pytest.raises(ConfigError) as caught:
                built(overrides, folders)
            said = f"cls-sim: error: {caught.value}\n"
            assert caught.value.exit_code == 2
        else:
            assert main([filled(arg, scene) for arg in case.argv]) == 2
            out, said = capsys.readouterr()
            assert out == ""
    assert done == []
    assert set(tmp_path.rglob("*")) == before and set(scene.iterdir()) == there
    assert said.startswith("cls-sim: error: ") and said.count("\n") == 1 and len(said) < 3000
    assert said.strip().isprintable(), "nothing that a terminal would obey"
    assert "Traceback" not in said and SECRET not in said


@pytest.mark.parametrize("target", TARGETS)
def test_no_such_part_is_made_anywhere(target: str, scene: Path):
    """A name alone, in every kind of part, nested, and with settings that its function would take."""
    settings = {
        "command": f"touch {scene / 'mark'}",
        "file": str(scene / "mark"),
        "args": ["touch", str(scene / "mark")],
    }
    places = {part_kind: {"_target_": target, **settings} for part_kind in experiments.PART_KINDS}
    places |= {"x": {"_target_": target}, "y": {"a": [{"b": {"_target_": target}}]}}
    with watched() as done:
        for key, cfg in places.items():
            with pytest.raises(ConfigError):
                experiments.make(key, cfg, wrapping=True)
    assert done == [] and not (scene / "mark").exists()


def test_there_are_enough_of_them(figure):
    assert len(CASES) >= 250 and len({case.id for case in CASES}) == len(CASES) and len(TARGETS) >= 120
    figure(
        f"{len(CASES)} hostile configurations and {len(TARGETS)} names of code, {len(CLI)} on the command line: 0 executed"
    )


def test_the_hook_sees(tmp_path: Path):
    import socket

    with watched() as done:
        os.system("true")
        subprocess.run(["true"], check=True)
        (tmp_path / "x").write_text("x")
        with pytest.raises(OSError), socket.socket() as open_:
            open_.connect(("127.0.0.1", 9))
        import this  # noqa: F401
    seen = " ".join(done)
    for event in ("os.system", "subprocess.Popen", "open(", "socket.connect", "import this"):
        assert event in seen, event


CLI = [
    "place_probe",
    "place_arrays_fifo",
    "env_env_escaped",
    "path_arm_up",
    "file_callback",
    "file_alias_bomb",
    "file_python_tag",
    "argv_rerun_abbreviated",
    "argv_sweep_files",
    "argv_help_files",
    "argv_sweep_launcher_setup",
    "argv_resolve_files",
]


@pytest.mark.parametrize("name", CLI)
def test_so_does_the_command_line(name: str, scene: Path, tmp_path: Path):
    case = next(case for case in CASES if case.id == name)
    for file, content in case.files.items():
        (tmp_path / "conf" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / file).write_text(filled(content, scene))
    before = set(tmp_path.rglob("*"))
    args = [filled(arg, scene) for arg in case.argv or case.overrides]
    done = subprocess.run(
        [sys.executable, "-m", "cls_sim", *args],
        cwd=tmp_path,
        env=os.environ | {"CLS_SECRET": SECRET, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == "", done.stderr
    assert done.stderr.startswith("cls-sim: error: ") and done.stderr.count("\n") == 1
    assert SECRET not in done.stderr and not (scene / "mark").exists()
    assert set(tmp_path.rglob("*")) == before


# -- what is allowed stays allowed --------------------------------------------------------------------------


def test_names_of_the_scheduler_may_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        ONE + "title: job ${oc.env:SLURM_JOB_ID}\nsubjects: 3\nseed: ${subjects}\n"
    )
    cfg = experiments.read(["experiment=mine"], [str(tmp_path)]).cfg
    assert (cfg["title"], cfg["seed"]) == ("job 77", 3)
    assert experiments.read(["arms=[cls]", "title=${oc.env:SLURM_ARRAY_TASK_ID,none}"]).cfg["title"] == "none"


def test_a_folder_may_have_any_name(tmp_path: Path):
    for name in ("it's, a [folder]", 'of "mine" \\', "ünï=code {x}", "a" * 200):
        folder = tmp_path / name
        (folder / "experiment").mkdir(parents=True)
        (folder / "experiment" / "mine.yaml").write_text(ONE + "subjects: 3\n")
        assert experiments.read(["experiment=mine"], [str(folder)]).cfg["subjects"] == 3


def test_anchors_defaults_and_nested_tenants_work(tmp_path: Path):
    (tmp_path / "experiment").mkdir()
    content = """
defaults:
  - /replay@replay.policy: recent
  - override /hippocampus: store
  - override /replay: interleaved
arm: {a: &one [hippocampus.capacity=7], b: *one}
claims: {x: {kind: at_most, arm: a, value: 1.0}}
"""
    (tmp_path / "experiment" / "mine.yaml").write_text(GLOBAL + content)
    experiment = experiments.read(["experiment=mine"], [str(tmp_path)])
    assert list(experiment.arms) == ["a", "b"]
    assert experiment.arms["b"].cfg["hippocampus"]["capacity"] == 7
    assert experiment.cfg["replay"]["policy"]["_target_"] == "cls_sim.Recent"


def test_launchers_and_their_numbers_may_be_given_in_a_sweep():
    validation.arguments(["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=1,2"])
    validation.arguments(
        ["-m", "hydra/launcher=submitit_slurm", "hydra.launcher.partition=long", "hydra.launcher.mem_gb=8"]
    )
    with pytest.raises(ConfigError):
        validation.arguments(["hydra/launcher=joblib", "seed=1"])


def test_hydra_never_reads_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its sources know nothing of our limits: composing and starting a sweep must not touch them."""
    from hydra._internal.core_plugins import file_config_source
    from hydra.core.global_hydra import GlobalHydra
    from hydra.plugins.config_source import ConfigSource

    from cls_sim.commands import sweeps

    def never(*_: object, **__: object) -> None:
        raise AssertionError("Hydra reads a file")

    monkeypatch.setattr(file_config_source.FileConfigSource, "load_config", never)
    experiments.read(["arms=[cls]"])
    with sweeps._launcher(["hydra.launcher.n_jobs=1", "hydra/launcher=joblib"], tmp_path) as launch:
        assert callable(launch) and ConfigSource
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize("item", ["f{0}", "{{/replay@a{1}: f{0}}}"])
def test_files_that_inherit_from_one_another_have_an_end(item: str, tmp_path: Path):
    """In a circle, and where each of eight levels takes ten times the one below."""
    (tmp_path / "replay").mkdir()
    for level in range(9):
        below = ", ".join(item.format(level - 1, i) for i in range(10 if level else 0))
        (tmp_path / "replay" / f"f{level}.yaml").write_text(f"defaults: [{below}]\nx{level}: {{y: [1, 2, 3]}}\n")
    (tmp_path / "replay" / "circle.yaml").write_text(f"defaults: [{item.format(0, 0).replace('f0', 'circle')}]\n")
    start = time.process_time()
    with pytest.raises(ConfigError, match="inherits from itself"):
        experiments.read(["replay=circle"], [str(tmp_path)])
    with pytest.raises(ConfigError, match=r"larger than|has more than|is not a setting|_target_|names no class"):
        experiments.make(
            "replay", experiments.read(["replay=f8", "arms=[cls]"], [str(tmp_path)]).arms["cls"].cfg["replay"]
        )
    assert time.process_time() - start < 2.0


OUTSIDE = "name: outside\ndo: [subjects=3]\n"
PLACES_TO_CHOOSE = {
    "command line": ("{choice}", "[]", []),
    "arm": ("arms=[x]", "{{x: [{choice!r}]}}", []),
    "inheriting arm": ("arms=[y]", "{{x: [{choice!r}], y: {{inherits: x}}}}", []),
    "small": ("size=small", "{{x: []}}", ["{choice}"]),
}


@pytest.mark.parametrize("place", PLACES_TO_CHOOSE)
@pytest.mark.parametrize("group", ["method", "world", "replay", "experiment"])
@pytest.mark.parametrize("outside", ["../../outside", "{root}/outside", "./../../outside", "a/../../../outside"])
def test_no_file_outside_the_folders_is_chosen(place: str, group: str, outside: str, tmp_path: Path):
    """Overrides of arms went to a second reader, which took `method=../../outside` and `world=/absolute`."""
    (tmp_path / "outside.yaml").write_text(OUTSIDE + "_target_: cls_sim.Digits\n")
    (tmp_path / "theirs" / "experiment").mkdir(parents=True)
    choice = f"{group}={outside.format(root=tmp_path)}"
    given, arm, small = PLACES_TO_CHOOSE[place]
    content = f"arm: {arm.format(choice=choice)}\nsmall: {[one.format(choice=choice) for one in small]}\n"
    (tmp_path / "theirs" / "experiment" / "mine.yaml").write_text(GLOBAL + content.replace("arm: []", "arm: {x: []}"))
    with pytest.raises(ConfigError) as caught:
        experiments.read(["experiment=mine", given.format(choice=choice)], [str(tmp_path / "theirs")])
    assert group in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("group", ["replay", "method"])
@pytest.mark.parametrize(
    "arm",
    ["[{group}=bomb]", "{{inherits: a, overrides: [{group}=bomb]}}", "{{branch_from: a, overrides: [{group}=bomb]}}"],
)
def test_a_bomb_that_an_arm_chooses_is_refused_at_once(group: str, arm: str, tmp_path: Path):
    """The second reader had no limits: seven levels of ten aliases were written out for ever."""
    for name in ("experiment", group):
        (tmp_path / name).mkdir()
    (tmp_path / group / "bomb.yaml").write_text(bomb())
    (tmp_path / "experiment" / "mine.yaml").write_text(GLOBAL + f"arm: {{a: [], b: {arm.format(group=group)}}}\n")
    start = time.process_time()
    with pytest.raises(ConfigError, match=r"^/.*bomb\.yaml: has more than 24 levels or"):
        experiments.read(["experiment=mine"], [str(tmp_path)])
    assert time.process_time() - start < 1.0


def test_refusing_a_bomb_takes_no_time_and_no_memory(tmp_path: Path):
    """A billion values are refused after a few thousand events."""
    import yaml

    seen = 0
    real = yaml.parse

    def counted(*args, **kwargs):
        nonlocal seen
        for event in real(*args, **kwargs):
            seen += 1
            yield event

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "parse", counted)
        with pytest.raises(ConfigError, match="has more than 24 levels"):
            reader._measure("bomb.yaml", bomb(30))
    assert seen < 200
