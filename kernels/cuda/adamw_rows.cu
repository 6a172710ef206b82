/* adamw_rows.cu: lagging rows: the replay of missed steps, then the step at hand; a block a row, a thread a channel. */
#include "kernels/cuda/adamw.cuh"

#include <float.h>

enum { ROWS_THREADS = 128 };

struct rows_step { /* what differs from step to step */
    uint32_t rows, replayed, now;
};

struct rows_view {
    const uint32_t *slot, *last; /* (U) */
    const bft_adamw_step *history;
    const rows_step *step;
    uint32_t gap;
    adamw_betas betas;
    double beta1, beta2;
    const bft_norm_result *norm;
    size_t channels;
    float *p, *m, *v, *copy;
    const float *grad;
};

__device__ __forceinline__ float flushed(double x) {
    return fabs(x) < FLT_MIN ? 0.0f : (float)x;
}

/* Brings an element from step `from` to step `to` with gradient 0. */
__device__ __forceinline__ void replay(const rows_view &view, uint32_t from, uint32_t to, float *p, float *m,
                                       float *v) {
    uint32_t gap = *m == 0 && *v == 0 ? 0 : view.gap; /* at rest: decay only */
    uint32_t middle = to - from > gap ? from + gap : to;
    for (uint32_t t = from + 1; t <= middle; t++) {
        adamw_element(view.betas, scalars_of(&view.history[t], true), 0, p, m, v);
        *m = flushed(*m);
        *v = flushed(*v);
    }
    if (middle < to) {
        double before = view.history[middle].decay_product, rest = to - middle;
        *p = before == 0 ? 0 : (float)((double)*p * (view.history[to].decay_product / before));
        *m = flushed((double)*m * pow(view.beta1, rest));
        *v = flushed((double)*v * pow(view.beta2, rest));
    }
}

__global__ void adamw_rows(rows_view view) {
    size_t row = blockIdx.x;
    rows_step step = *view.step;
    if (row >= step.rows || (view.grad != NULL && view.norm->failed != 0)) {
        return;
    }
    bool untrained = view.slot[row] == BFT_NO_SLOT; /* lies in the copy */
    size_t start = untrained ? 0 : view.slot[row] * view.channels;
    uint32_t last = view.last[row];
    for (size_t c = threadIdx.x; c < view.channels; c += blockDim.x) {
        size_t in_row = row * view.channels + c;
        float p = untrained ? view.copy[in_row] : view.p[start + c];
        float m = untrained ? 0 : view.m[start + c], v = untrained ? 0 : view.v[start + c];
        replay(view, last, step.replayed, &p, &m, &v);
        if (view.grad != NULL) {
            adamw_element(view.betas, scalars_of(&view.history[step.now], true),
                          (float)view.norm->scale * view.grad[in_row], &p, &m, &v);
        }
        if (view.copy != NULL) {
            view.copy[in_row] = p;
        } else {
            view.p[start + c] = p;
            view.m[start + c] = m;
            view.v[start + c] = v;
        }
    }
}

void bft_cuda_adamw_rows(bft_device *device, const bft_adamw_rows *op) {
    if (op->rows == 0 || !healthy(device)) {
        return;
    }
    rows_view view = {};
    view.slot = mirror_rows(device, op->slot, op->rows);
    view.last = mirror_rows(device, op->last, op->rows);
    view.history = op->history;
    rows_step step = {static_cast<uint32_t>(op->rows), op->grad == NULL ? op->now : op->now - 1, op->now};
    view.step = mirror_value(device, step);
    view.gap = bft_adamw_gap(op->beta1);
    view.betas = betas_of(op->beta1, op->beta2, op->eps);
    view.beta1 = op->beta1;
    view.beta2 = op->beta2;
    view.norm = op->norm;
    view.channels = op->channels;
    view.p = static_cast<float *>(op->p);
    view.m = static_cast<float *>(op->m);
    view.v = static_cast<float *>(op->v);
    view.copy = static_cast<float *>(op->copy);
    view.grad = static_cast<const float *>(op->grad);
    if (healthy(device)) {
        LAUNCH(device, adamw_rows, dim3((unsigned)bft_padded(op->rows)), ROWS_THREADS, 0, view);
    }
}
