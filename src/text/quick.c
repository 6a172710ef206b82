/* quick.c: the table of characters, the memory for words, and the loop over a text. */
#include "text/quick.h"

#include "base/utf8.h"
#include "text/unicode.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

/* ---- The table ---- */

static uint32_t scalar_of(size_t index) {
    return (uint32_t)(index < BFT_QUICK_LOW ? index : index - BFT_QUICK_LOW + BFT_QUICK_GENERAL);
}

/* What becomes of a character, as the long way has it for the character alone. */
static bft_status describe(bft_error *err, const bft_normal_form *form, const bft_wordpiece *model, uint32_t scalar,
                           bft_normal_text *normal, bft_ids *ids, bft_quick_character *out) {
    char bytes[4];
    size_t length = bft_utf8_encode(scalar, bytes);
    if (!bft_normal_alone(form, scalar)) {
        return BFT_OK;
    }
    BFT_TRY(bft_normalize(err, form, bytes, length, normal));
    uint8_t flags = 0;
    size_t at = 0;
    while (at < normal->text.length) {
        uint32_t part;
        at += bft_unicode_next(normal->text.data + at, &part);
        flags |= bft_unicode_flags(part) & (BFT_SPACE | BFT_PUNCTUATION);
    }
    if (flags == 0 && at <= sizeof out->is.bytes) {
        out->kind = BFT_QUICK_PART;
        out->length = (uint8_t)at;
        if (at > 0) {
            memcpy(out->is.bytes, normal->text.data, at);
        }
    } else if (flags == BFT_SPACE) {
        out->kind = BFT_QUICK_SPACE;
    } else if (flags == BFT_PUNCTUATION) {
        ids->count = 0;
        BFT_TRY(bft_wordpiece_encode(err, model, normal->text.data, at, SIZE_MAX, ids));
        if (ids->count == 1) {
            *out = (bft_quick_character){.kind = BFT_QUICK_MARK, .is.id = ids->data[0]};
        }
    }
    return BFT_OK;
}

/* Whether the table keeps clear of an added token: the stretch around its first character goes the long way, which may
 * not end inside of the token. */
static bool keep_clear(bft_quick_character *characters, bft_added_token token) {
    uint32_t first;
    for (size_t at = 0; at < token.text.length;) {
        uint32_t scalar;
        at += bft_unicode_next(token.text.data + at, &scalar);
        if ((bft_unicode_flags(scalar) & BFT_SPACE) != 0) {
            return false;
        }
    }
    bft_unicode_next(token.text.data, &first);
    if (first < BFT_QUICK_LOW) {
        characters[first] = (bft_quick_character){0};
    } else if (first >= BFT_QUICK_GENERAL && first < BFT_QUICK_GENERAL + BFT_QUICK_CHARACTERS - BFT_QUICK_LOW) {
        characters[first - BFT_QUICK_GENERAL + BFT_QUICK_LOW] = (bft_quick_character){0};
    }
    return !token.normalized;
}

/* Whether letters and digits of ASCII, and all of U+0400 .. U+047F, are parts of words. */
static bool has_runs(const bft_quick_character *characters) {
    bool all = true;
    for (unsigned c = 0; c < 0x480; c = c == 0x7F ? 0x400 : c + 1) {
        bool in_run = c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        all &= !in_run || characters[c].kind == BFT_QUICK_PART;
    }
    return all;
}

bft_status bft_quick_build(bft_error *err, bft_quick *quick, const bft_normal_form *form, const bft_wordpiece *model,
                           const bft_added_token *added, size_t added_count) {
    quick->characters = calloc(BFT_QUICK_CHARACTERS, sizeof *quick->characters);
    if (quick->characters == NULL) {
        return bft_error_memory(err, BFT_QUICK_CHARACTERS * sizeof *quick->characters);
    }
    bft_normal_text normal = {0};
    bft_ids ids = {0};
    bft_status status = BFT_OK;
    for (size_t i = 0; i < BFT_QUICK_CHARACTERS && status == BFT_OK; i++) {
        status = describe(err, form, model, scalar_of(i), &normal, &ids, &quick->characters[i]);
    }
    for (size_t i = 0; i < added_count && quick->characters != NULL; i++) {
        if (!keep_clear(quick->characters, added[i])) {
            bft_quick_free(quick);
        }
    }
    quick->has_runs = quick->characters != NULL && has_runs(quick->characters);
    bft_normal_text_free(&normal);
    free(ids.data);
    return status;
}

