#include "reader/video_reader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/error.h"
#include "frame/plane_names.h"
#include "reader/memory.h"
#include "reader/saved_index.h"

namespace cvdecode {
namespace {

// Below this a request is never compared with the free memory.
constexpr int64_t kSmallRequest = 16 << 20;

std::string names_of(PlaneMask planes) {
  std::string text;
  for (int p = 0; p < kPlaneCount; ++p) {
    if (!has(planes, static_cast<Plane>(p))) continue;
    if (!text.empty()) text += ", ";
    text += plane_name(static_cast<Plane>(p));
  }
  return text.empty() ? "no planes" : text;
}

std::string size_of(const Geometry& g) {
  return std::to_string(g.coded_width) + "x" + std::to_string(g.coded_height);
}

// "1.5 GB", for people.
std::string bytes_text(double bytes) {
  const char* const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB"};
  size_t unit = 0;
  while (bytes >= 1000 && unit + 1 < std::size(units)) {
    bytes /= 1000;
    ++unit;
  }
  std::string number = std::to_string(std::lround(bytes * 10));
  number.insert(number.size() - 1, number.size() == 1 ? "0." : ".");
  return number + " " + units[unit];
}

// Gives `clip` this geometry and number of rows. Buffers that are large enough stay.
void prepare(Clip& clip, const Geometry& geometry, int64_t frames, PlaneMask planes,
             BufferPool* pool) {
  clip.geometry = geometry;
  clip.frames = frames;
  clip.planes = planes;
  clip.lost.assign(static_cast<size_t>(frames), 0);
  for (size_t p = 0; p < kPlaneCount; ++p) {
    BufferPtr& buffer = clip.buffers[p];
    const auto plane = static_cast<Plane>(p);
    if (!has(planes, plane)) {
      buffer.reset();
      continue;
    }
    const size_t bytes = plane_row_bytes(geometry, plane) * static_cast<size_t>(frames);
    if (buffer != nullptr && buffer->size() >= bytes) {
      buffer->forget();  // the caller's arrays: anything may have been written
      continue;
    }
    const bool residual = plane == Plane::kResidualY || plane == Plane::kResidualUv;
    // What the pool gives may hold anything, so zeroing a new buffer pays only where zero blocks
    // are not written.
    buffer = pool != nullptr ? pool->take(bytes, residual) : std::make_shared<Buffer>(bytes, true);
    if (!residual) buffer->forget();
  }
}

void copy_row(Clip& clip, int64_t from, int64_t to) {
  for (int p = 0; p < kPlaneCount; ++p) {
    const auto plane = static_cast<Plane>(p);
    if (!clip.has_plane(plane)) continue;
    std::memcpy(clip.row<uint8_t>(plane, to), clip.row<uint8_t>(plane, from),
                plane_row_bytes(clip.geometry, plane));
    clip.buffers[static_cast<size_t>(p)]->forget();
  }
  clip.lost[static_cast<size_t>(to)] = clip.lost[static_cast<size_t>(from)];
}

// Bytes that prepare() would have to allocate. A double: rows times frames may pass 64 bits.
double missing_bytes(const Clip& clip, const Geometry& geometry, int64_t frames, PlaneMask planes) {
  double total = 0;
  for (size_t p = 0; p < kPlaneCount; ++p) {
    const auto plane = static_cast<Plane>(p);
    if (!has(planes, plane)) continue;
    const double bytes =
        static_cast<double>(plane_row_bytes(geometry, plane)) * static_cast<double>(frames);
    const BufferPtr& buffer = clip.buffers[p];
    if (buffer == nullptr || static_cast<double>(buffer->size()) < bytes) total += bytes;
  }
  return total;
}

void add(Stats& sum, const Stats& part) {
  sum.packets_read += part.packets_read;
  sum.slices_parsed += part.slices_parsed;
  sum.pictures_parsed += part.pictures_parsed;
  sum.pictures_decoded += part.pictures_decoded;
  sum.seeks += part.seeks;
  sum.slices_lost += part.slices_lost;
  sum.slices_skipped += part.slices_skipped;
  for (const auto& [picture, what] : part.damage) {
    std::string& text = sum.damage[picture];
    if (text.empty()) {
      text = what;
    } else if (text.find(what) == std::string::npos) {
      text += "; " + what;
    }
  }
}

}  // namespace

VideoReader::Use::Use(VideoReader& reader) : reader_(reader) {
  std::thread::id nobody;
  if (!reader.user_.compare_exchange_strong(nobody, std::this_thread::get_id())) {
    throw Error(ErrorKind::kState,
                "this VideoReader is in use by another call; one reader serves one thread at a "
                "time: open one reader per thread");
  }
}

VideoReader::Use::~Use() { reader_.user_.store(std::thread::id()); }

namespace {

// A video without a single frame is damage or no video, never an empty array.
void refuse_empty(const StreamInfo& info, const FrameIndex& index) {
  if (index.size() > 0) return;
  std::string why = info.path + ": ";
  if (info.codec.empty() || info.codec == "none") {
    throw Error(ErrorKind::kCorrupt, why + "the " + info.container +
                                         " container does not say which codec it holds; "
                                         "the file is probably cut short: fetch or record it anew");
  }
  why += "no frame can be made out in its " + info.codec + " stream";
  if (!index.pictures.empty()) {
    why += ": the edit list discards all " + std::to_string(index.pictures.size()) + " pictures";
  } else if (!index.warnings.empty()) {
    why += ": " + index.warnings.front();
  } else {
    why += "; the file is probably cut short, or holds something else";
  }
  throw Error(ErrorKind::kCorrupt, why);
}

}  // namespace

VideoReader::VideoReader(std::unique_ptr<Demuxer> demuxer, const ReaderOptions& options)
    : options_(options), demuxer_(std::move(demuxer)) {
  if (options_.num_threads < 1) {
    throw Error(ErrorKind::kInvalidArgument,
                "num_threads is " + std::to_string(options_.num_threads) + "; give 1 or more");
  }
  const SavedIndex saved(options_.index_file, options_.index_stamp, *demuxer_);
  if (!saved.load(*demuxer_, index_, native_index_)) {
    demuxer_->open_now();
    std::unique_ptr<Indexer> indexer = make_indexer(demuxer_->info(), &native_index_);
    demuxer_->scan([&](const Packet& packet) { indexer->add_packet(packet); });
    index_ = indexer->finish();
    fill_missing_pts(index_, demuxer_->packet_dts());
    if (!demuxer_->end_note().empty()) {
      index_.warnings.push_back("libavformat stopped early: " + demuxer_->end_note());
    }
    refuse_empty(demuxer_->info(), index_);
    saved.store(*demuxer_, index_, native_index_.get());
  }

  PlaneMask planes = options_.planes;
  if (options_.rgb != RgbMode::kNone) planes |= mask_of(Plane::kRgb);
  for (int p = 0; p < kPlaneCount; ++p) {
    if (has(planes, static_cast<Plane>(p))) resolve(static_cast<Plane>(p));
  }
}

VideoReader::~VideoReader() = default;

BackendContext VideoReader::context() {
  return BackendContext{demuxer_->info(), index_, *demuxer_, options_.num_threads};
}

Backend* VideoReader::native() {
  if (native_ == nullptr && native_error_.empty()) {
    try {
      native_ = make_native_backend(context(), native_index_);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kUnsupported) throw;
      native_error_ = without_path(e.what());
    }
  }
  return native_error_.empty() ? native_.get() : nullptr;
}

