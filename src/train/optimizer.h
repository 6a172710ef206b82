/* optimizer.h: AdamW over a model: dense over all parameters but the word embeddings, deferred over those.
 *
 * A step touches the rows of the batch's words only. A row that isn't touched lags behind: the steps that it missed are
 * replayed, with gradient 0, when a training batch gathers it again. Evaluating and saving read a caught-up copy and
 * change nothing, so they may come at any step without changing a bit of the result.
 *
 * With OPTIM.DENSE_EMBEDDINGS the whole table is an ordinary dense tensor with a dense gradient: slow, and the check
 * of the above. */
#ifndef BFT_TRAIN_OPTIMIZER_H
#define BFT_TRAIN_OPTIMIZER_H

#include "bertft/config.h"
#include "nn/network.h"

typedef struct bft_optimizer {
    bft_model *model;
    double beta1, beta2, eps, weight_decay, clip;
    bool table, dense_table; /* table: the word embeddings train; dense_table: all rows at every step */
    uint32_t step, total;    /* steps done; room in the history */
    bft_adamw_step *history; /* (total + 1); entry 0 is the start */
    bft_adamw_step *
        device_history; /* the same on the device, as far as step; behind it the last step again, always in one place */

    bft_adamw_tensor *tensors; /* (tensor_count) the dense ones that train */
    size_t tensor_count;
    bft_adamw_tensor table_tensor; /* dense_table only: all of it */
    void *grad, *m, *v;            /* (params.size) */
    bool fresh;                    /* no micro-batch of the step has been collected yet */
    bft_norm_result *norm;         /* device: of the last step's gradient */

    size_t slots;        /* capacity of the live rows: distinct words of the training set, or V */
    void *row_m, *row_v; /* (slots, C) */
    uint32_t *last;      /* (slots) the step up to which a row is current */

    /* This step's rows, in the order of their first use: their slots and gradients. */
    size_t rows, row_limit, batch_rows; /* batch_rows: room for one micro-batch */
    uint32_t *slot, *slot_last;         /* (row_limit); the steps up to which they were current */
    uint32_t *row_of_slot;              /* (slots) 0: not in this step, else row + 1 */
    void *row_grad;                     /* (row_limit, C) */
    uint32_t *batch_slot, *batch_index; /* (batch_rows) of the micro-batch at hand */
    void *batch_grad;                   /* (batch_rows, C) of every micro-batch but the first */
    void *table_grad;                   /* (V, C), dense_table only */
} bft_optimizer;

/* `words`: distinct words of the training set; `batch_words`: at most so many in one micro-batch; `step_words` in one step. */
bft_status bft_optimizer_create(bft_error *err, bft_optimizer *optimizer, bft_model *model, const bft_config *config,
                                uint32_t total_steps, size_t words, size_t batch_words, size_t step_words);
void bft_optimizer_free(bft_optimizer *optimizer); /* also fine on {0} */

/* A step: begin; for each micro-batch prepare (its rows are made live and current), run it with
 * bft_optimizer_gradients, collect; then finish with the step's learning rate. Nothing waits for the device. */
void bft_optimizer_begin(bft_optimizer *optimizer);
bft_status bft_optimizer_prepare(bft_error *err, bft_optimizer *optimizer, const bft_batch *batch);
bft_gradients bft_optimizer_gradients(const bft_optimizer *optimizer);
void bft_optimizer_collect(bft_optimizer *optimizer, const bft_batch *batch);
bft_status bft_optimizer_finish(bft_error *err, bft_optimizer *optimizer, double lr);

/* Waits for the device. Fails where a gradient wasn't finite; everything is then as it was before that step. Gives the norm of
 * the last step's gradient before clipping; NULL: not wanted. */
bft_status bft_optimizer_check(bft_error *err, const bft_optimizer *optimizer, double *norm);

/* Copies entries [first, last] of the history to the device: finish does it for its own; a checkpoint's are read at once. */
void bft_optimizer_share_history(bft_optimizer *optimizer, uint32_t first, uint32_t last);

/* Reads word rows as of the last finished step, without changing anything. */
bft_row_reader bft_optimizer_reader(bft_optimizer *optimizer);

#endif