void bft_quick_free(bft_quick *quick) {
    free(quick->characters);
    *quick = (bft_quick){0};
}

/* ---- The memory ---- */

enum { MEMORY_BITS = 13, WORDS = BFT_QUICK_WORD / 8, MOST_PIECES = 4 * BFT_QUICK_WORD /* a byte gives at most four */ };

typedef struct bft_quick_entry {
    uint64_t word[WORDS];  /* its bytes as they stand in the text, zeros behind them */
    uint8_t length, count; /* of bytes and of pieces; a length of 0: nothing is here */
    uint32_t ids[BFT_QUICK_PIECES];
} remembered;

_Static_assert(sizeof(remembered) == 64, "a cache line");

bft_status bft_quick_remember(bft_error *err, bft_quick_memory *memory, uint64_t identity) {
    if (memory->entries != NULL && memory->identity == identity) {
        return BFT_OK;
    }
    bft_quick_forget(memory);
    memory->entries = calloc((size_t)1 << MEMORY_BITS, sizeof *memory->entries);
    if (memory->entries == NULL) {
        return bft_error_memory(err, sizeof *memory->entries << MEMORY_BITS);
    }
    memory->identity = identity;
    return BFT_OK;
}

void bft_quick_forget(bft_quick_memory *memory) {
    free(memory->entries);
    bft_buffer_free(&memory->text);
    *memory = (bft_quick_memory){0};
}

/* ---- Texts. Behind a text there are PADDING spaces, so that nothing has to ask where it ends. ---- */

enum { PADDING = BFT_QUICK_WORD + 8 };

/* The character at `at`, and its length into *taken; NONE where it isn't in the table. */
static inline bft_quick_character look_up(const bft_quick *quick, const char *text, size_t at, size_t *taken) {
    const unsigned char *c = (const unsigned char *)text + at;
    if (c[0] < 0x80) {
        *taken = 1;
        return quick->characters[c[0]];
    }
    if (c[0] >= 0xC2 && c[0] < 0xE0 && (c[1] & 0xC0) == 0x80) {
        *taken = 2;
        return quick->characters[(c[0] & 0x1Fu) << 6 | (c[1] & 0x3Fu)];
    }
    if (c[0] == 0xE2 && (c[1] & 0xFE) == 0x80 && (c[2] & 0xC0) == 0x80) {
        *taken = 3;
        return quick->characters[BFT_QUICK_LOW + ((c[1] & 1u) << 6 | (c[2] & 0x3Fu))];
    }
    *taken = 0;
    return (bft_quick_character){0};
}

static inline uint64_t eight(uint64_t byte) {
    return byte * 0x0101010101010101u;
}

/* The end of a run of letters and digits, of ASCII or of U+0400 .. U+047F, that starts at `at`: eight bytes at a time. */
static inline size_t run_end(const char *text, size_t at) {
    for (;;) {
        uint64_t x, other;
        memcpy(&x, text + at, sizeof x);
        x = le64toh(x);
        if ((x & 0xFE) == 0xD0) { /* pairs of D0 or D1 and a byte that goes on */
            other = (x & 0xC0FEC0FEC0FEC0FEu) ^ 0x80D080D080D080D0u;
            other |= (other & 0xFF00FF00FF00FF00u) >> 8; /* a pair fails as a whole */
        } else { /* sums of seven bits, whose eighth says whether the byte is at least, or above, what was added */
            uint64_t low = x & eight(0x7F), letter = low | eight(0x20);
            uint64_t is_letter = (letter + eight(0x80 - 'a')) & ~(letter + eight(0x7F - 'z'));
            uint64_t is_digit = (low + eight(0x80 - '0')) & ~(low + eight(0x7F - '9'));
            other = (~(is_letter | is_digit) | x) & eight(0x80);
        }
        if (other != 0) {
            return at + (size_t)__builtin_ctzll(other) / 8;
        }
        at += 8;
    }
}

