#include "accumulate/coviar.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace cvdecode {
namespace {

// The map of a GOP as it grows. Only the display area exists: a vector counts where both the
// pixel and its source lie inside it.
class CoviarMap {
 public:
  explicit CoviarMap(const Geometry& g) : geometry_(g), width_(g.width()), height_(g.height()) {}

  void start() {
    broken_ = false;
    const size_t n = static_cast<size_t>(width_) * static_cast<size_t>(height_);
    x_.resize(n);
    y_.resize(n);
    for (int y = 0; y < height_; ++y) {
      for (int x = 0; x < width_; ++x) {
        x_[at(x, y)] = static_cast<int16_t>(x);
        y_[at(x, y)] = static_cast<int16_t>(y);
      }
    }
  }

  // A pixel takes over the trace of its source; intra blocks, blocks without motion and sources
  // outside the picture keep the trace that is there. `accumulate` false: of the last step only.
  void step(const MotionView& view, bool accumulate) {
    if (!accumulate) start();
    if (view.lost) broken_ = true;
    next_x_ = x_;
    next_y_ = y_;
    // Where there is no vector the plane holds 0: such a pixel takes over its own trace.
    const auto w4 = static_cast<size_t>(geometry_.w4());
    const size_t cells = w4 * static_cast<size_t>(geometry_.h4());
    for (int y = 0; y < height_; ++y) {
      for (int x = 0; x < width_; ++x) {
        const size_t block = static_cast<size_t>((y + geometry_.crop_top) / 4) * w4 +
                             static_cast<size_t>((x + geometry_.crop_left) / 4);
        // libavcodec rounds towards zero when it computes src_x and src_y.
        const int sx = x + view.mv[block] / 4;
        const int sy = y + view.mv[cells + block] / 4;
        if (sx < 0 || sx >= width_ || sy < 0 || sy >= height_) continue;
        next_x_[at(x, y)] = x_[at(sx, sy)];
        next_y_[at(x, y)] = y_[at(sx, sy)];
      }
    }
    std::swap(x_, next_x_);
    std::swap(y_, next_y_);
  }

  void write(const kernels::Map& out, int32_t anchor, int hops) const {
    const auto stride = static_cast<size_t>(geometry_.coded_width);
    const size_t cells = stride * static_cast<size_t>(geometry_.coded_height);
    std::fill_n(out.x, cells, int16_t{0});
    std::fill_n(out.y, cells, int16_t{0});
    std::fill_n(out.end, cells, broken_ ? -1 : anchor);
    std::fill_n(out.mask, cells, broken_ ? kernels::kMaskBroken : kernels::kMaskAnchor);
    if (out.hops != nullptr) {
      std::fill_n(out.hops, cells, static_cast<uint16_t>(broken_ ? 0 : std::min(hops, 65535)));
    }
    if (broken_) return;
    for (int y = 0; y < height_; ++y) {
      for (int x = 0; x < width_; ++x) {
        const size_t to = static_cast<size_t>(y + geometry_.crop_top) * stride +
                          static_cast<size_t>(x + geometry_.crop_left);
        const size_t from = at(x, y);
        out.x[to] = static_cast<int16_t>(x - x_[from]);
        out.y[to] = static_cast<int16_t>(y - y_[from]);
        if (out.at_x != nullptr) {
          out.at_x[to] = static_cast<int16_t>(x_[from] + geometry_.crop_left);
          out.at_y[to] = static_cast<int16_t>(y_[from] + geometry_.crop_top);
        }
      }
    }
  }

 private:
  size_t at(int x, int y) const {
    return static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x);
  }

  Geometry geometry_;
  int width_, height_;
  bool broken_ = false;
  std::vector<int16_t> x_, y_, next_x_, next_y_;
};

void refuse_b_pictures(const MotionProvider& provider) {
  for (int32_t n = 0; n < provider.picture_count(); ++n) {
    const MotionPicture picture = provider.picture(n);
    if (picture.type != FrameType::kB) continue;
    throw Error(ErrorKind::kInvalidArgument,
                "mode=\"coviar\" is defined for streams of I and P pictures only, and frame " +
                    std::to_string(picture.presentation) +
                    " is a B picture; use the exact mode (leave `mode` out)");
  }
}

void write_nothing(const kernels::Map& out, size_t cells) {
  std::fill_n(out.x, cells, int16_t{0});
  std::fill_n(out.y, cells, int16_t{0});
  std::fill_n(out.end, cells, int32_t{-1});
  std::fill_n(out.mask, cells, kernels::kMaskBroken);
  if (out.hops != nullptr) std::fill_n(out.hops, cells, uint16_t{0});
}

}  // namespace

void trace_coviar(MotionProvider& provider, const AccumulateOptions& options, int32_t segment,
                  std::span<const WantedFrame> frames, AccumulateResult& result,
                  const ResultRows& rows) {
  refuse_b_pictures(provider);
  CoviarMap map(result.geometry);
  size_t next = 0;
  while (next < frames.size()) {
    const WantedFrame& frame = frames[next];
    int32_t first = frame.picture;  // the intra picture of its GOP
    while (first >= 0 && provider.picture(first).segment == segment &&
           !provider.picture(first).all_intra) {
      --first;
    }
    if (first < 0 || provider.picture(first).segment != segment) {
      write_nothing(rows.row(result, frame.row), rows.layout.cells());
      ++next;
      continue;
    }
    // All frames asked for of this GOP, and the pictures that their maps need.
    size_t stop = next;
    while (stop < frames.size() && (stop == next || [&] {
             for (int32_t n = frames[stop - 1].picture + 1; n <= frames[stop].picture; ++n) {
               if (provider.picture(n).all_intra || provider.picture(n).segment != segment) {
                 return false;
               }
             }
             return true;
           }())) {
      ++stop;
    }
    std::vector<int32_t> pictures;
    if (options.one_step) {
      for (size_t i = next; i < stop; ++i) {
        if (frames[i].picture != first) pictures.push_back(frames[i].picture);
      }
    } else {
      for (int32_t n = first + 1; n <= frames[stop - 1].picture; ++n) pictures.push_back(n);
    }
    map.start();
    const int32_t anchor = end_of(provider.picture(first), first);
    result.hidden_ends = true;  // any of them may be one
    size_t writing = next;
    if (frame.picture == first) {
      map.write(rows.row(result, frame.row), anchor, 0);
      ++writing;
    }
    if (!pictures.empty()) {
      provider.read(pictures, mask_of(Plane::kMv), [&](int32_t number, const MotionView& view) {
        map.step(view, !options.one_step);
        ++result.stats.pictures_read;
        ++result.stats.pictures_traced;
        if (writing >= stop || frames[writing].picture != number) return;
        const int32_t from = options.one_step ? number - 1 : first;
        map.write(rows.row(result, frames[writing].row), end_of(provider.picture(from), from),
                  number - from);
        ++writing;
      });
    }
    next = stop;
  }
}

}  // namespace cvdecode
