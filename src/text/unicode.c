/* unicode.c: lower case by runs, and walking over UTF-8. */
#include "text/unicode.h"

uint32_t bft_unicode_lower(uint32_t scalar) {
    size_t low = 0, high = bft_unicode_lower_run_count;
    while (low < high) { /* the first run that ends at or behind `scalar` */
        size_t middle = low + (high - low) / 2;
        if (bft_unicode_lower_runs[middle].last < scalar) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return scalar + (uint32_t)bft_unicode_lower_runs[low].distance;
}

size_t bft_unicode_last(const char *text, size_t length) {
    size_t start = length - 1;
    while (start > 0 && ((unsigned char)text[start] & 0xC0) == 0x80) {
        start--;
    }
    return start;
}
