#!/bin/sh
# Makes the sets of the experiments start-*, all of complexes that the shipped weights have never seen: six on which recipes were chosen,
# eleven others, ten at conditions inside and outside the range of the pretraining, and real ribosomes among simulated others.
#   docs/benchmarks/start_data.sh STRUCTURES RIBOSOMES OUT
# STRUCTURES: folder with the structures and maps; RIBOSOMES: .npz with subtomo (N,32,32,32) at 12 Å; OUT: new folder.
set -eu
from=$1 ribosomes=$2 out=$3
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
cat > "$out/held_out.csv" <<END
name,file,assembly,voxel_size
3JB9,$from/3JB9.cif.gz,asu,
8TUX,$from/8TUX.mrc.gz,,10
6RD4,$from/6RD4.mrc.gz,,10
7N4Y,$from/7N4Y.mrc.gz,,10
1QVR,$from/1QVR.pdb.gz,1,
1BXN,$from/1BXN.pdb.gz,1,
1WCM,$from/1WCM.pdb.gz,asu,
1NCB,$from/1NCB.mrc,,10
6XLU,$from/6XLU.cif.gz,asu,
1LNL,$from/1LNL.pdb.gz,1,
END
[ -f "$from/1NCB.mrc" ] || sed -i '/^1NCB/d' "$out/held_out.csv"  # gemmi reads no BinaryCIF: without a map of it there are nine
{
    echo name,file,assembly,voxel_size
    for name in 3JB9 1QVR 7N4Y 1BXN 6XLU 1WCM; do grep "^$name" "$out/held_out.csv"; done
} > "$out/development.csv"
{
    cat <<END
name,file,assembly,voxel_size
1F4A,$from/1F4A.mrc.gz,,10
1MNF,$from/1MNF.pdb.gz,asu,
2UV8,$from/2UV8.mrc.gz,,10
3J9I,$from/3J9I.pdb.gz,1,
4CR2,$from/4CR2.mrc.gz,,10
4V4R,$from/4V4R.mrc.gz,,10
6Z6U,$from/6Z6U.pdb.gz,1,
END
    for name in 8TUX 6RD4 1NCB 1LNL; do grep "^$name" "$out/held_out.csv" || true; done
} > "$out/simulated.csv"
make_pair() {  # NAME LARGEST TESTED SEED
    name=$1 largest=$2 tested=$3 seed=$4
    set -- --snr 0.05 --false-picks 0.15 --membrane --gold
    tomotutor simulate subtomograms --structures "$out/$name.csv" --out "$out/$name/train" --per-class "$largest" --imbalance 4 --seed "$seed" "$@"
    tomotutor simulate subtomograms --structures "$out/$name.csv" --out "$out/$name/test" --per-class "$tested" --seed "$((seed + 1))" "$@"
}
make_pair development 200 60 31
make_pair simulated 150 40 33
make_set() {  # NAME OPTION...
    name=$1; shift
    tomotutor simulate subtomograms --structures "$out/held_out.csv" --out "$out/$name/train" --per-class 90 --imbalance 3 --false-picks 0.15 \
        --membrane --gold --seed 21 "$@"
    tomotutor simulate subtomograms --structures "$out/held_out.csv" --out "$out/$name/test" --per-class 40 --false-picks 0.15 \
        --membrane --gold --seed 22 "$@"
}
make_set heldout --snr 0.05
make_set noise --snr 0.01
make_set coarse --snr 0.05 --voxel-size 20
make_set wedge --snr 0.05 --tilt-range -30,30
for part in train test; do
    tomotutor simulate subtomograms --structures "$out/held_out.csv" --out "$out/ribosome/simulated_$part" --per-class 12 --false-picks 0.35 \
        --membrane --gold --voxel-size 12 --snr 0.1 --seed "$([ $part = train ] && echo 23 || echo 24)"
done
python "$here/ribosome_set.py" "$ribosomes" "$out/ribosome"
