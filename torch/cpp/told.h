// How C++ tells Rust of an error, for no exception may leave it.

#pragma once

#include <exception>
#include <string>

// Does some work. Null, or what went wrong, which is valid until the next call on this thread.
template <class Work>
const char* told(const Work& work) {
  static thread_local std::string error;
  try {
    work();
    return nullptr;
  } catch (const std::exception& e) {
    error = e.what();
  } catch (...) {
    error = "an unknown error";
  }
  return error.c_str();
}
