/* export.c: `bertft export`: a run as a folder that transformers opens, and how exact it is. */
#include "cli/commands.h"

#include "base/log.h"
#include "cli/convert.h"
#include "cli/options.h"
#include "cli/output.h"
#include "nn/export.h"

#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: bertft export [--dtype T] RUN DST\n"
    "\n"
    "Writes a run as a folder that transformers' AutoModelForSequenceClassification, or AutoModelForMaskedLM where\n"
    "`pretrain` made it, and AutoTokenizer open as it is.\n"
    "A linear head becomes a pooler that does nothing and a classifier; what that costs in exactness is measured on\n"
    "real texts and printed.\n"
    "\n"
    "  --dtype T   fp32 (the default) or bf16, which takes half the room\n"
    "\n"
    "  bertft export checkpoints/latest exported\n"
    "  bertft export --dtype bf16 runs/pretrain models/ours\n";

static const char *const dtypes[] = {"fp32", "bf16", NULL};

/* What the exactness is measured on. */
static const char *const texts[] = {
    "Добрый день. С утра нет интернета, роутер включён, лампочка горит красным.",
    "Сколько можно ждать? Это просто издевательство!",
    "Спасибо большое, всё заработало.",
    "Не работает",
    "I have been waiting for an hour and nobody answers.",
    "Thank you, that was quick!",
    "?",
    "Здравствуйте! Подскажите, пожалуйста, когда придёт мой заказ номер 4471902 и можно ли поменять адрес доставки?",
};

enum { TEXTS = sizeof texts / sizeof *texts };

static bft_status fill_batch(bft_error *err, const bft_conversion *c, bft_batch *batch, size_t limit) {
    bft_encoding encoding = {0};
    bft_status status = BFT_OK;
    for (size_t i = 0; status == BFT_OK && i < TEXTS; i++) {
        status = bft_tokenizer_encode(err, c->tokenizer, texts[i], strlen(texts[i]), NULL, 0, limit, &encoding);
        if (status == BFT_OK) {
            bft_batch_add(batch, (bft_sample){.ids = encoding.ids, .length = encoding.count}, (uint32_t)i);
        }
    }
    bft_encoding_free(&encoding);
    return status;
}

static bft_status first_rows(bft_error *err, const bft_conversion *c, float *rows) {
    const bft_model_config *config = bft_model_configuration(c->model);
    size_t limit = config->positions < 128 ? config->positions : 128;
    bft_batch batch = {0};
    bft_session *session = NULL;
    bft_status status = bft_batch_create(err, &batch, TEXTS, TEXTS * limit, 0, config->vocabulary);
    if (status == BFT_OK) {
        status = fill_batch(err, c, &batch, limit);
    }
    if (status == BFT_OK) {
        status = bft_session_create(err, &session, c->model, TEXTS, TEXTS * limit);
    }
    if (status == BFT_OK) {
        status = bft_session_vectors(err, session, &batch, BFT_POOL_CLS, rows);
    }
    bft_session_destroy(session);
    bft_batch_free(&batch);
    return status;
}

static bft_status measure(bft_error *err, const bft_conversion *c) {
    if (bft_model_head(c->model) != BFT_HEAD_LINEAR) {
        return BFT_OK;
    }
    size_t channels = bft_model_configuration(c->model)->channels;
    float *rows = malloc(TEXTS * channels * sizeof *rows);
    if (rows == NULL) {
        return bft_error_memory(err, TEXTS * channels * sizeof *rows);
    }
    bft_export_error worst = {0};
    bft_status status = first_rows(err, c, rows);
    if (status == BFT_OK) {
        status = bft_model_export_error(err, c->model, rows, TEXTS, &worst);
    }
    free(rows);
    BFT_TRY(status);
    bft_log_info("the exported head's logits differ by at most %.1e in fp32, %.1e in fp16", worst.single, worst.half);
    return BFT_OK;
}

static bft_status export_to(bft_error *err, const bft_conversion *c, bft_dtype dtype, const char *target) {
    BFT_TRY(bft_tokenizer_save(err, c->tokenizer, target));
    BFT_TRY(bft_model_export(err, c->model, dtype, target));
    BFT_TRY(measure(err, c));
    bft_log_info("%s: written", target);
    return BFT_OK;
}

bft_status bft_command_export(bft_error *err, int argc, char **argv) {
    const char *type = NULL;
    const bft_option options[] = {{.name = "--dtype", .value = &type, .choices = dtypes}};
    const bft_usage usage = {
        .name = "export", .options = options, .option_count = 1, .least = 2, .most = 2, .expected = "RUN DST"};
    bft_arguments arguments;
    BFT_TRY(bft_options_parse(err, &usage, argc, argv, &arguments));
    if (arguments.help) {
        return bft_output_print(err, help);
    }
    bft_conversion conversion;
    BFT_TRY(bft_conversion_open(err, &conversion, arguments.words[0], arguments.words[1]));
    bft_dtype dtype = type != NULL && strcmp(type, "bf16") == 0 ? BFT_BF16 : BFT_F32;
    bft_status status = export_to(err, &conversion, dtype, arguments.words[1]);
    bft_conversion_close(&conversion);
    return status;
}
