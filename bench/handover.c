/* handover.c: how long a cache line takes from one processor to another and back, in nanoseconds.
 *
 * Usage: handover. Two threads, each on one of the first two processors that this process may use, take turns at writing a line. Up to
 * 200 ns the two share a cache; several hundred tell that a virtual machine's processors lie apart for the moment, and that whatever one
 * thread has written costs the other more to read. */
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { TRIPS = 50000, TRIALS = 5 };

typedef struct line {
    alignas(128) atomic_int turn; /* even: ours; odd: the other's */
    int processors[2];
} line;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void stay_on(int processor) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)processor, &one);
    (void)sched_setaffinity(0, sizeof one, &one);
}

static void pass(line *l, int side) {
    for (int i = 0; i < TRIPS; i++) {
        while (atomic_load_explicit(&l->turn, memory_order_acquire) != 2 * i + side) {
        }
        atomic_store_explicit(&l->turn, 2 * i + side + 1, memory_order_release);
    }
}

static void *other(void *context) {
    line *l = context;
    stay_on(l->processors[1]);
    pass(l, 1);
    return NULL;
}

static int find_processors(int found[2]) {
    cpu_set_t usable;
    int count = 0;
    if (sched_getaffinity(0, sizeof usable, &usable) != 0) {
        return 0;
    }
    for (int i = 0; i < CPU_SETSIZE && count < 2; i++) {
        if (CPU_ISSET((size_t)i, &usable)) {
            found[count++] = i;
        }
    }
    return count;
}

int main(void) {
    line l = {0};
    double best = 1;
    if (find_processors(l.processors) < 2) {
        fputs("handover: two processors are needed\n", stderr);
        return 1;
    }
    stay_on(l.processors[0]);
    for (int i = 0; i < TRIALS; i++) {
        pthread_t thread;
        atomic_store(&l.turn, 0);
        if (pthread_create(&thread, NULL, other, &l) != 0) {
            fputs("handover: cannot start a thread\n", stderr);
            return 1;
        }
        double start = now();
        pass(&l, 0);
        pthread_join(thread, NULL);
        double seconds = (now() - start) / TRIPS;
        best = seconds < best ? seconds : best;
    }
    printf("%.0f\n", best * 1e9);
    return 0;
}
