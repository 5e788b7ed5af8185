// The kernels of cuda/recurrent.cu as those who launch them see them.

#pragma once

#include <cstdint>

namespace recurrent {

// With more units the weights of a layer do not stay in a multiprocessor.
constexpr int64_t MOST_HIDDEN = 128;

// What kernels are compiled for.
struct Sizes {
  bool lstm;
  // Units, and windows of a block.
  int64_t hidden, rows;

  int64_t threads() const;
  // Of shared memory, in bytes.
  int64_t forward_shared() const;
  int64_t backward_shared() const;
  // Numbers that are kept of a unit at each step.
  int64_t kept() const;
};

#define LSTM lstm
#define HIDDEN hidden
#define ROWS rows
#include "../cuda/layer.h"
inline int64_t Sizes::threads() const { return THREADS; }
inline int64_t Sizes::forward_shared() const { return FORWARD_SHARED; }
inline int64_t Sizes::backward_shared() const { return BACKWARD_SHARED; }
inline int64_t Sizes::kept() const { return KEPT; }
#undef LSTM
#undef HIDDEN
#undef ROWS

// Stands for a launch.
using Emulation = void (*)(bool backward, const Sizes& sizes, const void* argument, int64_t blocks);
extern thread_local Emulation emulated;

}  // namespace recurrent
