/* device.cu: faults, and what goes into launches: index arrays and numbers on their way to the device. */
#include "kernels/cuda/device.cuh"

#include <stdio.h>
#include <string.h>

bool bft_check(bft_device *device, const char *failure) {
    if (failure != NULL && healthy(device)) {
        snprintf(device->fault, sizeof device->fault, "%s", failure);
    }
    return healthy(device);
}

void bft_launched(bft_device *device, const char *kernel, bool fine) {
    if (!fine && healthy(device)) {
        snprintf(device->fault, sizeof device->fault, "kernel %s could not be started", kernel);
    }
}

/* ---- Staging ---- */

size_t bft_padded(size_t rows) {
    return rows;
}

/* Room in the stage; when its end is reached, what was staged before must have been used: wait for it. */
void *bft_stage_take(bft_device *device, size_t bytes) {
    bytes = (bytes + 255) / 256 * 256;
    if (bytes > BFT_STAGE_BYTES) {
        bft_check(device, "an index array is larger than the staging memory");
        return NULL;
    }
    if (bytes > BFT_STAGE_BYTES - device->stage_used) {
        bft_check(device, bft_runtime_sync(device->runtime));
        device->stage_used = 0;
    }
    char *place = device->stage + device->stage_used;
    device->stage_used += bytes;
    return place;
}

void *bft_stage_send(bft_device *device, const void *staged, size_t bytes) {
    char *image = device->image + (static_cast<const char *>(staged) - device->stage);
    bft_check(device, bft_runtime_to_device(device->runtime, image, staged, bytes));
    return image;
}

const void *bft_mirror_bytes(bft_device *device, const void *host, size_t bytes, size_t room) {
    if (host == NULL || room == 0 || !healthy(device)) {
        return NULL;
    }
    char *place = static_cast<char *>(bft_stage_take(device, room));
    if (place == NULL) {
        return NULL;
    }
    memcpy(place, host, bytes);
    memset(place + bytes, 0, room - bytes);
    return bft_stage_send(device, place, room);
}

dropout_key bft_dropout_key(bft_device *device, const bft_dropout *dropout, size_t rows, bool positions) {
    dropout_key key = {};
    if (dropout->rate > 0) {
        key.scale = static_cast<float>(1 / (1 - static_cast<double>(dropout->rate)));
        key.threshold = bft_dropout_threshold(dropout->rate);
        key.seed = dropout->seed;
        key.step = mirror_value(device, dropout->step);
        key.place = static_cast<uint32_t>(dropout->layer) << 16 | static_cast<uint32_t>(dropout->site) << 24;
        key.sample = mirror_rows(device, dropout->sample, rows);
        key.position = positions ? mirror_rows(device, dropout->position, rows) : NULL;
    }
    return key;
}
