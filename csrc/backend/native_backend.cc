// The native H.264 backend: h264::Parser behind the interface of all backends.
#include <algorithm>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "h264/parser.h"

namespace cvdecode {
namespace {

// Table A-1, level 6.2: MaxFS, and sqrt(8 * MaxFS) for each side.
constexpr int64_t kMaxMacroblocks = 139264;
constexpr int kMaxSide = 1055;

void refuse_hostile_sizes(const StreamInfo& info, const FrameIndex& index) {
  for (const Segment& s : index.segments) {
    const Geometry& g = s.geometry;
    const int64_t mbs = static_cast<int64_t>(g.w16()) * g.h16();
    if (mbs <= 0 || mbs > kMaxMacroblocks || g.w16() > kMaxSide || g.h16() > kMaxSide) {
      throw Error(ErrorKind::kUnsupported,
                  info.path + ": a sequence parameter set asks for pictures of " +
                      std::to_string(g.coded_width) + "x" + std::to_string(g.coded_height) +
                      " samples, more than level 6.2 allows; the file is damaged or hostile");
    }
  }
}

class NativeBackend final : public Backend {
 public:
  NativeBackend(const BackendContext& context, std::shared_ptr<const NativeIndex> native)
      : parser_(context.index, std::move(native), context.packets, context.num_threads) {
    for (const Plane p :
         {Plane::kMv, Plane::kRef, Plane::kMbType, Plane::kQp, Plane::kBits, Plane::kResidualY,
          Plane::kResidualUv, Plane::kRefPicture, Plane::kMotion}) {
      capabilities_.planes |= mask_of(p);
    }
    why_not(Plane::kRgb, "the native parser decodes no pixels; backend=\"libav\" has rgb");
    const auto& segments = context.index.segments;
    if (std::any_of(segments.begin(), segments.end(),
                    [](const Segment& s) { return s.geometry.chroma_format_idc == 0; })) {
      why_not(Plane::kResidualUv, "the stream is monochrome (chroma_format_idc 0)");
    }
  }

  const char* name() const override { return "native"; }
  const Capabilities& capabilities() const override { return capabilities_; }

  void read(std::span<const Request> requests, PlaneMask planes, Clip& clip) override {
    if (const PlaneMask missing = planes & ~capabilities_.planes; missing != 0) {
      for (int p = 0; p < kPlaneCount; ++p) {
        if (!has(missing, static_cast<Plane>(p))) continue;
        throw Error(ErrorKind::kPlaneUnavailable, capabilities_.why_not[static_cast<size_t>(p)]);
      }
    }
    std::vector<h264::PictureRow> rows;
    rows.reserve(requests.size());
    for (const Request& r : requests) rows.push_back({r.picture, r.row});
    parser_.read(rows, planes, clip);
    const h264::ParseStats& s = parser_.stats();
    stats_.packets_read = s.packets_read;
    stats_.slices_parsed = s.slices_parsed;
    stats_.pictures_parsed = s.pictures_parsed;
    stats_.slices_lost = s.slices_lost;
    if (stats_.damage.size() != s.damage.size()) stats_.damage = s.damage;
  }

  const Stats& stats() const override { return stats_; }
  Stats& stats() { return stats_; }

 private:
  void why_not(Plane plane, const char* reason) {
    capabilities_.planes &= ~mask_of(plane);
    capabilities_.why_not[static_cast<size_t>(plane)] = reason;
  }

  h264::Parser parser_;
  Capabilities capabilities_;
  Stats stats_;
};

}  // namespace

std::unique_ptr<Backend> make_native_backend(const BackendContext& context,
                                             std::shared_ptr<const NativeIndex> native_index) {
  if (!native_index) {
    throw Error(ErrorKind::kUnsupported, context.info.path +
                                             ": the native parser reads H.264 "
                                             "only, this stream is " +
                                             context.info.codec);
  }
  if (!native_index->unsupported.empty()) {
    throw Error(
        ErrorKind::kUnsupported,
        context.info.path + ": outside what the native parser reads: " + native_index->unsupported);
  }
  refuse_hostile_sizes(context.info, context.index);
  auto backend = std::make_unique<NativeBackend>(context, native_index);
  backend->stats().slices_skipped = native_index->redundant_skipped + native_index->nals_skipped;
  return backend;
}

}  // namespace cvdecode
