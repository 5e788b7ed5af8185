// A generator of random numbers of one's own on the CPU. libtorch's interface in C knows only the one
// of the process, which threads would take numbers from in an order that nobody knows.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "told.h"

// Makes a new generator.
extern "C" const char* krammerti_generator(uint64_t seed, at::Generator** made) {
  return told([&] { *made = new at::Generator(at::detail::createCPUGenerator(seed)); });
}

extern "C" void krammerti_generator_free(at::Generator* generator) { delete generator; }

// Fills a tensor with ones, and with zeros in their place with a probability of 1 - `ones`.
extern "C" const char* krammerti_draw_ones(at::Generator* generator, at::Tensor* into, double ones) {
  return told([&] { into->bernoulli_(ones, *generator); });
}

// Fills a tensor with numbers from the standard normal distribution.
extern "C" const char* krammerti_draw_normal(at::Generator* generator, at::Tensor* into) {
  return told([&] { into->normal_(0.0, 1.0, *generator); });
}
