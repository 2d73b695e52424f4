// Writes and reads plain structures as bytes, for indexes kept on disk. One description of a
// structure serves both ways: `archive(a, value)` calls a(field) for each field.
//
// The bytes are of this build and this machine only; whoever keeps them puts a version and a
// checksum in front.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"

namespace cvdecode {

template <typename T>
concept Flat = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>;

class ArchiveWriter {
 public:
  template <Flat T>
  void operator()(T& value) {
    flat(value);
  }
  void operator()(std::string& value) {
    uint64_t count = value.size();
    (*this)(count);
    raw(value.data(), value.size());
  }
  template <Flat T>
  void operator()(std::vector<T>& value) {
    uint64_t count = value.size() * sizeof(T);
    (*this)(count);
    if constexpr (std::has_unique_object_representations_v<T>) {
      raw(value.data(), count);
    } else {
      for (const T& item : value) flat(item);
    }
  }
  template <typename T>
  requires(!Flat<T>) void operator()(std::vector<T>& value) {
    uint64_t count = value.size();
    (*this)(count);
    for (T& item : value) archive(*this, item);
  }
  void operator()(std::vector<std::string>& value) {
    uint64_t count = value.size();
    (*this)(count);
    for (std::string& item : value) (*this)(item);
  }
  template <Flat T, size_t N>
  void operator()(std::array<std::vector<T>, N>& value) {
    for (auto& item : value) (*this)(item);
  }
  // Shared values are written once.
  template <Flat T>
  void operator()(std::shared_ptr<const T>& value) {
    const auto [at, fresh] = seen_.emplace(value.get(), static_cast<uint32_t>(seen_.size()));
    uint32_t number = value == nullptr ? UINT32_MAX : at->second;
    (*this)(number);
    if (value != nullptr && fresh) flat(*value);
  }
  template <Flat K, Flat T>
  void operator()(std::map<K, std::vector<T>>& value) {
    uint64_t count = value.size();
    (*this)(count);
    for (auto& [key, item] : value) {
      K copy = key;
      (*this)(copy);
      (*this)(item);
    }
  }
  std::vector<uint8_t> take() { return std::move(bytes_); }

 private:
  void raw(const void* data, size_t size) {
    const auto* from = static_cast<const uint8_t*>(data);
    bytes_.insert(bytes_.end(), from, from + size);
  }
  // The gaps between fields hold whatever was in memory: the same index gives the same bytes, and
  // nothing of the process leaks into a file, only once they are zero.
  template <Flat T>
  void flat(const T& value) {
    T copy = value;
#if __has_builtin(__builtin_clear_padding)  // GCC 11, Clang 16
    if constexpr (!std::has_unique_object_representations_v<T>) __builtin_clear_padding(&copy);
#endif
    raw(&copy, sizeof(T));
  }
  std::vector<uint8_t> bytes_;
  std::map<const void*, uint32_t> seen_ = {{nullptr, UINT32_MAX}};
};

// Every read is bounded: bytes that end early or claim more than there is throw Error(kCorrupt).
class ArchiveReader {
 public:
  explicit ArchiveReader(std::span<const uint8_t> bytes) : left_(bytes) {}

  template <Flat T>
  void operator()(T& value) {
    std::memcpy(static_cast<void*>(&value), take(sizeof(T)).data(), sizeof(T));
  }
  void operator()(std::string& value) {
    const std::span<const uint8_t> bytes = take(count());
    value.assign(bytes.begin(), bytes.end());
  }
  template <Flat T>
  void operator()(std::vector<T>& value) {
    const std::span<const uint8_t> bytes = take(count());
    if (bytes.size() % sizeof(T) != 0) fail();
    value.resize(bytes.size() / sizeof(T));
    if (!bytes.empty()) std::memcpy(static_cast<void*>(value.data()), bytes.data(), bytes.size());
  }
  template <typename T>
  requires(!Flat<T>) void operator()(std::vector<T>& value) {
    for (uint64_t n = begin(value); n > 0; --n) archive(*this, value.emplace_back());
  }
  void operator()(std::vector<std::string>& value) {
    for (uint64_t n = begin(value); n > 0; --n) (*this)(value.emplace_back());
  }
  template <Flat T, size_t N>
  void operator()(std::array<std::vector<T>, N>& value) {
    for (auto& item : value) (*this)(item);
  }
  template <Flat T>
  void operator()(std::shared_ptr<const T>& value) {
    uint32_t number = 0;
    (*this)(number);
    if (number == UINT32_MAX) return value.reset();
    const auto at = seen_.find(number);
    if (at != seen_.end()) {
      if (at->second.kind != kind_of<T>()) fail();  // the number of something else
      value = std::static_pointer_cast<const T>(at->second.value);
      return;
    }
    auto fresh = std::make_shared<T>();
    (*this)(*fresh);
    value = fresh;
    seen_[number] = {kind_of<T>(), value};
  }
  template <Flat K, Flat T>
  void operator()(std::map<K, std::vector<T>>& value) {
    for (uint64_t n = count(); n > 0; --n) {
      K key{};
      (*this)(key);
      (*this)(value[key]);
    }
  }
  bool done() const { return left_.empty(); }

 private:
  [[noreturn]] static void fail() {
    throw Error(ErrorKind::kCorrupt, "the saved index is damaged");
  }
  // A count of things of at least one byte each.
  size_t count() {
    uint64_t n = 0;
    (*this)(n);
    if (n > left_.size()) fail();
    return static_cast<size_t>(n);
  }
  // Empties a list and says how many things are to come. A thing may take far more memory than its
  // bytes: no more is set aside for them than there are bytes, and the rest only as they are read.
  template <typename T>
  uint64_t begin(std::vector<T>& value) {
    const size_t n = count();
    value.clear();
    value.reserve(std::min(n, left_.size() / sizeof(T)));
    return n;
  }
  std::span<const uint8_t> take(size_t size) {
    if (size > left_.size()) fail();
    const std::span<const uint8_t> bytes = left_.first(size);
    left_ = left_.subspan(size);
    return bytes;
  }
  // An address of its own for each type.
  template <typename T>
  static const void* kind_of() {
    static const char here = 0;
    return &here;
  }
  struct Shared {
    const void* kind = nullptr;
    std::shared_ptr<const void> value;
  };
  std::span<const uint8_t> left_;
  std::map<uint32_t, Shared> seen_;
};

}  // namespace cvdecode
