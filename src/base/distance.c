/* distance.c: one row of Levenshtein's table at a time. */
#include "base/distance.h"

enum { LONGEST = 64 };

static int fold(char c) {
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

size_t bft_edit_distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t row[LONGEST + 1];
    a_length = a_length > LONGEST ? LONGEST : a_length;
    b_length = b_length > LONGEST ? LONGEST : b_length;
    for (size_t j = 0; j <= b_length; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        size_t corner = row[0]; /* the entry above and to the left */
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t change = corner + (fold(a[i - 1]) != fold(b[j - 1]));
            size_t shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            corner = row[j];
            row[j] = change < shorter ? change : shorter;
        }
    }
    return row[b_length];
}
