// Kernels that are compiled at run time, and launched.

#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

// A function of a GPU.
using Kernel = void*;

// Whether the libraries for it are there.
bool has_compiler();

// What a source is for a GPU. It may be called on any thread. Throws with what the compiler says.
std::string compile(const std::string& source, c10::DeviceIndex device);

// A function of what was compiled, which lives as long as the process.
Kernel load(const std::string& compiled, const std::string& name);

// The shared memory that a function can have, in bytes, and lets it have so much.
int64_t most_shared(c10::DeviceIndex device);
void allow_shared(Kernel kernel, int64_t bytes);

int64_t multiprocessors(c10::DeviceIndex device);

// Launches it on the current stream, with one argument.
void launch(Kernel kernel, int64_t blocks, int64_t threads, int64_t shared, const void* argument,
            c10::DeviceIndex device);