std::string VideoReader::without_path(const std::string& message) const {
  const std::string prefix = info().path + ": ";
  return message.starts_with(prefix) ? message.substr(prefix.size()) : message;
}

Backend& VideoReader::libav() {
  if (libav_ == nullptr) libav_ = make_libav_backend(context());
  return *libav_;
}

VideoReader::Source VideoReader::resolve(Plane plane) {
  Source& source = sources_[static_cast<size_t>(plane)];
  if (source != kNobody) return source;
  const bool pixels = plane == Plane::kRgb;  // libav alone has them, whatever was asked for
  if (!pixels && options_.backend != BackendChoice::kLibav) {
    Backend* parser = native();
    if (parser != nullptr && has(parser->capabilities().planes, plane)) return source = kNative;
    if (parser == nullptr && options_.backend == BackendChoice::kNative) {
      throw Error(ErrorKind::kUnsupported, why_not(plane));
    }
    if (parser == nullptr) backend_reason_ = native_error_;
  }
  if ((pixels || options_.backend != BackendChoice::kNative) &&
      has(libav().capabilities().planes, plane)) {
    return source = kLibav;
  }
  throw Error(ErrorKind::kPlaneUnavailable, why_not(plane));
}

std::string VideoReader::why_not(Plane plane) {
  // Planes of the core's own have no name that anyone outside knows.
  const bool own = plane == Plane::kRefPicture || plane == Plane::kMotion;
  std::string text = info().path + ": " +
                     (own ? std::string("the picture that each vector refers to")
                          : "plane '" + std::string(plane_name(plane)) + "'") +
                     " cannot be had from " + info().codec;
  const char* const choices[] = {"auto", "native", "libav"};
  if (options_.backend != BackendChoice::kAuto) {
    text += std::string(" with backend=\"") + choices[static_cast<int>(options_.backend)] + "\"";
  }
  const std::vector<Offer> all = offers();
  std::string remedy;
  for (const Offer& offer : all) {
    text += "; " + offer.name + ": ";
    if (has(offer.capabilities.planes, plane)) {
      text += "has it";
      remedy = "; use backend=\"" + offer.name + "\" or \"auto\"";
    } else if (!offer.error.empty()) {
      text += offer.error;
    } else {
      const std::string& reason = offer.capabilities.why_not[static_cast<size_t>(plane)];
      text += reason.empty() ? "does not give it" : reason;
    }
  }
  if (remedy.empty() && plane != Plane::kRgb && !all.front().error.empty()) {
    remedy =
        "; a transcode to progressive 8-bit 4:2:0 H.264 has it, as that encoder chose it "
        "(ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT)";
  }
  return text + remedy;
}

