#!/bin/sh
# Makes the set of the experiments fig4-development, fig4-simulated, fig5-transfer-3d and table8: 28 complexes and no false picks, SNR 0.05.
# In the order of their names the first 14 are those on which recipes are chosen, the others those on which they are confirmed.
#   docs/benchmarks/fig4_data.sh STRUCTURES OUT
# STRUCTURES: folder with the structures and maps; OUT: new folder.
set -eu
from=$1 out=$2
mkdir -p "$out"
{
    echo name,file,assembly,voxel_size
    for name in 1BXN 1LNL 1MVA 1QVR 2BUK 1YYF 3CF3 3J9I 4ZXB 6Z6U; do echo "$name,$from/$name.$(cd "$from" && ls "$name".* | cut -d. -f2-),1,"; done
    for name in 1AON 1E6V 1GYT 1MNF 1U6G 1WCM 2J58 3D2F 3JB9 5GJV 6XLU; do echo "$name,$from/$name.$(cd "$from" && ls "$name".* | cut -d. -f2-),asu,"; done
    for name in 1F4A 2UV8 4CR2 4PE5 4V4R 6RD4 8TUX; do echo "$name,$from/$name.mrc.gz,,10"; done
} > "$out/structures.csv"
tomotutor simulate subtomograms --structures "$out/structures.csv" --out "$out/train" --per-class 200 --snr 0.05 --seed 41
tomotutor simulate subtomograms --structures "$out/structures.csv" --out "$out/test" --per-class 30 --snr 0.05 --seed 42
