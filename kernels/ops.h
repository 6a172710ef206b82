/* ops.h: the contract between the network and whatever computes it.
 *
 * A backend is one struct of function pointers. Three implement it: kernels/ref (scalar and obvious, as float and as
 * double: the judge), kernels/cpu (SIMD and threads) and kernels/cuda. One file an op, forward and backward together,
 * the same file name in each. A backend leaves no pointer NULL: bft_ops_find checks.
 *
 * Letters for shapes: B sequences in the batch, N tokens in the batch (no padding: the sequences lie end to end), T
 * the longest sequence, C channels, H heads, D = C/H head size, F feed-forward width, V vocabulary, U distinct words in
 * the batch, K classes, S slots of the live-row slab. All tensors are dense and row-major. `void *` marks tensors in the
 * device's memory; typed pointers are host memory unless their comment says "device".
 *
 * A "real" is the backend's element: float, or double in ref64. Parameters, their gradients and moments, and logits are
 * reals. "Values" are what flows between the ops and their weights: reals too, or rounded to the 16-bit type that
 * bft_ops.values names; sums are reals in any case. Each op says which of its tensors are values.
 *
 * A backend may work on more rows than there are: tensors with a row a token or a sequence, `saved` and `scratch` have
 * room for bft_ops.padded(rows). The rows behind the last are its own and enter no sum. An op leaves them finite, and zero in a
 * gradient, where it finds them so in what it reads; memory from `alloc` begins so. What it overwrites may hold anything there.
 *
 * Work may be queued: only to_host, values_to_host and read wait for it. Between begin and end the host's arrays that ops
 * name must stay as they are, and nothing waits; a backend may start what was asked for at `end`, all at once.
 *
 * Each op is one struct that its forward and its backward share: the caller fills it once, and for the backward adds
 * the gradients. "=" means that the output is overwritten, "+=" that it is added to. NULL where a comment allows it
 * means "not wanted". Every sum runs in an order that depends on shapes only, never on the number of threads.
 *
 * A backward reads what its forward read, and `saved`; of the forward's outputs only attention's y must still be there.
 * Nothing but the outputs, `saved` and `scratch` is written. No sequence is empty.
 *
 * An op that needs memory beside its tensors has a `_memory` function: it reads the sizes in the struct, no pointers, and
 * says how many bytes the caller must pass as `saved` (written by the forward, read by the backward; NULL in the struct
 * means inference) and as `scratch` (its content means nothing between calls), both 64-byte aligned. Smaller sizes never
 * ask for more, so that memory for the largest batch serves all. */
#ifndef BFT_KERNELS_OPS_H
#define BFT_KERNELS_OPS_H

#include "bertft/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bft_device bft_device; /* the backend's own: threads, streams, whatever it holds */

typedef struct bft_memory {
    size_t saved, scratch; /* bytes */
} bft_memory;

/* ---- Dropout. One number per (seed, optimizer step, sample, position, layer, site, channel), so that a mask doesn't depend on
 * how samples are packed, split into micro-batches or dealt to threads.
 *
 * Philox4x32-10 with key = seed and counter = {channel / 4, position | layer << 16 | site << 24, sample, step}; word
 * channel % 4 of the block decides: the element is dropped where word < rate * 2^32 (bft_dropout_threshold), else
 * multiplied by 1 / (1 - rate). Attention probabilities use channel = head << 16 | position of the key, and the query's
 * position. ---- */
typedef enum bft_site {
    BFT_SITE_EMBED,
    BFT_SITE_ATTENTION,
    BFT_SITE_ATTENTION_OUT,
    BFT_SITE_FEED_FORWARD,
    BFT_SITE_HEAD,
    BFT_SITE_HEAD_OUT
} bft_site;

