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

/* One thread: there are few pieces. */
__global__ void finish_norm(const double *sums, size_t pieces, double limit, uint32_t step, bft_norm_result *result) {
    double squares = 0;
    for (size_t i = 0; i < pieces; i++) {
        squares += sums[i];
    }
    result->norm = sqrt(squares);
    result->scale = limit > 0 ? fmin(1.0, limit / (result->norm + 1e-6)) : 1;
    if (result->failed == 0 && !(result->norm < HUGE_VAL)) {
        result->failed = step;
    }
}

void bft_cuda_norm(bft_device *device, const bft_norm *op) {
    size_t pieces = 0;
    for (size_t block = 0; block < BFT_NORM_BLOCKS && healthy(device); block++) {
        size_t count = op->x[block] == NULL ? 0 : op->count[block], more = (count + PIECE - 1) / PIECE;
        if (more > 0) {
            LAUNCH(device, sum_pieces, dim3((unsigned)more), NORM_THREADS, NORM_THREADS * sizeof(double),
                   static_cast<const float *>(op->x[block]), count, device->sums + pieces);
        }
        pieces += more;
    }
    if (healthy(device)) {
        LAUNCH(device, finish_norm, dim3(1), 1, 0, device->sums, pieces, op->limit, op->step, op->result);
    }
}
