// CUDA graphs and streams. libtorch's C interface has none of them, and its headers for graphs want
// those of CUDA, which a host without a GPU need not have; so the few functions are found by name in
// the library that is open.

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>

#include <cstdint>
#include <utility>

#include "told.h"

namespace {

// at::cuda::CUDAGraph.
class Graph {
 public:
  Graph() { function<void(void*, bool)>("_ZN2at4cuda9CUDAGraphC1Eb")(&memory_, false); }
  Graph(const Graph&) = delete;
  ~Graph() { function<void(void*)>("_ZN2at4cuda9CUDAGraphD1Ev")(&memory_); }

  void begin() {
    using Pool = std::pair<uint64_t, uint64_t>;
    // cudaStreamCaptureModeThreadLocal: what other threads do has nothing to do with it.
    constexpr int MODE = 1;
    function<void(void*, Pool, int)>(
        "_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode")(&memory_, Pool{0, 0}, MODE);
  }
  void end() { function<void(void*)>("_ZN2at4cuda9CUDAGraph11capture_endEv")(&memory_); }
  void replay() { function<void(void*)>("_ZN2at4cuda9CUDAGraph6replayEv")(&memory_); }

 private:
  template <class Signature>
  static Signature* function(const char* name) {
    void* const found = dlsym(RTLD_DEFAULT, name);
    TORCH_CHECK(found, "libtorch has no CUDA graphs: ", name, " is missing");
    return reinterpret_cast<Signature*>(found);
  }

  // It has some 200 bytes.
  alignas(64) unsigned char memory_[4096];
};

const c10::Device GPU(c10::DeviceType::CUDA, 0);

// A recording that broke off leaves libtorch's generator of random numbers within it, and no step
// after it could draw; one that does not takes it out again.
void repair() {
  Graph graph;
  graph.begin();
  at::zeros({1}, at::TensorOptions(GPU));
  graph.end();
}

// The stream of all trainings: each stream has memory of its own, which libtorch keeps.
const c10::Stream& own_stream(const c10::impl::VirtualGuardImpl& guard) {
  static const c10::Stream stream = guard.getStreamFromGlobalPool(GPU);
  return stream;
}

}  // namespace

// Makes a graph and begins to record into it what this thread does on its stream.
extern "C" const char* krammerti_graph_begin(Graph** made) {
  return told([&] {
    *made = nullptr;
    // While it records, memory that is kept for reuse cannot be given back to make room.
    c10::getDeviceAllocator(GPU.type())->emptyCache();
    // One that did not begin cannot be taken down, and is lost.
    Graph* const graph = new Graph;
    graph->begin();
    *made = graph;
  });
}

// Ends the recording. Where that fails the graph is of no use, and must not be freed: libtorch still
// refers to it.
extern "C" const char* krammerti_graph_end(Graph* graph) {
  return told([&] {
    try {
      graph->end();
    } catch (...) {
      told(repair);
      throw;
    }
  });
}

extern "C" const char* krammerti_graph_replay(Graph* graph) {
  return told([&] { graph->replay(); });
}

extern "C" void krammerti_graph_free(Graph* graph) { delete graph; }

// Has this thread work on the stream of trainings; tells the one before. What was asked of the GPU
// until now is done by then.
extern "C" const char* krammerti_stream_enter(int64_t* before) {
  return told([&] {
    const c10::impl::VirtualGuardImpl guard(GPU.type());
    guard.synchronizeDevice(GPU.index());
    *before = guard.exchangeStream(own_stream(guard)).id();
  });
}

// Has it work on the one before again.
extern "C" const char* krammerti_stream_leave(int64_t before) {
  return told([&] {
    const c10::impl::VirtualGuardImpl guard(GPU.type());
    guard.exchangeStream(c10::Stream(c10::Stream::UNSAFE, GPU, before));
    guard.synchronizeDevice(GPU.index());
  });
}
