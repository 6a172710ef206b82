/* cpu.h: what the files of the CPU backend share: names, the device, packing, dropout and LayerNorm.
 *
 * Every file here is compiled once for each instruction set, BFT_ISA, and written once, over the vectors of vector.h.
 * Work is cut into units by shapes alone and each element is summed by one unit in one order, so the number of
 * threads leaves the bits as they are. */
#ifndef BFT_KERNELS_CPU_H
#define BFT_KERNELS_CPU_H

#include "kernels/ops.h"

#include "base/thread.h"
#include "kernels/cpu/vector.h"

/* CPU(linear_forward) is bft_cpu_avx2_linear_forward, and so on. */
#define CPU_PASTE_NOW(isa, name) bft_cpu_##isa##_##name
#define CPU_PASTE(isa, name) CPU_PASTE_NOW(isa, name)
#define CPU(name) CPU_PASTE(BFT_ISA, name)

static inline size_t size_min(size_t a, size_t b) {
    return a < b ? a : b;
}

static inline size_t size_max(size_t a, size_t b) {
    return a > b ? a : b;
}

static inline size_t blocks_of(size_t count, size_t block) {
    return (count + block - 1) / block;
}

static inline size_t round_up(size_t count, size_t block) {
    return blocks_of(count, block) * block;
}

/* ---- The device: threads, each with memory of its own that grows when a longer sequence than ever before comes. ---- */
struct bft_device {
    bft_pool *pool;
    float **local;      /* (threads) 64-byte aligned */
    size_t local_count; /* floats in each */
    bool bf16, pairs;   /* products round their factors to bfloat16; in pairs (gemm_bf16.c) */
    bft_error fault;    /* sticky; BFT_OK in its status while all is well */
};

/* Makes room for `count` floats a thread. False where memory is short: the device is then at fault. Not inside units. */
bool CPU(device_reserve)(bft_device *device, size_t count);

/* ---- Row ops work on blocks of this many rows; sums over rows are per block first, then over the blocks in order. ---- */
enum { ROW_BLOCK = 32 };

/* ---- Dropout ---- */

/* y = dropout(x) + residual on a whole row; y may be x or residual, and residual NULL. */
void CPU(dropout_add)(const bft_dropout *dropout, size_t row, size_t channels, const float *x, const float *residual,
                      float *y);

/* Attention's factors, 0 or 1 / (1 - rate), where rate > 0: (round_up(keys, 4), TILE_COLUMNS), of a head's keys for
 * `wide` queries from `query`, whole vectors of them. */
void CPU(dropout_panel)(const bft_dropout *dropout, size_t sequence, size_t head, size_t query, size_t wide,
                        size_t keys, float *factors);

/* The same for one query, the first: (round_up(keys, 4 LANES)). */
void CPU(dropout_keys)(const bft_dropout *dropout, size_t sequence, size_t head, size_t keys, float *factors);

/* ---- LayerNorm, for embed and residual_norm. What its backward needs: rows before gamma and beta, and 1 / sigma. ---- */
typedef struct norm_saved {
    float *normal; /* (rows, C) */
    float *scale;  /* (rows) */
} norm_saved;

size_t CPU(norm_saved_bytes)(size_t rows, size_t channels);
norm_saved CPU(norm_saved_at)(void *saved, size_t rows, size_t channels); /* both NULL where saved is */

/* Bytes for each row block's share of dgamma and dbeta: (blocks, 2, C). */
size_t CPU(norm_partial_bytes)(size_t rows, size_t channels);

/* One row: x, which may be y, is normalised into y, and into saved.normal where there is one. */
void CPU(norm_row)(size_t row, size_t channels, float eps, const float *gamma, const float *beta, const float *x,
                   float *y, norm_saved saved);

/* dx = , may be dy; partial (2, C) += the row's share of dgamma and dbeta. */
void CPU(norm_row_backward)(size_t row, size_t channels, const float *gamma, norm_saved saved, const float *dy,
                            float *dx, float *partial);

/* dgamma and dbeta += all blocks' shares, in order. */
void CPU(norm_combine)(size_t rows, size_t channels, const float *partial, float *dgamma, float *dbeta);

/* ---- The ops, as ops.h has them ---- */
bft_status CPU(alloc)(bft_error *err, bft_device *device, size_t bytes, void **out);
void CPU(free)(bft_device *device, void *memory);
void CPU(memory)(bft_device *device, size_t *free_bytes, size_t *total);
void CPU(fill_zero)(bft_device *device, void *memory, size_t bytes);
void CPU(to_device)(bft_device *device, bft_dtype from, const void *host, void *reals, size_t count);
void CPU(to_host)(bft_device *device, const void *reals, float *host, size_t count);
void CPU(to_values)(bft_device *device, const void *reals, void *values, size_t count);
void CPU(copy_in)(bft_device *device, void *to, const void *host, size_t bytes);
void CPU(copy_out)(bft_device *device, const void *from, void *host, size_t bytes);

void CPU(embed_memory)(const bft_embed *op, bft_memory *out);
void CPU(embed_forward)(bft_device *device, const bft_embed *op);
void CPU(embed_backward)(bft_device *device, const bft_embed *op);

void CPU(linear_memory)(const bft_linear *op, bft_memory *out);
void CPU(linear_forward)(bft_device *device, const bft_linear *op);
void CPU(linear_backward)(bft_device *device, const bft_linear *op);
size_t CPU(prepared_bytes)(bft_form form, size_t out, size_t in);
bool CPU(prepare)(bft_device *device, bft_form form, const bft_weight *weight, void *prepared);

void CPU(attention_memory)(const bft_attention *op, bft_memory *out);
void CPU(attention_forward)(bft_device *device, const bft_attention *op);
void CPU(attention_backward)(bft_device *device, const bft_attention *op);

void CPU(residual_norm_memory)(const bft_residual_norm *op, bft_memory *out);
void CPU(residual_norm_forward)(bft_device *device, const bft_residual_norm *op);
void CPU(residual_norm_backward)(bft_device *device, const bft_residual_norm *op);

void CPU(gather_forward)(bft_device *device, const bft_gather *op);
void CPU(gather_backward)(bft_device *device, const bft_gather *op);
void CPU(mean_forward)(bft_device *device, const bft_mean *op);
void CPU(mean_backward)(bft_device *device, const bft_mean *op);
void CPU(mask)(bft_device *device, const bft_mask *op);
void CPU(loss)(bft_device *device, const bft_loss *op);
void CPU(tied_loss_memory)(const bft_tied_loss *op, bft_memory *out);
void CPU(tied_loss)(bft_device *device, const bft_tied_loss *op);

void CPU(norm)(bft_device *device, const bft_norm *op);
void CPU(adamw)(bft_device *device, const bft_adamw *op);
void CPU(adamw_rows)(bft_device *device, const bft_adamw_rows *op);

#endif