std::vector<Offer> VideoReader::offers() {
  std::vector<Offer> all(2);
  all[0].name = "native";
  if (Backend* parser = native()) {
    all[0].capabilities = parser->capabilities();
  } else {
    all[0].error = native_error_;
  }
  all[1].name = "libav";
  try {
    all[1].capabilities = libav().capabilities();
  } catch (const Error& e) {
    all[1].error = without_path(e.what());
  }
  return all;
}

const char* VideoReader::backend_of(Plane plane) {
  return resolve(plane) == kNative ? "native" : "libav";
}

void VideoReader::fill(std::span<const Request> requests, PlaneMask planes, Clip& clip) {
  if (requests.empty()) return;
  std::array<PlaneMask, 3> of{};
  for (int p = 0; p < kPlaneCount; ++p) {
    const auto plane = static_cast<Plane>(p);
    if (has(planes, plane)) of[resolve(plane)] |= mask_of(plane);
  }
  if (of[kNative] != 0) {
    try {
      native()->read(requests, of[kNative], clip);
    } catch (const Error& e) {
      // A stream may turn out to be outside the parser's scope only when slices are parsed. Before
      // the first frame was returned, and only then, another backend may still take over.
      if (e.kind() != ErrorKind::kUnsupported || delivered_ ||
          options_.backend != BackendChoice::kAuto) {
        throw;
      }
      native_error_ = without_path(e.what());
      sources_.fill(kNobody);
      std::fill(clip.lost.begin(), clip.lost.end(), uint8_t{0});
      fill(requests, planes, clip);
      return;
    }
  }
  if (of[kLibav] != 0) libav().read(requests, of[kLibav], clip);
  delivered_ = true;
}

void VideoReader::check_bytes(double bytes, int64_t frames, PlaneMask planes,
                              const Geometry& geometry) const {
  if (bytes <= static_cast<double>(kSmallRequest) && options_.max_bytes == 0) return;
  const int64_t most = options_.max_bytes > 0 ? options_.max_bytes : free_memory() / 2;
  if (bytes <= static_cast<double>(most)) return;
  throw Error(ErrorKind::kMemory,
              std::to_string(frames) + " frames of " + size_of(geometry) + " with " +
                  names_of(planes) + " take " + bytes_text(bytes) +
                  ", above max_bytes = " + bytes_text(static_cast<double>(most)) +
                  (options_.max_bytes > 0 ? "" : " (half of the free memory)") +
                  "; stream them with batches(), or ask for fewer frames or planes");
}

