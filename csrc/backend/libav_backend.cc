// The libav backend: full decode, exported side data, pixels.
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "av/compat.h"
#include "backend/backend.h"
#include "backend/libav_pixels.h"
#include "backend/libav_planes.h"
#include "backend/libav_session.h"
#include "backend/libav_traits.h"
#include "backend/mpeg4_motion.h"
#include "base/error.h"

namespace cvdecode {
namespace {

constexpr PlaneMask kMotionPlanes = mask_of(Plane::kMv) | mask_of(Plane::kRef) |
                                    mask_of(Plane::kMbType) | mask_of(Plane::kRefPicture);
constexpr size_t kMaxSessions = 3;
// No decoder is allowed larger pictures: twice what the headers promise, and never above 8192x8192,
// so that a few bytes cannot claim gigabytes.
constexpr int64_t kFewPixels = int64_t{1} << 22;
constexpr int64_t kMostPixels = int64_t{1} << 26;

int64_t max_pixels(const FrameIndex& index) {
  int64_t most = kFewPixels;
  for (const Segment& s : index.segments) {
    most = std::max(most, 2 * int64_t{s.geometry.coded_width} * s.geometry.coded_height);
  }
  return std::min(most, kMostPixels);
}

// How many pictures must wait inside a decoder so that all leave in output order: for each picture,
// those decoded before it and shown after it.
int reorder_depth(const FrameIndex& index) {
  constexpr int kMost = 16;  // H.264's and HEVC's limit
  int depth = 0;
  std::multiset<int32_t> waiting;  // of the current sequence, only the kMost latest in output order
  int32_t sequence = 0;
  for (const Picture& p : index.pictures) {
    if (p.sequence != sequence) waiting.clear();
    sequence = p.sequence;
    const auto later = std::distance(waiting.upper_bound(p.order), waiting.end());
    depth = std::max(depth, static_cast<int>(later));
    waiting.insert(p.order);
    if (waiting.size() > kMost) waiting.erase(waiting.begin());
  }
  return std::min(depth, kMost);
}

class LibavBackend final : public Backend {
 public:
  explicit LibavBackend(const BackendContext& context)
      : context_(context),
        traits_(codec_traits(context.info)),
        capabilities_(libav_capabilities(context.info)),
        reorder_depth_(traits_.reorders ? reorder_depth(context.index) : 0) {}

  const char* name() const override { return "libav"; }
  const Capabilities& capabilities() const override { return capabilities_; }
  const Stats& stats() const override { return stats_; }

  void read(std::span<const Request> requests, PlaneMask planes, Clip& clip) override {
    check_planes(planes);
    if (requests.empty() || planes == 0) return;
    if ((planes & kMotionPlanes) != 0 && !references_) {
      references_.emplace(context_.index, traits_.family);
    }
    const std::vector<uint8_t> parsed = parse(requests, planes, clip);
    const bool all_parsed = std::find(parsed.begin(), parsed.end(), 0) == parsed.end();
    const PlaneMask decoded = all_parsed ? planes & mask_of(Plane::kRgb) : planes;
    std::vector<int32_t> wanted;
    wanted.reserve(requests.size());
    for (size_t i = 0; i < requests.size(); ++i) {
      if (parsed[i] == 0 || has(planes, Plane::kRgb)) wanted.push_back(requests[i].picture);
    }
    if (wanted.empty()) return;
    session_for(decoded).decode(wanted, [&](const LibavSession::Output& output) {
      const auto it =
          std::lower_bound(requests.begin(), requests.end(), output.picture,
                           [](const Request& r, int32_t picture) { return r.picture < picture; });
      const bool data_there = parsed[static_cast<size_t>(it - requests.begin())] != 0;
      fill(output, it->row, data_there ? planes & mask_of(Plane::kRgb) : planes, clip);
    });
  }

