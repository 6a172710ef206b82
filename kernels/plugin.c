/* plugin.c: finding and opening a backend's library. */
#include "kernels/plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_ROOM = 4096 };

/* Cuts the path at its last slash; false where there is none. */
static bool to_folder(char *path) {
    char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) {
        return false;
    }
    *slash = '\0';
    return true;
}

static bft_status find_library(bft_error *err, const char *name, char path[PATH_ROOM]) {
    char folder[PATH_ROOM / 2];
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
    folder[length > 0 ? length : 0] = '\0';
    int plain = (int)strcspn(name, "-"); /* the library's; behind the dash is a table of it */
    for (int level = 0; level < 2 && to_folder(folder); level++) {
        snprintf(path, PATH_ROOM, "%s/libbertft_%.*s.so", folder, plain, name);
        if (access(path, R_OK) == 0) {
            return BFT_OK;
        }
    }
    return bft_error_set(err, BFT_BAD,
                         "backend \"%s\": there is no libbertft_%.*s.so beside the program; `make %.*s` builds it",
                         name, plain, name, plain, name);
}

bft_status bft_plugin_open(bft_error *err, const char *name, const bft_ops **out) {
    char path[PATH_ROOM];
    BFT_TRY(find_library(err, name, path));
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return bft_error_set(err, BFT_FAILED, "%s: cannot be opened: %s", path, dlerror());
    }
    bft_plugin_door *door = NULL;
    void *symbol = dlsym(library, BFT_PLUGIN_DOOR);
    memcpy(&door, &symbol, sizeof door);
    *out = door == NULL ? NULL : door(name, sizeof(bft_ops));
    if (*out == NULL) {
        return bft_error_set(err, BFT_FAILED, "%s: was built for another version of bertft; build it again", path);
    }
    return BFT_OK;
}
