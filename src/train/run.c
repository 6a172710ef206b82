/* run.c: making, finding and logging into a run's folder. */
#include "train/run.h"

#include "base/file.h"
#include "base/json.h"
#include "base/lines.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LONGEST_LINE = 1 << 20 };

static bft_status joined(bft_error *err, const char *folder, const char *name, char **out) {
    bft_buffer path = {0};
    bft_status status = bft_path_join(err, &path, folder, name);
    *out = path.data; /* ours to free */
    return status;
}

static bft_status set_paths(bft_error *err, bft_run *run, const char *folder) {
    BFT_TRY(joined(err, "", folder, &run->folder));
    BFT_TRY(joined(err, folder, "model.safetensors", &run->model));
    return joined(err, folder, "checkpoint/last", &run->checkpoint);
}

static bft_status open_metrics(bft_error *err, bft_run *run, const char *mode) {
    char *path = NULL;
    bft_status status = joined(err, run->folder, "metrics.jsonl", &path);
    if (status == BFT_OK) {
        run->metrics = fopen(path, mode);
        if (run->metrics == NULL) {
            status = bft_error_errno(err, BFT_FAILED, "%s: cannot open for writing", path);
        }
    }
    free(path);
    return status;
}

static bft_status remove_old(bft_error *err, const char *folder) {
    static const char *const names[] = {"model.safetensors", "metrics.jsonl", "checkpoint/last"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = NULL;
        BFT_TRY(joined(err, folder, names[i], &path));
        bool gone = unlink(path) == 0 || errno == ENOENT;
        bft_status status = gone ? BFT_OK : bft_error_errno(err, BFT_FAILED, "%s: cannot remove", path);
        free(path);
        BFT_TRY(status);
    }
    return BFT_OK;
}

static bft_status write_config(bft_error *err, const char *path, const bft_config *config) {
    bft_buffer text = {0};
    bft_status status = bft_config_dump(err, config, false, &text);
    if (status == BFT_OK) {
        status = bft_file_write(err, path, text.data, text.length);
    }
    bft_buffer_free(&text);
    return status;
}

static bft_status has(bft_error *err, const char *folder, const char *name, bool *there) {
    char *path = NULL;
    BFT_TRY(joined(err, folder, name, &path));
    *there = bft_file_exists(path);
    free(path);
    return BFT_OK;
}

bft_status bft_run_check(bft_error *err, const char *folder, const char *source, bool overwrite) {
    static const char *const models[] = {"config.json", "model.safetensors", "pytorch_model.bin"};
    if (bft_same_file(folder, source)) {
        return bft_error_set(err, BFT_BAD, "OUTPUT_DIR %s: is the folder that the run starts from; name another",
                             folder);
    }
    bool is_run, is_model = false;
    BFT_TRY(has(err, folder, "config.yaml", &is_run));
    for (size_t i = 0; i < sizeof models / sizeof *models && !is_run && !is_model; i++) {
        BFT_TRY(has(err, folder, models[i], &is_model));
    }
    if (is_model) {
        return bft_error_set(err, BFT_BAD, "OUTPUT_DIR %s: holds a model that is not a run of bertft; name another",
                             folder);
    }
    if (is_run && !overwrite) {
        return bft_error_set(err, BFT_BAD,
                             "%s: holds a run already; --overwrite replaces it, `bertft train --resume %s` goes on, "
                             "another OUTPUT_DIR keeps both",
                             folder, folder);
    }
    return BFT_OK;
}

