/* dropout.c: dropout's factors, Philox4x32-10 for many counters at once: the same bits as bft_philox_block. */
#include "kernels/cpu/gemm.h"

enum { BLOCKS = TILE_COLUMNS }; /* counters at a time; the loops over them are left to the compiler's vectoriser */

typedef struct counters {
    uint32_t word[4][BLOCKS];
} counters;

static void philox(counters *c, uint64_t key) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * c->word[0][i], p1 = (uint64_t)0xCD9E8D57u * c->word[2][i];
            c->word[0][i] = (uint32_t)(p1 >> 32) ^ c->word[1][i] ^ k0;
            c->word[1][i] = (uint32_t)p1;
            c->word[2][i] = (uint32_t)(p0 >> 32) ^ c->word[3][i] ^ k1;
            c->word[3][i] = (uint32_t)p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

static uint32_t place_of(const bft_dropout *dropout, uint32_t position) {
    return position | (uint32_t)dropout->layer << 16 | (uint32_t)dropout->site << 24;
}

static float kept(const bft_dropout *dropout) {
    return (float)(1 / (1 - (double)dropout->rate));
}

/* `count` factors from `channel`, a multiple of 4, of one row. */
static void row_factors(const bft_dropout *dropout, size_t row, size_t channel, size_t count, float *factors) {
    uint32_t threshold = bft_dropout_threshold(dropout->rate), block = (uint32_t)channel / 4;
    float keep = kept(dropout);
    for (size_t done = 0; done < count; done += 4 * BLOCKS, block += BLOCKS) {
        counters c;
        for (uint32_t i = 0; i < BLOCKS; i++) {
            c.word[0][i] = block + i;
            c.word[1][i] = place_of(dropout, dropout->position[row]);
            c.word[2][i] = dropout->sample[row];
            c.word[3][i] = dropout->step;
        }
        philox(&c, dropout->seed);
        float all[4 * BLOCKS];
        for (int i = 0; i < BLOCKS; i++) {
            for (int j = 0; j < 4; j++) {
                all[4 * i + j] = c.word[j][i] < threshold ? 0 : keep;
            }
        }
        memcpy(factors + done, all, size_min(4 * BLOCKS, count - done) * sizeof *all);
    }
}

void CPU(dropout_panel)(const bft_dropout *dropout, size_t sequence, size_t head, size_t query, size_t keys,
                        float *factors) {
    uint32_t threshold = bft_dropout_threshold(dropout->rate);
    float keep = kept(dropout);
    for (size_t key = 0; key < keys; key += 4) {
        counters c;
        for (uint32_t i = 0; i < BLOCKS; i++) {
            c.word[0][i] = (uint32_t)(head << 16 | key) / 4;
            c.word[1][i] = place_of(dropout, ((uint32_t)query + i) & 0xFFFF); /* behind the queries: not used */
            c.word[2][i] = dropout->sample[sequence];
            c.word[3][i] = dropout->step;
        }
        philox(&c, dropout->seed);
        for (int j = 0; j < 4; j++) {
            for (int i = 0; i < BLOCKS; i++) {
                factors[(key + (size_t)j) * BLOCKS + (size_t)i] = c.word[j][i] < threshold ? 0 : keep;
            }
        }
    }
}

void CPU(dropout_add)(const bft_dropout *dropout, size_t row, size_t channels, const float *x, const float *residual,
                      float *y) {
    float factors[4 * BLOCKS];
    for (size_t start = 0; start < channels; start += 4 * BLOCKS) {
        size_t count = size_min(4 * BLOCKS, channels - start);
        if (dropout->rate > 0) {
            row_factors(dropout, row, start, count, factors);
        }
        for (size_t c = 0; c < count; c++) {
            float value = dropout->rate > 0 ? x[start + c] * factors[c] : x[start + c];
            y[start + c] = residual == NULL ? value : value + residual[start + c];
        }
    }
}
