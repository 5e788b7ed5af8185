// libtorch's own library for kernels that it compiles at run time brings NVIDIA's compiler and the
// driver with it, of the versions that it was built for. They are found by name once it is open, so
// that nothing of CUDA is needed where this is compiled and linked.

#include "driver.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>

namespace {

// Of CUdevice_attribute and CUfunction_attribute.
constexpr int MULTIPROCESSORS = 16, MAJOR = 75, MINOR = 76, MOST_SHARED = 97;
constexpr int SHARED_OF_FUNCTION = 8;

void* library() {
  static void* const opened = dlopen("libcaffe2_nvrtc.so", RTLD_NOW | RTLD_LOCAL);
  return opened;
}

// A function of C by its name: `Called<int(int)> f{"f"}; f(1)`.
template <class Signature>
struct Called;

template <class Result, class... Arguments>
struct Called<Result(Arguments...)> {
  const char* name;

  Result operator()(Arguments... arguments) const {
    void* const found = library() ? dlsym(library(), name) : nullptr;
    TORCH_CHECK(found, "CUDA's ", name, " is missing");
    return reinterpret_cast<Result (*)(Arguments...)>(found)(arguments...);
  }
};

void check(int error, const char* doing) {
  // Of CUresult, and as libtorch's own messages name it.
  constexpr int OUT_OF_MEMORY = 2;
  const char* const cause = error == OUT_OF_MEMORY ? "out of memory, error " : "error ";
  TORCH_CHECK(error == 0, doing, " failed on the GPU (", cause, error, ")");
}

int attribute(int which, c10::DeviceIndex device) {
  int value = 0;
  check(Called<int(int*, int, int)>{"cuDeviceGetAttribute"}(&value, which, device), "asking");
  return value;
}

// What the compiler made of a source.
class Program {
 public:
  explicit Program(const std::string& source) {
    const Called<int(void**, const char*, const char*, int, const char* const*, const char* const*)>
        create{"nvrtcCreateProgram"};
    check(create(&program_, source.c_str(), "krammerti.cu", 0, nullptr, nullptr), "compiling");
  }
  Program(const Program&) = delete;
  ~Program() { Called<int(void**)>{"nvrtcDestroyProgram"}(&program_); }

  std::string compiled(const std::string& architecture) const {
    const std::string option = "--gpu-architecture=" + architecture;
    const char* const options[] = {option.c_str(), "--std=c++17"};
    const Called<int(void*, int, const char* const*)> compile{"nvrtcCompileProgram"};
    const int error = compile(program_, 2, options);
    TORCH_CHECK(error == 0, "the GPU's compiler says: ", text("nvrtcGetProgramLogSize", "nvrtcGetProgramLog"));
    return text("nvrtcGetCUBINSize", "nvrtcGetCUBIN");
  }

 private:
  std::string text(const char* size_of, const char* get) const {
    size_t size = 0;
    check(Called<int(void*, size_t*)>{size_of}(program_, &size), "compiling");
    std::string text(size, '\0');
    check(Called<int(void*, char*)>{get}(program_, text.data()), "compiling");
    return text;
  }

  void* program_ = nullptr;
};

}  // namespace

bool has_compiler() {
  return library() && dlsym(library(), "nvrtcCompileProgram") && dlsym(library(), "cuLaunchKernel");
}

std::string compile(const std::string& source, c10::DeviceIndex device) {
  const std::string version =
      std::to_string(attribute(MAJOR, device)) + std::to_string(attribute(MINOR, device));
  return Program(source).compiled("sm_" + version);
}

Kernel load(const std::string& compiled, const std::string& name) {
  void* module = nullptr;
  check(Called<int(void**, const void*)>{"cuModuleLoadData"}(&module, compiled.data()), "loading");
  Kernel kernel = nullptr;
  const Called<int(void**, void*, const char*)> get{"cuModuleGetFunction"};
  check(get(&kernel, module, name.c_str()), "loading");
  return kernel;
}

int64_t most_shared(c10::DeviceIndex device) { return attribute(MOST_SHARED, device); }

void allow_shared(Kernel kernel, int64_t bytes) {
  const Called<int(void*, int, int)> set{"cuFuncSetAttribute"};
  check(set(kernel, SHARED_OF_FUNCTION, static_cast<int>(bytes)), "asking for shared memory");
}

int64_t multiprocessors(c10::DeviceIndex device) { return attribute(MULTIPROCESSORS, device); }

void launch(Kernel kernel, int64_t blocks, int64_t threads, int64_t shared, const void* argument,
            c10::DeviceIndex device) {
  const c10::impl::VirtualGuardImpl guard(c10::DeviceType::CUDA);
  const c10::Stream stream = guard.getStream(c10::Device(c10::DeviceType::CUDA, device));
  void* const handle = guard.getStreamNativeHandle(stream);
  void* arguments[] = {const_cast<void*>(argument)};
  const Called<int(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*,
                   void**, void**)>
      start{"cuLaunchKernel"};
  check(start(kernel, static_cast<unsigned>(blocks), 1, 1, static_cast<unsigned>(threads), 1, 1,
              static_cast<unsigned>(shared), handle, arguments, nullptr),
        "launching a kernel");
}
