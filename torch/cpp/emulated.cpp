// The kernels of cuda/recurrent.cu on the CPU, for the tests, a thread for each of a GPU's: no machine
// that builds this need have a GPU. It is linked where a test names it, and nowhere else.

#include <math.h>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "recurrent_gpu.h"

namespace {

struct float4 {
  float x, y, z, w;
};

float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

struct Index {
  int x;
};

constexpr int WARP = 32;

// Where so many threads wait for each other.
class Meeting {
 public:
  explicit Meeting(int all) : all_(all) {}

  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    const long round = round_;
    if (++here_ == all_) {
      here_ = 0, ++round_;
      met_.notify_all();
    } else {
      met_.wait(lock, [&] { return round_ != round; });
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable met_;
  const int all_;
  int here_ = 0;
  long round_ = 0;
};

struct Warp {
  Meeting meeting{WARP};
  float values[WARP];
};

struct Block {
  Meeting meeting;
  std::vector<Warp> warps;
  std::vector<float4> shared;
};

thread_local Index threadIdx, blockIdx;
thread_local Block* block;

void wait_for_block() { block->meeting.wait(); }

float shuffle_xor(float value, int mask) {
  Warp& warp = block->warps[threadIdx.x / WARP];
  const int lane = threadIdx.x % WARP;
  warp.values[lane] = value;
  warp.meeting.wait();
  const float other = warp.values[lane ^ mask];
  warp.meeting.wait();
  return other;
}

template <class Work>
void run(int64_t blocks, int threads, int64_t shared, const Work& work) {
  for (int64_t b = 0; b < blocks; ++b) {
    // What is not written is found out.
    const float4 odd{NAN, NAN, NAN, NAN};
    Block at{Meeting(threads), std::vector<Warp>(threads / WARP),
             std::vector<float4>(shared / sizeof(float4), odd)};
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t)
      all.emplace_back([&, t] {
        block = &at, threadIdx.x = t, blockIdx.x = static_cast<int>(b);
        work();
      });
    for (std::thread& thread : all) thread.join();
  }
}

#define FORWARD
#define BACKWARD
#define INLINE static inline
#define KERNEL(name, argument) static void name(argument)
#define SHARED(name) float4* name = block->shared.data()
// Of some sizes most weights lie in shared memory.
#undef ROOM
#define ROOM (HIDDEN == 37 ? 16 : 96)

template <int LSTM, int HIDDEN, int ROWS>
struct Case {
#include "../cuda/layer.h"
#include "../cuda/recurrent.cu"

  static void emulate(bool is_backward, const void* argument, int64_t blocks) {
    if (is_backward)
      run(blocks, THREADS, BACKWARD_SHARED, [&] { backward(*static_cast<const Backward*>(argument)); });
    else
      run(blocks, THREADS, FORWARD_SHARED, [&] { forward(*static_cast<const Forward*>(argument)); });
  }
};

template <int LSTM, int HIDDEN>
void emulate_rows(int64_t rows, bool backward, const void* argument, int64_t blocks) {
  if (rows == 2)
    Case<LSTM, HIDDEN, 2>::emulate(backward, argument, blocks);
  else
    Case<LSTM, HIDDEN, 4>::emulate(backward, argument, blocks);
}

template <int HIDDEN>
void emulate_cell(const recurrent::Sizes& sizes, bool backward, const void* argument, int64_t blocks) {
  if (sizes.lstm)
    emulate_rows<1, HIDDEN>(sizes.rows, backward, argument, blocks);
  else
    emulate_rows<0, HIDDEN>(sizes.rows, backward, argument, blocks);
}

void emulate(bool backward, const recurrent::Sizes& sizes, const void* argument, int64_t blocks) {
  // Those that the tests have.
  switch (sizes.hidden) {
    case 5:
      return emulate_cell<5>(sizes, backward, argument, blocks);
    case 16:
      return emulate_cell<16>(sizes, backward, argument, blocks);
    case 37:
      return emulate_cell<37>(sizes, backward, argument, blocks);
    default:
      throw std::invalid_argument("not emulated: a layer of so many units");
  }
}

}  // namespace

// Whether layers on the CPU are to be computed like this, on this thread.
extern "C" void krammerti_emulate(bool on) { recurrent::emulated = on ? emulate : nullptr; }
