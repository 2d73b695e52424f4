// One opened video: its index, the backends that fill its planes, and batches of frames.
//
// Work is done by read(): one call per batch. It turns presentation indices into pictures, takes
// each picture once, in decode order, asks every backend for its planes, and copies repeated rows.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "demux/demuxer.h"
#include "frame/clip.h"
#include "frame/frame_index.h"
#include "frame/stream_info.h"
#include "reader/buffer_pool.h"

namespace cvdecode {

enum class BackendChoice : uint8_t { kAuto, kNative, kLibav };
enum class RgbMode : uint8_t { kNone, kKey, kAll };

struct ReaderOptions {
  PlaneMask planes = mask_of(Plane::kMv) | mask_of(Plane::kRef) | mask_of(Plane::kQp);
  RgbMode rgb = RgbMode::kNone;
  BackendChoice backend = BackendChoice::kAuto;
  int num_threads = 1;      // >= 1
  int64_t max_bytes = 0;    // refuse larger batches; 0 = half of the memory now free
  std::string index_file;   // keep the index here: taken when it fits the source, else made anew
  std::string index_stamp;  // what else the index must fit: the file's modification time
};

// The result of one read(). Buffers of a Batch that is read into again are reused where they are
// large enough; a Batch made new owns memory that nothing else refers to.
struct Batch {
  Clip clip;                       // every plane but the pixels of rgb="key"
  Clip key_rgb;                    // rgb="key": kRgb alone, K rows
  std::vector<int64_t> index;      // (T,) presentation index of each row
  std::vector<int64_t> rgb_index;  // (K,) presentation index of each row of key_rgb
  int32_t segment = 0;
};

// What one backend offers for this stream. `error` is set when it cannot be opened at all.
struct Offer {
  std::string name;
  Capabilities capabilities;
  std::string error;
};

// Not thread-safe: callers hold a Use, which refuses a second thread. num_threads > 1 is the
// backends' own business.
class VideoReader {
 public:
  // Scans the stream, makes the index, and settles which backend fills which plane.
  // Throws kPlaneUnavailable or kUnsupported when a plane asked for cannot be had.
  VideoReader(std::unique_ptr<Demuxer> demuxer, const ReaderOptions& options);
  ~VideoReader();
  VideoReader(const VideoReader&) = delete;
  VideoReader& operator=(const VideoReader&) = delete;

  // Marks the reader as in use by this thread for the life of the object; throws kState when
  // another thread uses it. Every method but the const ones needs one.
  class Use {
   public:
    explicit Use(VideoReader& reader);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    VideoReader& reader_;
  };

  const StreamInfo& info() const { return demuxer_->info(); }
  const FrameIndex& index() const { return index_; }
  const ReaderOptions& options() const { return options_; }
  // The picture with this presentation index, which must exist.
  const Picture& picture(int64_t frame) const {
    return index_.pictures[static_cast<size_t>(index_.presentation[static_cast<size_t>(frame)])];
  }

  // Fills `batch` with the frames of these presentation indices, in the order given, repeats
  // included. Throws kIndex, kInvalidArgument (two segments), kMemory (above max_bytes, before
  // anything is allocated). `pool`, when given, lends buffers that nobody refers to any more.
  void read(std::span<const int64_t> frames, Batch& batch, BufferPool* pool = nullptr);

  // For accumulation: pictures by decode number, any order, each at most once, one segment. Row i
  // of the clip is pictures[i]. Planes need not be among those the reader was opened with, and
  // Plane::kRefPicture may be among them. `pool` as in read().
  Clip read_pictures(std::span<const int32_t> pictures, PlaneMask planes,
                     BufferPool* pool = nullptr);

  // Backend::read_bgr().
  bool read_bgr(std::span<BgrRequest> requests) { return libav().read_bgr(requests); }

  // "native" or "libav" for a plane; throws kPlaneUnavailable when no backend has it.
  const char* backend_of(Plane plane);
  // Why backend="auto" did not take the native parser; "" when it did or was not asked.
  const std::string& backend_reason() const { return backend_reason_; }
  // What each backend could fill: opens both.
  std::vector<Offer> offers();

  Stats stats() const;  // sum over the backends
  // Seconds at which a presented frame starts (NaN without a timestamp) and how long it is shown:
  // the container's duration, else the step to the next frame, else the average frame rate.
  double pts_seconds(int64_t frame) const;
  double duration_seconds(int64_t frame) const;
  // Earliest start and latest end of a presented frame, in seconds; none without timestamps.
  std::optional<std::pair<double, double>> span_seconds() const;

  // After fork(): forgets codec contexts and threads without touching them.
  void abandon();

 private:
  enum Source : uint8_t { kNobody, kNative, kLibav };
  // Each picture once, in decode order, for the row that names it first; other rows are copies.
  struct Plan {
    std::vector<Request> requests;
    std::vector<std::pair<int64_t, int64_t>> copies;  // from row, to row
  };

  Backend* native();  // null when the stream is outside its scope: native_error_ says why
  Backend& libav();
  Source resolve(Plane plane);
  std::string why_not(Plane plane);
  std::string without_path(const std::string& message) const;
  void fill(std::span<const Request> requests, PlaneMask planes, Clip& clip);
  Plan plan_of(std::span<const int64_t> frames) const;
  std::vector<int64_t> key_rows_of(std::span<const int64_t> frames) const;  // only for rgb="key"
  void read_key_pixels(const Plan& plan, std::span<const int64_t> key_rows, Batch& batch);
  void check_bytes(double bytes, int64_t frames, PlaneMask planes, const Geometry& geometry) const;
  int32_t segment_of(std::span<const int64_t> frames) const;
  BackendContext context();

  ReaderOptions options_;
  std::unique_ptr<Demuxer> demuxer_;
  FrameIndex index_;
  std::shared_ptr<const NativeIndex> native_index_;
  std::unique_ptr<Backend> native_;
  std::unique_ptr<Backend> libav_;
  std::string native_error_;  // why the native parser cannot read this stream
  bool delivered_ = false;    // a frame was returned: no more falling back
  std::array<Source, kPlaneCount> sources_{};
  std::string backend_reason_;
  std::atomic<std::thread::id> user_{};
};

}  // namespace cvdecode
