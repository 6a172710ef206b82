/* vocab.c: vocab.txt: a token a line, the line's number from 0 its id. */
#include "text/recipe.h"

#include "base/file.h"
#include "base/utf8.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

/* The length without the spaces at the end (tokenizers cuts them off, a CR among them). */
static size_t trimmed(const char *line, size_t length) {
    while (length > 0) {
        size_t last = bft_unicode_last(line, length);
        uint32_t scalar;
        bft_unicode_next(line + last, &scalar);
        if ((bft_unicode_flags(scalar) & BFT_SPACE) == 0) {
            break;
        }
        length = last;
    }
    return length;
}

static size_t count_lines(const char *text, size_t length) {
    size_t lines = length > 0 && text[length - 1] != '\n';
    for (size_t i = 0; i < length; i++) {
        lines += text[i] == '\n';
    }
    return lines;
}

static bft_status read_entries(bft_error *err, bft_recipe *recipe, const char *text, size_t length) {
    size_t lines = count_lines(text, length);
    if (lines > BFT_MOST_TOKENS) {
        return bft_error_set(err, BFT_BAD, "%s: has %zu lines, a vocabulary of at most %d is supported", recipe->source,
                             lines, BFT_MOST_TOKENS);
    }
    recipe->entries = calloc(lines + 1, sizeof *recipe->entries);
    if (recipe->entries == NULL) {
        return bft_error_memory(err, lines * sizeof *recipe->entries);
    }
    for (size_t line = 0, at = 0; line < lines; line++) {
        const char *start = text + at, *end = memchr(start, '\n', length - at);
        size_t taken = end != NULL ? (size_t)(end - start) : length - at;
        if (!bft_utf8_valid(start, taken)) {
            return bft_error_set(err, BFT_BAD, "%s:%zu: is not UTF-8", recipe->source, line + 1);
        }
        recipe->entries[line] = (bft_entry){{start, trimmed(start, taken)}, (uint32_t)line};
        at += taken + 1;
    }
    recipe->entry_count = lines;
    return BFT_OK;
}

bft_status bft_recipe_read_vocab(bft_error *err, bft_recipe *recipe, bft_buffer *text) {
    if (bft_recipe_open_cache(recipe)) {
        return BFT_OK;
    }
    BFT_TRY(bft_file_read(err, recipe->source, BFT_TOKENIZER_FILE_LIMIT, text));
    return read_entries(err, recipe, text->data, text->length);
}

bft_status bft_tokenizer_from_vocab(bft_error *err, bft_tokenizer **out, const char *path, bft_normalizer normalizer) {
    bft_buffer text = {0};
    bft_recipe recipe = bft_recipe_create(path);
    recipe.normalizer = normalizer;
    bft_status status = bft_recipe_read_vocab(err, &recipe, &text);
    for (int role = 0; role < BFT_ROLES && status == BFT_OK; role++) {
        status = bft_recipe_add(err, &recipe, (bft_added_token){.text = recipe.roles[role], .special = true});
    }
    if (status == BFT_OK) {
        status = bft_tokenizer_make(err, out, &recipe);
    }
    bft_recipe_free(&recipe);
    bft_buffer_free(&text);
    return status;
}
