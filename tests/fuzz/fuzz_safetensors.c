/* fuzz_safetensors.c: any bytes as a weight file; seeds: tests/fixtures/weights. */
#include "fuzz_weights.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
    volatile unsigned sum = fuzz_weights(bytes, size); /* or the reads would be optimised away */
    (void)sum;
    return 0;
}
