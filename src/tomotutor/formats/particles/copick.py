"""Picks of a copick project, read and written as the JSON files they are:
ExperimentRuns/RUN/Picks/USER_SESSION_OBJECT.json.

The files are documented and plain, and the copick package needs zarr < 3, which napari's own readers do not; so it is
not used. Position = location + transformation[:3, 3] in Å from the centre of voxel 0, orientation A =
transformation[:3, :3], which maps object space to tomogram space (`formats.euler`). A run is a tomogram, a pickable
object is a class, numbered in alphabetical order.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError, unreadable
from tomotutor.base.files import new_file
from tomotutor.formats.particles.euler import angles_to_matrix, matrix_to_angles
from tomotutor.formats.particles.table import UNTOLD, Column, Extra, ParticleTable, Reading

USER, SESSION = "tomotutor", "0"
_PICKS = "ExperimentRuns/*/Picks/*.json"


def picks_in(path: Path) -> list[Path]:
    """Return the files of picks of a project (or its overlay) folder, or the one file itself."""
    return sorted(p for p in path.glob(_PICKS) if p.is_file()) if path.is_dir() else [path]


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as problem:
        raise unreadable(path, problem, "a JSON file") from None
    if isinstance(content, dict) and "pickable_objects" in content:
        raise TomoTutorError(
            f"{path}: this is the configuration of a copick project; name the folder of its picks (with ExperimentRuns "
            "in it)"
        )
    if (
        not isinstance(content, dict)
        or not isinstance(content.get("points"), list)
        or not isinstance(content.get("pickable_object_name"), str)
    ):
        raise TomoTutorError(f"{path}: expected copick's picks, with pickable_object_name and points")
    if content.get("unit", "angstrom") != "angstrom":
        raise TomoTutorError(f"{path}: its unit is {str(content['unit'])[:40]!r}; expected angstrom")
    return content


def read_copick(path: Path, reading: Reading = UNTOLD) -> ParticleTable:
    """Read a file of picks, or all of a project's.

    Raises
    ------
    TomoTutorError
        No JSON, no picks, or a point without a place.
    """
    files = picks_in(path)
    runs: list[str] = []
    objects: list[str] = []
    location: list[list[float]] = []
    matrix: list[np.ndarray] = []
    score: list[float] = []
    trusted = False
    for file in files:
        content = _load(file)
        run = content.get("run_name") or (file.parts[-3] if file.parts[-4:-3] == ("ExperimentRuns",) else None)
        if not isinstance(run, str):
            raise TomoTutorError(
                f"{file}: it does not tell its run (run_name); name the project's folder, with ExperimentRuns in it"
            )
        turned = content.get("trust_orientation", True) is not False
        for number, point in enumerate(content["points"], start=1):
            try:
                place = [float(point["location"][axis]) for axis in "xyz"]
                pose = np.array(
                    np.eye(4) if point.get("transformation_") is None else point["transformation_"], np.float64
                )
                value = float(1.0 if point.get("score") is None else point["score"])
            except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
                raise TomoTutorError(
                    f"{file}: point {number} is incomplete; expected location x, y, z and a 4×4 transformation_"
                ) from None
            a = pose[:3, :3] if pose.shape == (4, 4) else np.zeros((3, 3))
            with np.errstate(all="ignore"):
                if not (np.abs(a @ a.T - np.eye(3)) < 1e-3).all() or not np.linalg.det(a) > 0:
                    raise TomoTutorError(
                        f"{file}: the transformation_ of point {number} is no 4×4 matrix of a rotation and a shift"
                    )
            location.append([p + s for p, s in zip(place, pose[:3, 3].tolist(), strict=True)])
            matrix.append(a if turned else np.eye(3))
            score.append(value)
        trusted |= turned
        runs += [run] * len(content["points"])
        objects += [content["pickable_object_name"]] * len(content["points"])
    if not runs:
        where = "no picks in ExperimentRuns/RUN/Picks" if not files else "no points"
        raise TomoTutorError(f"{path}: found {where}; expected one point a particle")
    names = tuple(sorted(set(objects)))
    number_of = {name: number for number, name in enumerate(names, start=1)}
    return ParticleTable(
        path,
        np.array(runs, dtype=object),
        np.array(location),
        "angst",
        "corner",
        angles_deg_N3=matrix_to_angles(np.stack(matrix)) if trusted else None,
        class_N=np.array([number_of[o] for o in objects]),
        class_names=names,
        score_N=np.array(score),
        other=("user_id", "session_id", "instance_id"),
    )


def _plain(name: str) -> str:
    """Return a name as copick takes it: no spaces, underscores or characters of paths."""
    plain = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f\s_]', "-", name).strip("-.")
    if not plain:
        raise TomoTutorError(f"{name!r} cannot be a name in a copick project; expected letters or digits")
    return plain


def _file(folder: Path, run: str, title: str) -> Path:
    if re.search(r'[<>:"/\\|?*\x00-\x1f]', run) or run.startswith("."):
        raise TomoTutorError(f"{folder}: the tomogram name {run!r} cannot be the folder of a run in a copick project")
    return folder / "ExperimentRuns" / run / "Picks" / f"{USER}_{SESSION}_{_plain(title)}.json"


def _store(path: Path, run: str, title: str, points: list[Any], *, oriented: bool) -> None:
    content = {
        "pickable_object_name": _plain(title),
        "user_id": USER,
        "session_id": SESSION,
        "run_name": run,
        "voxel_spacing": None,
        "unit": "angstrom",
        "points": points,
        "trust_orientation": oriented,
    }
    with new_file(path) as partial:
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _title(number: int, names: tuple[str, ...]) -> str:
    return names[number - 1] if 0 < number <= len(names) else f"class-{number}"


def write_copick(table: ParticleTable, path: Path) -> None:
    """Write picks into the project folder `path`, under the user tomotutor, an object for each class.

    `table` must be in corner Å.
    """
    class_N = np.zeros(len(table), int) if table.class_N is None else table.class_N
    titles = {n: "particle" if table.class_N is None else _title(n, table.class_names) for n in set(class_N.tolist())}
    if len({_plain(title) for title in titles.values()}) < len(titles):
        raise TomoTutorError(
            f"{path}: two classes have one name once copick's rules are kept ({', '.join(titles.values())}); rename one"
        )
    pose_N44 = np.tile(np.eye(4), (len(table), 1, 1))
    if table.angles_deg_N3 is not None:
        pose_N44[:, :3, :3] = angles_to_matrix(table.angles_deg_N3)
    score = np.ones(len(table)) if table.score_N is None else table.score_N
    files = {
        _file(path, name, titles[number]): (name, titles[number], rows[class_N[rows] == number])
        for name, rows in table.groups()
        for number in titles
    }
    for file, (name, title, rows) in files.items():
        points = [
            {"location": dict(zip("xyz", xyz, strict=True)), "transformation_": pose, "instance_id": 0, "score": value}
            for xyz, pose, value in zip(
                table.xyz_N3[rows].tolist(), pose_N44[rows].tolist(), score[rows].tolist(), strict=True
            )
        ]
        if points:
            _store(file, name, title, points, oriented=table.angles_deg_N3 is not None)


def rewrite_copick(
    source: Path,
    target: Path,
    class_N: Column = None,
    rows: Column = None,
    extra: Extra = None,
    class_names: tuple[str, ...] = (),
) -> None:
    """Write the points again, each as it was, as new picks of the user tomotutor: an object for each class."""
    keep = None if rows is None else set(rows.tolist())
    titles = None if class_N is None else [_title(n, class_names) for n in class_N.tolist()]
    found: dict[tuple[str, str], list[Any]] = {}
    oriented: dict[tuple[str, str], bool] = {}
    row = 0
    for file in picks_in(source):
        content = _load(file)
        run = content.get("run_name") or file.parts[-3]
        for point in content["points"]:
            if keep is None or row in keep:
                key = (run, content["pickable_object_name"] if titles is None else titles[row])
                found.setdefault(key, []).append(point)
                oriented[key] = oriented.get(key, True) and content.get("trust_orientation", True) is not False
            row += 1
    files = {key: _file(target, *key) for key in found}
    if len(set(files.values())) < len(files):
        raise TomoTutorError(f"{target}: two classes have one name once copick's rules are kept; rename one")
    for key, file in files.items():
        _store(file, *key, found[key], oriented=oriented[key])
