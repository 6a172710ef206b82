/* vocab.c: `bertft vocab`: text in, the folder of a tokenizer out. */
#include "cli/commands.h"

#include "base/file.h"
#include "base/lines.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/utf8.h"
#include "bertft/vocab.h"
#include "cli/options.h"
#include "cli/output.h"
#include "data/rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_LINE = 16 << 20, MOST_FILES = 1 << 20 };

static const char help[] =
    "usage: bertft vocab -o DIR [OPTION]... [FILE]...\n"
    "\n"
    "Learns a WordPiece vocabulary from text and writes a tokenizer to DIR: vocab.txt, tokenizer.json and their "
    "settings.\n"
    "A FILE is plain text, or rows with a column of text where its name ends in .csv, .tsv or .jsonl; each may be "
    "gzipped.\n"
    "Without one, plain text is read from stdin. The same text gives the same vocabulary.\n"
    "\n"
    "  -o DIR            the folder to write\n"
    "  --overwrite       replace the vocabulary that DIR holds\n"
    "  --size N          tokens at most, the five special ones among them; 30522\n"
    "  --min-count N     pieces that stand in the text less often aren't joined; 2\n"
    "  --alphabet N      different characters at most, the most frequent ones; 1000\n"
    "  --cased           capitals stay; without it text is read in lower case (--uncased)\n"
    "  --strip-accents   é is read as e; so it is without --cased, and with it this asks for it\n"
    "  --keep-accents    é stays, and so do ё and й, without --cased too\n"
    "  --no-chinese      Chinese characters aren't words by themselves\n"
    "  --text COLUMN     the column of text, by its name, or by its number from 0 where there is no header; text\n"
    "\n"
    "  bertft vocab -o models/words messages.txt.gz reviews.csv\n"
    "  bertft vocab -o models/words --cased --size 8000 --text 0 data/support-ru/train.tsv\n"
    "  bertft tokenize -m models/words --tokens < messages.txt\n";

typedef struct command {
    const char *folder, *size, *min_count, *alphabet, *column;
    bool overwrite, cased, uncased, strip_accents, keep_accents, no_chinese;
    bft_learner *learner;
    bft_progress_bar bar;
    size_t texts, file, files; /* read so far; the number of the file that is read, from 0 */
} command;

/* ---- Options ---- */

static bft_status parse_number(bft_error *err, const char *option, const char *text, size_t least, size_t *number) {
    if (text == NULL) {
        return BFT_OK;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value < least || value > SIZE_MAX / 2) {
        return bft_error_set(err, BFT_BAD, "vocab: %s is a number from %zu, not '%s'", option, least, text);
    }
    *number = (size_t)value;
    return BFT_OK;
}

static bft_status make_setup(bft_error *err, const command *c, bft_learner_setup *setup) {
    if ((c->cased && c->uncased) || (c->strip_accents && c->keep_accents)) {
        return bft_error_set(err, BFT_BAD, "vocab: %s go against each other",
                             c->cased && c->uncased ? "--cased and --uncased" : "--strip-accents and --keep-accents");
    }
    *setup = bft_learner_defaults();
    setup->normalizer.lowercase = !c->cased;
    setup->normalizer.strip_accents = c->strip_accents || (!c->cased && !c->keep_accents); /* as strip_accents: null */
    setup->normalizer.chinese_chars = !c->no_chinese;
    BFT_TRY(parse_number(err, "--size", c->size, 6, &setup->size));
    BFT_TRY(parse_number(err, "--min-count", c->min_count, 1, &setup->min_count));
    return parse_number(err, "--alphabet", c->alphabet, 1, &setup->alphabet);
}

/* Makes the folder before the work, which would be in vain where that can't be done. */
static bft_status make_folder(bft_error *err, const command *c) {
    static const char *const names[] = {"vocab.txt", "tokenizer.json", "model.safetensors", "pytorch_model.bin"};
    bft_buffer path = {0};
    bft_status status = BFT_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && status == BFT_OK; i++) {
        status = bft_path_join(err, &path, c->folder, names[i]);
        if (status != BFT_OK || !bft_file_exists(path.data)) {
            continue;
        }
        if (i >= 2) { /* its word embeddings would be those of other tokens */
            status = bft_error_set(
                err, BFT_BAD, "%s: holds a model, whose vocabulary stays as it is; name another folder", c->folder);
        } else if (!c->overwrite) {
            status = bft_error_set(err, BFT_BAD, "%s: holds a vocabulary already; --overwrite replaces it", c->folder);
        }
    }
    bft_buffer_free(&path);
    return status == BFT_OK ? bft_directory_create(err, c->folder) : status;
}

/* ---- Reading ---- */

static bft_status take(bft_error *err, command *c, const char *text, size_t length) {
    BFT_TRY(bft_learner_add(err, c->learner, text, length));
    if (++c->texts % 1024 == 0) {
        char line[64];
        snprintf(line, sizeof line, "files; %zu texts", c->texts);
        bft_progress_show(&c->bar, c->file, c->files, line);
    }
    return BFT_OK;
}

/* Plain text. What is wrong with lines is said once a file. */
static bft_status read_lines(bft_error *err, command *c, bft_lines *lines) {
    bool warned_cut = false, warned_bytes = false, more = true;
    for (;;) {
        char *line;
        size_t length;
        bool cut;
        BFT_TRY(bft_lines_next(err, lines, &line, &length, &cut, &more));
        if (!more) {
            return BFT_OK;
        }
        if ((cut && !warned_cut) || (!cut && !warned_bytes && !bft_utf8_valid(line, length))) {
            bft_progress_clear(&c->bar);
        }
        if (cut && !warned_cut) {
            warned_cut = true;
            bft_log_warning("%s:%zu: the line is longer than %d bytes; it and others like it are read up to there",
                            bft_lines_name(lines), bft_lines_number(lines), LONGEST_LINE);
        } else if (!cut && !warned_bytes && !bft_utf8_valid(line, length)) {
            warned_bytes = true;
            bft_log_warning("%s:%zu: isn't UTF-8; bytes that aren't are left out, here and in other lines; "
                            "`iconv -f CP1251 -t UTF-8` converts text from Windows",
                            bft_lines_name(lines), bft_lines_number(lines));
        }
        BFT_TRY(take(err, c, line, length));
    }
}

