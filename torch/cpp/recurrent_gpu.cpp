// A recurrent layer over all its steps as one node of the autograd graph, on a GPU: the steps by the
// kernels of cuda/recurrent.cu, which are compiled for a layer when it is first met, and products of
// matrices of libtorch's before and after them.

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "driver.h"
#include "recurrent.h"
#include "recurrent_gpu.h"
#include "told.h"

namespace recurrent {

// The text of layer.h and recurrent.cu.
std::atomic<const char*> source = nullptr;
// What the kernels are on the CPU, for the tests.
thread_local Emulation emulated = nullptr;

bool is_emulated() { return emulated; }

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// How the source begins on a GPU.
constexpr const char* DIALECT =
    "#define INLINE static __device__ __forceinline__\n"
    "#define KERNEL(name, argument) \\\n"
    "  extern \"C\" __global__ void __launch_bounds__(THREADS) name(argument)\n"
    "#define SHARED(name) extern __shared__ float4 name[]\n"
    "#define wait_for_block() __syncthreads()\n"
    "#define shuffle_xor(value, mask) __shfl_xor_sync(0xffffffffu, value, mask)\n";

std::string source_for(bool backward, const Sizes& sizes) {
  std::string text = DIALECT;
  const auto define = [&](const char* name, int64_t value) {
    text += std::string("#define ") + name + " " + std::to_string(value) + "\n";
  };
  define("LSTM", sizes.lstm), define("HIDDEN", sizes.hidden), define("ROWS", sizes.rows);
  define(backward ? "BACKWARD" : "FORWARD", 1);
  return text + source.load();
}

// One of the two kernels for a layer.
class Compiled {
 public:
  // Begins with it on a thread of its own.
  Compiled(bool backward, const Sizes& sizes, c10::DeviceIndex device)
      : name_(backward ? "backward" : "forward"),
        shared_(backward ? sizes.backward_shared() : sizes.forward_shared()),
        image_(std::async(std::launch::async, compile, source_for(backward, sizes), device)) {}

  // Waits for it; empty, or why there is none.
  const std::string& error() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (image_.valid())
      if (const char* error = told([&] { load_it(); })) error_ = error;
    return error_;
  }

  Kernel kernel() {
    const std::string& why = error();
    TORCH_CHECK(why.empty(), why);
    return kernel_;
  }

 private:
  void load_it() {
    kernel_ = load(image_.get(), name_);
    allow_shared(kernel_, shared_);
  }

  const char* name_;
  int64_t shared_;
  std::future<std::string> image_;
  std::mutex mutex_;
  std::string error_;
  Kernel kernel_ = nullptr;
};

Compiled& compiled(bool backward, const Sizes& sizes, c10::DeviceIndex device) {
  using Key = std::tuple<bool, bool, int64_t, int64_t, c10::DeviceIndex>;
  static std::mutex mutex;
  // Never taken down: the driver is gone at the end of a process.
  static auto& all = *new std::map<Key, Compiled>;
  const std::lock_guard<std::mutex> lock(mutex);
  const Key key(backward, sizes.lstm, sizes.hidden, sizes.rows, device);
  return all.try_emplace(key, backward, sizes, device).first->second;
}

bool has_room(const Sizes& sizes, c10::DeviceIndex device) {
  return std::max(sizes.forward_shared(), sizes.backward_shared()) <= most_shared(device);
}

// Few windows in a block, and twice as many where there is work for several blocks of each
// multiprocessor, and room.
Sizes sizes_for(bool lstm, int64_t hidden, int64_t batch, const c10::Device& device) {
  const Sizes few{lstm, hidden, 2}, many{lstm, hidden, 4};
  const int64_t at_once = device.is_cuda() ? multiprocessors(device.index()) : 2;
  const bool room = !device.is_cuda() || has_room(many, device.index());
  return batch > 4 * at_once && room ? many : few;
}

template <class Argument>
void run(bool backward, const Sizes& sizes, const Argument& argument, const c10::Device& device) {
  const int64_t blocks = (argument.batch + sizes.rows - 1) / sizes.rows;
  if (!device.is_cuda()) return emulated(backward, sizes, &argument, blocks);
  launch(compiled(backward, sizes, device.index()).kernel(), blocks, sizes.threads(),
         backward ? sizes.backward_shared() : sizes.forward_shared(), &argument, device.index());
}

Sizes sizes_of(bool lstm, const Read& read) {
  return sizes_for(lstm, read[4].size(1), read[0].size(0), read[0].device());
}

// What a forward pass makes; `before` and `keep` for the way back.
struct Made {
  Tensor y, h, c, before, keep;
};

Made forward(bool lstm, const Read& read, bool outputs, bool keep) {
  const Tensor& x = read[0];
  const int64_t batch = x.size(0), steps = x.size(1);
  const Sizes sizes = sizes_of(lstm, read);
  const auto empty = [&](at::IntArrayRef shape) { return at::empty(shape, x.options()); };
  Made made;
  if (outputs) made.y = empty({batch, steps, sizes.hidden});
  made.h = empty({batch, sizes.hidden});
  if (lstm) made.c = empty({batch, sizes.hidden});
  if (keep) made.before = empty({batch, steps, sizes.hidden});
  if (keep) made.keep = empty({batch, steps, sizes.kept(), sizes.hidden});
  const Tensor gates = at::addmm(read[5], x.view({batch * steps, x.size(2)}), read[3].t());

  Forward argument{};
  argument.gates = data_of(gates);
  argument.h0 = data_of(read[1]), argument.c0 = data_of(read[2]);
  argument.weights = data_of(read[4]), argument.bias = data_of(read[6]);
  argument.y = data_to(made.y), argument.before = data_to(made.before);
  argument.h = data_to(made.h), argument.c = data_to(made.c);
  argument.keep = data_to(made.keep);
  argument.batch = batch, argument.steps = steps;
  run(false, sizes, argument, x.device());
  return made;
}

