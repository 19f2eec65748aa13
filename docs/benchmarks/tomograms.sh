#!/bin/sh
# Rounds on simulated tomograms with an oracle: docs/benchmarks/tomograms.sh DATA OUT [SEEDS] [CORE]
# DATA has tomograms/ and tomograms_test/, each with particles.star, tomograms.star and truth.csv. A run that has its result is not run again.
set -eu
data=$1 out=$2 seeds=${3:-"0 1 2"} core=${4:-0}
classes=1F4A,1MNF,2UV8,3J9I,4CR2,4V4R,6Z6U
mkdir -p "$out"

new() { # SESSION SET [--set …]
    session=$1 set=$2
    shift 2
    rm -rf "$session"
    tomotutor new "$session" --particles "$data/$set/particles.star" --tomograms "$data/$set/tomograms.star" --classes $classes "$@"
}

run() { # NAME SEED "SETTINGS" INIT ROUNDS: one thread, so that two runs side by side do not disturb each other
    name=$1_$2 work=$out/work_$1_$2
    [ -f "$out/$name.json" ] && return
    # shellcheck disable=SC2086
    new "$work" tomograms --set seed="$2" --set precision=float32 $3
    new "${work}_test" tomograms_test
    taskset -c "$core" tomotutor run "$work" --oracle "$data/tomograms/truth.csv" --init "$4" --query 40 --rounds "$5" \
        --test "${work}_test" --test-oracle "$data/tomograms_test/truth.csv" --json >"$out/$name.part"
    mv "$out/$name.part" "$out/$name.json"
}

for seed in $seeds; do
    run teacher_student "$seed" "" 60 8
    run random "$seed" "--set strategy=random" 60 8
    run all_labels "$seed" "--set audit_share=0 --set steps=960" 780 0
done
for seed in $seeds; do
    run teacher_student_l2 "$seed" "--set at_form=l2" 60 8
done
