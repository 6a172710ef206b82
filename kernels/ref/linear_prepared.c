/* linear_prepared.c: weights in the forms of inference: (out) steps, (in) gains and (out, in) of int8, or (out, in) of bfloat16 or of
 * reals. */
#include "kernels/ref/ref.h"

#include "kernels/quantize.h"

#include <math.h>

size_t REF(prepared_bytes)(bft_form form, size_t out, size_t in) {
    size_t bytes = form == BFT_FORM_INT8   ? (out + in) * sizeof(float) + out * in
                   : form == BFT_FORM_BF16 ? out * in * sizeof(uint16_t)
                   : form == BFT_FORM_FP32 ? out * in * sizeof(real)
                                           : 0;
    return (bytes + 63) / 64 * 64;
}

static void quantize_row(size_t in, const real *weight, const float *gains, int8_t *to, float *step) {
    float largest = 0;
    for (size_t i = 0; i < in; i++) {
        largest = fmaxf(largest, fabsf((float)weight[i] / gains[i]));
    }
    *step = bft_quantize_step(largest);
    for (size_t i = 0; i < in; i++) {
        to[i] = bft_quantize((float)weight[i] / gains[i], *step);
    }
}

bool REF(prepare)(bft_device *device, bft_form form, const bft_weight *weight, void *prepared) {
    (void)device;
    size_t out = weight->out, in = weight->in, part_rows = out / weight->parts;
    float *steps = prepared, *gains = steps + out;
    bool finite = true;
    for (size_t i = 0; i < in && form == BFT_FORM_INT8; i++) {
        gains[i] = weight->gains == NULL ? 1 : weight->gains[i];
    }
    for (size_t o = 0; o < out; o++) {
        const real *row = (const real *)weight->values[o / part_rows] + o % part_rows * in;
        if (form == BFT_FORM_INT8) {
            quantize_row(in, row, gains, (int8_t *)(gains + in) + o * in, &steps[o]);
        }
        for (size_t i = 0; i < in; i++) {
            finite = finite && isfinite(row[i]);
            if (form == BFT_FORM_BF16) {
                ((uint16_t *)prepared)[o * in + i] = bft_to_bf16((float)row[i]);
            } else if (form == BFT_FORM_FP32) {
                ((real *)prepared)[o * in + i] = row[i];
            }
        }
    }
    return finite;
}

double REF(prepared_weight)(const bft_linear *op, size_t o, size_t i) {
    if (op->form == BFT_FORM_FP32) {
        return (double)((const real *)op->prepared)[o * op->in + i];
    }
    if (op->form == BFT_FORM_BF16) {
        return (double)bft_from_bf16(((const uint16_t *)op->prepared)[o * op->in + i]);
    }
    const float *steps = op->prepared, *gains = steps + op->out;
    return (double)((const int8_t *)(gains + op->in))[o * op->in + i] * (double)steps[o] * (double)gains[i];
}
