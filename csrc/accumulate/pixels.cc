#include "accumulate/pixels.h"

#include <algorithm>
#include <map>
#include <set>

#include "kernels/trace_pixel.h"

namespace cvdecode {
namespace {

using kernels::clamp_to;
using kernels::is_void;

// Pixels of some pictures, and the rows of the result among them.
class PixelStore {
 public:
  explicit PixelStore(const Geometry& g)
      : samples_(static_cast<size_t>(g.width()) * static_cast<size_t>(g.height())) {}

  const uint8_t* find(int32_t picture) const {
    const auto it = held_.find(picture);
    return it == held_.end() ? nullptr : it->second.data();
  }
  size_t picture_bytes() const { return 3 * samples_; }

  // Replaces what is held by `keep`; hands the pixels of each picture in `also` to `sink`.
  template <typename Sink>
  void load(MotionProvider& provider, const std::set<int32_t>& keep, const std::set<int32_t>& also,
            const Sink& sink) {
    held_.clear();
    std::set<int32_t> all = keep;
    all.insert(also.begin(), also.end());
    const std::vector<int32_t> pictures(all.begin(), all.end());
    if (pictures.empty()) return;
    provider.read(pictures, mask_of(Plane::kRgb), [&](int32_t number, const MotionView& view) {
      if (keep.contains(number)) {
        held_[number].assign(view.rgb, view.rgb + picture_bytes());
      }
      if (also.contains(number)) sink(number, view.rgb);
    });
  }

 private:
  size_t samples_;
  std::map<int32_t, std::vector<uint8_t>> held_;
};

template <typename T>
T* row_of(const BufferPtr& buffer, size_t row_elements, int64_t row) {
  return static_cast<T*>(buffer->data()) + row_elements * static_cast<size_t>(row);
}

}  // namespace

void fill_recon_diff(MotionProvider& provider, std::span<const WantedFrame> frames,
                     const AccumulateResult& result, const BufferPtr& positions,
                     const kernels::TraceKernels& kernels, int64_t budget_bytes) {
  const Geometry& g = result.geometry;
  const auto stride = static_cast<size_t>(g.coded_width);
  const size_t cells = stride * static_cast<size_t>(g.coded_height);
  const int width = g.width();
  const int height = g.height();
  const size_t samples = static_cast<size_t>(width) * static_cast<size_t>(height);
  const auto coded_at = [&](int x, int y) {
    return static_cast<size_t>(y + g.crop_top) * stride + static_cast<size_t>(x + g.crop_left);
  };

  // Which pictures some trace ends in.
  std::set<int32_t> ends;
  for (const WantedFrame& frame : frames) {
    const auto* end = row_of<int32_t>(result.anchor, cells, frame.row);
    const auto* mask = row_of<uint8_t>(result.mask, cells, frame.row);
    int32_t last = -1;
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const size_t at = coded_at(x, y);
        if (end[at] == last || is_void(mask[at])) continue;
        last = end[at];
        ends.insert(picture_of_end(provider, last));
      }
    }
  }
  std::map<int32_t, int64_t> row_of_picture;
  std::set<int32_t> wanted;
  for (const WantedFrame& frame : frames) {
    row_of_picture[frame.picture] = frame.row;
    wanted.insert(frame.picture);
  }

  // Every pixel has one end: its difference is complete once that picture was held.
  PixelStore store(g);
  const size_t most = std::max<size_t>(
      1, static_cast<size_t>(budget_bytes) / std::max<size_t>(store.picture_bytes(), 1));
  auto next = ends.begin();
  bool first = true;
  while (first || next != ends.end()) {
    std::set<int32_t> keep;
    for (; next != ends.end() && keep.size() < most; ++next) keep.insert(*next);
    store.load(provider, keep, first ? wanted : std::set<int32_t>{},
               [&](int32_t number, const uint8_t* rgb) {
                 auto* out =
                     row_of<int16_t>(result.residual, 3 * samples, row_of_picture.at(number));
                 std::copy_n(rgb, 3 * samples, out);
               });
    for (const WantedFrame& frame : frames) {
      const auto* end = row_of<int32_t>(result.anchor, cells, frame.row);
      const auto* mask = row_of<uint8_t>(result.mask, cells, frame.row);
      const auto* at_x = row_of<int16_t>(positions, 2 * cells, frame.row);
      const int16_t* at_y = at_x + cells;
      auto* out = row_of<int16_t>(result.residual, 3 * samples, frame.row);
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width;) {
          const size_t at = coded_at(x, y);
          const int run =
              kernels.run_of_ends({at_x + at, at_y + at, end + at, mask + at, width - x});
          int16_t* const to =
              out + static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x);
          x += run;
          if (is_void(mask[at])) {
            for (size_t c = 0; c < 3; ++c) std::fill_n(to + c * samples, run, int16_t{0});
            continue;
          }
          const uint8_t* rgb = store.find(picture_of_end(provider, end[at]));
          if (rgb == nullptr) continue;  // another round holds it
          const uint8_t* const row =
              rgb + static_cast<size_t>(clamp_to(at_y[at] - g.crop_top, height)) *
                        static_cast<size_t>(width);
          const int from = at_x[at] - g.crop_left;
          for (size_t c = 0; c < 3; ++c) {
            if (from >= 0 && from + run <= width) {
              kernels.subtract(row + c * samples + from, run, to + c * samples);
              continue;
            }
            for (int i = 0; i < run; ++i) {  // some lie outside the display area
              kernels.subtract(row + c * samples + clamp_to(from + i, width), 1,
                               to + c * samples + i);
            }
          }
        }
      }
    }
    first = false;
  }
}