  bool read_bgr(std::span<BgrRequest> requests) override {
    check_planes(mask_of(Plane::kRgb));
    // Elsewhere libavcodec conceals damage in another way once it is asked for vectors.
    const bool mpeg4 = traits_.family == CodecFamily::kMpeg4;
    PlaneMask planes = mask_of(Plane::kRgb);
    std::vector<int32_t> wanted;
    for (const BgrRequest& r : requests) {
      if (mpeg4 && r.mv != nullptr) planes |= mask_of(Plane::kMv);
      if (mpeg4 || r.bgr != nullptr) wanted.push_back(r.picture);
    }
    bool good = true;
    session_for(planes).decode(wanted, [&](const LibavSession::Output& output) {
      const auto it = std::lower_bound(
          requests.begin(), requests.end(), output.picture,
          [](const BgrRequest& r, int32_t picture) { return r.picture < picture; });
      const Picture& picture = context_.index.pictures[static_cast<size_t>(output.picture)];
      const Geometry& g = context_.index.segments[static_cast<size_t>(picture.segment)].geometry;
      if (mpeg4 && it->mv != nullptr && has_vectors(output, g)) {
        fill_list0(*output.frame, g, it->mv);
        it->has_mv = true;
      }
      if (it->bgr == nullptr) return;
      std::string problem = output.problem;
      if (output.frame != nullptr) {
        problem = converter_.convert_bgr(*output.frame, g.width(), g.height(), it->bgr);
      }
      if (problem.empty()) return;
      lose(output.picture, "pixels", problem);
      good = false;
    });
    return good;
  }

 private:
  // Whether an MPEG-4 frame that was decoded for its pixels has the vectors that read() gives.
  bool has_vectors(const LibavSession::Output& output, const Geometry& g) {
    if (output.frame == nullptr || !output.problem.empty() ||
        !damage_of(*output.frame, output.picture).empty() ||
        (output.flushed && !has_side_data(*output.frame))) {
      return false;
    }
    return mpeg4().is_exported(*output.frame, output.picture, g);
  }

  Mpeg4Motion& mpeg4() {
    if (!mpeg4_) mpeg4_.emplace(context_);
    return *mpeg4_;
  }

  // The data planes of MPEG-4 pictures that need no decoder: which of the requests have them now.
  std::vector<uint8_t> parse(std::span<const Request> requests, PlaneMask planes, Clip& clip) {
    std::vector<uint8_t> parsed(requests.size(), 0);
    const PlaneMask data_planes = planes & ~mask_of(Plane::kRgb);
    if (traits_.family != CodecFamily::kMpeg4 || data_planes == 0) return parsed;
    for (size_t i = 0; i < requests.size(); ++i) {
      const References references =
          references_ ? references_->of(requests[i].picture, false) : References{};
      if (!mpeg4().read(requests[i].picture, references, data_planes, requests[i].row, clip)) {
        continue;
      }
      parsed[i] = 1;
      ++stats_.packets_read;
      ++stats_.pictures_parsed;
    }
    return parsed;
  }

  void check_planes(PlaneMask planes) const {
    for (int p = 0; p < kPlaneCount; ++p) {
      const auto plane = static_cast<Plane>(p);
      if (has(planes, plane) && !has(capabilities_.planes, plane)) {
        throw Error(ErrorKind::kPlaneUnavailable,
                    context_.info.path + ": " + capabilities_.why_not[static_cast<size_t>(p)]);
      }
    }
  }

  // Decoders differ in what they export and in the loop filter. A session that exports more than is
  // asked for serves too; one that filters needlessly does not.
  LibavSession& session_for(PlaneMask planes) {
    DecoderOptions want;
    want.vectors = (planes & kMotionPlanes) != 0;
    want.qp = has(planes, Plane::kQp);
    want.pixels = has(planes, Plane::kRgb);
    for (auto it = sessions_.begin(); it != sessions_.end(); ++it) {
      const DecoderOptions& have = (*it)->options();
      if (have.pixels != want.pixels || have.vectors < want.vectors || have.qp < want.qp) continue;
      std::rotate(sessions_.begin(), it, it + 1);
      return *sessions_.front();
    }
    want.num_threads = context_.num_threads;
    want.reorder_depth = reorder_depth_;
    want.max_pixels = max_pixels(context_.index);
    if (sessions_.size() == kMaxSessions) sessions_.pop_back();
    sessions_.insert(sessions_.begin(),
                     std::make_unique<LibavSession>(context_, traits_, want, stats_));
    return *sessions_.front();
  }

