/* values.cuh: the three types that values may have, and how kernels read and write them: four at a time where rows allow it. */
#ifndef BFT_KERNELS_CUDA_VALUES_CUH
#define BFT_KERNELS_CUDA_VALUES_CUH

#include "kernels/cuda/platform.cuh"

#if defined(BFT_CUDASIM)

#include "tests/cudasim/halves.h"

#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>

typedef __nv_bfloat16 bf16;
typedef __half fp16;

__device__ __forceinline__ float to_float(bf16 x) {
    return __bfloat162float(x);
}

__device__ __forceinline__ float to_float(fp16 x) {
    return __half2float(x);
}

/* To nearest, ties to even. */
__device__ __forceinline__ void round_to(float x, bf16 *to) {
    *to = __float2bfloat16_rn(x);
}

__device__ __forceinline__ void round_to(float x, fp16 *to) {
    *to = __float2half_rn(x);
}

#endif

__device__ __forceinline__ float to_float(float x) {
    return x;
}

__device__ __forceinline__ void round_to(float x, float *to) {
    *to = x;
}

template <typename T> __device__ __forceinline__ T from_float(float x) {
    T value;
    round_to(x, &value);
    return value;
}

/* Four values side by side, at an address that is a multiple of their size. */
template <typename T> struct alignas(4 * sizeof(T)) four { T x, y, z, w; };

template <typename T> __device__ __forceinline__ float4 to_floats(four<T> v) {
    float4 x = {to_float(v.x), to_float(v.y), to_float(v.z), to_float(v.w)};
    return x;
}

template <typename T> __device__ __forceinline__ four<T> to_four(float4 x) {
    four<T> v = {from_float<T>(x.x), from_float<T>(x.y), from_float<T>(x.z), from_float<T>(x.w)};
    return v;
}

template <typename T> __device__ __forceinline__ float4 load_four(const T *from) {
    return to_floats(*reinterpret_cast<const four<T> *>(from));
}

template <typename T> __device__ __forceinline__ void store_four(T *to, float4 x) {
    *reinterpret_cast<four<T> *>(to) = to_four<T>(x);
}

#endif