struct Node : torch::autograd::Function<Node> {
  using Maybe = std::optional<Tensor>;

  static variable_list forward(AutogradContext* context, bool lstm, bool outputs, Tensor x, Maybe h0,
                               Maybe c0, Tensor w_in, Tensor w_hid, Tensor b_in, Tensor b_hid) {
    const Read read{x, or_none(h0), or_none(c0), w_in, w_hid, b_in, b_hid};
    const Made made = recurrent::forward(lstm, read, outputs, true);
    context->set_materialize_grads(false);
    context->saved_data["lstm"] = lstm;
    context->saved_data["outputs"] = outputs;
    variable_list saved(read.begin(), read.end());
    saved.insert(saved.end(), {made.before, made.keep});
    context->save_for_backward(saved);
    variable_list given;
    if (outputs) given.push_back(made.y);
    given.push_back(made.h);
    if (lstm) given.push_back(made.c);
    return given;
  }

  static variable_list backward(AutogradContext* context, variable_list given) {
    const bool lstm = context->saved_data["lstm"].toBool();
    const bool outputs = context->saved_data["outputs"].toBool();
    const auto saved = context->get_saved_variables();
    Read read;
    std::copy_n(saved.begin(), read.size(), read.begin());
    const Tensor& x = read[0];
    const Tensor& before = saved[7];
    const int64_t batch = x.size(0), steps = x.size(1);
    const Sizes sizes = sizes_of(lstm, read);
    for (Tensor& gradient : given) gradient = contiguous(gradient);
    if (!outputs) given.insert(given.begin(), Tensor());

    const auto wanted = recurrent::wanted(context, read);
    const Tensor gates = at::empty({batch * steps, 4 * sizes.hidden}, x.options());
    const Tensor gh0 = wanted[1] ? at::empty_like(read[1]) : Tensor();
    const Tensor gc0 = wanted[2] ? at::empty_like(read[2]) : Tensor();

    Backward argument{};
    argument.gy = data_of(given[0]), argument.gh = data_of(given[1]);
    if (lstm) argument.gc = data_of(given[2]);
    argument.weights = data_of(read[4]), argument.keep = data_of(saved[8]);
    argument.before = data_of(before), argument.c0 = data_of(read[2]);
    argument.gates = data_to(gates), argument.gh0 = data_to(gh0), argument.gc0 = data_to(gc0);
    argument.batch = batch, argument.steps = steps;
    run(true, sizes, argument, x.device());

    // Of a GRU the last block is the candidate's part from h, which stands for the third one there.
    const int64_t hidden = sizes.hidden;
    const Tensor of_x = lstm ? gates : gates.narrow(1, 0, 3 * hidden);
    const auto of_h = [&](const Tensor& all) {
      return lstm ? all : at::cat({all.narrow(0, 0, 2 * hidden), all.narrow(0, 3 * hidden, hidden)});
    };
    const Tensor bias = gates.sum(0);
    return {Tensor(),
            Tensor(),
            wanted[0] ? of_x.mm(read[3]).view(x.sizes()) : Tensor(),
            gh0,
            gc0,
            of_x.t().mm(x.view({batch * steps, x.size(2)})),
            of_h(gates.t().mm(before.view({batch * steps, hidden}))),
            lstm ? bias : bias.narrow(0, 0, 3 * hidden),
            of_h(bias)};
  }
};

}  // namespace

std::array<Tensor, 3> on_gpu(bool lstm, const Read& read, bool outputs, bool graph) {
  if (!graph) {
    const Made made = forward(lstm, read, outputs, false);
    return {made.y, made.h, made.c};
  }
  auto given = Node::apply(lstm, outputs, read[0], maybe(read[1]), maybe(read[2]), read[3], read[4],
                           read[5], read[6]);
  if (!outputs) given.insert(given.begin(), Tensor());
  given.resize(3);
  return {given[0], given[1], given[2]};
}

}  // namespace recurrent

// Whether layers of so many units have kernels on a GPU, which are there then. Where they could have and
// have not, `why` says why, until the next call on this thread. The source, layer.h and recurrent.cu,
// stays for the life of the process.
extern "C" bool krammerti_recurrent_fits(bool lstm, int64_t hidden, int64_t batch, int device,
                                         const char* source, const char** why) {
  using namespace recurrent;
  static thread_local std::string reason;
  *why = nullptr;
  if (hidden > MOST_HIDDEN) return false;
  recurrent::source = source;
  reason.clear();
  bool room = true;
  const char* const error = told([&] {
    TORCH_CHECK(has_compiler(), "libcaffe2_nvrtc.so of libtorch, and with it NVIDIA's compiler, cannot be opened");
    const c10::Device gpu(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device));
    const Sizes sizes = sizes_for(lstm, hidden, batch, gpu);
    room = has_room(sizes, gpu.index());
    if (!room) return;
    // Both are at work beside each other before the first is waited for.
    Compiled* const forward = &compiled(false, sizes, gpu.index());
    Compiled* const backward =
        at::GradMode::is_enabled() ? &compiled(true, sizes, gpu.index()) : nullptr;
    reason = forward->error();
    if (reason.empty() && backward) reason = backward->error();
  });
  if (error) reason = error;
  if (!reason.empty()) *why = reason.c_str();
  return room && reason.empty();
}
