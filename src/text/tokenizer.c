/* tokenizer.c: from a text, or two, to ids: the public face of a tokenizer that is made. */
#include "bertft/tokenizer.h"

#include "base/utf8.h"
#include "text/internal.h"

#include <stdlib.h>
#include <string.h>

struct bft_encoding_scratch {
    bft_buffer valid;       /* the text with its broken UTF-8 replaced */
    bft_normal_text normal; /* the normal form of a stretch between added tokens */
    bft_quick_memory memory;
    bft_ids ids;
    uint8_t *types;
    size_t types_capacity;
};

static bft_status append_id(bft_error *err, bft_ids *ids, uint32_t id) {
    BFT_TRY(bft_ids_reserve(err, ids, 1));
    ids->data[ids->count++] = id;
    return BFT_OK;
}

/* A stretch without added tokens of the plain kind. */
static bft_status encode_stretch(bft_error *err, const bft_tokenizer *tokenizer, const char *text, size_t length,
                                 size_t enough, struct bft_encoding_scratch *scratch) {
    BFT_TRY(bft_normalize(err, &tokenizer->form, text, length, &scratch->normal));
    const char *normal = scratch->normal.text.data;
    bft_added_search search = {0};
    const bft_added_token *token;
    do {
        token = bft_added_next(&tokenizer->normal, normal, scratch->normal.text.length, &search);
        if (search.gap < search.start) {
            BFT_TRY(bft_wordpiece_encode(err, &tokenizer->model, normal + search.gap, search.start - search.gap, enough,
                                         &scratch->ids));
        }
        if (token != NULL) {
            BFT_TRY(append_id(err, &scratch->ids, token->id));
        }
    } while (token != NULL && scratch->ids.count < enough);
    return BFT_OK;
}

/* Appends the ids of a text the long way; may stop once `enough` ids are there. */
static bft_status encode_slowly(bft_error *err, const bft_tokenizer *tokenizer, const char *text, size_t length,
                                size_t enough, struct bft_encoding_scratch *scratch) {
    BFT_TRY(bft_utf8_repair(err, &text, &length, &scratch->valid));
    bft_added_search search = {0};
    const bft_added_token *token;
    do {
        token = bft_added_next(&tokenizer->plain, text, length, &search);
        if (search.gap < search.start) {
            BFT_TRY(encode_stretch(err, tokenizer, text + search.gap, search.start - search.gap, enough, scratch));
        }
        if (token != NULL) {
            BFT_TRY(append_id(err, &scratch->ids, token->id));
        }
    } while (token != NULL && scratch->ids.count < enough);
    return BFT_OK;
}

/* Appends the ids of a text; may stop once `enough` ids are there. */
static bft_status encode_text(bft_error *err, const bft_tokenizer *tokenizer, const char *text, size_t length,
                              size_t enough, struct bft_encoding_scratch *scratch) {
    const bft_quick *quick = &tokenizer->quick;
    if (quick->characters == NULL) {
        return encode_slowly(err, tokenizer, text, length, enough, scratch);
    }
    BFT_TRY(bft_quick_remember(err, &scratch->memory, tokenizer->identity));
    BFT_TRY(bft_quick_pad(err, &scratch->memory, text, length));
    for (size_t at = 0; at < length && scratch->ids.count < enough;) {
        BFT_TRY(bft_quick_encode(err, quick, &tokenizer->model, &scratch->memory, &at, enough, &scratch->ids));
        if (at < length && scratch->ids.count < enough) {
            size_t end = bft_quick_stretch(quick, &scratch->memory, at);
            BFT_TRY(encode_slowly(err, tokenizer, text + at, end - at, enough, scratch));
            at = end;
        }
    }
    return BFT_OK;
}

/* How much of two sequences stays within `room`, as tokenizers' longest_first has it. */
static void share_room(size_t room, size_t *first, size_t *second) {
    if (*first <= room && *second <= room - *first) {
        return;
    }
    bool swapped = *first > *second;
    size_t shorter = swapped ? *second : *first;
    size_t longer = shorter > room || room - shorter < shorter ? shorter : room - shorter;
    if (shorter > room || longer > room - shorter) {
        shorter = room / 2;
        longer = shorter + room % 2;
    }
    *first = swapped ? longer : shorter;
    *second = swapped ? shorter : longer;
}

/* Makes [CLS] first [SEP] second [SEP] of [CLS] first second, cut to fit; *first is the length of the first one. */
static bft_status join_pair(bft_error *err, const bft_tokenizer *tokenizer, size_t room, size_t *first, bft_ids *ids) {
    BFT_TRY(bft_ids_reserve(err, ids, 2));
    const size_t whole = *first;
    size_t second = ids->count - 1 - whole;
    share_room(room, first, &second);
    memmove(ids->data + 1 + *first + 1, ids->data + 1 + whole, second * sizeof *ids->data);
    ids->count = 1 + *first + 1 + second + 1;
    ids->data[1 + *first] = ids->data[ids->count - 1] = tokenizer->roles[BFT_SEP];
    return BFT_OK;
}