typedef struct bft_dropout {
    float rate; /* 0: no dropout, the rest is not read; always < 1 */
    uint64_t seed;
    uint32_t step;
    uint8_t layer, site;
    const uint32_t *sample;   /* (rows) the row's sample, by its index in the global batch; attention: (B) */
    const uint32_t *position; /* (rows) the row's place in its sequence, < 65536; attention: not read */
} bft_dropout;

static inline uint32_t bft_dropout_threshold(float rate) {
    return (uint32_t)((double)rate * 4294967296.0);
}

/* ---- embed, y and dy values: y = dropout(LayerNorm(word[word_row] + position_table[position] + type_table[0])) ----
 * BertEmbeddings / DistilBERT's Embeddings of transformers (the latter has no types). Token type 0 throughout. */
typedef struct bft_embed {
    size_t rows, words, channels; /* N, U, C */
    float eps;
    const void *word;           /* (U, C) the batch's distinct word vectors, gathered by the caller */
    const uint32_t *word_row;   /* (N) which of them each token is */
    const uint32_t *position;   /* (N) place in its sequence */
    const void *position_table; /* (P, C) */
    const void *type_table;     /* (types, C), row 0 is read; NULL: none */
    const void *gamma, *beta;   /* (C) */
    bft_dropout dropout;
    void *y; /* (N, C) = */
    void *saved, *scratch;
    /* backward */
    const void *dy;        /* (N, C) */
    void *dword;           /* (U, C) =, or NULL for frozen words */
    void *dposition_table; /* (P, C) += , NULL when frozen, as the following */
    void *dtype_table;     /* (types, C) += into row 0 */
    void *dgamma, *dbeta;  /* (C) += */
} bft_embed;

/* ---- linear, x, weight, y, dy and dx values: y = activation(x weight^T + bias), as torch.nn.Linear ---- */
typedef enum bft_activation {
    BFT_IDENTITY,
    BFT_GELU, /* exact: x/2 (1 + erf(x / sqrt 2)) */
    BFT_TANH,
    BFT_RELU
} bft_activation;

/* For inference a backend may read a weight in a form of its own, which `prepare` makes of it once:
 *   fp32  w as it is, laid out for the product: y has the bits that it has with the plain weight
 *   int8  w_i / g_i = q s, with q from -127 to 127 and one s for each row, as kernels/quantize.h has it; x_i g_i may be rounded
 *         too, to no fewer than 255 steps across what its row holds. The gains g even x's channels out: see `gains`
 *   bf16  w rounded to bfloat16 */
typedef enum bft_form { BFT_FORM_PLAIN, BFT_FORM_FP32, BFT_FORM_BF16, BFT_FORM_INT8 } bft_form;

enum { BFT_MOST_PARTS = 3 };

/* What `prepare` makes a form of: a weight (out, in), given in `parts` of out / parts rows each. */
typedef struct bft_weight {
    size_t out, in, parts;              /* parts: at most BFT_MOST_PARTS */
    const void *values[BFT_MOST_PARTS]; /* (out / parts, in) */
    bool lasting;       /* they stay as long as what is prepared is used, and the backend may go on reading them */
    const float *gains; /* (in) for int8, normal numbers from 2^-20 to 2^20; NULL: all 1 */
} bft_weight;

typedef struct bft_linear {
    size_t rows, in, out;
    bft_activation activation;
    const void *x;      /* (rows, in) */
    const void *weight; /* (out, in); not read where `prepared` is */
    const void *bias;   /* (out) or NULL; a backend may round it, or the sum before it, to a value, but where real_y */
    bool real_y;        /* y and dy are reals: logits; `saved` depends on it */
    void *y;            /* (rows, out) = */
    void *saved, *scratch;
    /* backward */
    const void *dy; /* (rows, out) */
    void *dx;       /* (rows, in) = , or += where dx_add, of the product rounded to a value; NULL: not wanted */
    bool dx_add;
    void *dweight, *dbias; /* (out, in), (out) += ; NULL: frozen */
    bool dweight_fresh;    /* dweight is = : nothing has been added to it yet, whatever it holds */
    /* instead of `weight`, for inference: `saved` is NULL, and there is no backward */
    bft_form form;  /* not BFT_FORM_PLAIN: that of `prepared` */
    void *prepared; /* what `prepare` wrote, and may have left for later */
} bft_linear;

