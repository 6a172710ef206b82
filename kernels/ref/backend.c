/* backend.c: the table of the reference's ops, and its device, which is nothing but the calling thread. */
#include "kernels/ref/ref.h"

#include <stdlib.h>
#include <string.h>

struct bft_device {
    int threads;
};

bft_status REF(open)(bft_error *err, const bft_device_options *options, bft_device **out) {
    if (options->threads < 0) {
        return bft_error_set(err, BFT_BAD, "%d threads asked for; 0 (all processors) or more can be had",
                             options->threads);
    }
    bft_device *device = malloc(sizeof *device);
    if (device == NULL) {
        return bft_error_memory(err, sizeof *device);
    }
    device->threads = 1;
    *out = device;
    return BFT_OK;
}

void REF(close)(bft_device *device) {
    free(device);
}

int REF(threads)(const bft_device *device) {
    return device->threads;
}

void REF(describe)(const bft_device *device, char out[BFT_DESCRIPTION_SIZE]) {
    (void)device;
    strcpy(out, "1 thread");
}

bft_status REF(fault)(bft_error *err, bft_device *device) {
    (void)err;
    (void)device;
    return BFT_OK;
}

size_t REF(padded)(size_t rows) {
    return rows;
}

void REF(boundary)(bft_device *device) {
    (void)device;
}

#define NAME_NOW(set) #set
#define NAME(set) NAME_NOW(set)
#define TABLE_NOW(set) bft_ops_##set
#define TABLE(set) TABLE_NOW(set)

extern const bft_ops TABLE(BFT_REF);

const bft_ops TABLE(BFT_REF) = {
    .name = NAME(BFT_REF),
    .real = sizeof(real),
    .values = BFT_F32,
    .factors = BFT_F32,
    .open = REF(open),
    .close = REF(close),
    .threads = REF(threads),
    .describe = REF(describe),
    .fault = REF(fault),
    .alloc = REF(alloc),
    .free = REF(free),
    .memory = REF(memory),
    .fill_zero = REF(fill_zero),
    .to_device = REF(to_device),
    .to_host = REF(to_host),
    .values_to_host = REF(to_host),
    .to_values = REF(to_values),
    .write = REF(copy_in),
    .read = REF(copy_out),
    .padded = REF(padded),
    .begin = REF(boundary),
    .end = REF(boundary),
    .embed_memory = REF(embed_memory),
    .embed_forward = REF(embed_forward),
    .embed_backward = REF(embed_backward),
    .linear_memory = REF(linear_memory),
    .linear_forward = REF(linear_forward),
    .linear_backward = REF(linear_backward),
    .prepared_bytes = REF(prepared_bytes),
    .prepare = REF(prepare),
    .attention_memory = REF(attention_memory),
    .attention_forward = REF(attention_forward),
    .attention_backward = REF(attention_backward),
    .residual_norm_memory = REF(residual_norm_memory),
    .residual_norm_forward = REF(residual_norm_forward),
    .residual_norm_backward = REF(residual_norm_backward),
    .gather_forward = REF(gather_forward),
    .gather_backward = REF(gather_backward),
    .mean_forward = REF(mean_forward),
    .mean_backward = REF(mean_backward),
    .mask = REF(mask),
    .loss = REF(loss),
    .tied_loss_memory = REF(tied_loss_memory),
    .tied_loss = REF(tied_loss),
    .norm = REF(norm),
    .adamw = REF(adamw),
    .adamw_rows = REF(adamw_rows),
};
