// For scripts/gpu-check: preloaded into a program, it breaks off a recording of a CUDA graph at the
// launch of a kernel, the one that BREAK_AT counts of all recordings, as a step that waits for the GPU would. A stream that is
// recorded from cannot be waited for; whoever does makes the recording void, and all launches after it
// fail until it is ended.
//
// Types are those of the CUDA run-time library, which need not be there where this is compiled.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

typedef struct {
  unsigned x, y, z;
} dim3;
typedef void* stream_t;

static void* of_cuda(const char* name) {
  void* const library = dlopen("libcudart.so.13", RTLD_NOW | RTLD_NOLOAD);
  void* const found = library ? dlsym(library, name) : NULL;
  if (!found) abort();
  return found;
}

// What launches of C++'s <<<>>> become.
int __cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, size_t shared, stream_t stream) {
  static int launches;
  int recording = 0;
  int (*const is_capturing)(stream_t, int*) = of_cuda("cudaStreamIsCapturing");
  int (*const synchronize)(stream_t) = of_cuda("cudaStreamSynchronize");
  int (*const launch)(const void*, dim3, dim3, void**, size_t, stream_t) = of_cuda("__cudaLaunchKernel");
  if (is_capturing(stream, &recording) == 0 && recording && ++launches == atoi(getenv("BREAK_AT"))) synchronize(stream);
  return launch(kernel, grid, block, arguments, shared, stream);
}