/* ---- attention, all tensors values: softmax(q k^T / sqrt(D)) v, a sequence and a head at a time, dropout on the probabilities ----
 * q, k, v are rows of H heads of D values; strides count values, so that they may lie inside one packed (N, 3C) tensor.
 * Queries may be fewer than keys: with query_start = {0, 1, .., B} only each sequence's first token asks. */
typedef struct bft_attention {
    size_t batch, rows, heads, head_size, longest; /* B, that of queries: query_start[B], H, D, T */
    const uint32_t *key_start;   /* (B + 1) first row of each sequence in k and v; the last entry is N */
    const uint32_t *query_start; /* (B + 1) the same for q and y; a query's position is its place in its sequence */
    const void *q, *k, *v;       /* (rows, C), (N, C), (N, C) */
    size_t q_stride, kv_stride;
    bft_dropout dropout;
    void *y; /* (rows, C) =, dense */
    void *saved, *scratch;
    /* backward */
    const void *dy;     /* (rows, C) dense */
    void *dq, *dk, *dv; /* =, with the strides of q, k, v */
} bft_attention;

/* ---- residual_norm, x, residual, y and their gradients values: y = LayerNorm(dropout(x) + residual) (BertSelfOutput, BertOutput); where
 * residual is NULL, without it (BertPredictionHeadTransform) ---- */
typedef struct bft_residual_norm {
    size_t rows, channels;
    float eps;
    const void *x, *residual; /* (rows, C); not read by the backward, since y may have replaced them */
    const void *gamma, *beta; /* (C) */
    bft_dropout dropout;
    void *y; /* (rows, C) = ; may be the same memory as x or residual */
    void *saved, *scratch;
    /* backward */
    const void *dy; /* (rows, C) */
    void *dx;       /* (rows, C) = */
    void *
        dresidual; /* (rows, C) = ; may be the same memory as dy; with dropout 0 it equals dx, and may be dx; NULL: not wanted */
    void *dgamma, *dbeta; /* (C) += ; NULL: frozen */
} bft_residual_norm;

/* ---- gather: y[i] = x[index[i]] and back: dx[index[i]] += dy[i]; an index occurs once ---- */
typedef struct bft_gather {
    size_t rows, channels;
    bool real;             /* rows of reals, else of values */
    const uint32_t *index; /* (rows) */
    const void *x;         /* (any, C) */
    void *y;               /* (rows, C) = */
    const void *dy;        /* (rows, C) */
    void *dx;              /* (any, C) += */
} bft_gather;

/* ---- mean, of values: y[b] = mean of the rows of sequence b ---- */
typedef struct bft_mean {
    size_t batch, channels;
    const uint32_t *start; /* (B + 1) */
    const void *x;         /* (N, C) */
    void *y;               /* (B, C) = */
    const void *dy;        /* (B, C) */
    void *dx;              /* (N, C) = */
} bft_mean;

/* ---- mask, of values: y = dropout(x) by itself, before a head; the backward is the same op on dy ---- */
typedef struct bft_mask {
    size_t rows, channels;
    const void *x; /* (rows, C) */
    bft_dropout dropout;
    void *y; /* (rows, C) = ; may be x */
} bft_mask;

/* ---- Losses. Forward and gradient in one go; both are divided by `normalizer`, which the caller computes over the
 * whole accumulated batch, so that micro-batches just add up.
 *   cross_entropy  torch CrossEntropyLoss(weight, label_smoothing): normalizer = sum of weight[target]
 *   binary         torch BCEWithLogitsLoss(pos_weight = weight):    normalizer = B K of the whole batch
 *   squared        torch MSELoss:                                   normalizer = B K of the whole batch ---- */
