/* device.cuh: the CUDA backend's device, and what its ops share on the host side.
 *
 * A failure of any call is the device's fault: it is kept, later calls do nothing, and bft_ops.fault reports it. */
#ifndef BFT_KERNELS_CUDA_DEVICE_CUH
#define BFT_KERNELS_CUDA_DEVICE_CUH

extern "C" {
#include "kernels/ops.h"
}
#include "kernels/cuda/queue.cuh"
#include "kernels/cuda/runtime.cuh"
#include "kernels/cuda/values.cuh"

enum { BFT_STAGES = 4, BFT_STAGE_BYTES = 16 << 20, BFT_MIRRORS = 32, BFT_SUMS = 1 << 16 };

struct bft_mirrored { /* a host array that this stretch has copied already */
    const void *host, *image;
    size_t bytes, room;
};

struct bft_device {
    bft_runtime *runtime;
    bft_queue *queue;
    char fault[256];     /* "": none */
    char *stage, *image; /* (BFT_STAGES, BFT_STAGE_BYTES) pinned; (BFT_STAGE_BYTES) on the device: stage.cu */
    int stage_slot;
    size_t stage_used;
    bft_mirrored mirrors[BFT_MIRRORS];
    size_t mirror_count;
    double *sums;                           /* device: (BFT_SUMS) partial sums of norm */
    struct bft_attention_engine *attention; /* cuDNN's, where it serves */
};

bool bft_check(bft_device *device, const char *failure);                  /* notes a failure; true: go on */
void bft_fail(bft_device *device, const char *what, const char *failure); /* "WHAT could not be started: FAILURE" */

static inline bool healthy(const bft_device *device) {
    return device->fault[0] == '\0';
}

/* ---- What goes into a launch's arguments ----
 *
 * Launches are recorded between begin and end, and repeated for other batches of the same padded size. So an argument may be a
 * pointer, a constant of the model or the run, or come from padded sizes. Whatever else changes from batch to batch (how many
 * rows there are, the step, a normalizer, an index array) goes through memory, by the functions below, in room that padded sizes
 * alone decide. What they return is valid until `end`, or for the op at hand outside of begin and end. ---- */

/* Rows that kernels work on: 8 steps an octave, so that at most every ninth row is one that isn't there. */
size_t bft_padded(size_t rows);

/* Staging by hand, for arrays that an op makes itself: room in pinned memory, then its image on the device. NULL: at fault. */
void *bft_stage_take(bft_device *device, size_t bytes);
void *bft_stage_send(bft_device *device, const void *staged, size_t bytes);

/* Of stage.cu, for queue.cu. */
void bft_stage_begin(bft_device *device);
void bft_stage_end(bft_device *device);

/* The device's copy of a host array, with zeros behind it as far as `room` bytes. NULL for NULL. Of an array of the caller's,
 * which stays as it is until `end`, there is one copy for all ops; _copy makes one at each call, of what is at hand. */
const void *bft_mirror_bytes(bft_device *device, const void *host, size_t bytes, size_t room);
const void *bft_mirror_copy(bft_device *device, const void *host, size_t bytes, size_t room);

/* Of an array with an entry a row. */
template <typename T> static inline const T *mirror_rows(bft_device *device, const T *host, size_t rows) {
    return static_cast<const T *>(bft_mirror_bytes(device, host, rows * sizeof(T), bft_padded(rows) * sizeof(T)));
}

/* Of a few numbers. */
template <typename T> static inline const T *mirror_value(bft_device *device, const T &value) {
    return static_cast<const T *>(bft_mirror_copy(device, &value, sizeof value, sizeof value));
}

/* `rows` values of sample and position are mirrored; attention gives the batch's samples and no positions. */
dropout_key bft_dropout_key(bft_device *device, const bft_dropout *dropout, size_t rows, bool positions);

/* Blocks of `threads` that cover `count` items, a thread each. */
static inline dim3 blocks_for(size_t count, unsigned threads) {
    return dim3((unsigned)((count + threads - 1) / threads));
}

/* Which of the types a T is. */
template <typename T> constexpr bft_dtype dtype_of = BFT_F32;
template <> constexpr bft_dtype dtype_of<bf16> = BFT_BF16;
template <> constexpr bft_dtype dtype_of<fp16> = BFT_F16;

/* The matrix product as a command. */
void bft_multiply(bft_device *device, const bft_product *product);

/* ---- The ops, one file each, for each type T of values; backend.cu holds their tables ---- */
template <typename T> struct bft_cuda {
    static void embed_memory(const bft_embed *op, bft_memory *out);
    static void embed_forward(bft_device *device, const bft_embed *op);
    static void embed_backward(bft_device *device, const bft_embed *op);
    static void linear_memory(const bft_linear *op, bft_memory *out);
    static void linear_forward(bft_device *device, const bft_linear *op);
    static void linear_backward(bft_device *device, const bft_linear *op);
    static void attention_memory(const bft_attention *op, bft_memory *out);
    static void attention_forward(bft_device *device, const bft_attention *op);
    static void attention_backward(bft_device *device, const bft_attention *op);
    static void residual_norm_memory(const bft_residual_norm *op, bft_memory *out);
    static void residual_norm_forward(bft_device *device, const bft_residual_norm *op);
    static void residual_norm_backward(bft_device *device, const bft_residual_norm *op);
    static void gather_forward(bft_device *device, const bft_gather *op);
    static void gather_backward(bft_device *device, const bft_gather *op);
    static void mean_forward(bft_device *device, const bft_mean *op);
    static void mean_backward(bft_device *device, const bft_mean *op);
    static void mask(bft_device *device, const bft_mask *op);
    static void tied_loss_memory(const bft_tied_loss *op, bft_memory *out);
    static void tied_loss(bft_device *device, const bft_tied_loss *op);
};

/* At the end of an op's file. */
#define FOR_ALL_VALUES(name, ...)                                                                                      \
    template void bft_cuda<float>::name(__VA_ARGS__);                                                                  \
    template void bft_cuda<bf16>::name(__VA_ARGS__);                                                                   \
    template void bft_cuda<fp16>::name(__VA_ARGS__);

/* Those that know reals only. */
void bft_cuda_loss(bft_device *device, const bft_loss *op);
void bft_cuda_add(bft_device *device, const double *items, double *total, const uint32_t *count); /* += first to last */
void bft_cuda_norm(bft_device *device, const bft_norm *op);
template <typename T> void bft_cuda_adamw(bft_device *device, const bft_adamw *op);
void bft_cuda_adamw_rows(bft_device *device, const bft_adamw_rows *op);

/* memory.cu */
bft_status bft_cuda_alloc(bft_error *err, bft_device *device, size_t bytes, void **out);
void bft_cuda_free(bft_device *device, void *memory);
void bft_cuda_memory(bft_device *device, size_t *free, size_t *total);
void bft_cuda_fill_zero(bft_device *device, void *memory, size_t bytes);
void bft_cuda_write(bft_device *device, void *to, const void *host, size_t bytes);
void bft_cuda_read(bft_device *device, const void *from, void *host, size_t bytes);
void bft_cuda_to_device(bft_device *device, bft_dtype from, const void *host, void *reals, size_t count);
template <typename T> void bft_cuda_values_to_host(bft_device *device, const void *values, float *host, size_t count);
template <typename T> void bft_cuda_to_values(bft_device *device, const void *reals, void *values, size_t count);

#endif