  // True where an H.264 picture looks at others, but none came before it that could be looked at.
  // libavcodec then drops its slices ("Missing reference picture") and still gives out a frame, or
  // one for each slice, without any mark.
  bool lacks_references(int32_t picture) const {
    const auto& pictures = context_.index.pictures;
    const Picture& p = pictures[static_cast<size_t>(picture)];
    // (The second field of an IDR picture may look at the first.)
    if (traits_.family != CodecFamily::kH264 || p.all_intra || p.is_idr || p.damaged) return false;
    const auto before = std::span(pictures).first(static_cast<size_t>(picture));
    const auto start = static_cast<size_t>(std::clamp(p.decode_start, 0, picture));
    return std::none_of(before.begin() + static_cast<ptrdiff_t>(start), before.end(),
                        [](const Picture& q) { return q.is_reference && !q.damaged; });
  }

  // Damage that libavcodec admits to, and what it hides. H.264 frames also count as "corrupt" until
  // a recovery point has passed (FFmpeg 8 marks two frames after each jump to an I-picture without
  // one); where decoding began at an intra picture that the index vouches for, that is only
  // libavcodec's caution, and it would make a frame depend on where decoding began.
  std::string damage_of(const AVFrame& frame, int32_t picture) const {
    if (frame.decode_error_flags != 0) {
      return "libavcodec reports errors (decode_error_flags " +
             std::to_string(frame.decode_error_flags) + ")";
    }
    if (lacks_references(picture)) return "it refers to pictures before the start of the stream";
    if ((frame.flags & AV_FRAME_FLAG_CORRUPT) == 0) return {};
    if (traits_.family == CodecFamily::kH264) {
      const auto& pictures = context_.index.pictures;
      const int32_t start =
          std::clamp(pictures[static_cast<size_t>(picture)].decode_start, 0, picture);
      if (pictures[static_cast<size_t>(start)].all_intra) return {};
    }
    return "libavcodec marks the frame as corrupt";
  }

  void lose(int32_t picture, const std::string& what, const std::string& why) {
    stats_.damage[picture] = what + " lost: " + why;
  }

  void fill(const LibavSession::Output& output, int64_t row, PlaneMask planes, Clip& clip) {
    const int32_t picture = output.picture;
    if (output.frame == nullptr) {
      clip.fill_lost(row, planes);
      lose(picture, "picture", output.problem);
      return;
    }
    const AVFrame& frame = *output.frame;
    PlaneMask data_planes = planes & ~mask_of(Plane::kRgb);
    std::string damage = damage_of(frame, picture);
    if (damage.empty() && traits_.is_mpegvideo() && output.flushed && data_planes != 0 &&
        !has_side_data(frame)) {
      damage = "libavcodec exports no side data for the frame that comes out at the end";
    }
    if (!damage.empty()) {
      if (data_planes != 0) clip.fill_lost(row, data_planes);
      lose(picture, data_planes != 0 ? "vectors, types and QP" : "nothing but certainty", damage);
      data_planes = 0;
    }
    if ((data_planes & kMotionPlanes) != 0) {
      const bool sprite = frame.pict_type == AV_PICTURE_TYPE_S;
      fill_motion(frame, traits_.family, references_->of(picture, sprite), data_planes, row, clip);
    }
    if (has(data_planes, Plane::kQp)) {
      if (has_qp(frame) && output.q_scale_type >= 0) {
        QpScale scale = traits_.is_mpegvideo() ? QpScale::kDouble : QpScale::kSame;
        if (output.q_scale_type == 1) scale = QpScale::kNonLinear;
        fill_qp(frame, scale, row, clip);
      } else {
        clip.fill_lost(row, mask_of(Plane::kQp));
        lose(picture, "QP",
             has_qp(frame) ? "its two fields have different q_scale_type"
                           : "libavcodec exported none for this frame");
      }
    }
    if (has(planes, Plane::kRgb)) {
      const std::string problem =
          converter_.convert(frame, clip.geometry.width(), clip.geometry.height(),
                             clip.row<uint8_t>(Plane::kRgb, row));
      if (!problem.empty()) {
        clip.fill_lost(row, mask_of(Plane::kRgb));
        lose(picture, "pixels", problem);
      }
    }
  }

  BackendContext context_;
  CodecTraits traits_;
  Capabilities capabilities_;
  int reorder_depth_;
  Stats stats_;
  std::optional<ReferenceTable> references_;
  std::optional<Mpeg4Motion> mpeg4_;
  PixelConverter converter_;
  std::vector<std::unique_ptr<LibavSession>> sessions_;  // the most recently used first
};

}  // namespace

std::unique_ptr<Backend> make_libav_backend(const BackendContext& context) {
  return std::make_unique<LibavBackend>(context);
}

}  // namespace cvdecode
