/* library.cc: where NVIDIA's libraries are looked for (library.h). */
#include "kernels/cuda/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_ROOM = 4096 };

static void *open_in(const char *folder, int length, const char *below, const char *name) {
    char path[PATH_ROOM];
    int needed = snprintf(path, sizeof path, "%.*s/%s%s", length, folder, below, name);
    return needed < PATH_ROOM ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
}

void *bft_library_open(const char *name) {
    Dl_info here;
    void *opened = NULL;
    if (dladdr(reinterpret_cast<void *>(bft_library_open), &here) != 0 && here.dli_fname != NULL) {
        const char *slash = strrchr(here.dli_fname, '/');
        opened = slash == NULL ? open_in(".", 1, "cuda/lib/", name)
                               : open_in(here.dli_fname, static_cast<int>(slash - here.dli_fname), "cuda/lib/", name);
    }
    if (opened == NULL) {
        opened = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    }
    const char *folder = getenv("BERTFT_CUDA_LIBS");
    if (opened == NULL && folder != NULL) {
        opened = open_in(folder, static_cast<int>(strlen(folder)), "", name);
    }
    return opened;
}
