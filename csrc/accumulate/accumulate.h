// Accumulated motion and residual: every pixel of a frame traced back through its true references
// to an anchor. docs/accumulation.md explains it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "accumulate/motion.h"
#include "base/buffer.h"
#include "frame/planes.h"
#include "kernels/trace.h"

namespace cvdecode {

struct TracePlan;

enum class Select : uint8_t { kNearest, kList0 };
enum class IntraPolicy : uint8_t { kStop, kCoviar };
enum class Cross : uint8_t { kFollow, kMask };
enum class ResidualKind : uint8_t { kNone, kCoded, kReconDiff };

struct AccumulateOptions {
  std::vector<int64_t> frames;  // presentation indices, any order, repeats allowed
  // Anchors: the all-intra pictures, unless a set is given.
  bool has_anchors = false;
  std::vector<int64_t> anchors;  // presentation indices, ascending, unique
  Select select = Select::kNearest;
  IntraPolicy intra = IntraPolicy::kStop;
  Cross cross = Cross::kFollow;
  ResidualKind residual = ResidualKind::kNone;
  int grid = 1;             // 1 = one cell per sample, 4 = one per 4x4 block
  bool one_step = false;    // hops=1
  bool per_frame = false;   // only with one_step: divide by the reference distance
  bool count_hops = false;  // fill `hops`
  bool ends = true;         // false: `lost` instead of `anchor`, `mask`, `mask_uv`
  // Only this part of the display is wanted (x, y, width, height); a width of 0: all of it. What
  // lies outside is anything.
  std::array<int, 4> box{};
  bool coviar = false;                             // mode="coviar"
  int64_t motion_budget = int64_t{256} << 20;      // bytes of motion held at a time
  int64_t residual_budget = int64_t{256} << 20;    // bytes of coded residual held at a time
  const kernels::TraceKernels* kernels = nullptr;  // null = the fastest
  TracePlan* plan = nullptr;  // not null: write the work down there (plan.h) and do none of it
};

struct AccumulateStats {
  int64_t saturated = 0;        // sums clipped to int16, over all maps computed
  int64_t pictures_read = 0;    // pictures whose motion was asked for
  int64_t pictures_traced = 0;  // maps computed
  double cpu_seconds = 0;  // this thread's, for choosing predictors and tracing, not for parsing
  int64_t peak_maps = 0;   // most maps alive at once that nobody asked for
};

class Scratch;
inline constexpr uint8_t kAskMask = 2;

// Planes of T frames; rows are coded size (or the 4x4 grid of it), the caller crops. Null where not
// asked for. Where `mask` is 2 or 3: displacement 0, residual 0, anchor -1.
struct AccumulateResult {
  Geometry geometry;
  int64_t frames = 0;
  int grid = 1;
  BufferPtr displacement;            // int16 (T, 2, h, w) quarter samples; whole ones for coviar
  BufferPtr displacement_per_frame;  // float32 (T, 2, h, w), in its place for per_frame
  BufferPtr anchor;                  // int32 (T, h, w) presentation index, -2 = not presented
  BufferPtr mask;                    // uint8 (T, h, w) kernels::Mask
  BufferPtr hops;                    // uint16 (T, h, w)
  BufferPtr residual_y;              // int16 (T, h, w), coded
  BufferPtr residual_uv;             // int16 (T, 2, h / 2, w / 2), coded
  BufferPtr mask_uv;                 // uint8 (T, h / 2, w / 2), coded
  BufferPtr residual;                // int16 (T, 3, H, W) at display size, recon_diff, RGB
  bool ends = true;                  // AccumulateOptions::ends
  // Without ends: of which frames every shown cell has mask 2 (0 or 1; kAskMask while it is made).
  std::vector<uint8_t> lost;
  AccumulateStats stats;
  std::shared_ptr<Scratch> scratch;  // memory of the work, kept with a result that is used again
  std::shared_ptr<void> provider_memory;  // likewise; accumulate() leaves it to its caller
  bool hidden_ends = false;  // while it is made: `anchor` names pictures that are not presented
};

// Throws kIndex (no such frame), kInvalidArgument (frames in two segments, options that exclude
// each other, mode="coviar" on a stream with B pictures), kPlaneUnavailable (a reference that the
// backend does not know, a plane it does not have). `reuse`: a result whose memory is used again
// where it is large enough; it is moved from.
AccumulateResult accumulate(MotionProvider& provider, const AccumulateOptions& options,
                            AccumulateResult* reuse = nullptr);

// Builds of the kernels that this CPU runs, "scalar" first. For tests and benchmarks.
std::vector<std::string> trace_builds();
const kernels::TraceKernels& trace_build(const std::string& name);

}  // namespace cvdecode