static bft_status read_plain(bft_error *err, command *c, const char *path) {
    bft_lines *lines;
    BFT_TRY(bft_lines_open(err, &lines, path, LONGEST_LINE));
    bft_status status = read_lines(err, c, lines);
    bft_lines_close(lines);
    return status;
}

static bft_status configure(bft_error *err, const command *c, bft_config *config) {
    char *words[] = {"DATA.TEXT", (char *)(uintptr_t)(c->column != NULL ? c->column : "text")};
    return bft_config_merge_pairs(err, config, sizeof words / sizeof *words, words);
}

static bft_status read_rows(bft_error *err, command *c, const char *path, const bft_config *config) {
    bft_rows *rows;
    BFT_TRY(bft_rows_open(err, &rows, path, config, false));
    bft_status status = BFT_OK;
    for (bool more = true; more && status == BFT_OK;) {
        bft_row row;
        status = bft_rows_next(err, rows, &row, &more);
        if (status == BFT_OK && more) {
            status = take(err, c, row.text.bytes, row.text.length);
        }
    }
    bft_rows_close(rows);
    return status;
}

static bft_status read_files(bft_error *err, command *c, size_t count, char *const *paths) {
    bft_config *config = NULL;
    BFT_TRY(bft_config_create(err, &config));
    bft_status status = configure(err, c, config);
    c->bar = bft_progress_start(0);
    c->files = count;
    for (c->file = 0; c->file < count && status == BFT_OK; c->file++) {
        const char *path = paths[c->file];
        status = bft_rows_have_columns(path) ? read_rows(err, c, path, config) : read_plain(err, c, path);
    }
    bft_progress_clear(&c->bar);
    bft_config_destroy(config);
    return status;
}

/* ---- Learning ---- */

static void show(void *context, size_t tokens, size_t size) {
    command *c = context;
    bft_progress_show(&c->bar, tokens, size, "tokens");
}

static void report(const command *c, const bft_tokenizer *tokenizer, size_t wanted) {
    bft_learner_counts counts = bft_learner_count(c->learner);
    size_t size = bft_tokenizer_size(tokenizer);
    if (counts.left_out > 0) {
        bft_log_warning("%llu words of more than 100 characters were left out", (unsigned long long)counts.left_out);
    }
    bft_log_info("%s: written: %zu tokens, from %llu words (%zu different) of %zu texts", c->folder, size,
                 (unsigned long long)counts.words, counts.different, c->texts);
    if (size < wanted) {
        bft_log_info("%zu were asked for, but no more pieces are frequent enough (--min-count)", wanted);
    }
}

static bft_status learn(bft_error *err, command *c, const bft_learner_setup *setup) {
    bft_tokenizer *tokenizer = NULL;
    c->bar = bft_progress_start(0);
    bft_status status = bft_learner_finish(err, c->learner, &(bft_learner_progress){show, c}, &tokenizer);
    bft_progress_clear(&c->bar);
    if (status == BFT_OK) {
        status = bft_tokenizer_save(err, tokenizer, c->folder);
    }
    if (status == BFT_OK) {
        report(c, tokenizer, setup->size);
    }
    bft_tokenizer_destroy(tokenizer);
    return status;
}

bft_status bft_command_vocab(bft_error *err, int argc, char **argv) {
    command c = {0};
    const bft_option options[] = {{"-o", NULL, &c.folder, NULL},
                                  {"--overwrite", &c.overwrite, NULL, NULL},
                                  {"--size", NULL, &c.size, NULL},
                                  {"--min-count", NULL, &c.min_count, NULL},
                                  {"--alphabet", NULL, &c.alphabet, NULL},
                                  {"--cased", &c.cased, NULL, NULL},
                                  {"--uncased", &c.uncased, NULL, NULL},
                                  {"--strip-accents", &c.strip_accents, NULL, NULL},
                                  {"--keep-accents", &c.keep_accents, NULL, NULL},
                                  {"--no-chinese", &c.no_chinese, NULL, NULL},
                                  {"--text", NULL, &c.column, NULL}};
    const bft_usage usage = {.name = "vocab",
                             .options = options,
                             .option_count = sizeof options / sizeof *options,
                             .most = MOST_FILES,
                             .expected = "[FILE]..."};
    bft_arguments arguments;
    BFT_TRY(bft_options_parse(err, &usage, argc, argv, &arguments));
    if (arguments.help) {
        return bft_output_print(err, help);
    }
    if (c.folder == NULL) {
        return bft_error_set(err, BFT_BAD, "vocab: -o DIR is missing; `bertft vocab --help` says more");
    }
    bft_learner_setup setup;
    BFT_TRY(make_setup(err, &c, &setup));
    BFT_TRY(make_folder(err, &c));
    BFT_TRY(bft_learner_create(err, &c.learner, &setup));
    char *standard[] = {"-"};
    bool named = arguments.word_count > 0;
    bft_status status = read_files(err, &c, named ? arguments.word_count : 1, named ? arguments.words : standard);
    if (status == BFT_OK) {
        status = learn(err, &c, &setup);
    }
    bft_learner_destroy(c.learner);
    return status;
}
