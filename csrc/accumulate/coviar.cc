#include "accumulate/coviar.h"

#include <algorithm>
#include <string>
#include <vector>

#include "accumulate/coviar_map.h"
#include "base/error.h"

namespace cvdecode {
namespace {

// The map as rows of a result at coded size.
void write_map(const CoviarMap& map, const Geometry& g, bool broken, const kernels::Map& out,
               int32_t anchor, int hops) {
  const auto stride = static_cast<size_t>(g.coded_width);
  const size_t cells = stride * static_cast<size_t>(g.coded_height);
  std::fill_n(out.x, cells, int16_t{0});
  std::fill_n(out.y, cells, int16_t{0});
  std::fill_n(out.end, cells, broken ? -1 : anchor);
  std::fill_n(out.mask, cells, broken ? kernels::kMaskBroken : kernels::kMaskAnchor);
  if (out.hops != nullptr) {
    std::fill_n(out.hops, cells, static_cast<uint16_t>(broken ? 0 : std::min(hops, 65535)));
  }
  if (broken) return;
  for (int y = 0; y < map.height(); ++y) {
    const uint32_t* from = map.row(y);
    size_t to = static_cast<size_t>(y + g.crop_top) * stride + static_cast<size_t>(g.crop_left);
    for (int x = 0; x < map.width(); ++x, ++to) {
      const auto from_x = static_cast<int>(from[x] & 0xffff);
      const auto from_y = static_cast<int>(from[x] >> 16);
      out.x[to] = static_cast<int16_t>(x - from_x);
      out.y[to] = static_cast<int16_t>(y - from_y);
      if (out.at_x != nullptr) {
        out.at_x[to] = static_cast<int16_t>(from_x + g.crop_left);
        out.at_y[to] = static_cast<int16_t>(from_y + g.crop_top);
      }
    }
  }
}

}  // namespace

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

namespace {

// Whether the picture before this one in the stream, at which its vectors are taken to point, is
// not here.
bool follows_a_gap(const MotionProvider& provider, int32_t number) {
  const int32_t here = provider.picture(number).decode;
  return here >= 0 && (number == 0 || provider.picture(number - 1).decode != here - 1);
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
  const Geometry& g = result.geometry;
  CoviarMap map(g);
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
    bool broken = false;
    const int32_t anchor = end_of(provider.picture(first), first);
    result.hidden_ends = true;  // any of them may be one
    size_t writing = next;
    if (frame.picture == first) {
      write_map(map, g, false, rows.row(result, frame.row), anchor, 0);
      ++writing;
    }
    if (!pictures.empty()) {
      provider.read(pictures, mask_of(Plane::kMv), [&](int32_t number, const MotionView& view) {
        if (options.one_step) {
          map.start();
          broken = false;
        }
        broken |= view.lost || follows_a_gap(provider, number);
        map.step(view.mv);
        ++result.stats.pictures_read;
        ++result.stats.pictures_traced;
        if (writing >= stop || frames[writing].picture != number) return;
        const int32_t from = options.one_step ? number - 1 : first;
        write_map(map, g, broken, rows.row(result, frames[writing].row),
                  end_of(provider.picture(from), from), number - from);
        ++writing;
      });
    }
    next = stop;
  }
}

}  // namespace cvdecode
