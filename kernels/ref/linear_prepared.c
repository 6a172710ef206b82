/* linear_prepared.c: weights in the forms of inference: (out) steps and behind them (out, in) of int8, or (out, in) of bfloat16. */
#include "kernels/ref/ref.h"

#include "kernels/quantize.h"

#include <math.h>

size_t REF(prepared_bytes)(bft_form form, size_t out, size_t in) {
    size_t bytes = form == BFT_FORM_INT8   ? out * sizeof(float) + out * in
                   : form == BFT_FORM_BF16 ? out * in * sizeof(uint16_t)
                                           : 0;
    return (bytes + 63) / 64 * 64;
}

static void quantize_row(size_t in, const real *weight, int8_t *to, float *step) {
    float largest = 0;
    for (size_t i = 0; i < in; i++) {
        largest = fmaxf(largest, fabsf((float)weight[i]));
    }
    *step = bft_quantize_step(largest);
    for (size_t i = 0; i < in; i++) {
        to[i] = bft_quantize((float)weight[i], *step);
    }
}

void REF(prepare)(bft_device *device, bft_form form, size_t out, size_t in, const void *weight, void *prepared) {
    (void)device;
    const real *from = weight;
    memset(prepared, 0, REF(prepared_bytes)(form, out, in));
    for (size_t o = 0; o < out && form == BFT_FORM_INT8; o++) {
        float *step = prepared;
        quantize_row(in, from + o * in, (int8_t *)(step + out) + o * in, &step[o]);
    }
    for (size_t i = 0; i < out * in && form == BFT_FORM_BF16; i++) {
        ((uint16_t *)prepared)[i] = bft_to_bf16((float)from[i]);
    }
}

double REF(prepared_weight)(const bft_linear *op, size_t o, size_t i) {
    if (op->form == BFT_FORM_BF16) {
        return (double)bft_from_bf16(((const uint16_t *)op->prepared)[o * op->in + i]);
    }
    const float *step = op->prepared;
    return (double)((const int8_t *)(step + op->out))[o * op->in + i] * (double)step[o];
}
