#include "base/buffer.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <string>

#include "base/error.h"

namespace cvdecode {
namespace {

std::atomic<int64_t> g_live_count{0};
std::atomic<int64_t> g_live_bytes{0};
std::atomic<uint64_t> g_last_id{0};

}  // namespace

Buffer::Buffer(size_t bytes, bool zeroed) : size_(bytes) {
  // calloc gives untouched zero pages for large sizes, so "zeroed" costs nothing until written.
  // Its 16-byte alignment is raised to 64 by hand; the raw pointer sits just before the data.
  // Large planes are written from end to end: huge pages spare most of the page faults, which
  // would cost more than the writing.
  constexpr size_t kHugePage = size_t{2} << 20;
  const bool huge = bytes >= 2 * kHugePage;
  const size_t align = huge ? kHugePage : 64;
  const size_t total = bytes + align + sizeof(void*);
  void* raw = nullptr;
  if (total >= bytes) raw = zeroed ? std::calloc(1, total) : std::malloc(total);
  if (raw == nullptr) {
    throw Error(ErrorKind::kMemory, "cannot allocate " + std::to_string(bytes) +
                                        " bytes for a plane; read fewer frames at a time, for "
                                        "example with VideoReader.batches()");
  }
  auto address = reinterpret_cast<uintptr_t>(raw) + sizeof(void*);
  address = (address + align - 1) / align * align;
  reinterpret_cast<void**>(address)[-1] = raw;
  data_ = reinterpret_cast<void*>(address);
#ifdef MADV_HUGEPAGE
  if (huge) ::madvise(data_, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);  // a hint: may fail
#endif
  note.zero = zeroed;
  id_ = g_last_id.fetch_add(1, std::memory_order_relaxed) + 1;
  g_live_count.fetch_add(1, std::memory_order_relaxed);
  g_live_bytes.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
}

Buffer::Buffer(void* data, size_t bytes, std::shared_ptr<void> owner)
    : data_(data),
      size_(bytes),
      id_(g_last_id.fetch_add(1, std::memory_order_relaxed) + 1),
      owner_(std::move(owner)) {}

Buffer::~Buffer() {
  if (owner_ != nullptr) return;
  std::free(reinterpret_cast<void**>(data_)[-1]);
  g_live_count.fetch_sub(1, std::memory_order_relaxed);
  g_live_bytes.fetch_sub(static_cast<int64_t>(size_), std::memory_order_relaxed);
}

int64_t Buffer::live_count() { return g_live_count.load(std::memory_order_relaxed); }
int64_t Buffer::live_bytes() { return g_live_bytes.load(std::memory_order_relaxed); }

}  // namespace cvdecode
