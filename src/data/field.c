/* field.c: questions about runs of bytes. */
#include "data/field.h"

#include "base/utf8.h"

#include <string.h>

bool bft_field_is_blank(char byte) {
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

bft_field bft_field_of(const char *text) {
    return (bft_field){text, strlen(text)};
}

bft_field bft_field_trim(bft_field field) {
    while (field.length > 0 && bft_field_is_blank(field.bytes[0])) {
        field.bytes++;
        field.length--;
    }
    while (field.length > 0 && bft_field_is_blank(field.bytes[field.length - 1])) {
        field.length--;
    }
    return field;
}

bool bft_field_equals(bft_field field, const char *text) {
    return field.length == strlen(text) && memcmp(field.bytes, text, field.length) == 0;
}

bool bft_field_is_name(bft_field field) {
    return memchr(field.bytes, '\0', field.length) == NULL && bft_utf8_valid(field.bytes, field.length);
}

bool bft_field_integer(bft_field field, size_t *value) {
    size_t sum = 0;
    for (size_t i = 0; i < field.length; i++) {
        if (field.bytes[i] < '0' || field.bytes[i] > '9' || __builtin_mul_overflow(sum, (size_t)10, &sum) ||
            __builtin_add_overflow(sum, (size_t)(field.bytes[i] - '0'), &sum)) {
            return false;
        }
    }
    if (field.length > 0) {
        *value = sum;
    }
    return field.length > 0;
}
