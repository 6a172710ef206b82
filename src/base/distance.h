/* distance.h: how far two words are apart, for "did you mean". */
#ifndef BFT_BASE_DISTANCE_H
#define BFT_BASE_DISTANCE_H

#include <stddef.h>

/* Levenshtein's distance in bytes, whatever the case of ASCII letters. Of words over 64 bytes the first 64 count. */
size_t bft_edit_distance(const char *a, size_t a_length, const char *b, size_t b_length);

#endif
