/* backend.c: from a device's name and a precision to the ops and their device. */
#include "bertft/model.h"

#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_ROOM = 64 };

static bool asks_for(const bft_backend_setup *setup, const char *precision) {
    return setup->precision != NULL && strcmp(setup->precision, precision) == 0;
}

static bool has_precision(const bft_backend_setup *setup) {
    return setup->precision != NULL && !asks_for(setup, "fp32");
}

/* What a CPU can have in this precision: int8 is the fastest there. */
static bft_form form_of(const bft_backend_setup *setup) {
    return !setup->inference                                    ? BFT_FORM_PLAIN
           : asks_for(setup, "int8") || asks_for(setup, "auto") ? BFT_FORM_INT8
           : asks_for(setup, "bf16")                            ? BFT_FORM_BF16
           : has_precision(setup)                               ? BFT_FORM_PLAIN
                                                                : BFT_FORM_FP32;
}

/* Which a CPU can have too. */
static bool trains_in_bf16(const bft_backend_setup *setup) {
    return !setup->inference && asks_for(setup, "bf16");
}

static bool asks_for_cudnn(const bft_backend_setup *setup) {
    return setup->attention != NULL && strcmp(setup->attention, "cudnn") == 0;
}

/* "cuda:1" is card 1 of "cuda"; a name without a number is card 0. */
static bft_status split_name(bft_error *err, const char *name, char plain[NAME_ROOM], int *index) {
    const char *colon = strchr(name, ':');
    int length = (int)(colon != NULL ? (size_t)(colon - name) : strlen(name));
    *index = 0;
    snprintf(plain, NAME_ROOM, "%.*s", length, name);
    if (colon == NULL) {
        return BFT_OK;
    }
    char *end = NULL;
    errno = 0;
    long number = strtol(colon + 1, &end, 10);
    bool digits = colon[1] >= '0' && colon[1] <= '9' && *end == '\0';
    if (strncmp(name, "cuda", strlen("cuda")) != 0 || !digits || errno != 0 || number > INT_MAX) {
        return bft_error_set(
            err, BFT_BAD, "DEVICE.NAME %s: behind a colon stands the number of a CUDA card, from 0 on: cuda:0", name);
    }
    *index = (int)number;
    return BFT_OK;
}

static bool is_card(const char *name) {
    return strncmp(name, "cuda", strlen("cuda")) == 0;
}

static bft_status find_named(bft_error *err, const char *plain, const char *precision, const bft_ops **out) {
    char name[NAME_ROOM + 8];
    snprintf(name, sizeof name, "%s-%s", plain, precision);
    return bft_ops_find(err, name, out);
}

/* On a card, values are of the precision: the ops carry its name. */
static bft_status find_on_card(bft_error *err, const char *plain, const char *precision, const bft_ops **out) {
    if (strcmp(precision, "int8") == 0) {
        return bft_error_set(err, BFT_BAD,
                             "int8 is computed on CPUs only, %s takes fp32, bf16 or fp16: --precision bf16, or "
                             "--device cpu",
                             plain);
    }
    return find_named(err, plain, precision, out);
}

/* The ops of a backend in this precision: fp32's carry its plain name, and for inference on a CPU all do (form_of). */
static bft_status find_ops(bft_error *err, const bft_backend_setup *setup, const char *plain, const bft_ops **out) {
    if (has_precision(setup) && is_card(plain)) {
        return find_on_card(err, plain, setup->precision, out);
    }
    BFT_TRY(bft_ops_find(err, plain, out));
    if (trains_in_bf16(setup)) {
        return find_named(err, plain, "bf16", out);
    }
    if (has_precision(setup) && form_of(setup) == BFT_FORM_PLAIN) {
        return bft_error_set(err, BFT_BAD,
                             "%s is computed on CUDA cards only, %s takes fp32%s and bf16: --precision bf16, or "
                             "--device cuda",
                             setup->precision, (*out)->name, setup->inference ? ", int8" : "");
    }
    if (setup->precision != NULL && !has_precision(setup) && (*out)->factors != BFT_F32) {
        return bft_error_set(
            err, BFT_BAD, "DEVICE.NAME %s: names a precision, which TRAIN.PRECISION or --precision does", setup->name);
    }
    return BFT_OK;
}

static bft_status open_named(bft_error *err, bft_backend *backend, const bft_backend_setup *setup, const char *name) {
    char plain[NAME_ROOM];
    const bft_ops *ops;
    bft_device_options options = {.threads = setup->threads, .tf32 = setup->tf32, .attention = setup->attention};
    BFT_TRY(split_name(err, name, plain, &options.index));
    BFT_TRY(find_ops(err, setup, plain, &ops));
    if (ops->open(err, &options, &backend->device) != BFT_OK) {
        return options.index > 0 ? bft_error_prefix(err, "DEVICE.NAME %s", name) : err->status;
    }
    backend->ops = ops;
    backend->form = ops->prepared_bytes(form_of(setup), 1, 1) > 0 ? form_of(setup) : BFT_FORM_PLAIN;
    return BFT_OK;
}

/* BFT_BAD: there is no card to speak of, no driver, or no library. BFT_FAILED: there is one, but it doesn't work. */
static bft_status open_best(bft_error *err, bft_backend *backend, const bft_backend_setup *setup) {
    if (asks_for(setup, "int8")) {
        return open_named(err, backend, setup, "cpu");
    }
    bft_status status = open_named(err, backend, setup, "cuda");
    if (status == BFT_OK) {
        return BFT_OK;
    }
    bool card_only = has_precision(setup) && form_of(setup) == BFT_FORM_PLAIN && !trains_in_bf16(setup);
    if (card_only || asks_for_cudnn(setup)) {
        return bft_error_prefix(err, "%s is for CUDA cards only",
                                card_only ? setup->precision : "DEVICE.ATTENTION cudnn");
    }
    if (status == BFT_FAILED) {
        bft_log_info("computing on the CPU, since the CUDA card can't be used: %s", err->message);
    }
    return open_named(err, backend, setup, "cpu");
}

/* "auto" is bf16 on a card that has it, and fp32 on one that hasn't. */
static bft_status open_fastest(bft_error *err, bft_backend *backend, const bft_backend_setup *setup) {
    bft_backend_setup other = *setup;
    if (!is_card(setup->name) && strcmp(setup->name, "auto") != 0) {
        return open_named(err, backend, setup, setup->name);
    }
    const char *card = is_card(setup->name) ? setup->name : "cuda";
    static const char *const precisions[] = {"bf16", "fp32"};
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++) {
        other.precision = precisions[i];
        if (open_named(err, backend, &other, card) == BFT_OK) {
            return BFT_OK;
        }
    }
    if (is_card(setup->name) || asks_for_cudnn(setup)) {
        return err->status;
    }
    if (err->status == BFT_FAILED) {
        bft_log_info("computing on the CPU, since the CUDA card can't be used: %s", err->message);
    }
    return open_named(err, backend, setup, "cpu");
}

bft_status bft_backend_open(bft_error *err, bft_backend *backend, const bft_backend_setup *setup) {
    *backend = (bft_backend){0};
    if (asks_for(setup, "auto")) {
        return open_fastest(err, backend, setup);
    }
    return strcmp(setup->name, "auto") == 0 ? open_best(err, backend, setup)
                                            : open_named(err, backend, setup, setup->name);
}

void bft_backend_close(bft_backend *backend) {
    if (backend->ops != NULL) {
        backend->ops->close(backend->device);
    }
    *backend = (bft_backend){0};
}
