// What the recurrent layers of the CPU and of the GPU have in common: what they read, and give.

#pragma once

#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <optional>

namespace recurrent {

using at::Tensor;

// x, h0, c0, w_in, w_hid, b_in, b_hid; h0 and c0 may be missing.
using Read = std::array<Tensor, 7>;

inline const float* data_of(const Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

inline float* data_to(const Tensor& tensor) {
  return tensor.defined() ? tensor.mutable_data_ptr<float>() : nullptr;
}

inline Tensor contiguous(const Tensor& tensor) {
  return tensor.defined() ? tensor.contiguous() : tensor;
}

// A node of the autograd graph takes what may be missing like this.
inline std::optional<Tensor> maybe(const Tensor& tensor) {
  return tensor.defined() ? std::optional<Tensor>(tensor) : std::nullopt;
}

inline Tensor or_none(const std::optional<Tensor>& tensor) { return tensor.value_or(Tensor()); }

// Which gradients are wanted of x, h0 and c0. A tensor that is missing has no edge in the graph.
inline std::array<bool, 3> wanted(torch::autograd::AutogradContext* context, const Read& read) {
  std::array<bool, 3> wanted{};
  for (int i = 0, edge = 0; i < 3; ++i)
    wanted[i] = read[i].defined() && context->needs_input_grad(edge++);
  return wanted;
}

// On a GPU: outputs of all steps (undefined unless they are wanted), h, and the cell of an LSTM after
// the last. `graph` says that gradients will be asked for.
std::array<Tensor, 3> on_gpu(bool lstm, const Read& read, bool outputs, bool graph);

// Whether the test of this thread wants the GPU's layer on the CPU.
bool is_emulated();

}  // namespace recurrent
