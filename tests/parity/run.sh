#!/bin/sh
# run.sh BUILD: everything that is compared with other people's code, in one go. ../shared is read where it is there.
set -eu
cd "$(dirname "$0")/../.."
build=${1:-build}
export BERTFT="$build/bertft" OMP_NUM_THREADS=2 HF_HUB_OFFLINE=1
sh tests/parity/setup.sh build/parity-venv
python=build/parity-venv/bin/python

$python tests/parity/weights.py "$build/tests/weights_dump"
$python tests/parity/csv_rows.py "$build/tests/csv_dump"
$python tests/parity/config.py "$build/tests/config_probe" 5000
vocabularies= # real ones where they are there, else that of checkpoints/mini-ru
[ ! -d ../shared/data/vocab ] || vocabularies="--shared ../shared"
# shellcheck disable=SC2086
$python tests/parity/tokenizer.py $vocabularies --program "$build/tests/tokenize_stream" --quick
$python tests/parity/vocab.py --build "$build"
$python tests/parity/export.py --build "$build"
$python tests/parity/models.py --build "$build"
$python tests/parity/steps.py --build "$build"
$python tests/parity/pretraining.py --build "$build"
