/* source.c: lines, or the texts of JSON lines. */
#include "cli/source.h"

#include "base/json.h"
#include "base/log.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

const char *const bft_source_inputs[] = {"text", "jsonl", NULL};

bft_status bft_source_open(bft_error *err, bft_source *source, const char *path, const char *input, size_t longest) {
    *source = (bft_source){.jsonl = input != NULL && strcmp(input, "jsonl") == 0, .longest = longest};
    return bft_lines_open(err, &source->lines, path != NULL ? path : "-", longest);
}

void bft_source_close(bft_source *source) {
    bft_lines_close(source->lines);
    free(source->copy);
    *source = (bft_source){0};
}

static bft_status text_of_object(bft_error *err, bft_source *source, const char *line, size_t line_length, char **text,
                                 size_t *length) {
    const char *name = bft_lines_name(source->lines);
    size_t number = bft_lines_number(source->lines);
    json_t *object = NULL;
    if (strspn(line, " \t\r") == line_length) {
        return bft_error_set(err, BFT_BAD,
                             "%s:%zu: the line is blank; an object with a string \"text\" is expected, "
                             "{\"text\": \"\"} for an empty one",
                             name, number);
    }
    BFT_TRY(bft_json_parse(err, name, number, line, line_length, &object));
    json_t *value = json_object_get(object, "text");
    if (!json_is_string(value)) {
        json_decref(object);
        return bft_error_set(err, BFT_BAD, "%s:%zu: an object with a string \"text\" is expected", name, number);
    }
    *length = json_string_length(value);
    free(source->copy);
    source->copy = malloc(*length + 1);
    if (source->copy != NULL) {
        memcpy(source->copy, json_string_value(value), *length + 1);
    }
    json_decref(object);
    *text = source->copy;
    return source->copy != NULL ? BFT_OK : bft_error_memory(err, *length + 1);
}

/* The next text; *more false: the end. */
static bft_status next_text(bft_error *err, bft_source *source, char **text, size_t *length, bool *more) {
    bool cut;
    BFT_TRY(bft_lines_next(err, source->lines, text, length, &cut, more));
    if (!*more) {
        return BFT_OK;
    }
    if (cut && source->jsonl) {
        return bft_error_set(err, BFT_BAD, "%s:%zu: the line is longer than %zu bytes", bft_lines_name(source->lines),
                             bft_lines_number(source->lines), source->longest);
    }
    if (cut && !source->warned_line) {
        source->warned_line = true;
        bft_log_warning("%s:%zu: the line is longer than %zu bytes; it and others like it are cut there",
                        bft_lines_name(source->lines), bft_lines_number(source->lines), source->longest);
    }
    if (!source->jsonl && !cut && !source->warned_bytes && !bft_utf8_valid(*text, *length)) {
        source->warned_bytes = true;
        bft_log_warning("%s:%zu: isn't UTF-8; bytes that aren't are read as U+FFFD, here and in other lines; "
                        "`iconv -f CP1251 -t UTF-8` converts text from Windows",
                        bft_lines_name(source->lines), bft_lines_number(source->lines));
    }
    return source->jsonl ? text_of_object(err, source, *text, *length, text, length) : BFT_OK;
}

static bft_status settle_and_flush(bft_error *err, bft_output *output, const bft_reader *reader) {
    BFT_TRY(reader->settle(err, reader->command));
    return bft_output_flush(err, output);
}

bft_status bft_source_read(bft_error *err, bft_source *source, bft_output *output, const bft_reader *reader) {
    while (!output->closed) {
        if (bft_lines_would_block(source->lines)) {
            BFT_TRY(settle_and_flush(err, output, reader));
        }
        char *text;
        size_t length;
        bool more;
        bft_status status = next_text(err, source, &text, &length, &more);
        if (status != BFT_OK) {
            bft_error later; /* what was read before the bad line is still answered */
            settle_and_flush(&later, output, reader);
            return status;
        }
        if (!more) {
            break;
        }
        BFT_TRY(reader->take(err, reader->command, text, length));
    }
    return settle_and_flush(err, output, reader);
}

void bft_source_warn_cut(bft_source *source, size_t limit) {
    if (!source->warned_text) {
        source->warned_text = true;
        bft_log_warning("%s:%zu: the text is longer than %zu tokens; it and others like it are read up to there",
                        bft_lines_name(source->lines), bft_lines_number(source->lines), limit);
    }
}
