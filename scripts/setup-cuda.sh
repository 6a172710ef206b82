#!/bin/sh
# Makes the folder that `make cuda` compiles with and libbertft_cuda.so looks into: cuBLASLt, which some toolkits lack.
#
#     sh scripts/setup-cuda.sh [FOLDER [NVCC [WHEELS]]]        default: build/cuda, and the nvcc on the PATH
#
# WHEELS is a Python's site-packages whose wheels are linked before anything else: PyTorch brings cuBLAS and cuDNN.
# The toolkit's own cuBLASLt is linked into FOLDER/lib; where there is none, headers and library come from the registry's wheel
# of the toolkit's major version. A finished folder is left alone. Nothing else in bertft needs this.
set -eu

out=${1:-build/cuda}
nvcc=${2:-nvcc}
stamp=$out/ready-1

if [ -e "$stamp" ]; then
    exit 0
fi
if ! release=$("$nvcc" --version 2>&1); then
    echo "setup-cuda.sh: $nvcc cannot be run; NVCC=/path/to/nvcc names a CUDA 12 or 13 compiler" >&2
    exit 1
fi
major=$(echo "$release" | sed -n 's/.*release \([0-9]*\)\..*/\1/p')
toolkit=$(dirname "$(dirname "$(readlink -f "$(command -v "$nvcc")")")")
mkdir -p "$out/lib"

# A wheel's headers lie beside its libraries: nvidia/cu13/{include,lib}, in older ones nvidia/cublas/{include,lib}.
library=
[ -z "${3:-}" ] || library=$(find "$3/nvidia/" -name "libcublasLt.so.$major" 2>/dev/null | head -n 1)
if [ -n "$library" ] && [ -e "$(dirname "$library")/../include/cublasLt.h" ]; then
    rm -rf "$out/include"
    mkdir -p "$out/include"
    ln -sf "$library" "$out/lib/"
    ln -sf "$(dirname "$(dirname "$library")")"/include/cublas*.h "$out/include/"
    find "$3/nvidia/" -name 'libcudnn*.so.*' -exec ln -sf {} "$out/lib/" \;
    find "$3/nvidia/" -name 'cudnn*.h' -exec ln -sf {} "$out/include/" \;
    : > "$stamp"
    exit 0
fi

library=$(find "$toolkit/" -name "libcublasLt.so.$major" | head -n 1)
if [ -e "$toolkit/include/cublasLt.h" ] && [ -n "$library" ]; then
    ln -sf "$library" "$out/lib/"
    : > "$stamp"
    exit 0
fi

case $major in
12) wheel=nvidia-cublas-cu12==12.8.4.1 ;;
13) wheel=nvidia-cublas==13.0.2.14 ;;
*) echo "setup-cuda.sh: $nvcc is of CUDA $major; 12 and 13 are supported" >&2 && exit 1 ;;
esac
rm -rf "$out/wheel" "$out/include"
python3 -m pip install --quiet --no-deps --target "$out/wheel" "$wheel"
mv "$(dirname "$(find "$out/wheel" -name cublasLt.h)")" "$out/include"
mv "$(find "$out/wheel" -name "libcublasLt.so.$major")" "$out/lib/"
rm -rf "$out/wheel"
: > "$stamp"
