#include "speed.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <vector>

#include "accumulate/device_batch.h"
#include "memory.h"
#include "random_clips.h"

namespace cvdecode {
namespace {

constexpr int kRuns = 15;

// Median milliseconds of `work` on the default stream, after two runs that do not count.
template <class Work>
double milliseconds(const Work& work) {
  cudaEvent_t start{}, stop{};
  check_cuda(cudaEventCreate(&start), "cudaEventCreate");
  check_cuda(cudaEventCreate(&stop), "cudaEventCreate");
  std::vector<double> times;
  for (int run = 0; run < kRuns + 2; ++run) {
    check_cuda(cudaEventRecord(start), "cudaEventRecord");
    work();
    check_cuda(cudaEventRecord(stop), "cudaEventRecord");
    check_cuda(cudaEventSynchronize(stop), "kernels");
    float passed = 0;
    check_cuda(cudaEventElapsedTime(&passed, start, stop), "cudaEventElapsedTime");
    if (run >= 2) times.push_back(passed);
  }
  cudaEventDestroy(start);
  cudaEventDestroy(stop);
  std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
  return times[kRuns / 2];
}

// GB/s, reads and writes counted, of copies from one half of a buffer to the other.
double copy_bandwidth() {
  constexpr size_t kBytes = size_t{1} << 30;
  Guarded a(kBytes, true), b(kBytes, true);
  const double ms = milliseconds([&] {
    check_cuda(cudaMemcpyAsync(reinterpret_cast<void*>(b.address()),
                               reinterpret_cast<const void*>(a.address()), kBytes,
                               cudaMemcpyDeviceToDevice, nullptr),
               "cudaMemcpyAsync");
  });
  return 2.0 * static_cast<double>(kBytes) / ms / 1e6;
}

// Bytes that must move: each map is written once, each source map read once, the blocks once.
double bytes_of(const TracePlan& plan) {
  const auto cells = static_cast<double>(plan.layout.cells());
  const double map = cells * 9;
  double bytes = 0;
  for (const PlanStep& step : plan.steps) {
    bytes += map;
    const bool reads = std::any_of(step.sources.begin(), step.sources.end(),
                                   [](const PlanSource& s) { return s.step >= 0; });
    // grid=4 reads words of 8 bytes, and writes one beside the planes.
    if (reads) bytes += plan.grid == 4 ? cells * 8 : map;
    if (plan.grid == 4) bytes += cells * 8;
    bytes += static_cast<double>(step.codes.size()) * 5;
  }
  return bytes;
}

void measure(int clips, int grid, double copy) {
  const MadeClip made = video_clip(352, 256, 12);
  AccumulateOptions options;
  options.grid = grid;
  options.frames = made.frames;
  const auto provider = made.provider();
  const auto plan = std::make_shared<TracePlan>(plan_accumulation(*provider, options));
  const DeviceBatch batch(
      std::vector<std::shared_ptr<const TracePlan>>(static_cast<size_t>(clips), plan));
  const size_t cells = plan->layout.cells() * static_cast<size_t>(plan->frames);
  Guarded upload(batch.upload_bytes(), true), scratch(batch.scratch_bytes(), true);
  Guarded result(static_cast<size_t>(clips) * cells * 9, true);
  Guarded counters(static_cast<size_t>(clips) * sizeof(uint64_t), true);
  counters.clear();
  std::vector<DeviceOutputs> outputs;
  for (int n = 0; n < clips; ++n) {
    DeviceOutputs out;
    const auto i = static_cast<size_t>(n);
    const size_t all = static_cast<size_t>(clips) * cells;
    out.displacement = result.address() + i * cells * 4;
    out.anchor = result.address() + all * 4 + i * cells * 4;
    out.mask = result.address() + all * 8 + i * cells;
    out.clipped = counters.address() + i * sizeof(uint64_t);
    outputs.push_back(out);
  }
  void* host = nullptr;
  check_cuda(cudaMallocHost(&host, batch.upload_bytes()), "cudaMallocHost");
  const auto before = std::chrono::steady_clock::now();
  const auto launches =
      batch.pack(static_cast<uint8_t*>(host), upload.address(), scratch.address(), outputs);
  const double pack_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - before).count();
  const auto transfer = [&] {
    check_cuda(cudaMemcpyAsync(reinterpret_cast<void*>(upload.address()), host,
                               batch.upload_bytes(), cudaMemcpyHostToDevice, nullptr),
               "cudaMemcpyAsync");
  };
  const auto kernels = [&] {
    for (const kernels::Launch& launch : launches) {
      check_cuda(static_cast<cudaError_t>(kernels::cuda::launch(launch, 0, 0)), "launch");
    }
  };
  transfer();
  const double alone = milliseconds(kernels);
  const double with = milliseconds([&] {
    transfer();
    kernels();
  });
  cudaFreeHost(host);
  const double bytes = bytes_of(*plan) * clips;
  std::printf("%5s %6d %9.3f %11.0f %8.0f %% %9.3f %8.0f %% %9.3f\n", grid == 4 ? "4" : "pixel",
              clips, alone, bytes / alone / 1e6, 100 * bytes / alone / 1e6 / copy, with,
              100 * bytes / with / 1e6 / copy, pack_ms);
}

}  // namespace

void measure_speed() {
  const double copy = copy_bandwidth();
  std::printf(
      "\nGOPs of 12 frames, 352x256, every frame asked for. Copy on the device: %.0f GB/s "
      "(reads and writes).\nMedians of %d runs; \"pack\" is CPU time for the buffer.\n",
      copy, kRuns);
  std::printf("%5s %6s %9s %11s %10s %9s %10s %9s\n", "grid", "clips", "alone ms", "alone GB/s",
              "of copy", "with ms", "of copy", "pack ms");
  for (const int grid : {1, 4}) {
    for (const int clips : {1, 16, 256}) measure(clips, grid, copy);
  }
}

}  // namespace cvdecode
