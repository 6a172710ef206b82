/* quick.h: the short way from a text to ids, for the characters that most texts are made of.
 *
 * A table says for each character below U+0800, and for the general punctuation, what becomes of it whatever stands
 * around it: its normal form, and whether that is a part of a word, a space or punctuation. So a text is read once, and
 * its words go from the text to a small table of words whose pieces are known, which each encoding has of its own.
 * Where anything else turns up, the stretch around it, from space to space, is left to the long way. */
#ifndef BFT_TEXT_QUICK_H
#define BFT_TEXT_QUICK_H

#include "text/added.h"
#include "text/normalize.h"
#include "text/wordpiece.h"

enum {
    BFT_QUICK_LOW = 0x800,      /* characters of one or two bytes */
    BFT_QUICK_GENERAL = 0x2000, /* U+2000 .. U+207F follow them in the table */
    BFT_QUICK_CHARACTERS = BFT_QUICK_LOW + 0x80,
    BFT_QUICK_WORD = 40, /* the longest word that is looked up, in bytes */
    BFT_QUICK_PIECES = 5 /* of a word that is remembered */
};

typedef enum bft_quick_kind { BFT_QUICK_NONE, BFT_QUICK_PART, BFT_QUICK_SPACE, BFT_QUICK_MARK } bft_quick_kind;

typedef struct bft_quick_character {
    uint8_t kind, length; /* PART: of the normal form, 0 where the character is dropped */
    union {
        char bytes[4]; /* PART: the normal form, zeros behind it */
        uint32_t id;   /* MARK: punctuation, which is a word of its own */
    } is;
} bft_quick_character;

/* The table; without one, all texts go the long way. */
typedef struct bft_quick {
    bft_quick_character *characters; /* (BFT_QUICK_CHARACTERS) */
    bool has_runs;                   /* letters and digits, Latin or Cyrillic, have nothing special about them */
} bft_quick;

/* The table stays clear of the added tokens. */
bft_status bft_quick_build(bft_error *err, bft_quick *quick, const bft_normal_form *form, const bft_wordpiece *model,
                           const bft_added_token *added, size_t added_count);
void bft_quick_free(bft_quick *quick);

/* Words as they stand in texts and their pieces, by the words' hashes; and the text in work. Create zeroed. */
typedef struct bft_quick_memory {
    struct bft_quick_entry *entries;
    uint64_t identity; /* of the tokenizer whose words these are */
    bft_buffer text;   /* with spaces behind it */
} bft_quick_memory;

/* Makes the memory hold words of this tokenizer and no other. */
bft_status bft_quick_remember(bft_error *err, bft_quick_memory *memory, uint64_t identity);
void bft_quick_forget(bft_quick_memory *memory);

/* Takes a text to work on. */
bft_status bft_quick_pad(bft_error *err, bft_quick_memory *memory, const char *text, size_t length);

/* Appends the ids of the text from *at on, moving *at up to the end, or to the start of the stretch that must go the
 * long way, or to where `enough` ids are there. */
bft_status bft_quick_encode(bft_error *err, const bft_quick *quick, const bft_wordpiece *model,
                            const bft_quick_memory *memory, size_t *at, size_t enough, bft_ids *ids);

/* Where the stretch that starts at `at` ends: the next space, or the end. */
size_t bft_quick_stretch(const bft_quick *quick, const bft_quick_memory *memory, size_t at);

#endif