/* The pieces of a word, by the table and the model; remembers them if they aren't many. */
static void put_new_word(const bft_quick *quick, const bft_wordpiece *model, const char *text, size_t length,
                         remembered *entry, bft_ids *ids) {
    char normal[MOST_PIECES];
    size_t written = 0, taken;
    for (size_t at = 0; at < length; at += taken) {
        bft_quick_character c = look_up(quick, text, at, &taken);
        memcpy(normal + written, c.is.bytes, sizeof c.is.bytes);
        written += c.length;
    }
    size_t before = ids->count;
    if (written > 0) {
        bft_wordpiece_word(model, normal, written, ids);
    }
    size_t count = ids->count - before;
    entry->length = 0;
    if (count <= BFT_QUICK_PIECES) {
        memset(entry->word, 0, sizeof entry->word);
        memcpy(entry->word, text, length);
        if (count > 0) {
            memcpy(entry->ids, ids->data + before, count * sizeof *ids->data);
        }
        entry->length = (uint8_t)length;
        entry->count = (uint8_t)count;
    }
}

/* Appends the pieces of text[0 .. length), a word of 1 to BFT_QUICK_WORD bytes, for which there is room. */
static inline void put_word(const bft_quick *quick, const bft_wordpiece *model, remembered *entries, const char *text,
                            size_t length, bft_ids *ids) {
    static const uint8_t keep[2 * BFT_QUICK_WORD] = {[0 ... BFT_QUICK_WORD - 1] = 0xFF};
    static const uint64_t factors[WORDS] = {0x9E3779B97F4A7C15u, 0xBF58476D1CE4E5B9u, 0x94D049BB133111EBu,
                                            0xD6E8FEB86659FD93u, 0xA0761D6478BD642Fu};
    uint64_t word[WORDS], mask[WORDS], hash = 0, difference = 0;
    memcpy(word, text, sizeof word);
    memcpy(mask, keep + BFT_QUICK_WORD - length, sizeof mask);
#pragma GCC unroll 8
    for (size_t i = 0; i < WORDS; i++) {
        word[i] &= mask[i];
        hash ^= word[i] * factors[i];
    }
    remembered *entry = &entries[(hash ^ hash >> 29) * factors[0] >> (64 - MEMORY_BITS)];
#pragma GCC unroll 8
    for (size_t i = 0; i < WORDS; i++) {
        difference |= entry->word[i] ^ word[i];
    }
    if ((difference | (entry->length ^ length)) != 0) {
        put_new_word(quick, model, text, length, entry, ids);
        return;
    }
    memcpy(ids->data + ids->count, entry->ids, sizeof entry->ids);
    ids->count += entry->count;
}

bft_status bft_quick_pad(bft_error *err, bft_quick_memory *memory, const char *text, size_t length) {
    static const char spaces[PADDING] = {[0 ... PADDING - 1] = ' '};
    bft_buffer_clear(&memory->text);
    BFT_TRY(bft_buffer_reserve(err, &memory->text, length + PADDING));
    BFT_TRY(bft_buffer_append(err, &memory->text, text, length));
    return bft_buffer_append(err, &memory->text, spaces, PADDING);
}

bft_status bft_quick_encode(bft_error *err, const bft_quick *quick, const bft_wordpiece *model,
                            const bft_quick_memory *memory, size_t *start, size_t enough, bft_ids *ids) {
    const char *text = memory->text.data;
    const size_t length = memory->text.length - PADDING;
    size_t at = *start, before = ids->count; /* of the stretch, *start to here */
    while (at < length && ids->count < enough) {
        size_t word = at, taken;
        if (ids->capacity - ids->count < MOST_PIECES + 1) {
            BFT_TRY(bft_ids_reserve(err, ids, MOST_PIECES + 1));
        }
        bft_quick_character c;
        at = quick->has_runs ? run_end(text, at) : at;
        for (; (c = look_up(quick, text, at, &taken)).kind == BFT_QUICK_PART; at += taken) {
        }
        if (c.kind == BFT_QUICK_NONE || at - word > BFT_QUICK_WORD) {
            ids->count = before;
            return BFT_OK;
        }
        if (at > word) {
            put_word(quick, model, memory->entries, text + word, at - word, ids);
        }
        at += taken;
        if (c.kind == BFT_QUICK_MARK) {
            ids->data[ids->count++] = c.is.id;
        } else {
            *start = at;
            before = ids->count;
        }
    }
    *start = at < length ? at : length;
    return BFT_OK;
}

size_t bft_quick_stretch(const bft_quick *quick, const bft_quick_memory *memory, size_t at) {
    const char *text = memory->text.data;
    while (!((unsigned char)text[at] < 0x80 && quick->characters[(unsigned char)text[at]].kind == BFT_QUICK_SPACE)) {
        at++;
    }
    return at;
}
