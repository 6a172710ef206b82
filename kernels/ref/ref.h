/* ref.h: what the files of the reference share: the element type, the names, dropout and LayerNorm.
 *
 * Every file here is compiled twice, as float ("ref") and as double ("ref64"). It is the judge of the other
 * backends, so it is written to be read: plain loops in the order of the formulas, sums in double, one thread. */
#ifndef BFT_KERNELS_REF_H
#define BFT_KERNELS_REF_H

#include "kernels/ops.h"

#include "base/philox.h"

typedef BFT_REAL real;

/* REF(linear_forward) is bft_ref_linear_forward or bft_ref64_linear_forward. */
#define REF_PASTE_NOW(set, name) bft_##set##_##name
#define REF_PASTE(set, name) REF_PASTE_NOW(set, name)
#define REF(name) REF_PASTE(BFT_REF, name)

/* What dropout multiplies an element by: 0 or 1 / (1 - rate). */
static inline double dropout_at(const bft_dropout *dropout, uint32_t sample, uint32_t position, uint32_t channel) {
    if (dropout->rate <= 0) {
        return 1;
    }
    uint32_t place = position | (uint32_t)dropout->layer << 16 | (uint32_t)dropout->site << 24;
    bft_philox block = bft_philox_block((bft_philox){{channel / 4, place, sample, dropout->step}}, dropout->seed);
    return block.word[channel % 4] < bft_dropout_threshold(dropout->rate) ? 0 : 1 / (1 - (double)dropout->rate);
}

/* The same for the ops that work on rows of channels. */
static inline double dropout_in_row(const bft_dropout *dropout, size_t row, size_t channel) {
    if (dropout->rate <= 0) {
        return 1;
    }
    return dropout_at(dropout, dropout->sample[row], dropout->position[row], (uint32_t)channel);
}

/* ---- LayerNorm, for embed and residual_norm. What its backward needs: the rows before gamma and beta, and 1 /
 * sigma. ---- */
typedef struct norm_saved {
    real *normal; /* (rows, C) */
    real *scale;  /* (rows) */
} norm_saved;

size_t REF(norm_saved_bytes)(size_t rows, size_t channels);
norm_saved REF(norm_saved_at)(void *saved, size_t rows, size_t channels); /* both NULL where saved is */

/* Row `row` of y holds the input and gets the output. */
void REF(norm_row)(size_t row, size_t channels, float eps, const void *gamma, const void *beta, void *y,
                   norm_saved saved);

/* dx = , which may be dy; dgamma, dbeta += , or NULL. */
void REF(norm_backward)(size_t rows, size_t channels, const void *gamma, norm_saved saved, const void *dy, void *dx,
                        void *dgamma, void *dbeta);

/* ---- The ops, as ops.h has them ---- */
bft_status REF(open)(bft_error *err, const bft_device_options *options, bft_device **out);
void REF(close)(bft_device *device);
int REF(threads)(const bft_device *device);
void REF(describe)(const bft_device *device, char out[BFT_DESCRIPTION_SIZE]);
bft_status REF(fault)(bft_error *err, bft_device *device);

bft_status REF(alloc)(bft_error *err, bft_device *device, size_t bytes, void **out);
void REF(free)(bft_device *device, void *memory);
void REF(memory)(bft_device *device, size_t *free_bytes, size_t *total);
void REF(fill_zero)(bft_device *device, void *memory, size_t bytes);
void REF(to_device)(bft_device *device, bft_dtype from, const void *host, void *reals, size_t count);
void REF(to_host)(bft_device *device, const void *reals, float *host, size_t count);
void REF(to_values)(bft_device *device, const void *reals, void *values, size_t count);
void REF(copy_in)(bft_device *device, void *to, const void *host, size_t bytes);
void REF(copy_out)(bft_device *device, const void *from, void *host, size_t bytes);
size_t REF(padded)(size_t rows);
void REF(boundary)(bft_device *device); /* of a stretch: all is done at once, and nothing left to do */

void REF(embed_memory)(const bft_embed *op, bft_memory *out);
void REF(embed_forward)(bft_device *device, const bft_embed *op);
void REF(embed_backward)(bft_device *device, const bft_embed *op);

void REF(linear_memory)(const bft_linear *op, bft_memory *out);
void REF(linear_forward)(bft_device *device, const bft_linear *op);
void REF(linear_backward)(bft_device *device, const bft_linear *op);
size_t REF(prepared_bytes)(bft_form form, size_t out, size_t in);
bool REF(prepare)(bft_device *device, bft_form form, const bft_weight *weight, void *prepared);
double REF(prepared_weight)(const bft_linear *op, size_t o, size_t i); /* an element of what `prepare` wrote */

void REF(attention_memory)(const bft_attention *op, bft_memory *out);
void REF(attention_forward)(bft_device *device, const bft_attention *op);
void REF(attention_backward)(bft_device *device, const bft_attention *op);

void REF(residual_norm_memory)(const bft_residual_norm *op, bft_memory *out);
void REF(residual_norm_forward)(bft_device *device, const bft_residual_norm *op);
void REF(residual_norm_backward)(bft_device *device, const bft_residual_norm *op);

void REF(gather_forward)(bft_device *device, const bft_gather *op);
void REF(gather_backward)(bft_device *device, const bft_gather *op);
void REF(mean_forward)(bft_device *device, const bft_mean *op);
void REF(mean_backward)(bft_device *device, const bft_mean *op);
void REF(mask)(bft_device *device, const bft_mask *op);
void REF(loss)(bft_device *device, const bft_loss *op);
void REF(tied_loss_memory)(const bft_tied_loss *op, bft_memory *out);
void REF(tied_loss)(bft_device *device, const bft_tied_loss *op);

void REF(norm)(bft_device *device, const bft_norm *op);
void REF(adamw)(bft_device *device, const bft_adamw *op);
void REF(adamw_rows)(bft_device *device, const bft_adamw_rows *op);

/* One AdamW step on one element. `decay` is 1 - lr wd, or 1 for what has no decay. */
void REF(adamw_element)(double beta1, double beta2, double eps, const bft_adamw_step *step, double decay, real g,
                        real *p, real *m, real *v);

#endif
