/* summary.c: what the turns of a dialogue add up to. Sums and a capped list: an endless dialogue takes no more memory
 * than a short one. */
#include "bertft/predict.h"

#include <stdlib.h>
#include <string.h>

bft_status bft_summary_create(bft_error *err, bft_summary *summary, size_t stretch_limit) {
    *summary = (bft_summary){.stretch_limit = stretch_limit};
    summary->stretches = calloc(stretch_limit + 1, sizeof *summary->stretches); /* never NULL for a limit of 0 */
    return summary->stretches != NULL ? BFT_OK : bft_error_memory(err, stretch_limit * sizeof *summary->stretches);
}

void bft_summary_free(bft_summary *summary) {
    bft_buffer_free(&summary->first.label);
    bft_buffer_free(&summary->last.label);
    bft_buffer_free(&summary->worst.label);
    free(summary->stretches);
    *summary = (bft_summary){0};
}

void bft_summary_clear(bft_summary *summary) {
    bft_summary kept = *summary;
    *summary = (bft_summary){.first.label = kept.first.label,
                             .last.label = kept.last.label,
                             .worst.label = kept.worst.label,
                             .stretches = kept.stretches,
                             .stretch_limit = kept.stretch_limit};
}

static bft_status set_tone(bft_error *err, bft_tone *tone, size_t turn, const char *label, double negativity) {
    tone->turn = turn;
    tone->negativity = negativity;
    bft_buffer_clear(&tone->label);
    return bft_buffer_append(err, &tone->label, label, strlen(label));
}

/* Once the limit is reached, stretches are counted only. */
static void add_to_stretches(bft_summary *summary, size_t turn, bool negative) {
    if (negative && !summary->in_stretch) {
        summary->stretch_total++;
        if (summary->stretch_count < summary->stretch_limit) {
            summary->stretches[summary->stretch_count++] = (bft_stretch){.from = turn};
        }
    }
    summary->in_stretch = negative;
    if (negative && summary->stretch_total == summary->stretch_count) {
        bft_stretch *stretch = &summary->stretches[summary->stretch_count - 1];
        stretch->to = turn;
        stretch->turns++;
    }
}

bft_status bft_summary_add(bft_error *err, bft_summary *summary, bft_speaker speaker, const char *label,
                           const bft_prediction *prediction) {
    size_t turn = summary->turns++;
    if (speaker != BFT_CLIENT) {
        return BFT_OK;
    }
    double negativity = prediction->negativity;
    if (summary->client_turns == 0) {
        BFT_TRY(set_tone(err, &summary->first, turn, label, negativity));
    }
    if (summary->client_turns == 0 || negativity > summary->worst.negativity) {
        BFT_TRY(set_tone(err, &summary->worst, turn, label, negativity));
    }
    BFT_TRY(set_tone(err, &summary->last, turn, label, negativity));
    summary->sum += negativity;
    summary->weighted_sum += (double)summary->client_turns * negativity;
    summary->client_turns++;
    summary->negative_turns += prediction->negative;
    add_to_stretches(summary, turn, prediction->negative);
    return BFT_OK;
}

double bft_summary_negative_share(const bft_summary *summary) {
    return summary->client_turns == 0 ? 0 : (double)summary->negative_turns / (double)summary->client_turns;
}

double bft_summary_trend(const bft_summary *summary) {
    if (summary->client_turns < 2) {
        return 0;
    }
    /* slope = cov(i, y) / var(i) for i = 0 .. n-1, where the sum of (i - mean)^2 is n (n^2 - 1) / 12; times n - 1
     * steps */
    double n = (double)summary->client_turns;
    double covariance = summary->weighted_sum - (n - 1) / 2 * summary->sum;
    return 12 * covariance / (n * (n + 1));
}
