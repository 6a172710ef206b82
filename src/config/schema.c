/* schema.c: the table of all configuration keys. The order here is the order of every dump. */
#include "config/schema.h"

#define NOTHING BFT_TYPE_NULL
#define BOOL BFT_TYPE_BOOL
#define INT BFT_TYPE_INT
#define FLOAT BFT_TYPE_FLOAT
#define STRING BFT_TYPE_STRING
#define LIST BFT_TYPE_LIST
#define NUMBERS BFT_TYPE_NUMBERS
#define MAP BFT_TYPE_MAP

#define METRICS "accuracy|f1_macro|f1_micro|f1_weighted|loss|mse"

const bft_key bft_schema[] = {
    {"MODEL.WEIGHTS", STRING, "checkpoints/mini-ru", NULL, NULL,
     "A run of bertft or a Hugging Face folder of a BERT or DistilBERT: the encoder to fine-tune."},
    {"MODEL.HEAD", STRING, "linear", "linear|pooler|mean", NULL,
     "linear: on the CLS row; pooler: Hugging Face's head; mean: linear on the mean of all rows."},
    {"MODEL.DROPOUT", NOTHING | FLOAT, "None", NULL, "[0, 1)",
     "One rate for all dropouts; null: the three rates of the model's config.json."},

    {"PRETRAIN.VOCABULARY", NOTHING | STRING, "None", NULL, NULL,
     "`pretrain`: the folder of a tokenizer, such as `vocab` writes, for a new BERT of the shape below with random "
     "weights; null: "
     "MODEL.WEIGHTS is trained on."},
    {"PRETRAIN.LAYERS", INT, "4", NULL, "[1, 1000]", "Layers of a new BERT."},
    {"PRETRAIN.CHANNELS", INT, "256", NULL, "[1, 65536]", "Its channels: the length of a token's vector."},
    {"PRETRAIN.HEADS", INT, "4", NULL, "[1, 65536]", "Its heads; CHANNELS is a multiple of them."},
    {"PRETRAIN.FEED_FORWARD", INT, "1024", NULL, "[1, 1000000]",
     "Channels between the two products of its feed-forward layers."},
    {"PRETRAIN.POSITIONS", INT, "512", NULL, "[3, 1000000]", "Its longest text in ids."},
    {"PRETRAIN.MASK", FLOAT, "0.15", NULL, "(0, 1)",
     "`pretrain`: the share of a text's pieces that is masked, by whole words."},

    {"DATA.TRAIN", NOTHING | STRING | LIST, "None", NULL, NULL, "Training files; several make one training set."},
    {"DATA.VALID", NOTHING | STRING | LIST, "None", NULL, NULL,
     "Validation files; null: VALID_FRACTION of the training set is split off."},
    {"DATA.TEST", NOTHING | STRING | LIST, "None", NULL, NULL, "Test files, read by `eval`."},
    {"DATA.FORMAT", STRING, "auto", "auto|csv|tsv|jsonl|fasttext", NULL,
     "auto: by the file's name (.csv .tsv .jsonl .txt, before .gz)."},
    {"DATA.HEADER", BOOL | STRING, "auto", "auto", NULL,
     "Whether the first row names the columns; auto: CSV and TSV have a header unless TEXT is a number."},
    {"DATA.QUOTE", BOOL | STRING, "auto", "auto", NULL,
     "Whether a double quote encloses fields (RFC 4180); auto: in CSV, not in TSV."},
    {"DATA.DELIMITER", STRING, "auto", "auto|comma|semicolon|tab|pipe", NULL,
     "What stands between columns; auto: a comma in CSV, a tab in TSV. Excel writes semicolons in many countries."},
    {"DATA.TEXT", INT | STRING, "text", NULL, "[0, 100000]",
     "The column (or JSON field) of the text: a name, or a number from 0 where there is no header."},
    {"DATA.LABEL", INT | STRING, "label", NULL, "[0, 100000]", "The column (or JSON field) of the label: as TEXT."},
    {"DATA.LABEL_FORM", STRING, "auto", "auto|single|list", NULL,
     "single: the field is one label; list: labels between blanks or commas, perhaps in brackets, or a JSON array; "
     "auto: list where MULTI_LABEL or SKIP_MULTI is true."},
    {"DATA.LABELS", STRING | LIST, "auto", "auto", NULL,
     "The classes, in the order of their ids; auto: those of the training set, sorted by name (by id where the data "
     "holds ids)."},
    {"DATA.LABEL_NAMES", NOTHING | STRING | LIST, "None", NULL, NULL,
     "Names for numeric labels, by id from 0: a list, or a file of lines `name` or `id: name`; null: labels are "
     "names."},
    {"DATA.LABEL_MAP", NOTHING | MAP, "None", NULL, NULL,
     "Renames labels (after LABEL_NAMES), so one set serves another taxonomy; a label mapped to null is dropped."},
    {"DATA.EMPTY_LABEL", NOTHING | STRING, "None", NULL, NULL,
     "What an empty label list means: null: no class at all (single-label: a bad row); a name: that class."},
    {"DATA.SKIP_MULTI", BOOL, "False", NULL, NULL,
     "Single-label training on a multi-label set: true leaves out (and counts) rows with several labels; false: they "
     "are bad rows."},
    {"DATA.MULTI_LABEL", BOOL, "False", NULL, NULL, "Any number of classes a text instead of exactly one."},
    {"DATA.REGRESSION", BOOL, "False", NULL, NULL, "The label is a number to be predicted."},
    {"DATA.MAX_LENGTH", INT, "512", NULL, "[3, 1000000]",
     "Longest text in ids, special tokens included; the model's positions and tokenizer may set a lower limit."},
    {"DATA.VALID_FRACTION", FLOAT, "0.1", NULL, "[0, 1)",
     "The share of the training set that is split off, stratified, where VALID is null; 0: no validation."},
    {"DATA.ON_BAD_ROW", STRING, "error", "error|skip", NULL, "skip: bad rows are counted, reported and left out."},

    {"TRAIN.EPOCHS", INT, "3", NULL, "[1, 1000000]", "Passes over the training set."},
    {"TRAIN.MAX_STEPS", INT, "0", NULL, "[0, 1e12]", "Optimizer steps; 0: as EPOCHS gives."},
    {"TRAIN.BATCH_SIZE", INT, "32", NULL, "[1, 65536]", "Texts a batch."},
    {"TRAIN.ACCUMULATE", INT, "1", NULL, "[1, 65536]", "Batches an optimizer step."},
    {"TRAIN.PRECISION", STRING, "fp32", "fp32|bf16", NULL,
     "The type of activations, their gradients and the products' weights; on a CPU of the products' factors only. "
     "Sums, "
     "master weights and moments are fp32."},
    {"TRAIN.FREEZE", LIST, "[]", "embeddings|encoder", "[0, 1000]",
     "What is not trained: embeddings, encoder (embeddings and all layers), or layers by their number from 0."},
    {"TRAIN.EVAL_EVERY", INT, "0", NULL, "[0, 1e12]", "Steps between evaluations; 0: every epoch."},
    {"TRAIN.SAVE_EVERY", INT, "0", NULL, "[0, 1e12]", "Steps between checkpoints; 0: every epoch."},
    {"TRAIN.LOG_EVERY", INT, "10", NULL, "[1, 1e12]", "Steps between lines of metrics.jsonl."},
    {"TRAIN.METRIC", STRING, "auto", "auto|" METRICS, NULL,
     "Chooses the best model and stops early; auto: f1_macro, mse for regression, loss for `pretrain`."},
    {"TRAIN.PATIENCE", INT, "0", NULL, "[0, 1e12]",
     "Evaluations without a better METRIC before training stops; 0: never stops early."},

    {"OPTIM.LR", FLOAT, "5e-5", NULL, "[0, inf)", "The highest learning rate of AdamW."},
    {"OPTIM.WEIGHT_DECAY", FLOAT, "0.01", NULL, "[0, inf)", "Decay of all weights but biases and LayerNorm."},
    {"OPTIM.BETAS", NUMBERS, "[0.9, 0.999]", NULL, "[0, 1) x 2", "Decay rates of the two moments."},
    {"OPTIM.EPS", FLOAT, "1e-8", NULL, "(0, inf)", "Added to the root of the second moment."},
    {"OPTIM.CLIP", FLOAT, "1.0", NULL, "[0, inf)", "Largest norm of the gradient; 0: no clipping."},
    {"OPTIM.DENSE_EMBEDDINGS", BOOL, "False", NULL, NULL,
     "Updates every embedding row in every step instead of deferring: the same result, slowly, as a check."},

    {"SCHEDULER.NAME", STRING, "linear",
     "linear|cosine|cosine_with_restarts|polynomial|constant|constant_with_warmup|inverse_sqrt|reduce_lr_on_plateau|"
     "cosine_with_min_lr|cosine_warmup_with_min_lr|warmup_stable_decay",
     NULL, "How the learning rate moves: the schedules of transformers."},
    {"SCHEDULER.WARMUP", FLOAT, "0.1", NULL, "[0, 1e12]", "Warm-up: steps from 1 on, below 1 a share of all steps."},
    {"SCHEDULER.MIN_LR", NOTHING | FLOAT, "None", NULL, "[0, inf)",
     "Lowest rate of cosine_with_min_lr, cosine_warmup_with_min_lr, polynomial (null: 1e-7), plateau (null: 0)."},
    {"SCHEDULER.MIN_LR_RATE", NOTHING | FLOAT, "None", NULL, "[0, 1]",
     "MIN_LR as a share of OPTIM.LR, for the same cosines and warmup_stable_decay (null: 0)."},
    {"SCHEDULER.DECAY_STEPS", NOTHING | INT, "None", NULL, "[0, 1e12]",
     "Last steps of warmup_stable_decay; needed there."},
    {"SCHEDULER.CYCLES", NOTHING | FLOAT, "None", NULL, "[0, inf)",
     "Waves of the cosines (null: 0.5) and restarts of cosine_with_restarts (null: 1)."},
    {"SCHEDULER.POWER", NOTHING | FLOAT, "None", NULL, "[0, inf)", "Exponent of polynomial (null: 1)."},
    {"SCHEDULER.TIMESCALE", NOTHING | INT, "None", NULL, "[1, 1e12]",
     "Of inverse_sqrt (null: the warm-up's steps, or 10000 without one)."},
    {"SCHEDULER.WARMUP_TYPE", STRING, "linear", "linear|cosine|1-sqrt", NULL, "Rise of warmup_stable_decay."},
    {"SCHEDULER.DECAY_TYPE", STRING, "cosine", "linear|cosine|1-sqrt", NULL, "Fall of warmup_stable_decay."},
    {"SCHEDULER.FACTOR", NOTHING | FLOAT, "None", NULL, "(0, 1)", "What a plateau multiplies the rate by (null: 0.1)."},
    {"SCHEDULER.PATIENCE", NOTHING | INT, "None", NULL, "[0, 1e12]",
     "Evaluations without improvement that make a plateau (null: 10)."},
    {"SCHEDULER.METRIC", NOTHING | STRING, "None", METRICS, NULL, "What a plateau watches (null: loss)."},

    {"LOSS.CLASS_WEIGHTS", NOTHING | STRING | NUMBERS, "None", "auto", "[0, inf)",
     "Weights of the classes in the loss, by id; auto: n / (K * n_k) from the training set's frequencies."},
    {"LOSS.LABEL_SMOOTHING", FLOAT, "0.0", NULL, "[0, 1)", "Share of the target spread over all classes."},

    {"EVAL.THRESHOLD", FLOAT, "0.5", NULL, "[0, 1]",
     "Multi-label: classes with at least this probability are predicted."},
    {"EVAL.BINS", INT, "15", NULL, "[1, 10000]", "Bins of the expected calibration error."},

    {"DIALOG.NEGATIVE", LIST,
     "['anger', 'sadness', 'fear', 'disgust', 'annoyance', 'disappointment', 'disapproval', 'grief', 'remorse', "
     "'negative', 'embarrassment', 'nervousness']",
     NULL, NULL, "Labels that make a turn negative; those that the model has count."},
    {"DIALOG.CLIENT_NAMES", LIST, "['Клиент', 'Пользователь', 'Client', 'Customer']", NULL, NULL,
     "Speakers before a colon that are the client, whatever their case."},
    {"DIALOG.OPERATOR_NAMES", LIST, "['Оператор', 'Agent', 'Operator']", NULL, NULL,
     "Speakers before a colon that are the operator, whatever their case."},
    {"DIALOG.MAX_LINE", INT, "65536", NULL, "[1024, 1e9]", "Longest line of a dialogue in bytes; the rest is cut off."},
    {"DIALOG.MAX_STRETCHES", INT, "1000", NULL, "[1, 1e6]",
     "Negative stretches kept of one dialogue; more are counted."},

    {"DEVICE.NAME", STRING, "auto", NULL, NULL,
     "What computes: cpu, cuda (a card's number may follow, cuda:1); auto: a CUDA card where there is one. `info` "
     "lists all."},
    {"DEVICE.THREADS", INT, "0", NULL, "[0, 256]", "Threads; 0: as many as this process may use."},
    {"DEVICE.TF32", BOOL, "False", NULL, NULL,
     "On a GPU: the products of fp32 round their factors to TF32's 10 bits, which is faster."},
    {"DEVICE.ATTENTION", STRING, "auto", "auto|native|cudnn", NULL,
     "On a GPU: cuDNN's attention in bf16 and fp16 where it serves, or our own kernels only; cudnn: must be there."},

    {"SEED", INT, "42", NULL, "[0, inf)", "Of the new head, the order of texts, dropout and the validation split."},
    {"OUTPUT_DIR", STRING, "runs/default", NULL, NULL, "The run's folder, made by `train`."},
};

const size_t bft_schema_count = sizeof bft_schema / sizeof bft_schema[0];
