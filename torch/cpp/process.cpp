// What the whole process has of libtorch and of its memory.

#include <ATen/Version.h>
#include <torch/version.h>

#include <limits>
#include <string>
#ifdef __GLIBC__
#include <malloc.h>
#endif

// The libtorch that this is compiled against.
extern "C" const char* krammerti_libtorch_version() {
  return TORCH_VERSION;
}

// The instructions that libtorch's kernels use here.
extern "C" const char* krammerti_instructions() {
  static const std::string name = at::get_cpu_capability();
  return name.c_str();
}

// glibc gives a block of some megabytes back to the system as soon as it is free, and threads that it
// gives memory of their own cannot have large blocks of it. Here all threads share what there is, and
// it stays.
extern "C" void krammerti_keep_memory() {
#ifdef __GLIBC__
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}
