// The native parser when memory runs out: the n-th allocation fails (n from the first two bytes),
// and what comes back is an error, never a crash, a leak or a wrong picture kept for later.
#include <cstdlib>
#include <new>

#include "base/error.h"
#include "native_reading.h"

namespace {

int64_t allocations_left = -1;  // -1: never fail

void* allocate(size_t size) {
  if (allocations_left == 0) throw std::bad_alloc();
  if (allocations_left > 0) --allocations_left;
  void* p = std::malloc(size ? size : 1);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

// Planes come from calloc (base/buffer.cc); the linker sends those calls here.
extern "C" void* __real_calloc(size_t count, size_t size);
extern "C" void* __wrap_calloc(size_t count, size_t size) {
  if (allocations_left == 0) return nullptr;
  if (allocations_left > 0) --allocations_left;
  return __real_calloc(count, size);
}

void* operator new(size_t size) { return allocate(size); }
void* operator new[](size_t size) { return allocate(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return std::malloc(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return std::malloc(size); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cvdecode;
  if (size < 3) return 0;
  const int64_t limit = data[0] | data[1] << 8;
  try {
    fuzz::MemoryStream stream({data + 2, size - 2});
    allocations_left = limit;
    const fuzz::Opened opened = fuzz::open_stream(stream);
    if (fuzz::small_enough(opened.index)) {
      const BackendContext context{stream.info(), opened.index, stream, 1};
      const auto backend = make_native_backend(context, opened.native);
      fuzz::read_all(*backend, opened.index, fuzz::native_planes(opened.index),
                     [](const auto&, const Clip&) {});
    }
  } catch (const Error&) {
  } catch (const std::bad_alloc&) {
  }
  allocations_left = -1;
  return 0;
}
