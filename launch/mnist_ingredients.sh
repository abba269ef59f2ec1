#!/usr/bin/env bash
# launch/mnist_ingredients.sh SCORE_RUN OUT SEED [INGREDIENT ...] [--config.FIELD=VALUE ...]
#
# What each ingredient buys on MNIST with 1,000 labels, at equal time: trains and measures a classifier for each of them
# (all by default) above the score network of SCORE_RUN, a run of mnist_ssl_da.py at preset cpu, in OUT/INGREDIENT_SEED.
# Steps are what one core of an AMD EPYC made in 200 seconds of each. The same command goes on where it ended.
#
#   labels, labels_dlsm, labels_da      labels alone: a noisy classifier; with DLSM; denoising-assisted
#   pseudo, temporal, denoising         noisy, with pseudo-labels; and temporal; and denoising consistency
#   score_ssl                           noisy, with all of these and DLSM of both
#   da, da_temporal                     denoising-assisted, with pseudo-labels; and temporal consistency
set -euo pipefail

complain() {
    echo "mnist_ingredients.sh: $1; usage: launch/mnist_ingredients.sh SCORE_RUN OUT SEED [INGREDIENT ...]" >&2
    exit 2
}

declare -A flags=(
    [labels]="14000 noisy pseudo=0.0" [labels_dlsm]="3900 noisy pseudo=0.0 dlsm=1.0"
    [labels_da]="5000 denoising_assisted pseudo=0.0"
    [pseudo]="5400 noisy" [temporal]="4000 noisy temporal=50.0"
    [denoising]="1350 noisy temporal=50.0 denoising=50.0"
    [score_ssl]="1100 noisy temporal=50.0 denoising=50.0 dlsm=1.0 pseudo_dlsm=1.0"
    [da]="1650 denoising_assisted" [da_temporal]="1030 denoising_assisted temporal=50.0"
)
(( $# >= 3 )) || complain "SCORE_RUN, OUT or SEED is missing"
score=$1 out=$2 seed=$3
shift 3
[[ $seed =~ ^[0-9]+$ ]] || complain "SEED is '$seed', not a whole number"
names=() more=()
for argument in "$@"; do
    if [[ $argument == --* ]]; then more+=("$argument"); continue; fi
    [[ -n ${flags[$argument]:-} ]] || complain "there is no ingredient '$argument'"
    names+=("$argument")
done
(( ${#names[@]} )) || names=(labels labels_dlsm labels_da pseudo temporal denoising score_ssl da da_temporal)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
for name in "${names[@]}"; do
    read -r steps kind terms <<< "${flags[$name]}"
    set -- --config.classifier.kind="$kind" --config.classifier.steps="$steps"
    for term in $terms; do set -- "$@" "--config.classifier.terms.$term"; done
    [[ $name == labels* ]] && set -- "$@" --config.regime=supervised
    for mode in train_classifier evaluate; do
        "${PYTHON:-python}" -m scoressl_jax.main --config="$root/configs/mnist_ssl_da.py" --config.preset=cpu \
            --config.seed="$seed" --config.data.split_seed="$seed" --config.score.init_from="run:$score" \
            --workdir="$out/${name}_$seed" --mode="$mode" "$@" "${more[@]}"
    done
done