void fill_one_step_diff(MotionProvider& provider, std::span<const OneStepMotion> frames,
                        const AccumulateResult& result, int64_t budget_bytes) {
  const Geometry& g = result.geometry;
  const int width = g.width();
  const int height = g.height();
  const size_t samples = static_cast<size_t>(width) * static_cast<size_t>(height);
  const auto w4 = static_cast<size_t>(g.w4());
  PixelStore store(g);
  const size_t most = std::max<size_t>(
      4, static_cast<size_t>(budget_bytes) / std::max<size_t>(store.picture_bytes(), 1));

  size_t next = 0;
  while (next < frames.size()) {
    // As many frames as fit with their references, at least one.
    std::set<int32_t> keep;
    const size_t begin = next;
    for (; next < frames.size(); ++next) {
      std::set<int32_t> more = keep;
      more.insert(frames[next].frame.picture);
      for (const SelectedSource& source : frames[next].motion.sources) more.insert(source.picture);
      if (next > begin && more.size() > most) break;
      keep = std::move(more);
    }
    store.load(provider, keep, {}, [](int32_t, const uint8_t*) {});
    for (size_t i = begin; i < next; ++i) {
      const SelectedMotion& motion = frames[i].motion;
      auto* out = row_of<int16_t>(result.residual, 3 * samples, frames[i].frame.row);
      std::fill_n(out, 3 * samples, int16_t{0});
      if (motion.blocks.empty()) continue;  // an intra picture: nothing was predicted
      const uint8_t* rgb = store.find(frames[i].frame.picture);
      std::vector<const uint8_t*> references;
      for (const SelectedSource& source : motion.sources) {
        references.push_back(store.find(source.picture));
      }
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          const int cx = x + g.crop_left;
          const int cy = y + g.crop_top;
          const size_t block = static_cast<size_t>(cy / 4) * w4 + static_cast<size_t>(cx / 4);
          const kernels::BlockMotion& one = motion.blocks[block];
          if (one.source < 0) continue;
          const kernels::BlockMotion& two = motion.others[block];
          const auto sample = [&](const kernels::BlockMotion& m, size_t c) -> int {
            const int sx = kernels::source_luma(cx, m.x, g.coded_width) - g.crop_left;
            const int sy = kernels::source_luma(cy, m.y, g.coded_height) - g.crop_top;
            const size_t from =
                static_cast<size_t>(clamp_to(sy, height)) * static_cast<size_t>(width) +
                static_cast<size_t>(clamp_to(sx, width));
            return references[static_cast<size_t>(m.source)][c * samples + from];
          };
          const size_t here =
              static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x);
          for (size_t c = 0; c < 3; ++c) {
            int prediction = sample(one, c);
            if (two.source >= 0) prediction = (prediction + sample(two, c) + 1) >> 1;
            out[c * samples + here] = static_cast<int16_t>(rgb[c * samples + here] - prediction);
          }
        }
      }
    }
  }
}

}  // namespace cvdecode
