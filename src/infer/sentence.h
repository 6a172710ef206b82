/* sentence.h: a sentence-transformers folder: what modules.json puts behind the encoder. */
#ifndef BFT_INFER_SENTENCE_H
#define BFT_INFER_SENTENCE_H

#include "base/arena.h"
#include "bertft/model.h"

enum { BFT_MOST_STAGES = 16 };

/* One module behind the pooling. */
typedef struct bft_stage {
    bool normalize; /* to length 1; else y = activation(x weight^T + bias) */
    size_t in, out;
    float *weight; /* (out, in) */
    float *bias;   /* (out), or NULL */
    bool tanh;
} bft_stage;

typedef struct bft_sentence {
    bft_pooling pooling; /* BFT_POOL_CLS or BFT_POOL_MEAN */
    size_t max_length;   /* max_seq_length of the Transformer module; 0: none is given */
    size_t width;        /* of what comes out */
    size_t widest;       /* of any vector on the way */
    size_t stage_count;
    bft_stage stages[BFT_MOST_STAGES];
    bft_arena arena;
} bft_sentence;

/* Reads FOLDER/modules.json and what it names; `channels` is the encoder's width. Modules and settings that we don't
 * have are refused by name. On failure nothing is left to free. */
bft_status bft_sentence_open(bft_error *err, bft_sentence *sentence, const char *folder, size_t channels);

/* Copies what makes a folder a sentence-transformers folder (modules.json and what it names) into another; nothing
 * where there is no modules.json. */
bft_status bft_sentence_copy(bft_error *err, const char *from, const char *to);
void bft_sentence_free(bft_sentence *sentence); /* also fine on {0} */

/* Takes one pooled vector through the stages; `x` and `spare` hold `widest` floats each and are overwritten. Returns
 * the one with the result, (width). */
float *bft_sentence_apply(const bft_sentence *sentence, float *x, float *spare);

#endif
