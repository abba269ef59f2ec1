#!/usr/bin/env bash
# launch/reproduce.sh NAME SECONDS [more flags for the program]
#
# Runs an experiment for SECONDS at most, then prints what was reached and writes it to reproduced.json in the run (with
# large networks, counting their operations takes half a minute more). NAME is that of a file in configs/, without .py,
# or the path of a config file. The same command goes on where the last one ended.
#
#   DATA    directory of the packed data sets, DATA/mnist, DATA/cifar10 ... (data), where the config names one
#   RUNS    directory of the runs (runs); this one is RUNS/NAME
#   PYTHON  interpreter (python)
#
# Exit code 0: finished. 75: the time was up first, run the same command again. 2: bad input. Others: the program's own.
set -euo pipefail

complain() {
    echo "reproduce.sh: $1; usage: launch/reproduce.sh NAME SECONDS [--config.FIELD=VALUE ...]" >&2
    exit 2
}

(( $# >= 2 )) || complain "NAME or SECONDS is missing"
name=$1 budget=$2
shift 2
[[ $budget =~ ^[1-9][0-9]{0,8}$ ]] || complain "SECONDS is '$budget', not a whole number of seconds"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
config=$root/configs/$name.py
if [[ $name == *.py ]]; then config=$name; fi
[[ -f $config ]] || complain "there is no experiment $config"
run=${RUNS:-runs}/$(basename "$config" .py)
python=${PYTHON:-python}
command -v "$python" > /dev/null || complain "PYTHON is '$python', which cannot be run"
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}

# What is wrong with a config or a flag, the program itself says below.
flags=(--config="$config" --workdir="$run")
data_name='import sys; from scoressl_jax.commands.run import parse; print(parse(sys.argv[1:])[0].data.name)'
data=$("$python" -c "$data_name" "${flags[@]}" "$@" 2> /dev/null) || data=digits
case $data in
    digits | moons | npz | folder) ;;
    *) flags+=(--config.data.name=npz --config.data.path="${DATA:-data}/$data") ;;
esac

# SIGTERM makes the program write a checkpoint and leave with 75; bash counts SECONDS from the start of this script.
leave=$(( budget < 4 ? 1 : budget < 180 ? budget / 4 : 45 ))
end=$(( budget - leave ))
code=0
timeout --foreground --preserve-status --kill-after="$leave" "$(( SECONDS < end ? end - SECONDS : 1 ))" \
    "$python" -m scoressl_jax.main "${flags[@]}" "$@" || code=$?
if (( (code == 137 || code == 143) && SECONDS >= end )); then
    code=75  # ended by the signal itself: too busy to leave in time, or not yet begun
fi
(( code == 0 || code == 75 )) || exit "$code"

summary=0
if [[ -f $run/config.json ]]; then "$python" -m scoressl_jax reproduced "$run" || summary=$?; fi
if (( code == 75 )); then
    echo "not finished after $SECONDS s: run the same command again"
    exit 75
fi
exit "$summary"