typedef enum bft_loss_kind { BFT_CROSS_ENTROPY, BFT_BINARY, BFT_SQUARED } bft_loss_kind;

typedef struct bft_loss {
    bft_loss_kind kind;
    size_t batch, classes;  /* B, K */
    const void *logits;     /* (B, K) */
    const uint32_t *target; /* (B) cross_entropy */
    const float *targets;   /* (B, K) binary and squared */
    const float *weight;    /* (K) or NULL: all 1; not for squared */
    float smoothing;        /* cross_entropy only, in [0, 1) */
    double normalizer;
    double *loss;  /* device, (B) = each sample's share */
    double *total; /* device, += their sum, from the first to the last */
    void *dlogits; /* (B, K) =, or NULL */
} bft_loss;

/* ---- tied_loss: the loss of a masked language model whose decoder is the word table (BertLMPredictionHead, DistilBertForMaskedLM):
 * logits = x table^T + bias over all V words, and torch's CrossEntropyLoss of them; forward and gradient in one go, as with loss. Softmax
 * and gradient go over the vocabulary in tiles: `scratch` doesn't grow with it. ---- */
typedef struct bft_tied_loss {
    size_t rows, channels, vocabulary; /* M masked positions, which may be none; C, V */
    const void *x;                     /* (M, C) values */
    const void *table;                 /* (V, C) values: the word table as weights */
    const void *bias;                  /* (V) reals */
    const uint32_t *target;            /* (M) */
    double normalizer;
    double *loss;  /* device, (M) = each row's share: (log of the sum of e^logits - the target's logit) / normalizer */
    double *total; /* device, += their sum, from the first to the last */
    double *hits;  /* device, += the number of rows whose largest logit, of equal ones the first, is the target's */
    void *scratch;
    /* gradient; dx NULL: the loss alone */
    void *dx;     /* (M, C) values = */
    void *dtable; /* (V, C) reals += ; NULL: frozen */
    void *dbias;  /* (V) reals += */
} bft_tied_loss;

/* ---- norm: the norm of all gradients of a step, and the factor that clips it, as torch.nn.utils.clip_grad_norm_:
 * min(1, limit / (norm + 1e-6)). Once a norm isn't finite, `failed` keeps that step's number, and every AdamW
 * that reads the result leaves everything as it is. ---- */
typedef struct bft_norm_result {
    double norm, scale;
    uint32_t failed; /* 0: never */
} bft_norm_result;

enum { BFT_NORM_BLOCKS = 2 };

typedef struct bft_norm {
    const void *x[BFT_NORM_BLOCKS]; /* reals, summed up in double in blocks of fixed size; NULL: none */
    size_t count[BFT_NORM_BLOCKS];
    double limit;            /* 0: no clipping, scale is 1 */
    uint32_t step;           /* from 1 */
    bft_norm_result *result; /* device; `failed` is read, all is written */
} bft_norm;

/* ---- AdamW (Loshchilov and Hutter 2019, in the order of torch.optim.AdamW):
 *   p *= 1 - lr wd;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
 *   p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)        with g = scale * grad ---- */
typedef struct bft_adamw_step {
    double lr, weight_decay;
    double correction1, correction2; /* 1 - b1^t, 1 - b2^t */
    double decay_product;            /* product of (1 - lr wd) over the steps 1..t; step 0, before training, has 1 */
} bft_adamw_step;

/* One tensor of a block of parameters. */
typedef struct bft_adamw_tensor {
    size_t offset, count; /* elements */
    bool decay;           /* false: it has no weight decay */
} bft_adamw_tensor;

typedef struct bft_adamw {
    double beta1, beta2, eps;
    const bft_norm_result *norm;     /* device: the clip factor on the gradients */
    const bft_adamw_step *step;      /* device: this step's */
    const bft_adamw_tensor *tensors; /* (tensor_count) by offset; they don't change as long as the device is open */
    size_t tensor_count;
    void *p, *m, *v;  /* blocks that the offsets count in */
    const void *grad; /* the same */
    void *values;     /* the same, = p as values; NULL where values are reals */
} bft_adamw;