/* Removes what writers leave when they are killed: NAME.tmp.PID, see base/file.h. */
static void remove_leftovers(const char *folder) {
    DIR *directory = opendir(folder);
    struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        const char *tail = strstr(entry->d_name, ".tmp.");
        if (tail != NULL && tail[5 + strspn(tail + 5, "0123456789")] == '\0') {
            unlinkat(dirfd(directory), entry->d_name, 0);
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
}

static bft_status clean(bft_error *err, const char *folder) {
    char *checkpoints = NULL;
    BFT_TRY(joined(err, folder, "checkpoint", &checkpoints));
    remove_leftovers(folder);
    remove_leftovers(checkpoints);
    free(checkpoints);
    return BFT_OK;
}

static bft_status fill_folder(bft_error *err, bft_run *run, const bft_config *config) {
    char *checkpoints = NULL, *config_path = NULL;
    bft_status status = joined(err, run->folder, "checkpoint", &checkpoints);
    if (status == BFT_OK) {
        status = joined(err, run->folder, "config.yaml", &config_path);
    }
    if (status == BFT_OK) {
        status = bft_directory_create(err, checkpoints);
    }
    if (status == BFT_OK) {
        status = remove_old(err, run->folder);
    }
    if (status == BFT_OK) {
        status = clean(err, run->folder);
    }
    if (status == BFT_OK) {
        status = write_config(err, config_path, config);
    }
    free(checkpoints);
    free(config_path);
    return status == BFT_OK ? open_metrics(err, run, "we") : status;
}

bft_status bft_run_create(bft_error *err, bft_run *run, const char *folder, const bft_config *config) {
    *run = (bft_run){0};
    BFT_TRY(set_paths(err, run, folder));
    return fill_folder(err, run, config);
}

bft_status bft_run_open(bft_error *err, bft_run *run, const char *folder) {
    *run = (bft_run){0};
    BFT_TRY(set_paths(err, run, folder));
    return clean(err, folder);
}

void bft_run_close(bft_run *run) {
    if (run->metrics != NULL) {
        fclose(run->metrics);
    }
    free(run->folder);
    free(run->model);
    free(run->checkpoint);
    *run = (bft_run){0};
}

/* Keeps the lines up to `step`. A line that a crash cut in the middle isn't JSON, and goes. */
static bft_status keep_lines(bft_error *err, bft_lines *lines, uint64_t step, bft_buffer *kept) {
    for (;;) {
        char *line;
        size_t length;
        bool cut, more;
        BFT_TRY(bft_lines_next(err, lines, &line, &length, &cut, &more));
        if (!more) {
            return BFT_OK;
        }
        bft_error ignored;
        json_t *value = NULL;
        if (cut || bft_json_parse(&ignored, "metrics.jsonl", 1, line, length, &value) != BFT_OK) {
            continue;
        }
        json_t *at = json_object_get(value, "step");
        bool wanted = json_is_integer(at) && (uint64_t)json_integer_value(at) <= step;
        json_decref(value);
        if (wanted) {
            BFT_TRY(bft_buffer_append(err, kept, line, length));
            BFT_TRY(bft_buffer_append(err, kept, "\n", 1));
        }
    }
}

static bft_status rewrite(bft_error *err, const char *path, uint64_t step) {
    bft_lines *lines = NULL;
    bft_buffer kept = {0};
    BFT_TRY(bft_lines_open(err, &lines, path, LONGEST_LINE));
    bft_status status = keep_lines(err, lines, step, &kept);
    bft_lines_close(lines);
    if (status == BFT_OK) {
        status = bft_file_write(err, path, kept.data, kept.length);
    }
    bft_buffer_free(&kept);
    return status;
}

bft_status bft_run_cut(bft_error *err, bft_run *run, uint64_t step) {
    char *path = NULL;
    bft_status status = joined(err, run->folder, "metrics.jsonl", &path);
    if (status == BFT_OK && bft_file_exists(path)) {
        status = rewrite(err, path, step);
    }
    free(path);
    return status == BFT_OK ? open_metrics(err, run, "ae") : status;
}

static bft_status end_line(bft_error *err, bft_run *run) {
    fputs("}\n", run->metrics);
    if (fflush(run->metrics) != 0 || ferror(run->metrics)) {
        return bft_error_errno(err, BFT_FAILED, "%s/metrics.jsonl: cannot write", run->folder);
    }
    return BFT_OK;
}

/* JSON has no NaN or infinity: null stands for them. */
static void number(FILE *file, const char *name, double value) {
    if (isfinite(value)) {
        fprintf(file, ", \"%s\": %.9g", name, value);
    } else {
        fprintf(file, ", \"%s\": null", name);
    }
}

bft_status bft_run_log_step(bft_error *err, bft_run *run, const bft_train_step *step) {
    fprintf(run->metrics, "{\"step\": %llu", (unsigned long long)step->step);
    number(run->metrics, "loss", step->loss);
    number(run->metrics, "lr", step->lr);
    number(run->metrics, "samples_per_second", step->samples_per_second);
    number(run->metrics, "tokens_per_second", step->tokens_per_second);
    return end_line(err, run);
}

bft_status bft_run_log_evaluation(bft_error *err, bft_run *run, uint64_t step, const bft_metrics *metrics) {
    bft_problem problem = bft_metrics_problem(metrics);
    fprintf(run->metrics, "{\"step\": %llu, \"split\": \"valid\"", (unsigned long long)step);
    for (size_t i = 0; i < bft_metrics_count(problem); i++) {
        const char *name = bft_metrics_name(problem, i);
        number(run->metrics, name, bft_metrics_value(metrics, name));
    }
    return end_line(err, run);
}
