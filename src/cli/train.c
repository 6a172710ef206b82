/* train.c: `bertft train`, and checkpoints/latest, which points at its newest run. */
#include "cli/commands.h"

#include "base/buffer.h"
#include "base/file.h"
#include "cli/training.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static const char help[] =
    "usage: bertft train CONFIG [--overwrite] [KEY VALUE]...\n"
    "       bertft train --resume RUN\n"
    "\n"
    "Fine-tunes a model as the YAML file says, into the folder OUTPUT_DIR; checkpoints/latest then points at it.\n"
    "Ctrl-C finishes the step and saves; --resume goes on to the same bits.\n"
    "\n"
    "  --overwrite     replace the run that OUTPUT_DIR holds\n"
    "  --resume RUN    go on with a run from its last checkpoint\n"
    "  --threads N     0: all processors\n"
    "  --device D      auto, cpu, cuda, cuda:1; `bertft info` lists what is here\n"
    "  --precision P   fp32 or bf16: TRAIN.PRECISION\n"
    "  --profile       at the end, on stderr: the time of each op, and its share of the machine's peak\n"
    "\n"
    "  bertft train configs/params.yaml\n"
    "  bertft train configs/params.yaml MODEL.WEIGHTS models/rubert-tiny2 OPTIM.LR 5e-5 TRAIN.EPOCHS 3\n"
    "  bertft train configs/cedr.yaml OUTPUT_DIR runs/cedr-2 SEED 2\n"
    "  bertft train --resume runs/cedr-2\n";

/* Points checkpoints/latest at the run: a relative link, so that the project's folder can be moved. */
static bft_status link_latest(bft_error *err, const char *run) {
    static const char place[] = "checkpoints/latest";
    if (bft_same_file(run, place)) { /* it was named by the link itself, or is the newest already */
        return BFT_OK;
    }
    bft_buffer target = {0}, temporary = {0};
    bft_status status = bft_directory_create(err, "checkpoints");
    if (status == BFT_OK) {
        status = bft_buffer_printf(err, &target, "%s%s", run[0] == '/' ? "" : "../", run);
    }
    if (status == BFT_OK) {
        status = bft_buffer_printf(err, &temporary, "%s.tmp.%ld", place, (long)getpid());
    }
    if (status == BFT_OK && (symlink(target.data, temporary.data) != 0 || rename(temporary.data, place) != 0)) {
        status = bft_error_errno(err, BFT_FAILED, "%s: cannot point it at %s", place, run);
        unlink(temporary.data);
    }
    bft_buffer_free(&target);
    bft_buffer_free(&temporary);
    return status;
}

bft_status bft_command_train(bft_error *err, int argc, char **argv) {
    const bft_training training = {.name = "train",
                                   .help = help,
                                   .task = BFT_FINE_TUNE,
                                   .next = "`bertft eval` measures it",
                                   .done = link_latest,
                                   .example = "configs/params.yaml"};
    return bft_training_command(err, &training, argc, argv);
}
