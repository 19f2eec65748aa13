#!/bin/sh
# Makes the sets of `bench frozen` from complexes that no weights of ours are trained on (set_aside.json).
#   docs/benchmarks/frozen_data.sh STRUCTURES_MORE OUT [development|final]
# STRUCTURES_MORE: folder with table.csv and its files; OUT: new folder. "final" is opened once, at the end.
set -eu
from=$1 out=$2 which=${3:-development}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
# fibrinogen, 456 Å long, does not fit a box of 32 voxels of 12 Å
python - "$from" "$here/set_aside.json" "$which" > "$out/complexes.csv" <<'END'
import csv, json, pathlib, sys
folder, names = pathlib.Path(sys.argv[1]).resolve(), json.loads(open(sys.argv[2]).read())[sys.argv[3]]
print("name,file,kind")
for row in csv.DictReader((folder / "table.csv").open(newline="")):
    if row["id"] in names and row["id"] != "1DEQ":
        print(f"{row['id']},{folder / row['file']},{row['kind']}")
END
make_set() {  # NAME OPTION...
    name=$1; shift
    tomotutor simulate subtomograms --structures "$out/complexes.csv" --voxel-size 12 --out "$out/$name" "$@"
}
make_set snr010 --snr 0.1 --per-class 40 --seed 41
make_set snr005 --snr 0.05 --per-class 40 --seed 42
make_set hard --snr 0.05 --per-class 150 --imbalance 4 --tilt-range -50,50 --false-picks 0.15 --membrane --gold --seed 43
