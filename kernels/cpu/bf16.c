/* bf16.c: products of bfloat16 weights with floats. A panel is (in, LANES, 2 vectors): one load is two vectors of weights, the lower
 * halves of its lanes shifted up, and the upper halves as they stand. */
#include "kernels/cpu/prepared.h"

#include "kernels/quantize.h"

size_t CPU(bf16_panel_bytes)(size_t in) {
    return in * PANEL_COLUMNS * sizeof(uint16_t);
}

void CPU(bf16_pack)(uint16_t *panel, size_t column, const float *weight, size_t in) {
    uint16_t *to = panel + column % LANES * 2 + column / LANES;
    for (size_t i = 0; i < in; i++) {
        to[i * PANEL_COLUMNS] = bft_to_bf16(weight[i]);
    }
}

VECTOR_INLINE void multiply(int rows, const float *x, size_t stride, const uint16_t *panel, size_t in, float *sums) {
    vf sum[PANEL_ROWS][2] = {0};
    tile_x at = tile_x_at(x, stride * sizeof *x, rows);
    for (size_t i = 0; i < in; i++, panel += PANEL_COLUMNS, tile_x_step(&at, sizeof *x)) {
        vu both;
        memcpy(&both, panel, sizeof both);
        vf first = (vf)(both << 16), second = (vf)(both & 0xFFFF0000u);
        UNROLLED
        for (int r = 0; r < rows; r++) {
            float one;
            memcpy(&one, tile_x_row(&at, r), sizeof one);
            vf left = vf_set(one);
            sum[r][0] += left * first;
            sum[r][1] += left * second;
        }
    }
    UNROLLED
    for (int r = 0; r < rows; r++) {
        vf_store(sums + r * PANEL_COLUMNS, sum[r][0]);
        vf_store(sums + r * PANEL_COLUMNS + LANES, sum[r][1]);
    }
}

size_t CPU(bf16_tile)(size_t rows, const float *x, size_t stride, const uint16_t *panel, size_t in, float *sums) {
    return MULTIPLY_ROWS(rows, x, stride, panel, in, sums);
}
