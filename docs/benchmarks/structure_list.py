"""Gather the structures that weights are made of in a folder that can be moved, with lists of them.

structure_list.py DATA FOLDER

list.csv has all of DATA/structures, named by id; where a file is BinaryCIF, which is not read, the map of 10 Å from
templates_10A_32.npz stands for it. more.csv has those of DATA/structures_more that may be trained on: without what
set_aside.json beside this script names, which relatives.py writes, and of which a copy goes along.
"""

import csv
import json
import shutil
import sys
from pathlib import Path

import mrcfile
import numpy as np

data, folder = Path(sys.argv[1]), Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)


def read(table: Path) -> list[dict[str, str]]:
    """Read a table of structures."""
    with table.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def write(path: Path, columns: str, rows: list[tuple[str, ...]]) -> None:
    """Write a list."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([columns.split(","), *rows])
    print(f"{path}: {len(rows)} structures")


structures = data / "structures"
templates = np.load(structures / "templates_10A_32.npz")
maps = dict(zip(templates["ids"].tolist(), templates["maps"], strict=True))
rows: list[tuple[str, ...]] = []
for row in read(structures / "table.csv"):
    file, assembly = row["file"], row["assembly"].strip("-")
    if ".bcif" in file:
        file, assembly = f"{row['id']}.mrc", ""
        with mrcfile.new(folder / file, maps[row["id"]].astype(np.float32), overwrite=True) as mrc:
            mrc.voxel_size = 10.0
    else:
        shutil.copyfile(structures / "orig" / file, folder / file)
    rows.append((row["id"], file, assembly))
write(folder / "list.csv", "name,file,assembly", rows)

set_aside = Path(__file__).with_name("set_aside.json")
if set_aside.is_file() and (data / "structures_more").is_dir():
    shutil.copyfile(set_aside, folder / set_aside.name)
    aside = json.loads(set_aside.read_text())
    never = {*aside["development"], *aside["final"], *aside["relatives"]}
    rows = []
    for row in read(data / "structures_more" / "table.csv"):
        if row["id"] not in never:
            file = Path(row["file"]).name
            shutil.copyfile(data / "structures_more" / row["file"], folder / file)
            rows.append((row["id"], file, row["kind"]))
    write(folder / "more.csv", "name,file,kind", rows)
