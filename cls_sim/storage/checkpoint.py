"""Checkpoints: the state tree of a life in a folder that is either complete or absent.

    folder/tick-000012345/state.safetensors   the tensors, by dotted names
                          manifest.json       tick, version, metadata, sizes and sha256
    folder/tensors/<sha256>                   large tensors, and what changed in them (see deltas)

A checkpoint is written to a temporary folder, synced and renamed; the two newest are kept.  Loading takes the newest
checkpoint whose hashes are correct.  Nothing is unpickled, and no class is created from names in a file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cls_sim import __version__
from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.core.trees import leaves
from cls_sim.storage import deltas
from cls_sim.storage.deltas import Damaged, damaged_if
from cls_sim.storage.disk import NotPlain, broken, content, synced, unreadable, written
from cls_sim.storage.lines import no_number

SCHEMAS = (1, 2)  # without and with large tensors in files of their own
KEEP = 2
STATE, MANIFEST = "state.safetensors", "manifest.json"
LARGEST_MANIFEST = 2**24  # bytes; JSON can take twenty times as much in memory
LARGEST_HEADER = 2**24
FINISHED = re.compile(r"tick-(\d{9,18})(?:-(\d+))?")  # -1, -2, …: saved again at the same tick
UNFINISHED = re.compile(r"\.tmp-(\d+)-[0-9a-f]+")
SEAL = ',"sha256":"%s"}\n'  # ends the manifest: the hash of what is before


def save(folder: str | Path, tree: Mapping[str, Any], meta: Mapping[str, Any]) -> Path:
    """Write `life.state()` and metadata (`meta`, plain JSON); returns the folder of the checkpoint.

    The checkpoint is complete on the disk when this returns, and absent before.  Its tick is tree["clock"]["tick"].

    Raises ConfigError for a tree or meta that cannot be stored exactly, and StorageError (exit code 3) for a disk
    error; in both cases older checkpoints are unchanged.

    >>> import tempfile, torch
    >>> tree = {"clock": {"tick": np.array(7)}, "neocortex": {"weights": {"w0": torch.ones(2, 3)}}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save(folder, tree, {"rows": 1})
    ...     again, meta = load(folder)
    >>> path.name, meta, again["neocortex"]["weights"]["w0"].shape
    ('tick-000000007', {'rows': 1}, torch.Size([2, 3]))
    """
    folder = Path(folder)
    try:
        tick = int(tree["clock"]["tick"])
    except (KeyError, TypeError, ValueError):
        raise ConfigError("clock.tick", "is not in the tree", "save the state of a life") from None
    state, kinds, large = _packed(tree)
    plan = deltas.Plan(folder, large)
    manifest = _sealed(tick, meta, kinds, state, plan.entries)
    aside = folder / f".tmp-{os.getpid()}-{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        plan.write()
        os.mkdir(aside)
        written(aside / STATE, state)
        written(aside / MANIFEST, manifest)
        synced(aside)
        path = _free(folder, tick)
        os.rename(aside, path)
        synced(folder)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, OSError):
            raise broken(folder, error) from error
        raise
    plan.done()
    _prune(folder)
    return path


def load(folder: str | Path, aside: list[str] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tree and the meta of the newest intact checkpoint.

    A damaged checkpoint is renamed to .corrupt-…, reported in a warning and in the list `aside` (if given), and the
    checkpoint before it is used.

    Raises ConfigError (exit code 2) if there is no intact checkpoint, or if it has another schema; StorageError (exit
    code 3) if the disk cannot be read.
    """
    folder = Path(folder)
    damaged = []
    for path in found(folder):
        try:
            return _verified(path)
        except (Damaged, NotPlain) as damage:
            damaged.append(_set_aside(path, str(damage)))
            if aside is not None:
                aside.append(damaged[-1])
        except OSError as error:
            raise unreadable(path, error) from error
    refuse_if(damaged, str(folder), f"has no intact checkpoint: {'; '.join(damaged)}", "start a new run")
    raise ConfigError(str(folder), "has no checkpoint", "name a run that has saved one")


def found(folder: str | Path) -> list[Path]:
    """The checkpoints in a folder, newest first, not verified (an empty list if there is no folder)."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(Path(folder), error) from error
    matches = [match for match in map(FINISHED.fullmatch, names) if match]
    matches.sort(key=lambda match: (int(match[1]), int(match[2] or 0)), reverse=True)
    return [Path(folder) / match[0] for match in matches]


def tick_of(path: Path) -> int:
    """The tick of the checkpoint in this folder."""
    return int(path.name.split("-")[1])


# -- the tree and its names ---------------------------------------------------------------------------------


def _named(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The tree's leaves by dotted name; dots and backslashes in a key are escaped."""
    for path, leaf in leaves(tree):
        for key in path:
            refuse_if(not isinstance(key, str), f"{key!r}", "is not a name", "use text as keys of the state")
        yield ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in path), leaf


