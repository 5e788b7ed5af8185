// Kernels that are compiled at run time, and launched.

#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

// A function of a GPU.
using Kernel = void*;

// Whether the libraries for it are there.
bool has_compiler();

// Compiles a source for a GPU and gives its functions of these names, which live as long as the
// process. Throws with what the compiler says.
std::vector<Kernel> compile(const std::string& source, const std::vector<std::string>& names,
                            c10::DeviceIndex device);

// Lets a function have so much shared memory, in bytes; false where the GPU has less.
bool allow_shared(Kernel kernel, int64_t bytes, c10::DeviceIndex device);

int64_t multiprocessors(c10::DeviceIndex device);

// Launches it on the current stream, with one argument.
void launch(Kernel kernel, int64_t blocks, int64_t threads, int64_t shared, const void* argument,
            c10::DeviceIndex device);
