/* dropout.c: dropout's factors, Philox4x32-10 for LANES counters at once: the same bits as bft_philox_block. */
#include "kernels/cpu/gemm.h"

/* ---- Philox ---- */

typedef struct counters {
    vu word[4];
} counters;

/* Ten rounds on every other counter, each in the lower half of a 64-bit lane, so that a product fits. The upper halves
 * fill with what doesn't matter: a product reads the lower ones only. */
VECTOR_INLINE void philox_half(vq word[4], uint64_t key) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    UNROLLED
    for (uint32_t round = 0; round < 10; round++) {
        vq p0 = vq_multiply_low(word[0], 0xD2511F53u), p1 = vq_multiply_low(word[2], 0xCD9E8D57u);
        word[0] = (p1 >> 32) ^ word[1] ^ (k0 + round * 0x9E3779B9u);
        word[1] = p1;
        word[2] = (p0 >> 32) ^ word[3] ^ (k1 + round * 0xBB67AE85u);
        word[3] = p0;
    }
}

VECTOR_INLINE void philox(counters *c, uint64_t key) {
    vq even[4], odd[4];
    UNROLLED
    for (int j = 0; j < 4; j++) {
        even[j] = (vq)c->word[j]; /* as words lie in memory: little-endian, like every machine that this is built for */
        odd[j] = (vq)c->word[j] >> 32;
    }
    philox_half(even, key);
    philox_half(odd, key);
    UNROLLED
    for (int j = 0; j < 4; j++) {
        c->word[j] = (vu)((even[j] & 0xFFFFFFFFu) | odd[j] << 32);
    }
}

/* ---- Factors ---- */

VECTOR_INLINE vu numbers_from(uint32_t first) {
    vu v;
    for (uint32_t i = 0; i < LANES; i++) {
        v[i] = first + i;
    }
    return v;
}

static vu same(uint32_t x) {
    return x + (vu){0};
}

static uint32_t place_of(const bft_dropout *dropout, uint32_t position) {
    return position | (uint32_t)dropout->layer << 16 | (uint32_t)dropout->site << 24;
}

static float kept(const bft_dropout *dropout) {
    return (float)(1 / (1 - (double)dropout->rate));
}

/* What the word decides: 0 or `keep`. */
VECTOR_INLINE vf factor_of(vu word, uint32_t threshold, float keep) {
    return vf_select((vi)(word < threshold), (vf){0}, vf_set(keep));
}

/* 4 LANES factors from the counters whose first word counts from `first`: the four words of a counter are neighbours. */
static void neighbours(const bft_dropout *dropout, uint32_t first, uint32_t position, uint32_t sample, float *factors) {
    uint32_t threshold = bft_dropout_threshold(dropout->rate);
    counters c = {{numbers_from(first), same(place_of(dropout, position)), same(sample), same(dropout->step)}};
    philox(&c, dropout->seed);
    vf4 planes[4][LANES / 4];
    UNROLLED
    for (int j = 0; j < 4; j++) {
        vf factor = factor_of(c.word[j], threshold, kept(dropout));
        memcpy(planes[j], &factor, sizeof factor);
    }
    for (int i = 0; i < LANES / 4; i++) {
        vf4 v[4] = {planes[0][i], planes[1][i], planes[2][i], planes[3][i]};
        vf4_transpose(&v[0], &v[1], &v[2], &v[3]);
        memcpy(factors + 16 * i, v, sizeof v);
    }
}

void CPU(dropout_add)(const bft_dropout *dropout, size_t row, size_t channels, const float *x, const float *residual,
                      float *y) {
    float factors[4 * LANES];
    for (size_t c = 0; c < channels; c += LANES) {
        size_t some = channels - c, place = c % (4 * LANES);
        vf value = vf_load_some(x + c, some);
        if (dropout->rate > 0) {
            if (place == 0) {
                neighbours(dropout, (uint32_t)c / 4, dropout->position[row], dropout->sample[row], factors);
            }
            value *= vf_load(factors + place);
        }
        if (residual != NULL) {
            value += vf_load_some(residual + c, some);
        }
        vf_store_some(y + c, value, some);
    }
}

/* The lanes are queries; the four words of a counter are four keys. */
void CPU(dropout_panel)(const bft_dropout *dropout, size_t sequence, size_t head, size_t query, size_t wide,
                        size_t keys, float *factors) {
    uint32_t threshold = bft_dropout_threshold(dropout->rate);
    float keep = kept(dropout);
    for (size_t key = 0; key < keys; key += 4) {
        for (size_t column = 0; column < wide; column += LANES) {
            counters c = {{same((uint32_t)(head << 16 | key) / 4),
                           numbers_from(place_of(dropout, (uint32_t)(query + column))), same(dropout->sample[sequence]),
                           same(dropout->step)}};
            philox(&c, dropout->seed);
            for (size_t j = 0; j < 4; j++) {
                vf_store(factors + (key + j) * TILE_COLUMNS + column, factor_of(c.word[j], threshold, keep));
            }
        }
    }
}

void CPU(dropout_keys)(const bft_dropout *dropout, size_t sequence, size_t head, size_t keys, float *factors) {
    for (size_t key = 0; key < keys; key += 4 * LANES) {
        neighbours(dropout, (uint32_t)(head << 16 | key) / 4, 0, dropout->sample[sequence], factors + key);
    }
}
