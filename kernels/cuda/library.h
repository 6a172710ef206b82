/* library.h: NVIDIA's libraries, opened at run time, so that libbertft_cuda.so needs none of them to be opened itself. */
#ifndef BFT_KERNELS_CUDA_LIBRARY_H
#define BFT_KERNELS_CUDA_LIBRARY_H

/* Opens `name` from cuda/lib beside this library, where scripts/setup-cuda.sh puts it; from where the loader looks; or from the folder
 * that BERTFT_CUDA_LIBS names. NULL: it is nowhere. It stays open. */
void *bft_library_open(const char *name);

/* What to say then, after the name. */
#define BFT_LIBRARY_MISSING                                                                                            \
    " was not found in cuda/lib beside libbertft_cuda.so, nor where the loader looks, nor where BERTFT_CUDA_LIBS "     \
    "says; scripts/setup-cuda.sh fetches it"

#endif