static bft_status set_types(bft_error *err, struct bft_encoding_scratch *scratch, size_t count, size_t first) {
    if (count > scratch->types_capacity) {
        uint8_t *types = realloc(scratch->types, scratch->ids.capacity);
        if (types == NULL) {
            return bft_error_memory(err, scratch->ids.capacity);
        }
        scratch->types = types;
        scratch->types_capacity = scratch->ids.capacity;
    }
    memset(scratch->types, 0, first);
    memset(scratch->types + first, 1, count - first);
    return BFT_OK;
}

bft_status bft_tokenizer_encode(bft_error *err, const bft_tokenizer *tokenizer, const char *text, size_t length,
                                const char *second, size_t second_length, size_t limit, bft_encoding *encoding) {
    size_t special = second != NULL ? 3 : 2;
    if (limit != 0 && limit < special) {
        return bft_error_set(err, BFT_BAD, "a limit of %zu ids has no room for %zu special tokens", limit, special);
    }
    if (encoding->scratch == NULL) {
        encoding->scratch = calloc(1, sizeof *encoding->scratch);
        if (encoding->scratch == NULL) {
            return bft_error_memory(err, sizeof *encoding->scratch);
        }
    }
    struct bft_encoding_scratch *scratch = encoding->scratch;
    bft_ids *ids = &scratch->ids;
    size_t room = limit == 0 ? SIZE_MAX : limit - special;
    ids->count = 0;
    BFT_TRY(append_id(err, ids, tokenizer->roles[BFT_CLS]));
    size_t types_from;
    if (second == NULL) {
        BFT_TRY(encode_text(err, tokenizer, text, length, limit == 0 ? SIZE_MAX : room + 1, scratch));
        ids->count = ids->count - 1 > room ? room + 1 : ids->count;
        BFT_TRY(append_id(err, ids, tokenizer->roles[BFT_SEP]));
        types_from = ids->count;
    } else { /* which one is cut depends on both whole lengths */
        BFT_TRY(encode_text(err, tokenizer, text, length, SIZE_MAX, scratch));
        size_t first = ids->count - 1;
        BFT_TRY(encode_text(err, tokenizer, second, second_length, SIZE_MAX, scratch));
        BFT_TRY(join_pair(err, tokenizer, room, &first, ids));
        types_from = 1 + first + 1;
    }
    BFT_TRY(set_types(err, scratch, ids->count, types_from));
    encoding->ids = ids->data;
    encoding->types = scratch->types;
    encoding->count = ids->count;
    return BFT_OK;
}

void bft_encoding_free(bft_encoding *encoding) {
    if (encoding->scratch != NULL) {
        bft_buffer_free(&encoding->scratch->valid);
        bft_normal_text_free(&encoding->scratch->normal);
        bft_quick_forget(&encoding->scratch->memory);
        free(encoding->scratch->ids.data);
        free(encoding->scratch->types);
        free(encoding->scratch);
    }
    *encoding = (bft_encoding){0};
}

void bft_tokenizer_destroy(bft_tokenizer *tokenizer) {
    if (tokenizer == NULL) {
        return;
    }
    bft_vocabulary_free(&tokenizer->vocabulary);
    bft_added_set_free(&tokenizer->plain);
    bft_added_set_free(&tokenizer->normal);
    bft_quick_free(&tokenizer->quick);
    bft_arena_free(&tokenizer->arena);
    free(tokenizer);
}

size_t bft_tokenizer_size(const bft_tokenizer *tokenizer) {
    return tokenizer->size;
}

size_t bft_tokenizer_max_length(const bft_tokenizer *tokenizer) {
    return tokenizer->max_length;
}

const char *bft_tokenizer_token(const bft_tokenizer *tokenizer, uint32_t id) {
    return bft_tokenizer_text(tokenizer, id).data;
}

static bool starts_with(bft_text text, bft_text start) {
    return text.length >= start.length && memcmp(text.data, start.data, start.length) == 0;
}

void bft_tokenizer_pieces(const bft_tokenizer *tokenizer, uint8_t *pieces) {
    bft_text unused = bft_text_of("[unused");
    for (size_t id = 0; id < tokenizer->size; id++) {
        bft_text text = bft_tokenizer_text(tokenizer, id);
        bool tail = text.data != NULL && text.length > tokenizer->prefix.length && starts_with(text, tokenizer->prefix);
        bool none = text.data == NULL || starts_with(text, unused);
        pieces[id] = none ? BFT_PIECE_NONE : tail ? BFT_PIECE_TAIL : BFT_PIECE_WORD;
    }
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        if (tokenizer->added[i].special) {
            pieces[tokenizer->added[i].id] = BFT_PIECE_NONE;
        }
    }
    for (size_t role = 0; role < BFT_ROLES; role++) {
        if (tokenizer->roles[role] != BFT_NO_ID) {
            pieces[tokenizer->roles[role]] = BFT_PIECE_NONE;
        }
    }
}

bool bft_tokenizer_mask(const bft_tokenizer *tokenizer, uint32_t *id) {
    *id = tokenizer->roles[BFT_MASK];
    return *id != BFT_NO_ID;
}
