#!/bin/sh
# Makes the sets of `bench frozen`, of complexes that no weights of ours are trained on.
#   docs/benchmarks/frozen_data.sh STRUCTURES STRUCTURES_MORE OUT [development|final]
# STRUCTURES: folder that structure_list.py made; STRUCTURES_MORE: folder with table.csv and its files; OUT: new folder. "final" is opened once, at the end.
set -eu
lists=$1 more=$2 out=$3 which=${4:-development}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
# of set_aside.json; fibrinogen (1DEQ), 456 Å long, does not fit a box of 32 voxels of 12 Å
python - "$more" "$here/set_aside.json" "$which" > "$out/aside.csv" <<'END'
import csv, json, pathlib, sys
folder, names = pathlib.Path(sys.argv[1]).resolve(), json.loads(open(sys.argv[2]).read())[sys.argv[3]]
print("name,file,kind")
for row in csv.DictReader((folder / "table.csv").open(newline="")):
    if row["id"] in names and row["id"] != "1DEQ":
        print(f"{row['id']},{folder / row['file']},{row['kind']}")
END
# the ten of `bench start-heldout`
{
    echo name,file,assembly
    for name in 3JB9 8TUX 6RD4 7N4Y 1QVR 1BXN 1WCM 1NCB 6XLU 1LNL; do sed -n "s|^$name,|$name,$(cd "$lists" && pwd)/|p" "$lists/list.csv"; done
} | tr -d '\r' > "$out/heldout.csv"
make_set() {  # LIST NAME OPTION...
    list=$1 name=$2; shift 2
    tomotutor simulate subtomograms --structures "$out/$list.csv" --out "$out/$name" "$@"
}
hard="--snr 0.05 --per-class 150 --imbalance 4 --tilt-range -50,50 --false-picks 0.15 --membrane --gold"
make_set aside snr010 --voxel-size 12 --snr 0.1 --per-class 40 --seed 41
make_set aside snr005 --voxel-size 12 --snr 0.05 --per-class 40 --seed 42
make_set aside hard --voxel-size 12 --seed 43 $hard
make_set aside hard_test --voxel-size 12 --seed 47 --snr 0.05 --per-class 40 --tilt-range -50,50 --false-picks 0.15 --membrane --gold  # of `bench start-hard`
make_set heldout heldout_snr010 --snr 0.1 --per-class 40 --seed 44
make_set heldout heldout_snr005 --snr 0.05 --per-class 40 --seed 45
make_set heldout heldout_hard --seed 46 $hard
