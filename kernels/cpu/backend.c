/* backend.c: the device of the CPU backend, and its table of ops for one instruction set. */
#include "kernels/cpu/gemm.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- The device ---- */

bool CPU(device_reserve)(bft_device *device, size_t count) {
    if (device->fault.status != BFT_OK) {
        return false;
    }
    if (count <= device->local_count) {
        return true;
    }
    size_t bytes = round_up(count, 64) * sizeof(float);
    for (int i = 0; i < bft_pool_threads(device->pool); i++) {
        free(device->local[i]);
        device->local[i] = aligned_alloc(64, bytes);
        if (device->local[i] == NULL) {
            device->local_count = 0;
            bft_error_memory(&device->fault, bytes);
            return false;
        }
    }
    device->local_count = count;
    return true;
}

static void device_close(bft_device *device) {
    if (device == NULL) {
        return;
    }
    for (int i = 0; device->local != NULL && i < bft_pool_threads(device->pool); i++) {
        free(device->local[i]);
    }
    free(device->local);
    bft_pool_destroy(device->pool);
    free(device);
}

static bft_status device_prepare(bft_error *err, bft_device *device, int threads) {
    BFT_TRY(bft_pool_create(err, &device->pool, threads));
    size_t count = (size_t)bft_pool_threads(device->pool);
    device->local = calloc(count, sizeof *device->local);
    if (device->local == NULL) {
        return bft_error_memory(err, count * sizeof *device->local);
    }
    if (!CPU(device_reserve)(device, CPU(gemm_local_count)())) {
        *err = device->fault;
        return err->status;
    }
    return BFT_OK;
}

static bft_status device_open(bft_error *err, const bft_device_options *options, bft_device **out) {
    bft_device *device = calloc(1, sizeof *device);
    if (device == NULL) {
        return bft_error_memory(err, sizeof *device);
    }
    bft_status status = device_prepare(err, device, options->threads);
    if (status != BFT_OK) {
        device_close(device);
        return status;
    }
    *out = device;
    return BFT_OK;
}

static int device_threads(const bft_device *device) {
    return bft_pool_threads(device->pool);
}

static void device_describe(const bft_device *device, char out[BFT_DESCRIPTION_SIZE]) {
    int threads = bft_pool_threads(device->pool);
    snprintf(out, BFT_DESCRIPTION_SIZE, "%d thread%s", threads, threads == 1 ? "" : "s");
}

/* Only memory that a thread couldn't get. */
static bft_status device_fault(bft_error *err, bft_device *device) {
    if (device->fault.status != BFT_OK) {
        *err = device->fault;
    }
    return device->fault.status;
}

static size_t device_padded(size_t rows) {
    return rows;
}

/* Where a stretch begins or ends: all is done at once, and nothing left to do. */
static void device_boundary(bft_device *device) {
    (void)device;
}

static bft_status device_open_bf16(bft_error *err, const bft_device_options *options, bft_device **out) {
    BFT_TRY(device_open(err, options, out));
    (*out)->bf16 = true;
    (*out)->pairs = CPU(bf16_in_pairs)();
    return BFT_OK;
}

/* ---- The tables: bft_ops_cpu_avx2, named "cpu-avx2", and so on; bft_ops_cpu_avx2_bf16, "cpu-avx2-bf16". ---- */

#define TABLE_PASTE_NOW(isa) bft_ops_cpu_##isa
#define TABLE_PASTE(isa) TABLE_PASTE_NOW(isa)
#define TABLE_BF16_PASTE_NOW(isa) bft_ops_cpu_##isa##_bf16
#define TABLE_BF16_PASTE(isa) TABLE_BF16_PASTE_NOW(isa)
#define TEXT_NOW(isa) #isa
#define TEXT(isa) TEXT_NOW(isa)

/* clang-format off */
#define TABLE(NAME, FACTORS, OPEN)                                \
    {                                                             \
        .name = NAME,                                             \
        .real = sizeof(float),                                    \
        .values = BFT_F32,                                        \
        .factors = FACTORS,                                       \
        .open = OPEN,                                             \
        .close = device_close,                                    \
        .threads = device_threads,                                \
        .describe = device_describe,                              \
        .fault = device_fault,                                    \
        .alloc = CPU(alloc),                                      \
        .free = CPU(free),                                        \
        .memory = CPU(memory),                                    \
        .fill_zero = CPU(fill_zero),                              \
        .to_device = CPU(to_device),                              \
        .to_host = CPU(to_host),                                  \
        .values_to_host = CPU(to_host),                           \
        .to_values = CPU(to_values),                              \
        .write = CPU(copy_in),                                    \
        .read = CPU(copy_out),                                    \
        .padded = device_padded,                                  \
        .begin = device_boundary,                                 \
        .end = device_boundary,                                   \
        .embed_memory = CPU(embed_memory),                        \
        .embed_forward = CPU(embed_forward),                      \
        .embed_backward = CPU(embed_backward),                    \
        .linear_memory = CPU(linear_memory),                      \
        .linear_forward = CPU(linear_forward),                    \
        .linear_backward = CPU(linear_backward),                  \
        .prepared_bytes = CPU(prepared_bytes),                    \
        .prepare = CPU(prepare),                                  \
        .attention_memory = CPU(attention_memory),                \
        .attention_forward = CPU(attention_forward),              \
        .attention_backward = CPU(attention_backward),            \
        .residual_norm_memory = CPU(residual_norm_memory),        \
        .residual_norm_forward = CPU(residual_norm_forward),      \
        .residual_norm_backward = CPU(residual_norm_backward),    \
        .gather_forward = CPU(gather_forward),                    \
        .gather_backward = CPU(gather_backward),                  \
        .mean_forward = CPU(mean_forward),                        \
        .mean_backward = CPU(mean_backward),                      \
        .mask = CPU(mask),                                        \
        .loss = CPU(loss),                                        \
        .tied_loss_memory = CPU(tied_loss_memory),                \
        .tied_loss = CPU(tied_loss),                              \
        .norm = CPU(norm),                                        \
        .adamw = CPU(adamw),                                      \
        .adamw_rows = CPU(adamw_rows),                            \
    }
/* clang-format on */

extern const bft_ops TABLE_PASTE(BFT_ISA), TABLE_BF16_PASTE(BFT_ISA);
const bft_ops TABLE_PASTE(BFT_ISA) = TABLE("cpu-" TEXT(BFT_ISA), BFT_F32, device_open);
const bft_ops TABLE_BF16_PASTE(BFT_ISA) = TABLE("cpu-" TEXT(BFT_ISA) "-bf16", BFT_BF16, device_open_bf16);
