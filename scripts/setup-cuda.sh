#!/bin/sh
# Makes the folder that `make cuda` compiles with and libbertft_cuda.so looks into: cuBLASLt, NVRTC and cuDNN, which many toolkits lack.
#
#     sh scripts/setup-cuda.sh [FOLDER [NVCC [WHEELS]]]        default: build/cuda, and the nvcc on the PATH
#
# WHEELS is a Python's site-packages, whose wheels are then taken before anything else: PyTorch brings cuBLAS, NVRTC and cuDNN, of
# whatever version, and not cuDNN's frontend, without which the library is built with its own attention only.
# What the toolkit has is linked into FOLDER/lib; what it lacks comes from the registry's wheels of the toolkit's major version, headers
# into FOLDER/include and libraries into FOLDER/lib: up to 1 GB to fetch, 2 GB on disk, most of it cuBLAS and cuDNN. cuDNN's frontend is
# headers. NVRTC compiles some of cuDNN's kernels. A finished folder is left alone. Nothing else in bertft needs this.
set -eu

out=${1:-build/cuda}
nvcc=${2:-nvcc}
stamp=$out/ready-2
oldest_cudnn=92500 # as kernels/cuda/attention_choice.h

if [ -e "$stamp" ]; then
    exit 0
fi
if ! release=$("$nvcc" --version 2>&1); then
    echo "setup-cuda.sh: $nvcc cannot be run; NVCC=/path/to/nvcc names a CUDA 12 or 13 compiler" >&2
    exit 1
fi
major=$(echo "$release" | sed -n 's/.*release \([0-9]*\)\..*/\1/p')
case $major in
12) cublas=nvidia-cublas-cu12==12.8.4.1 nvrtc=nvidia-cuda-nvrtc-cu12==12.8.93 cudnn=nvidia-cudnn-cu12==9.25.1.1 ;;
13) cublas=nvidia-cublas==13.0.2.14 nvrtc=nvidia-cuda-nvrtc==13.0.88 cudnn=nvidia-cudnn-cu13==9.25.1.1 ;;
*) echo "setup-cuda.sh: $nvcc is of CUDA $major; 12 and 13 are supported" >&2 && exit 1 ;;
esac
rm -rf "$out/include" "$out/lib" "$out/wheel"
mkdir -p "$out/include" "$out/lib"
toolkit=$(dirname "$(dirname "$(readlink -f "$(command -v "$nvcc")")")")
installed=${3:-$toolkit}
wheels=
[ $# -ge 3 ] || wheels=nvidia-cudnn-frontend==1.27.0

# HEADER LIBRARY NAMES WHEEL: links the libraries called NAMES that lie beside LIBRARY where that and HEADER are there, else
# notes the wheel. The compiler finds the toolkit's headers by itself; of a wheel only those meant are linked, since others beside
# them may not fit the compiler.
take() {
    header=$(find "$installed/" "$toolkit/" -name "$1" | head -n 1)
    library=$(find "$installed/" "$toolkit/" -name "$2" | head -n 1)
    if [ -n "$header" ] && [ -n "$library" ]; then
        case $header in
        "$toolkit"/*) ;;
        *) find "$(dirname "$header")" -name "$(basename "$1" .h | sed s/Lt//)*.h" -exec ln -sf {} "$out/include/" \; ;;
        esac
        find "$(dirname "$library")" -name "$3" -exec ln -sf {} "$out/lib/" \;
    else
        wheels="$wheels $4"
    fi
}

take cublasLt.h "libcublasLt.so.$major" "libcublasLt.so.$major" "$cublas"
take nvrtc.h "libnvrtc.so.$major" "libnvrtc*.so.*" "$nvrtc"
version=$(find "$toolkit/" -name cudnn_version.h -exec cat {} + |
    awk '$2 == "CUDNN_MAJOR" { a = $3 } $2 == "CUDNN_MINOR" { b = $3 } $2 == "CUDNN_PATCHLEVEL" { c = $3 }
         END { print a * 10000 + b * 100 + c }')
if [ "$version" -ge $oldest_cudnn ] || [ $# -ge 3 ]; then
    take cudnn.h libcudnn.so.9 "libcudnn*.so.9" "$cudnn"
else
    wheels="$wheels $cudnn"
fi

if [ -n "$wheels" ]; then
    # shellcheck disable=SC2086 # a word a wheel
    python3 -m pip install --quiet --no-deps --only-binary :all: --target "$out/wheel" $wheels
    find "$out/wheel" -path "*/include" -prune -exec sh -c 'cp -R "$1"/. "$2"' sh {} "$out/include" \;
    find "$out/wheel" \( -name "libcublasLt.so.*" -o -name "libnvrtc*.so.*" -o -name "libcudnn*.so.9" \) -exec mv {} "$out/lib/" \;
    rm -rf "$out/wheel"
fi
: > "$stamp"
