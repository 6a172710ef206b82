/* weights_dump.c: prints what bertft reads from a weight file, one tensor a line: name, type, shape, and a check sum of
 * its values as fp32; tests/parity/weights.py compares that with PyTorch and safetensors. */
#include "bertft/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The bits of the fp32 number that equals a half-precision one. */
static uint32_t widen(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31, fraction = half & 0x3ff;
    if (exponent == 0) {
        float value = (float)fraction * 0x1p-24f;
        uint32_t bits;
        memcpy(&bits, &value, 4);
        return sign | bits;
    }
    return sign | (exponent == 31 ? 0x7f800000 : (exponent + 112) << 23) | fraction << 13;
}

static uint32_t value_bits(const bft_tensor *tensor, size_t index) {
    uint32_t bits;
    uint16_t half;
    if (tensor->dtype == BFT_F32) {
        memcpy(&bits, (const char *)tensor->data + index * 4, 4);
        return bits;
    }
    memcpy(&half, (const char *)tensor->data + index * 2, 2);
    return tensor->dtype == BFT_F16 ? widen(half) : (uint32_t)half << 16;
}

/* FNV-1a over the 32-bit words. */
static uint64_t checksum(const bft_tensor *tensor) {
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < tensor->count; i++) {
        sum = (sum ^ value_bits(tensor, i)) * 0x100000001b3u;
    }
    return sum;
}

int main(int argc, char **argv) {
    static const char *const types[] = {[BFT_F32] = "F32", [BFT_F16] = "F16", [BFT_BF16] = "BF16"};
    bft_error error = {0};
    bft_weights *weights = NULL;
    if (argc != 2 || bft_weights_open(&error, &weights, argv[1]) != BFT_OK) {
        fprintf(stderr, "weights_dump: %s\n", argc != 2 ? "one path is expected" : error.message);
        return 2;
    }
    for (size_t i = 0; i < bft_weights_count(weights); i++) {
        const bft_tensor *tensor = bft_weights_at(weights, i);
        printf("%s\t%s\t", tensor->name, tensor->data == NULL ? "other" : types[tensor->dtype]);
        for (size_t k = 0; k < tensor->dimensions; k++) {
            printf("%s%zu", k == 0 ? "" : ",", tensor->shape[k]);
        }
        printf("\t%016" PRIx64 "\t%s\n", tensor->data == NULL ? 0 : checksum(tensor),
               tensor->data == NULL ? "-"
               : tensor->mapped     ? "mapped"
                                    : "copied");
    }
    bft_weights_close(weights);
    return 0;
}
