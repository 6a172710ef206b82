/* normalize.h: BertNormalizer: clean, space out Chinese characters, strip accents, lower, in this order. */
#ifndef BFT_TEXT_NORMALIZE_H
#define BFT_TEXT_NORMALIZE_H

#include "bertft/tokenizer.h"
#include "base/buffer.h"

/* A normalizer with what it does to each ASCII character worked out. */
typedef struct bft_normal_form {
    bft_normalizer steps;
    uint8_t changing;         /* flags of characters outside ASCII that may not be their own normal form */
    unsigned char ascii[128]; /* the character's normal form, or BFT_ASCII_DROPPED */
} bft_normal_form;

enum { BFT_ASCII_DROPPED = 0x80 };

/* A piece of text in normal form, and the memory that making it needs. Create zeroed. */
typedef struct bft_normal_text {
    bft_buffer text;
    uint32_t *waiting; /* characters with a combining class that wait to be put into order */
    size_t waiting_count, waiting_capacity;
} bft_normal_text;

bft_normal_form bft_normal_form_create(bft_normalizer steps);

/* Whether the normal form of a character is the same whatever stands around it: it leaves nothing waiting. */
bool bft_normal_alone(const bft_normal_form *form, uint32_t scalar);

/* `text` must be valid UTF-8; the result replaces what `out` held. */
bft_status bft_normalize(bft_error *err, const bft_normal_form *form, const char *text, size_t length,
                         bft_normal_text *out);
void bft_normal_text_free(bft_normal_text *out);

#endif
