/* norm.cu: the sum of squares, in double, in pieces of a fixed size that the host adds in order. */
#include "kernels/cuda/device.cuh"

enum { PIECE = 8192, NORM_THREADS = 256, PIECES_AT_ONCE = 4096 };

__global__ void __launch_bounds__(NORM_THREADS) sum_pieces(const float *x, size_t count, double *sums) {
    SHARED(double, part);
    size_t first = (size_t)blockIdx.x * PIECE, last = first + PIECE < count ? first + PIECE : count;
    double sum = 0;
    for (size_t i = first + threadIdx.x; i < last; i += NORM_THREADS) {
        sum += (double)x[i] * (double)x[i];
    }
    part[threadIdx.x] = sum;
    __syncthreads();
    for (unsigned half = NORM_THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            part[threadIdx.x] += part[threadIdx.x + half];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = part[0];
    }
}

double bft_cuda_sum_squares(bft_device *device, const void *x, size_t count) {
    static_assert(PIECES_AT_ONCE * sizeof(double) <= 64 * 1024, "fits the host's stack");
    const float *values = static_cast<const float *>(x);
    double sums[PIECES_AT_ONCE], total = 0;
    const size_t most = (size_t)PIECES_AT_ONCE * PIECE;
    for (size_t at = 0; at < count && healthy(device); at += most) {
        size_t part = count - at < most ? count - at : most, pieces = (part + PIECE - 1) / PIECE;
        LAUNCH(device, sum_pieces, dim3((unsigned)pieces), NORM_THREADS, NORM_THREADS * sizeof(double), values + at,
               part, device->sums);
        if (!bft_check(device, bft_runtime_to_host(device->runtime, sums, device->sums, pieces * sizeof *sums))) {
            break;
        }
        for (size_t i = 0; i < pieces; i++) {
            total += sums[i];
        }
    }
    return total;
}
