/* adamw_rows.cu: lagging rows: the replay of missed steps, then the step at hand; a block a row, a thread a channel.
 *
 * The host sends the scalars of the steps from the oldest row's on, and each row's own lag. */
#include "kernels/cuda/adamw.cuh"

#include <float.h>

enum { ROWS_THREADS = 128 };

struct step_scalars { /* of one step, as the kernel reads it */
    adamw_scalars step;
    double product; /* of the decays up to it */
};

struct rows_view {
    const uint32_t *slot, *last;  /* (U) */
    const step_scalars *history;  /* entry t - first is step t */
    uint32_t first, replayed, now, gap;
    adamw_betas betas;
    double beta1, beta2;
    float scale;
    size_t channels;
    float *p, *m, *v, *copy;
    const float *grad;
};

__device__ __forceinline__ float flushed(double x) {
    return fabs(x) < FLT_MIN ? 0.0f : (float)x;
}

/* Brings an element from step `from` to step `to` with gradient 0. */
__device__ __forceinline__ void replay(const rows_view &view, uint32_t from, uint32_t to, float *p, float *m, float *v) {
    uint32_t gap = *m == 0 && *v == 0 ? 0 : view.gap; /* at rest: decay only */
    uint32_t middle = to - from > gap ? from + gap : to;
    for (uint32_t t = from + 1; t <= middle; t++) {
        adamw_element(view.betas, view.history[t - view.first].step, 0, p, m, v);
        *m = flushed(*m);
        *v = flushed(*v);
    }
    if (middle < to) {
        double before = view.history[middle - view.first].product, rest = to - middle;
        *p = before == 0 ? 0 : (float)((double)*p * (view.history[to - view.first].product / before));
        *m = flushed((double)*m * pow(view.beta1, rest));
        *v = flushed((double)*v * pow(view.beta2, rest));
    }
}

__global__ void adamw_rows(rows_view view) {
    size_t row = blockIdx.x, start = view.slot[row] * view.channels;
    uint32_t last = view.last[row];
    for (size_t c = threadIdx.x; c < view.channels; c += blockDim.x) {
        float p = view.p[start + c], m = view.m[start + c], v = view.v[start + c];
        replay(view, last, view.replayed, &p, &m, &v);
        if (view.grad != NULL) {
            adamw_element(view.betas, view.history[view.now - view.first].step,
                          view.scale * view.grad[row * view.channels + c], &p, &m, &v);
        }
        if (view.copy != NULL) {
            view.copy[row * view.channels + c] = p;
        } else {
            view.p[start + c] = p;
            view.m[start + c] = m;
            view.v[start + c] = v;
        }
    }
}

/* The lags of the rows at hand, and the steps from the oldest on, into `view`. */
static void stage_lags(bft_device *device, const bft_adamw_rows *op, rows_view *view) {
    uint32_t *last = static_cast<uint32_t *>(bft_stage_take(device, op->rows * sizeof *last));
    if (last == NULL) {
        return;
    }
    view->first = op->now;
    for (size_t row = 0; row < op->rows; row++) {
        last[row] = op->last[op->slot[row]];
        view->first = last[row] < view->first ? last[row] : view->first;
    }
    size_t steps = (size_t)op->now - view->first + 1;
    step_scalars *history = static_cast<step_scalars *>(bft_stage_take(device, steps * sizeof *history));
    if (history == NULL) {
        return;
    }
    for (size_t i = 0; i < steps; i++) {
        const bft_adamw_step *step = &op->history[view->first + i];
        history[i].step = view->first + i == 0 ? adamw_scalars() : scalars_of(step, true); /* step 0 is the start */
        history[i].product = step->decay_product;
    }
    view->last = static_cast<const uint32_t *>(bft_stage_send(device, last, op->rows * sizeof *last));
    view->history = static_cast<const step_scalars *>(bft_stage_send(device, history, steps * sizeof *history));
}

void bft_cuda_adamw_rows(bft_device *device, const bft_adamw_rows *op) {
    if (op->rows == 0 || !healthy(device)) {
        return;
    }
    rows_view view = {};
    view.slot = mirror(device, op->slot, op->rows);
    stage_lags(device, op, &view);
    view.replayed = op->grad == NULL ? op->now : op->now - 1;
    view.now = op->now;
    view.gap = bft_adamw_gap(op->beta1);
    view.betas = betas_of(op->beta1, op->beta2, op->eps);
    view.beta1 = op->beta1;
    view.beta2 = op->beta2;
    view.scale = (float)op->scale;
    view.channels = op->channels;
    view.p = static_cast<float *>(op->p);
    view.m = static_cast<float *>(op->m);
    view.v = static_cast<float *>(op->v);
    view.copy = static_cast<float *>(op->copy);
    view.grad = static_cast<const float *>(op->grad);
    if (healthy(device)) {
        LAUNCH(device, adamw_rows, dim3((unsigned)op->rows), ROWS_THREADS, 0, view);
    }
    for (size_t row = 0; op->copy == NULL && row < op->rows; row++) {
        op->last[op->slot[row]] = op->now;
    }
}