int32_t VideoReader::segment_of(std::span<const int64_t> frames) const {
  if (frames.empty()) return 0;
  const int32_t first = picture(frames[0]).segment;
  for (const int64_t frame : frames) {
    const int32_t other = picture(frame).segment;
    if (other == first) continue;
    const Segment& a = index_.segments[static_cast<size_t>(std::min(first, other))];
    const Segment& b = index_.segments[static_cast<size_t>(std::min(first, other) + 1)];
    throw Error(ErrorKind::kInvalidArgument,
                "frames " + std::to_string(frames[0]) + " and " + std::to_string(frame) +
                    " lie in two segments: at frame " + std::to_string(b.start) +
                    " the stream changes from " + size_of(a.geometry) + " to " +
                    size_of(b.geometry) +
                    " (coded size, crop or chroma format); read the segments of video.segments "
                    "one by one, or iterate with batches()");
  }
  return first;
}

VideoReader::Plan VideoReader::plan_of(std::span<const int64_t> frames) const {
  std::vector<Request> sorted(frames.size());
  for (size_t row = 0; row < frames.size(); ++row) {
    sorted[row] = {index_.presentation[static_cast<size_t>(frames[row])],
                   static_cast<int64_t>(row)};
  }
  std::sort(sorted.begin(), sorted.end(), [](const Request& a, const Request& b) {
    return a.picture != b.picture ? a.picture < b.picture : a.row < b.row;
  });
  Plan plan;
  plan.requests.reserve(sorted.size());
  for (const Request& request : sorted) {
    if (!plan.requests.empty() && plan.requests.back().picture == request.picture) {
      plan.copies.emplace_back(plan.requests.back().row, request.row);
    } else {
      plan.requests.push_back(request);
    }
  }
  return plan;
}

std::vector<int64_t> VideoReader::key_rows_of(std::span<const int64_t> frames) const {
  std::vector<int64_t> rows;
  if (options_.rgb != RgbMode::kKey) return rows;
  for (size_t row = 0; row < frames.size(); ++row) {
    if (picture(frames[row]).is_key) rows.push_back(static_cast<int64_t>(row));
  }
  return rows;
}

void VideoReader::read(std::span<const int64_t> frames, Batch& batch, BufferPool* pool) {
  const int64_t size = index_.size();
  for (const int64_t frame : frames) {
    if (frame >= 0 && frame < size) continue;
    throw Error(ErrorKind::kIndex, "frame " + std::to_string(frame) + " is out of range: " +
                                       info().path + " has " + std::to_string(size) + " frames");
  }
  const int32_t segment = segment_of(frames);
  const Geometry geometry =
      index_.segments.empty() ? Geometry{} : index_.segments[static_cast<size_t>(segment)].geometry;
  const auto count = static_cast<int64_t>(frames.size());
  PlaneMask planes = options_.planes;
  if (options_.rgb == RgbMode::kAll) planes |= mask_of(Plane::kRgb);

  const std::vector<int64_t> key_rows = key_rows_of(frames);
  const auto key_count = static_cast<int64_t>(key_rows.size());
  const PlaneMask key_planes = options_.rgb == RgbMode::kKey ? mask_of(Plane::kRgb) : 0;
  check_bytes(missing_bytes(batch.clip, geometry, count, planes) +
                  missing_bytes(batch.key_rgb, geometry, key_count, key_planes),
              count, planes | key_planes, geometry);

  const Plan plan = plan_of(frames);
  prepare(batch.clip, geometry, count, planes, pool);
  prepare(batch.key_rgb, geometry, key_count, key_planes, pool);
  batch.segment = segment;
  batch.index.assign(frames.begin(), frames.end());
  batch.rgb_index.clear();
  if (planes != 0) {
    fill(plan.requests, planes, batch.clip);
    for (const auto& [from, to] : plan.copies) copy_row(batch.clip, from, to);
  }
  if (key_count > 0) read_key_pixels(plan, key_rows, batch);
}

void VideoReader::read_key_pixels(const Plan& plan, std::span<const int64_t> key_rows,
                                  Batch& batch) {
  std::vector<int64_t> key_row(batch.index.size(), -1);  // row of the clip -> row of key_rgb
  for (size_t k = 0; k < key_rows.size(); ++k) {
    key_row[static_cast<size_t>(key_rows[k])] = static_cast<int64_t>(k);
    batch.rgb_index.push_back(batch.index[static_cast<size_t>(key_rows[k])]);
  }
  std::vector<Request> keys;
  for (const Request& request : plan.requests) {
    const int64_t row = key_row[static_cast<size_t>(request.row)];
    if (row >= 0) keys.push_back({request.picture, row});
  }
  libav().read(keys, mask_of(Plane::kRgb), batch.key_rgb);
  for (const auto& [from, to] : plan.copies) {
    const int64_t row = key_row[static_cast<size_t>(from)];
    if (row >= 0) copy_row(batch.key_rgb, row, key_row[static_cast<size_t>(to)]);
  }
  for (size_t k = 0; k < key_rows.size(); ++k) {
    if (batch.key_rgb.lost[k] != 0) batch.clip.lost[static_cast<size_t>(key_rows[k])] = 1;
  }
}