/* Rows of the embedding table, lagging. A row's state is current as of step last; the missed steps are replayed with
 * gradient 0, in order, and then, where grad is given, step `now` is taken with it. After bft_adamw_gap missed steps
 * m is too small to move a weight: of the rest only decay remains (by decay_product) while m and v shrink by powers
 * of their betas, flushed to 0 below the smallest normal number. A row with m = v = 0 has decay only.
 * A row that has never been trained has last = 0. last <= now, and < now where grad is given. */
#define BFT_NO_SLOT UINT32_MAX

typedef struct bft_adamw_rows {
    double beta1, beta2, eps;
    size_t rows, channels;         /* U, C */
    const bft_adamw_step *history; /* device, (now + 1) entry t is step t; entry 0 is the start */
    uint32_t now;                  /* the optimizer's step that the rows are brought to; 0: before the first */
    const uint32_t *slot;          /* (U) distinct; BFT_NO_SLOT, in a copy: the row lies there, and has m = v = 0 */
    const uint32_t *last;          /* (U) the step of which each row's state is */
    void *p, *m, *v;               /* (S, C) */
    const void *grad;              /* (U, C), or NULL: catch up through `now` and no more */
    const bft_norm_result *norm;   /* device: the clip factor on grad */
    void *copy; /* (U, C) or NULL. Given (grad is NULL then): p after the replay goes here, the state stays as it is */
} bft_adamw_rows;

/* The gap: the smallest g with beta1^g < 2^-24, so that it is a function of beta1 alone. */
static inline uint32_t bft_adamw_gap(double beta1) {
    uint32_t gap = 0;
    for (double power = 1; power >= 0x1p-24; power *= beta1) {
        gap++;
    }
    return gap;
}

typedef enum bft_dtype { BFT_F32, BFT_F16, BFT_BF16 } bft_dtype;
static inline size_t bft_dtype_size(bft_dtype type) {
    return type == BFT_F32 ? 4 : 2;
}

enum { BFT_DESCRIPTION_SIZE = 256 };

typedef struct bft_device_options {
    int threads;           /* of the host; 0: as many as it has */
    int index;             /* which card */
    bool tf32;             /* products of fp32 may round their factors to TF32's 10 bits */
    const char *attention; /* "auto", "native" or "cudnn"; NULL is "auto" */
} bft_device_options;

struct bft_ops {
    const char *name;  /* "ref", "ref64", "cpu-avx2", ... */
    size_t real;       /* bytes of an element */
    bft_dtype values;  /* BFT_F32: reals, whatever these are */
    bft_dtype factors; /* what linear's products may round their factors to: the type of values, or a shorter one */
    bool remote;       /* its memory isn't the host's: many small copies are dear */

    bft_status (*open)(bft_error *err, const bft_device_options *options, bft_device **out);
    void (*close)(bft_device *device);
    int (*threads)(const bft_device *device);
    void (*describe)(const bft_device *device, char out[BFT_DESCRIPTION_SIZE]); /* "2 threads", or the card's name */
    bft_status (*fault)(bft_error *err, bft_device *device); /* BFT_OK, or the fault that killed the device: sticky */

    bft_status (*alloc)(bft_error *err, bft_device *device, size_t bytes, void **out); /* zeroed, 64-byte aligned */
    void (*free)(bft_device *device, void *memory);
    void (*memory)(bft_device *device, size_t *free, size_t *total); /* bytes; SIZE_MAX for both: nobody knows */
    void (*fill_zero)(bft_device *device, void *memory, size_t bytes);
    void (*write)(bft_device *device, void *to, const void *host, size_t bytes); /* host may change on return */
    void (*read)(bft_device *device, const void *from, void *host, size_t bytes);
    /* Casts, exact but for to_values. to_device takes host memory at any alignment. */
    void (*to_device)(bft_device *device, bft_dtype from, const void *host, void *reals, size_t count);
    void (*to_host)(bft_device *device, const void *reals, float *host, size_t count);
    void (*values_to_host)(bft_device *device, const void *values, float *host, size_t count);
    void (*to_values)(bft_device *device, const void *reals, void *values, size_t count); /* rounds to nearest even */

