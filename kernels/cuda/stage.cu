/* stage.cu: index arrays and numbers on their way to the device: written into pinned memory, copied to its image on the device.
 *
 * Pinned memory comes in slots that are used in turn, so that the host can write the next batch's arrays while the copies of earlier
 * ones are still to be made; it waits only where it is a whole round ahead. Outside of begin and end each array is copied by
 * itself. In between they lie one behind the other from the slot's start, and one copy at the end takes them all; an array that
 * several ops name is there once. The image is one: copies are made in the order of the work that reads them. */
#include "kernels/cuda/device.cuh"

#include <string.h>

enum { ALIGNMENT = 64 };

static char *slot_start(const bft_device *device) {
    return device->stage + static_cast<size_t>(device->stage_slot) * BFT_STAGE_BYTES;
}

static void next_slot(bft_device *device) {
    bft_check(device, bft_runtime_mark(device->runtime, device->stage_slot));
    device->stage_slot = (device->stage_slot + 1) % BFT_STAGES;
    device->stage_used = 0;
    bft_check(device, bft_runtime_wait(device->runtime, device->stage_slot));
}

void bft_stage_begin(bft_device *device) {
    next_slot(device);
    device->mirror_count = 0;
}

void bft_stage_end(bft_device *device) {
    if (healthy(device) && device->stage_used > 0) {
        bft_check(device,
                  bft_runtime_to_device(device->runtime, device->image, slot_start(device), device->stage_used));
    }
}

void *bft_stage_take(bft_device *device, size_t bytes) {
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    bool fits = bytes <= BFT_STAGE_BYTES - device->stage_used;
    if (!fits && !bft_queue_recording(device) && bytes <= BFT_STAGE_BYTES) {
        next_slot(device);
        fits = true;
    }
    if (!fits) {
        bft_check(device,
                  "the index arrays of a batch are larger than the staging memory; a smaller TRAIN.BATCH_SIZE fits");
    }
    if (!healthy(device)) {
        return NULL;
    }
    char *place = slot_start(device) + device->stage_used;
    device->stage_used += bytes;
    return place;
}

void *bft_stage_send(bft_device *device, const void *staged, size_t bytes) {
    char *image = device->image + (static_cast<const char *>(staged) - slot_start(device));
    if (!bft_queue_recording(device)) {
        bft_check(device, bft_runtime_to_device(device->runtime, image, staged, bytes));
    }
    return image;
}

const void *bft_mirror_copy(bft_device *device, const void *host, size_t bytes, size_t room) {
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

const void *bft_mirror_bytes(bft_device *device, const void *host, size_t bytes, size_t room) {
    for (size_t i = 0; bft_queue_recording(device) && i < device->mirror_count; i++) {
        const bft_mirrored *m = &device->mirrors[i];
        if (m->host == host && m->bytes == bytes && m->room == room) {
            return m->image;
        }
    }
    const void *image = bft_mirror_copy(device, host, bytes, room);
    if (bft_queue_recording(device) && image != NULL && device->mirror_count < BFT_MIRRORS) {
        bft_mirrored *m = &device->mirrors[device->mirror_count++];
        m->host = host;
        m->bytes = bytes;
        m->room = room;
        m->image = image;
    }
    return image;
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