Clip VideoReader::read_pictures(std::span<const int32_t> pictures, PlaneMask planes,
                                BufferPool* pool) {
  Geometry geometry;
  std::vector<Request> requests(pictures.size());
  for (size_t row = 0; row < pictures.size(); ++row) {
    const int32_t number = pictures[row];
    if (number < 0 || static_cast<size_t>(number) >= index_.pictures.size()) {
      throw Error(ErrorKind::kIndex, "picture " + std::to_string(number) + " does not exist");
    }
    const auto segment = static_cast<size_t>(index_.pictures[static_cast<size_t>(number)].segment);
    const Geometry& own = index_.segments.at(segment).geometry;
    if (row == 0) geometry = own;
    if (!(own == geometry)) {
      throw Error(ErrorKind::kInvalidArgument, "pictures of two segments in one call");
    }
    requests[row] = {number, static_cast<int64_t>(row)};
  }
  std::sort(requests.begin(), requests.end(),
            [](const Request& a, const Request& b) { return a.picture < b.picture; });
  Clip clip;
  const auto count = static_cast<int64_t>(pictures.size());
  check_bytes(missing_bytes(clip, geometry, count, planes), count, planes, geometry);
  prepare(clip, geometry, count, planes, pool);
  fill(requests, planes, clip);
  return clip;
}

Stats VideoReader::stats() const {
  Stats sum;
  for (const auto* backend : {native_.get(), libav_.get()}) {
    if (backend != nullptr) add(sum, backend->stats());
  }
  return sum;
}

double VideoReader::pts_seconds(int64_t frame) const {
  const int64_t pts = picture(frame).pts;
  if (pts == kNoTimestamp) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(pts) * info().time_base_num / info().time_base_den;
}

double VideoReader::duration_seconds(int64_t frame) const {
  const int64_t duration = picture(frame).duration;
  if (duration > 0) {
    return static_cast<double>(duration) * info().time_base_num / info().time_base_den;
  }
  if (frame + 1 < index_.size()) {
    const double step = pts_seconds(frame + 1) - pts_seconds(frame);
    if (step > 0) return step;
  }
  if (info().frame_rate_num > 0) {
    return static_cast<double>(info().frame_rate_den) / info().frame_rate_num;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

std::optional<std::pair<double, double>> VideoReader::span_seconds() const {
  std::optional<std::pair<double, double>> span;
  for (int64_t frame = 0; frame < index_.size(); ++frame) {
    const Picture& p = picture(frame);
    if (p.pts == kNoTimestamp) continue;
    const double begin = pts_seconds(frame);
    double end = 0;
    if (p.duration > 0) {  // added before scaling: exact below 2^53, as players do
      end = (static_cast<double>(p.pts) + static_cast<double>(p.duration)) * info().time_base_num /
            info().time_base_den;
    } else {
      const double duration = duration_seconds(frame);
      end = begin + (std::isnan(duration) ? 0 : duration);
    }
    if (!span) span.emplace(begin, end);
    span->first = std::min(span->first, begin);
    span->second = std::max(span->second, end);
  }
  return span;
}

void VideoReader::abandon() {
  // The child of a fork has the memory of the parent's codec threads but not the threads: joining
  // them would hang, so they are kept for ever. A static list keeps them reachable.
  static std::vector<std::unique_ptr<Backend>>* forgotten =
      new std::vector<std::unique_ptr<Backend>>();
  for (auto* backend : {&native_, &libav_}) {
    if (*backend != nullptr) forgotten->push_back(std::move(*backend));
  }
  static std::vector<std::unique_ptr<Demuxer>>* demuxers =
      new std::vector<std::unique_ptr<Demuxer>>();
  demuxers->push_back(std::move(demuxer_));
}

}  // namespace cvdecode