def _packed(tree: Mapping[str, Any]) -> tuple[bytes, dict[str, str], dict[str, Any]]:
    """The tensors of the tree as safetensors, the kind of every leaf (tensor, array or empty), and large tensors."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save

    kinds: dict[str, str] = {}
    tensors, large = dict[str, Any](), dict[str, Any]()
    for name, value in _named(tree):
        kinds[name] = "tensor" if isinstance(value, torch.Tensor) else "array"
        if isinstance(value, Mapping):
            kinds[name] = "empty"
            continue
        if name == "__metadata__" or not isinstance(value, (torch.Tensor, np.ndarray)):
            raise ConfigError(name, f"is a {type(value).__name__}, which cannot be saved", "keep state in tensors")
        try:
            if isinstance(value, np.ndarray):
                value = torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
            tensor = value.detach()
            if deltas.is_large(tensor):
                large[name] = tensor.cpu().contiguous()
                continue
            tensors[name] = tensor.to("cpu", copy=True).contiguous()  # a copy: names may share memory, files may not
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(name, f"cannot be saved ({error})", "keep state in plain dense tensors") from None
    try:
        return save(tensors), kinds, large
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ConfigError("state", f"cannot be saved ({error})", "keep state in plain dense tensors") from None


def _unpacked(data: bytes, kinds: Mapping[str, str], large: Mapping[str, Any]) -> dict[str, Any]:
    """The tree from its safetensors and its large tensors, with every leaf of its original kind."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    header = int.from_bytes(data[:8], "little")
    damaged_if(len(data) < 8 or header > min(len(data) - 8, LARGEST_HEADER), f"{STATE} has an absurd header")
    try:
        tensors: dict[str, Any] = load(data)
        damaged_if(tensors.keys() & large.keys(), f"{STATE} holds a tensor that is elsewhere")
        tensors |= large
        if set(tensors) != {name for name, kind in kinds.items() if kind != "empty"}:
            raise Damaged(f"{STATE} holds other tensors than {MANIFEST} says")
        leaves: dict[str, Any] = {name: {} if kind == "empty" else tensors[name] for name, kind in kinds.items()}
        return _grown(leaves | {name: leaves[name].numpy() for name, kind in kinds.items() if kind == "array"})
    except (SafetensorError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise Damaged(f"{STATE} cannot be read ({error})") from None


def _grown(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with these leaves, given by dotted names."""
    tree: dict[str, Any] = {}
    for name, value in leaves.items():
        *branches, last = (re.sub(r"\\(.)", r"\1", part) for part in re.findall(r"(?:^|\.)((?:\\.|[^.\\])*)", name))
        node = tree
        for branch in branches:
            node = node.setdefault(branch, {})
            damaged_if(not isinstance(node, dict), f"{name} is both a leaf and a branch")
        damaged_if(last in node, f"{name} is there twice")
        node[last] = value
    return tree


# -- the manifest -------------------------------------------------------------------------------------------


def _sealed(
    tick: int, meta: Mapping[str, Any], kinds: Mapping[str, str], state: bytes, large: Mapping[str, deltas.Entry]
) -> bytes:
    """The manifest as strict JSON that ends with its own hash."""
    files = {STATE: {"size": len(state), "sha256": hashlib.sha256(state).hexdigest()}}
    schema = SCHEMAS[1] if large else SCHEMAS[0]
    manifest: dict[str, Any] = {"schema": schema, "version": __version__, "tick": tick, "files": files}
    manifest |= {"leaves": kinds, "meta": dict(meta)} | ({"large": dict(large)} if large else {})
    try:
        body = json.dumps(manifest, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        reason, remedy = f"is not plain JSON ({error})", "give finite numbers, text, lists and dicts"
        raise ConfigError("meta", reason, remedy) from None
    return (body[:-1] + SEAL % hashlib.sha256(body.encode()).hexdigest()).encode("ascii")


def _opened(path: Path, data: bytes) -> dict[str, Any]:
    """The manifest of the checkpoint `path`, after a check of its hash."""
    body = data[: -len(SEAL % ("0" * 64))] + b"}"
    damaged_if(data != body[:-1] + (SEAL % hashlib.sha256(body).hexdigest()).encode(), f"{MANIFEST} fails its hash")
    try:
        manifest = json.loads(body, parse_constant=no_number)
        reason = f"was made by cls_sim {manifest['version']} (schema {manifest['schema']})"
        refuse_if(manifest["schema"] not in SCHEMAS, str(path), reason, "use that version")
        _check(manifest)
    except ConfigError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Damaged(f"{MANIFEST} is not a manifest") from None
    return manifest


def _check(manifest: Any) -> None:
    """Check the types in a manifest (KeyError, TypeError or ValueError if they are wrong)."""
    files = manifest["files"].values()
    words = [manifest["version"], *manifest["leaves"].values(), *(file["sha256"] for file in files)]
    sizes = [manifest["tick"], *(file["size"] for file in files)]
    if {*map(type, words)} != {str} or {*map(type, sizes)} != {int} or type(manifest["meta"]) is not dict:
        raise TypeError
    if min(sizes) < 0 or ("large" in manifest) != (manifest["schema"] == SCHEMAS[1]):
        raise ValueError
    deltas.check(manifest.get("large", {}))


def _verified(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tree and the meta of one checkpoint, with every byte verified."""
    damaged_if(path.is_symlink() or not path.is_dir(), "it is not a folder")
    manifest = _opened(path, content(path / MANIFEST, LARGEST_MANIFEST))
    files = manifest["files"]
    damaged_if(set(files) != {STATE} or manifest["tick"] != tick_of(path), f"{MANIFEST} tells of something else")
    size, digest = files[STATE]["size"], files[STATE]["sha256"]
    data = content(path / STATE, size)
    damaged_if(len(data) != size or hashlib.sha256(data).hexdigest() != digest, f"{STATE} fails its hash")
    large = deltas.read(path.parent, manifest.get("large", {}))
    return _unpacked(data, manifest["leaves"], large), manifest["meta"]


# -- the disk -----------------------------------------------------------------------------------------------


def _free(folder: Path, tick: int) -> Path:
    """An unused name for a checkpoint of this tick, newer than the existing ones."""
    again = [int(path.name.partition("-")[2].partition("-")[2] or 0) for path in found(folder) if tick_of(path) == tick]
    return folder / (f"tick-{tick:09d}" + (f"-{max(again) + 1}" if again else ""))


def _prune(folder: Path) -> None:
    """Keep the newest checkpoint of each of the newest two ticks; the new one is safe, so a failure is a warning."""
    kept: list[int] = []
    for path in found(folder):
        tick = tick_of(path)
        if tick not in kept and len(kept) < KEEP:
            kept.append(tick)
            continue
        gone = folder / f".tmp-{os.getpid()}-{secrets.token_hex(8)}"
        try:
            os.rename(path, gone)  # a partly deleted checkpoint must not have a valid name
            shutil.rmtree(gone)
        except OSError as error:
            warnings.warn(f"{path} cannot be removed ({error.strerror or error})", stacklevel=3)
    if (folder / deltas.FOLDER).exists():
        with contextlib.suppress(Damaged, NotPlain, OSError, ConfigError):  # one that is damaged may need any file
            manifests = [_opened(path, content(path / MANIFEST, LARGEST_MANIFEST)) for path in found(folder)]
            deltas.tidy(folder, [entry for one in manifests for entry in one.get("large", {}).values()])


def _sweep(folder: Path) -> None:
    """Remove unfinished checkpoints of dead processes and of this process."""
    for name in os.listdir(folder):
        match = UNFINISHED.fullmatch(name)
        if match and (int(match[1]) == os.getpid() or not _alive(int(match[1]))):
            shutil.rmtree(folder / name, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        if os.name != "nt":  # signal 0 cannot be used there
            os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def _set_aside(path: Path, reason: str) -> str:
    """Rename a damaged checkpoint so that it is not tried again, and warn."""
    said = f"{path.name}: {reason}"
    with contextlib.suppress(OSError):
        os.rename(path, path.with_name(f".corrupt-{path.name}-{secrets.token_hex(4)}"))
    warnings.warn(f"{path.parent}: checkpoint set aside: {said}", stacklevel=4)
    return said