    size_t (*padded)(size_t rows); /* as above: >= rows, and never less for more rows */
    void (*begin)(bft_device *device);
    void (*end)(bft_device *device);

    void (*embed_memory)(const bft_embed *op, bft_memory *out);
    void (*embed_forward)(bft_device *device, const bft_embed *op);
    void (*embed_backward)(bft_device *device, const bft_embed *op);

    void (*linear_memory)(const bft_linear *op, bft_memory *out);
    void (*linear_forward)(bft_device *device, const bft_linear *op);
    void (*linear_backward)(bft_device *device, const bft_linear *op);
    /* The bytes of a weight (out, in) in a form, a multiple of 64; 0: the backend doesn't know the form. Those that know
     * one compute in the host's memory. The bytes depend on nothing but the weight, the form and the backend's `name`.
     * False: the weight holds a value that isn't finite. */
    size_t (*prepared_bytes)(bft_form form, size_t out, size_t in);
    bool (*prepare)(bft_device *device, bft_form form, const bft_weight *weight, void *prepared);

    void (*attention_memory)(const bft_attention *op, bft_memory *out);
    void (*attention_forward)(bft_device *device, const bft_attention *op);
    void (*attention_backward)(bft_device *device, const bft_attention *op);

    void (*residual_norm_memory)(const bft_residual_norm *op, bft_memory *out);
    void (*residual_norm_forward)(bft_device *device, const bft_residual_norm *op);
    void (*residual_norm_backward)(bft_device *device, const bft_residual_norm *op);

    void (*gather_forward)(bft_device *device, const bft_gather *op);
    void (*gather_backward)(bft_device *device, const bft_gather *op);
    void (*mean_forward)(bft_device *device, const bft_mean *op);
    void (*mean_backward)(bft_device *device, const bft_mean *op);
    void (*mask)(bft_device *device, const bft_mask *op);
    void (*loss)(bft_device *device, const bft_loss *op);
    void (*tied_loss_memory)(const bft_tied_loss *op, bft_memory *out);
    void (*tied_loss)(bft_device *device, const bft_tied_loss *op);

    void (*norm)(bft_device *device, const bft_norm *op);
    void (*adamw)(bft_device *device, const bft_adamw *op);
    void (*adamw_rows)(bft_device *device, const bft_adamw_rows *op);
};
typedef struct bft_ops bft_ops;

/* Bytes of one value. */
static inline size_t bft_ops_value_size(const bft_ops *ops) {
    return ops->values == BFT_F32 ? ops->real : bft_dtype_size(ops->values);
}

/* The backend by its name: "cpu" (the best instruction set of this machine), one of its sets by name ("cpu-generic",
 * "cpu-avx2", "cpu-avx512", "cpu-avx512vnni", "cpu-amx"; on Arm "cpu-neondot"), "ref", "ref64"; "cuda", and for tests "cudasim", are
 * libraries of their own (kernels/plugin.h), with values of 16 bits as "cuda-bf16" and "cuda-fp16"; a CPU's with factors in
 * bfloat16 and the rest in fp32 are "cpu-bf16", "cpu-avx2-bf16". BFT_BAD where it is unknown, or this machine can't run it. */
bft_status bft_ops_find(bft_error *err, const char *name, const bft_ops **out);

/* All backends that this machine can run, NULL at the end; for tests and `bertft info`. */
const bft_ops *const *bft_ops_all(void);

#endif
