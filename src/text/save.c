/* save.c: writes a tokenizer as the four files of a Hugging Face folder; the same tokenizer gives the same bytes. */
#include "bertft/tokenizer.h"

#include "base/file.h"
#include "text/internal.h"

#include <string.h>

static const char *const role_keys[BFT_ROLES] = {"unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

static const char *truth(bool value) {
    return value ? "true" : "false";
}

static bft_status quote(bft_error *err, bft_buffer *out, bft_text text) {
    return bft_json_quote(err, out, text.data, text.length);
}

/* The text of a role's token; empty where there is none. */
static bft_text role_text(const bft_tokenizer *tokenizer, bft_role role) {
    uint32_t id = tokenizer->roles[role];
    return bft_tokenizer_text(tokenizer, id);
}

/* Whether an id belongs to the model, not only to an added token. */
static bool in_model(const bft_tokenizer *tokenizer, size_t id) {
    bft_text text = bft_tokenizer_text(tokenizer, id);
    return text.data != NULL && bft_vocabulary_find(&tokenizer->vocabulary, text) == id;
}

/* A line a token. An id without a token has an empty line, and so has a token that a line can't hold: having a space
 * in it, it can't be a part of a word, and tokenizer.json has it. */
static bft_status write_vocab(bft_error *err, const bft_tokenizer *tokenizer, bft_buffer *out) {
    size_t end = tokenizer->size;
    while (end > 0 && !in_model(tokenizer, end - 1)) {
        end--;
    }
    for (size_t id = 0; id < end; id++) {
        bft_text text = bft_tokenizer_text(tokenizer, id);
        if (in_model(tokenizer, id) && (text.length == 0 || memchr(text.data, '\n', text.length) == NULL)) {
            BFT_TRY(bft_buffer_append(err, out, text.data, text.length));
        }
        BFT_TRY(bft_buffer_append(err, out, "\n", 1));
    }
    return BFT_OK;
}

static bft_status write_added(bft_error *err, const bft_tokenizer *tokenizer, bft_buffer *out) {
    BFT_TRY(bft_buffer_printf(err, out, "  \"added_tokens\": ["));
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        const bft_added_token *token = &tokenizer->added[i];
        BFT_TRY(bft_buffer_printf(err, out, "%s\n    {\"id\": %u, \"content\": ", i > 0 ? "," : "", token->id));
        BFT_TRY(quote(err, out, token->text));
        BFT_TRY(bft_buffer_printf(err, out,
                                  ", \"single_word\": %s, \"lstrip\": %s, \"rstrip\": %s, \"normalized\": %s, "
                                  "\"special\": %s}",
                                  truth(token->single_word), truth(token->lstrip), truth(token->rstrip),
                                  truth(token->normalized), truth(token->special)));
    }
    return bft_buffer_printf(err, out, "\n  ],\n");
}

static bft_status write_template_item(bft_error *err, bft_buffer *out, const char *kind, bft_text id, int type,
                                      const char *behind) {
    BFT_TRY(bft_buffer_printf(err, out, "{\"%s\": {\"id\": ", kind));
    BFT_TRY(quote(err, out, id));
    return bft_buffer_printf(err, out, ", \"type_id\": %d}}%s", type, behind);
}

static bft_status write_post_processor(bft_error *err, const bft_tokenizer *tokenizer, bft_buffer *out) {
    const bft_text cls = role_text(tokenizer, BFT_CLS), sep = role_text(tokenizer, BFT_SEP);
    static const char *const keys[] = {"single", "pair"};
    BFT_TRY(bft_buffer_printf(err, out, "  \"post_processor\": {\n    \"type\": \"TemplateProcessing\",\n"));
    for (int pair = 0; pair < 2; pair++) {
        BFT_TRY(bft_buffer_printf(err, out, "    \"%s\": [", keys[pair]));
        BFT_TRY(write_template_item(err, out, "SpecialToken", cls, 0, ", "));
        BFT_TRY(write_template_item(err, out, "Sequence", bft_text_of("A"), 0, ", "));
        BFT_TRY(write_template_item(err, out, "SpecialToken", sep, 0, pair ? ", " : ""));
        if (pair) {
            BFT_TRY(write_template_item(err, out, "Sequence", bft_text_of("B"), 1, ", "));
            BFT_TRY(write_template_item(err, out, "SpecialToken", sep, 1, ""));
        }
        BFT_TRY(bft_buffer_printf(err, out, "],\n"));
    }
    BFT_TRY(bft_buffer_printf(err, out, "    \"special_tokens\": {"));
    const bft_role roles[] = {BFT_CLS, BFT_SEP};
    for (int i = 0; i < (bft_text_equal(cls, sep) ? 1 : 2); i++) {
        bft_text text = role_text(tokenizer, roles[i]);
        BFT_TRY(bft_buffer_printf(err, out, "%s\n      ", i > 0 ? "," : ""));
        BFT_TRY(quote(err, out, text));
        BFT_TRY(bft_buffer_printf(err, out, ": {\"id\": "));
        BFT_TRY(quote(err, out, text));
        BFT_TRY(bft_buffer_printf(err, out, ", \"ids\": [%u], \"tokens\": [", tokenizer->roles[roles[i]]));
        BFT_TRY(quote(err, out, text));
        BFT_TRY(bft_buffer_printf(err, out, "]}"));
    }
    return bft_buffer_printf(err, out, "\n    }\n  },\n");
}

