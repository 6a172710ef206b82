/* fuzz_dialog.c: dialogue text, line by line, as predict reads it. */
#include "bertft/data.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One line in a block of its exact size. A turn must lie inside it, and end with a NUL. */
static bft_speaker try_line(const bft_dialog_format *format, const uint8_t *bytes, size_t length,
                            bft_speaker previous) {
    char *line = malloc(length + 1);
    bft_turn turn;
    if (line == NULL) {
        abort();
    }
    memcpy(line, bytes, length);
    line[length] = '\0';
    bft_speaker speaker = BFT_CLIENT;
    if (bft_dialog_line(format, line, length, previous, &turn)) {
        if (turn.text < line || turn.text + turn.length > line + length || turn.text[turn.length] != '\0' ||
            (turn.name == NULL ? turn.speaker != previous : turn.name + strlen(turn.name) >= turn.text)) {
            abort();
        }
        speaker = turn.speaker;
    }
    free(line);
    return speaker;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bft_dialog_format *format;
    if (format == NULL) {
        bft_error err;
        bft_config *config;
        if (bft_config_create(&err, &config) != BFT_OK || bft_dialog_format_create(&err, &format, config) != BFT_OK) {
            abort();
        }
        bft_config_destroy(config);
    }
    bft_speaker previous = BFT_CLIENT;
    for (size_t start = 0; start < size;) {
        const uint8_t *newline = memchr(data + start, '\n', size - start);
        size_t length = newline != NULL ? (size_t)(newline - data) - start : size - start;
        previous = try_line(format, data + start, length, previous);
        start += length + 1;
    }
    return 0;
}
