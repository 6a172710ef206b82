/* device.cu: the device's faults, and how rows are padded. */
#include "kernels/cuda/device.cuh"

#include <stdio.h>

bool bft_check(bft_device *device, const char *failure) {
    if (failure != NULL && healthy(device)) {
        snprintf(device->fault, sizeof device->fault, "%s", failure);
    }
    return healthy(device);
}

void bft_fail(bft_device *device, const char *what, const char *failure) {
    if (healthy(device)) {
        snprintf(device->fault, sizeof device->fault, "%s could not be started: %s", what, failure);
    }
}

bft_runtime *bft_runtime_of(bft_device *device) {
    return device->runtime;
}

size_t bft_padded(size_t rows) {
    size_t step = 8;
    while (step * 16 <= rows) {
        step *= 2;
    }
    return (rows + step - 1) / step * step;
}