static bft_status write_model(bft_error *err, const bft_tokenizer *tokenizer, bft_buffer *out) {
    BFT_TRY(bft_buffer_printf(err, out, "  \"decoder\": {\"type\": \"WordPiece\", \"prefix\": "));
    BFT_TRY(quote(err, out, tokenizer->prefix));
    BFT_TRY(bft_buffer_printf(err, out,
                              ", \"cleanup\": true},\n"
                              "  \"model\": {\n    \"type\": \"WordPiece\",\n    \"unk_token\": "));
    BFT_TRY(quote(err, out, role_text(tokenizer, BFT_UNK)));
    BFT_TRY(bft_buffer_printf(err, out, ",\n    \"continuing_subword_prefix\": "));
    BFT_TRY(quote(err, out, tokenizer->prefix));
    BFT_TRY(bft_buffer_printf(err, out, ",\n    \"max_input_chars_per_word\": %zu,\n    \"vocab\": {",
                              tokenizer->model.longest_word));
    const char *between = "\n      ";
    for (size_t id = 0; id < tokenizer->size; id++) {
        if (in_model(tokenizer, id)) {
            BFT_TRY(bft_buffer_append(err, out, between, strlen(between)));
            BFT_TRY(quote(err, out, bft_tokenizer_text(tokenizer, id)));
            BFT_TRY(bft_buffer_printf(err, out, ": %zu", id));
            between = ",\n      ";
        }
    }
    return bft_buffer_printf(err, out, "\n    }\n  }\n}\n");
}

static bft_status write_tokenizer(bft_error *err, const bft_tokenizer *tokenizer, bft_buffer *out) {
    const bft_normalizer *steps = &tokenizer->form.steps;
    BFT_TRY(bft_buffer_printf(err, out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"));
    BFT_TRY(write_added(err, tokenizer, out));
    BFT_TRY(bft_buffer_printf(err, out,
                              "  \"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": %s, "
                              "\"handle_chinese_chars\": %s, \"strip_accents\": %s, \"lowercase\": %s},\n"
                              "  \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"},\n",
                              truth(steps->clean_text), truth(steps->chinese_chars), truth(steps->strip_accents),
                              truth(steps->lowercase)));
    BFT_TRY(write_post_processor(err, tokenizer, out));
    return write_model(err, tokenizer, out);
}

/* "unk_token": "[UNK]", ... with `null` (when it isn't NULL) for a token that there isn't. */
static bft_status write_roles(bft_error *err, const bft_tokenizer *tokenizer, const char *null, bft_buffer *out) {
    const char *between = "\n  ";
    for (int role = 0; role < BFT_ROLES; role++) {
        bft_text text = role_text(tokenizer, (bft_role)role);
        if (text.data == NULL && null == NULL) {
            continue;
        }
        BFT_TRY(bft_buffer_printf(err, out, "%s\"%s\": ", between, role_keys[role]));
        BFT_TRY(text.data != NULL ? quote(err, out, text) : bft_buffer_append(err, out, null, strlen(null)));
        between = ",\n  ";
    }
    return BFT_OK;
}

/* BertTokenizer of transformers always cleans, and knows no other prefix and word length than BERT's; the class that
 * takes all from tokenizer.json does for the rest. */
static const char *tokenizer_class(const bft_tokenizer *tokenizer) {
    bool bert = tokenizer->form.steps.clean_text && tokenizer->model.longest_word == 100 &&
                bft_text_equal(tokenizer->prefix, bft_text_of("##"));
    return bert ? "BertTokenizer" : "PreTrainedTokenizerFast";
}

static bft_status write_config(bft_error *err, const bft_tokenizer *tokenizer, bft_buffer *out) {
    const bft_normalizer *steps = &tokenizer->form.steps;
    BFT_TRY(bft_buffer_printf(err, out, "{"));
    BFT_TRY(write_roles(err, tokenizer, "null", out));
    BFT_TRY(bft_buffer_printf(err, out,
                              ",\n  \"do_lower_case\": %s,\n  \"strip_accents\": %s,\n"
                              "  \"tokenize_chinese_chars\": %s,\n  \"tokenizer_class\": \"%s\",\n"
                              "  \"model_max_length\": ",
                              truth(steps->lowercase), truth(steps->strip_accents), truth(steps->chinese_chars),
                              tokenizer_class(tokenizer)));
    BFT_TRY(tokenizer->max_length == SIZE_MAX /* as transformers writes int(1e30) */
                ? bft_buffer_printf(err, out, "1000000000000000019884624838656")
                : bft_buffer_printf(err, out, "%zu", tokenizer->max_length));
    return bft_buffer_printf(err, out, "\n}\n");
}

static bft_status write_map(bft_error *err, const bft_tokenizer *tokenizer, bft_buffer *out) {
    BFT_TRY(bft_buffer_printf(err, out, "{"));
    BFT_TRY(write_roles(err, tokenizer, NULL, out));
    return bft_buffer_printf(err, out, "\n}\n");
}

bft_status bft_tokenizer_save(bft_error *err, const bft_tokenizer *tokenizer, const char *folder) {
    static const struct {
        const char *name;
        bft_status (*write)(bft_error *err, const bft_tokenizer *tokenizer, bft_buffer *out);
    } files[] = {{"vocab.txt", write_vocab},
                 {"tokenizer.json", write_tokenizer},
                 {"tokenizer_config.json", write_config},
                 {"special_tokens_map.json", write_map}};
    bft_buffer path = {0}, text = {0};
    bft_status status = bft_directory_create(err, folder);
    for (size_t i = 0; i < sizeof files / sizeof *files && status == BFT_OK; i++) {
        bft_buffer_clear(&text);
        status = files[i].write(err, tokenizer, &text);
        if (status == BFT_OK) {
            status = bft_path_join(err, &path, folder, files[i].name);
        }
        if (status == BFT_OK) {
            status = bft_file_write(err, path.data, text.data, text.length);
        }
    }
    bft_buffer_free(&path);
    bft_buffer_free(&text);
    return status;
}
