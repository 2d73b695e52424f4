// The kernels against the scalar build, and their speed. Without a GPU the emulation is checked,
// and with CVDECODE_REQUIRE_CUDA=1 that is a failure.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "accumulate/device_batch.h"
#include "base/error.h"
#include "check_raster.h"
#include "memory.h"
#include "random_clips.h"
#include "speed.h"

namespace cvdecode {

// No SIMD here: the scalar build is what everything is compared with.
namespace kernels {
const TraceKernels& trace_best() { return trace_scalar(); }
const std::vector<TraceKernels>& trace_targets() {
  static const std::vector<TraceKernels> kNone;
  return kNone;
}
}  // namespace kernels

namespace {

struct Case {
  std::string name;
  AccumulateOptions options;
};

std::vector<Case> cases() {
  std::vector<Case> all(9);
  all[0] = {"coded residual, hops", {}};
  all[0].options.residual = ResidualKind::kCoded;
  all[0].options.count_hops = true;
  all[1] = {"recon_diff", {}};
  all[1].options.residual = ResidualKind::kReconDiff;
  all[2] = {"anchors, cut", {}};
  all[2].options.has_anchors = true;
  all[2].options.anchors = {2, 4};
  all[2].options.cross = Cross::kMask;
  all[3] = {"grid=4", {}};
  all[3].options.grid = 4;
  all[3].options.count_hops = true;
  all[4] = {"intra=coviar, list0", {}};
  all[4].options.intra = IntraPolicy::kCoviar;
  all[4].options.select = Select::kList0;
  all[5] = {"one step", {}};
  all[5].options.one_step = true;
  all[6] = {"recon_diff, anchors", {}};
  all[6].options.residual = ResidualKind::kReconDiff;
  all[6].options.has_anchors = true;
  all[6].options.anchors = {1, 5};
  all[7] = {"grid=4, cut, no hops", {}};
  all[7].options.grid = 4;
  all[7].options.has_anchors = true;
  all[7].options.anchors = {2, 4};
  all[7].options.cross = Cross::kMask;
  all[8] = {"one step, coded", {}};
  all[8].options.one_step = true;
  all[8].options.residual = ResidualKind::kCoded;
  return all;
}

// Runs the plans of `clips` as one batch; true when every byte is what accumulate() gives.
bool check(const std::vector<MadeClip>& clips, const Case& one, bool gpu) {
  using R = AccumulateResult;
  const std::vector<BufferPtr R::*> planes = {&R::displacement, &R::anchor,     &R::mask,
                                              &R::hops,         &R::residual_y, &R::residual_uv,
                                              &R::mask_uv,      &R::residual};
  std::vector<AccumulateResult> wants;
  std::vector<std::shared_ptr<const TracePlan>> plans;
  std::vector<std::vector<std::unique_ptr<Guarded>>> memory;
  std::vector<DeviceOutputs> outputs;
  for (const MadeClip& clip : clips) {
    AccumulateOptions options = one.options;
    options.frames = clip.frames;
    const auto provider = clip.provider();
    wants.push_back(accumulate(*provider, options));
    plans.push_back(std::make_shared<TracePlan>(plan_accumulation(*provider, options)));
    auto& own = memory.emplace_back();
    uintptr_t places[8] = {};
    for (size_t p = 0; p < planes.size(); ++p) {
      const BufferPtr& buffer = wants.back().*planes[p];
      if (buffer == nullptr) {
        own.push_back(nullptr);
        continue;
      }
      own.push_back(std::make_unique<Guarded>(buffer->size(), gpu));
      places[p] = own.back()->address();
    }
    own.push_back(std::make_unique<Guarded>(sizeof(uint64_t), gpu));
    own.back()->clear();
    outputs.push_back({places[0], places[1], places[2], places[3], places[4], places[5], places[6],
                       places[7], own.back()->address()});
  }
  const DeviceBatch batch(plans);
  Guarded upload(batch.upload_bytes(), gpu), scratch(batch.scratch_bytes(), gpu);
  std::vector<uint8_t> host(batch.upload_bytes());
  const auto launches = batch.pack(host.data(), upload.address(), scratch.address(), outputs);
  upload.write(host.data());
  for (const kernels::Launch& launch : launches) {
    if (gpu) {
      check_cuda(static_cast<cudaError_t>(kernels::cuda::launch(launch, 0, 0)), "launch");
    } else {
      kernels::emulate(launch, false);
    }
  }
  if (gpu) check_cuda(cudaDeviceSynchronize(), "kernels");
  bool good = upload.intact() && scratch.intact();
  for (size_t i = 0; i < clips.size(); ++i) {
    for (size_t p = 0; p < planes.size(); ++p) {
      const Guarded* got = memory[i][p].get();
      if (got == nullptr) continue;
      const BufferPtr& want = wants[i].*planes[p];
      good &= got->intact() && std::memcmp(got->read().data(), want->data(), want->size()) == 0;
    }
    uint64_t clipped = 0;
    std::memcpy(&clipped, memory[i].back()->read().data(), sizeof(clipped));
    good &=
        memory[i].back()->intact() && clipped == static_cast<uint64_t>(wants[i].stats.saturated);
  }
  return good;
}

int check_all(bool gpu) {
  std::mt19937 random(7);
  int failed = 0;
  for (const Case& one : cases()) {
    int wrong = 0, batches = 0;
    for (const auto& [width, height] : {std::pair{16, 16}, {48, 32}, {272, 16}, {64, 144}}) {
      for (const auto& [wild, chroma_format_idc] : {std::pair{false, 1}, {true, 1}, {true, 0}}) {
        Geometry g;
        g.coded_width = width;
        g.coded_height = height;
        g.chroma_format_idc = chroma_format_idc;
        g.crop_right = 6;
        g.crop_bottom = 2;
        g.crop_left = width > 16 ? 4 : 0;
        std::vector<MadeClip> clips;
        for (int n = 0; n < 5; ++n) clips.push_back(random_clip(g, 4 + n, wild, random));
        wrong += check(clips, one, gpu) ? 0 : 1;
        ++batches;
      }
    }
    std::printf("%-24s %s (%d batches of 5 clips)\n", one.name.c_str(),
                wrong == 0 ? "equal to the scalar build" : "DIFFERS", batches);
    failed += wrong;
  }
  return failed;
}

int run() {
  const kernels::cuda::Devices found = kernels::cuda::devices();
  const char* asked = std::getenv("CVDECODE_REQUIRE_CUDA");
  const bool required = asked != nullptr && std::strcmp(asked, "1") == 0;
  const bool gpu = found.count > 0;
  if (!gpu) {
    const std::string reason =
        found.error == 0 ? "none is there" : kernels::cuda::error_text(found.error);
    std::printf("No GPU can be used here: %s.\n", reason.c_str());
    if (required) {
      std::printf("CVDECODE_REQUIRE_CUDA=1 makes that a failure.\n");
      return 1;
    }
    std::printf("The kernels are NOT run. Their emulation on the CPU:\n");
  } else {
    cudaDeviceProp properties{};
    check_cuda(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
    std::printf("GPU 0: %s; kernels built with CUDA %s\n", properties.name,
                kernels::cuda::runtime_version().c_str());
  }
  const int failed = check_all(gpu) + check_raster(gpu);
  if (failed > 0) {
    std::printf("%d batches or planes differ.\n", failed);
    return 1;
  }
  if (gpu) {
    measure_speed();
  } else {
    std::printf("SKIPPED: kernels and speed, for want of a GPU.\n");
  }
  return 0;
}

}  // namespace
}  // namespace cvdecode

int main() {
  try {
    return cvdecode::run();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
}
