/* norm.cu: the norm of all gradients, in double: sums of pieces of a fixed size, then their sum, in an order that counts alone decide. */
#include "kernels/cuda/device.cuh"

enum { PIECE = 8192, NORM_THREADS = 256 };

/* The sum over the block's threads, in the first one. */
__device__ __forceinline__ double sum_of_block(double mine, double *part) {
    part[threadIdx.x] = mine;
    __syncthreads();
    for (unsigned half = NORM_THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            part[threadIdx.x] += part[threadIdx.x + half];
        }
        __syncthreads();
    }
    return part[0];
}

/* `pieces` of x, of which *count elements exist; a block takes every gridDim.x-th. */
__global__ void __launch_bounds__(NORM_THREADS)
    sum_pieces(const float *x, const uint64_t *count, size_t pieces, double *sums) {
    SHARED(double, part);
    double sum = 0;
    for (size_t piece = blockIdx.x; piece < pieces; piece += gridDim.x) {
        size_t first = piece * PIECE, last = first + PIECE < *count ? first + PIECE : *count;
        for (size_t i = first + threadIdx.x; i < last; i += NORM_THREADS) {
            sum += (double)x[i] * (double)x[i];
        }
    }
    sum = sum_of_block(sum, part);
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = sum;
    }
}

__global__ void __launch_bounds__(NORM_THREADS)
    finish_norm(const double *sums, size_t count, double limit, const uint32_t *step, bft_norm_result *result) {
    SHARED(double, part);
    double squares = 0;
    for (size_t i = threadIdx.x; i < count; i += NORM_THREADS) {
        squares += sums[i];
    }
    squares = sum_of_block(squares, part);
    if (threadIdx.x == 0) {
        double norm = sqrt(squares);
        result->norm = norm;
        result->scale = limit > 0 ? fmin(1.0, limit / (norm + 1e-6)) : 1;
        if (result->failed == 0 && !(norm < HUGE_VAL)) {
            result->failed = *step;
        }
    }
}

/* Queues the sums of one block of gradients into device->sums from `at` on; how many there will be. */
static size_t queue_sums(bft_device *device, const void *x, size_t count, size_t at) {
    const size_t most = BFT_SUMS / BFT_NORM_BLOCKS;
    size_t pieces = (bft_padded(count) + PIECE - 1) / PIECE, blocks = pieces < most ? pieces : most;
    if (x == NULL || blocks == 0 || !healthy(device)) {
        return 0;
    }
    LAUNCH(device, sum_pieces, dim3((unsigned)blocks), NORM_THREADS, NORM_THREADS * sizeof(double),
           static_cast<const float *>(x), mirror_value(device, static_cast<uint64_t>(count)), pieces,
           device->sums + at);
    return blocks;
}

void bft_cuda_norm(bft_device *device, const bft_norm *op) {
    size_t sums = 0;
    for (size_t block = 0; block < BFT_NORM_BLOCKS; block++) {
        sums += queue_sums(device, op->x[block], op->count[block], sums);
    }
    const uint32_t *step = mirror_value(device, op->step);
    if (healthy(device)) {
        LAUNCH(device, finish_norm, dim3(1), NORM_THREADS, NORM_THREADS * sizeof(double), device->sums, sums, op->limit,
               step, op->result);
    }
}
