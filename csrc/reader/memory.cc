#include "reader/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace cvdecode {
namespace {

constexpr int64_t kUnknown = std::numeric_limits<int64_t>::max();

// A file that holds one number, or "max".
int64_t read_number(const char* path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : kUnknown;
}

// What a limit leaves beside what is used; kUnknown without a limit.
int64_t left(const char* limit, const char* used) {
  const int64_t most = read_number(limit);
  const int64_t now = most == kUnknown ? kUnknown : read_number(used);
  return now == kUnknown ? kUnknown : std::max<int64_t>(most - now, 0);
}

int64_t mem_available() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  int64_t kib = 0;
  std::string unit;
  while (file >> key >> kib) {
    if (key == "MemAvailable:") return kib * 1024;
    std::getline(file, unit);
  }
  return kUnknown;
}

}  // namespace

int64_t free_memory() {
  return std::min({mem_available(),
                   left("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
                   left("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                        "/sys/fs/cgroup/memory/memory.usage_in_bytes")});
}

}  // namespace cvdecode
