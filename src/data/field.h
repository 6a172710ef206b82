/* field.h: a run of bytes inside a row of a data file, and the questions that readers ask about it. */
#ifndef BFT_DATA_FIELD_H
#define BFT_DATA_FIELD_H

#include <stdbool.h>
#include <stddef.h>

typedef struct bft_field {
    const char *bytes; /* may hold NULs; isn't NUL-terminated in general */
    size_t length;
} bft_field;

bft_field bft_field_of(const char *text);
bft_field bft_field_trim(bft_field field); /* without blanks (space, tab, CR, LF) at its ends */
bool bft_field_equals(bft_field field, const char *text);
bool bft_field_is_name(bft_field field); /* valid UTF-8 without NULs: fit for a label or a column */
bool bft_field_is_blank(char byte);      /* space, tab, CR, LF */

/* Decimal digits only, and no overflow; else *value stays as it was. */
bool bft_field_integer(bft_field field, size_t *value);

#endif
