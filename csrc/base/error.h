// The one exception type of the core. Bindings map each kind to a Python class.
#pragma once

#include <stdexcept>
#include <string>

namespace cvdecode {

enum class ErrorKind {
  kUnsupported,       // UnsupportedStream: valid, but outside what this backend reads
  kCorrupt,           // CorruptStream: the bytes contradict their own syntax
  kPlaneUnavailable,  // PlaneUnavailable: this backend does not know this plane for this stream
  kNotFound,          // FileNotFoundError
  kIo,                // OSError
  kInvalidArgument,   // ValueError
  kIndex,             // IndexError
  kMemory,            // MemoryError
  kState,             // RuntimeError: wrong thread, closed reader, a plan that lacks a step
};

// what() names the file or stream, the place in it, and the remedy where there is one.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace cvdecode
