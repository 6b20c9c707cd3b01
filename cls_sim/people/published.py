"""Published tables of people: read from $CLS_SIM_DATA_DIR/people, else from the package, else fetched."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cls_sim.world.files import fetched, places, read_bytes

HERE = Path(__file__).parent
LATE = 160  # Beukers et al. 2024: the first trial of the test
Rows = list[dict[str, str]]


class Published(NamedTuple):
    """A published table: its file, its checksum, how it becomes a table of this package, and where it comes from."""

    file: str
    sha256: str
    tidy: Callable[[Rows], Rows]
    source: str
    home: str = ""  # where it is fetched; "": it is in the package
    there: str = ""  # its name at home


def published(name: str) -> Rows:
    """The rows of a published table, column → cell.  Raises DataFileError if it is not there, or has been changed."""
    told = PUBLISHED[name]
    path, remedy = _found(told)
    raw = read_bytes(path, remedy, told.sha256)
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    return told.tidy(rows)


def _found(told: Published) -> tuple[Path, str]:
    if told.home:
        return fetched("people", told.file, told.home, f"sha256:{told.sha256}", there=told.there)
    mine = next((place / told.file for place in places("people")[:-1] if (place / told.file).is_file()), None)
    return mine or HERE / told.file, "put the original file there, or delete it to read that of the package"


def _audrain(rows: Rows) -> Rows:
    """Cells `congruent|incongruent details|coarse short|long`, as shares."""
    pairs, kinds = {"R": "congruent", "UR": "incongruent"}, {"fine": "details", "coarse": "coarse"}
    return [
        {
            "subject": row["subj"],
            "cell": f"{pairs[row['congruency']]} {kinds[row['granularity']]} {row['delay']}",
            "value": str(float(row["accuracy_gran"]) / 100),
        }
        for row in rows
        if row["accuracy_gran"]
    ]


def _beukers(rows: Rows) -> Rows:
    """The share of right predictions in the test, by curriculum; the standard error is that over its trials."""
    found = []
    for column in (name for name in rows[0] if name.endswith(" mean")):
        late = np.array([float(row[column]) for row in rows if int(row["t"]) >= LATE])
        sem = late.std(ddof=1) / np.sqrt(len(late))
        found.append({"cell": column.removesuffix(" mean"), "mean": str(late.mean()), "sem": str(sem)})
    return found


def _harlow(rows: Rows) -> Rows:
    """The share of all words gained over the night, with stimulation and without, and the difference."""
    found = []
    for i, row in enumerate(rows):
        sham, stim = (
            (float(row[f"post{kind}"]) - float(row[f"pre{kind}"])) / float(row["total_words"])
            for kind in ("Sham", "Stim")
        )
        for cell, value in (("sham", sham), ("stimulation", stim), ("effect", stim - sham)):
            found.append({"subject": f"{row['study']} {i}", "cell": cell, "value": str(value)})
    return found


PUBLISHED: Mapping[str, Published] = {
    "ebbinghaus_1885": Published(
        "ebbinghaus_1885.csv",
        "974bfb9219174a7389ec11f7efadedb3b7c177eaadab216a76cb7049ac1dd8f4",
        list,
        "Ebbinghaus 1885, section 29",
    ),
    "audrain_2022": Published(
        "audrain_2022.csv",
        "d58735bec4b57fee1c0da5e3b699ec9605fb14dff07ef0243dc52841c8160082",
        _audrain,
        "Audrain & McAndrews 2022, Nature Communications 13, 5795; CC BY 4.0",
    ),
    "harlow_2023": Published(
        "harlow_2023_people.csv",
        "a9860f0323e269e1a3684481507c7c9c20ad9e3d2796f5f0fe35a395f735f6ab",
        _harlow,
        "Harlow et al. 2023, Frontiers in Sleep 2, 1082253; MIT",
    ),
    "beukers_2024": Published(
        "beukers_2024.csv",
        "cbefd303df79288d0b2f93d584ed67c7b9cd796e6ccfbab983d23afa454b0306",
        _beukers,
        "Beukers et al. 2024, Communications Psychology",
        "https://raw.githubusercontent.com/PrincetonCompMemLab/blocked_training_facilitates_learning/"
        "be90a37f3046134f0d6542292a30e5595ef17d0c/data/human/",
        "human_data.csv",
    ),
}
