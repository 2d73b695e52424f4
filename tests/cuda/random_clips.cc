#include "random_clips.h"

#include <utility>

namespace cvdecode {
namespace {

int pick(std::mt19937& random, int low, int high) {  // both included
  return low + static_cast<int>(random() % static_cast<uint32_t>(high - low + 1));
}

// Rows over the planes, once they are all there.
void finish(MadeClip& clip, const std::vector<bool>& hidden) {
  int32_t shown = 0;
  for (size_t n = 0; n < clip.mv.size(); ++n) {
    ArrayRow row;
    row.picture.presentation = hidden[n] ? -1 : shown++;
    row.picture.time = static_cast<int64_t>(n);
    row.picture.all_intra = n == 0;
    row.picture.is_reference = true;
    row.picture.type = n == 0 ? FrameType::kI : FrameType::kP;
    row.decode = static_cast<int64_t>(n);
    row.mv = clip.mv[n].data();
    row.ref_picture = clip.refs[n].data();
    row.mb_type = clip.mb_type[n].data();
    row.residual_y = clip.residual_y[n].data();
    row.residual_uv = clip.residual_uv[n].data();
    row.rgb = clip.rgb[n].data();
    if (!hidden[n]) clip.frames.push_back(row.picture.presentation);
    clip.rows.push_back(row);
  }
}

}  // namespace

std::unique_ptr<ArrayProvider> MadeClip::provider() const {
  return std::make_unique<ArrayProvider>(geometry, rows);
}

MadeClip random_clip(const Geometry& g, int pictures, bool wild, std::mt19937& random) {
  MadeClip clip;
  clip.geometry = g;
  const auto w4 = static_cast<size_t>(g.w4());
  const size_t cells = w4 * static_cast<size_t>(g.h4());
  const size_t luma = 16 * cells;
  std::vector<bool> hidden;
  for (int n = 0; n < pictures; ++n) {
    std::vector<int16_t> mv(4 * cells);
    std::vector<int32_t> refs(2 * cells, kRefPictureUnused);
    std::vector<uint8_t> kinds(cells / 16, 252);
    for (size_t i = 0; n > 0 && i < cells; ++i) {
      const size_t whole = i / w4 / 2 * 2 * w4 + i % w4 / 2 * 2;  // of its 8x8 block
      if (i != whole && pick(random, 0, 2) > 0) {
        for (size_t k = 0; k < 4; ++k) mv[k * cells + i] = mv[k * cells + whole];
        for (size_t k = 0; k < 2; ++k) refs[k * cells + i] = refs[k * cells + whole];
        continue;
      }
      const int kind = pick(random, 0, 9);  // 0: intra
      for (size_t k = 0; k < 2; ++k) {
        if (kind == 0 || (k == 0 && kind == 1) || (k == 1 && kind < 6)) continue;
        refs[k * cells + i] =
            pick(random, 0, 30) == 0 ? kRefPictureMissing : pick(random, std::max(0, n - 3), n - 1);
        const int reach = wild && pick(random, 0, 1) == 0 ? 32767 : 40;
        mv[2 * k * cells + i] = static_cast<int16_t>(pick(random, -reach, reach));
        mv[(2 * k + 1) * cells + i] = static_cast<int16_t>(pick(random, -reach, reach));
      }
    }
    if (n > 0 && pick(random, 0, 3) == 0) {
      kinds[static_cast<size_t>(pick(random, 0, static_cast<int>(kinds.size()) - 1))] = 255;
    }
    const int big = wild ? 20000 : 90;
    std::vector<int16_t> y(luma), uv(luma / 2);
    for (int16_t& v : y) v = static_cast<int16_t>(pick(random, -big, big));
    for (int16_t& v : uv) v = static_cast<int16_t>(pick(random, -big, big));
    std::vector<uint8_t> rgb(3 * static_cast<size_t>(g.width()) * static_cast<size_t>(g.height()));
    for (uint8_t& v : rgb) v = static_cast<uint8_t>(random());
    clip.mv.push_back(std::move(mv));
    clip.refs.push_back(std::move(refs));
    clip.mb_type.push_back(std::move(kinds));
    clip.residual_y.push_back(std::move(y));
    clip.residual_uv.push_back(std::move(uv));
    clip.rgb.push_back(std::move(rgb));
    hidden.push_back(n > 0 && pick(random, 0, 6) == 0);
  }
  finish(clip, hidden);
  return clip;
}

MadeClip video_clip(int coded_width, int coded_height, int pictures) {
  std::mt19937 random(1);
  MadeClip clip;
  clip.geometry.coded_width = coded_width;
  clip.geometry.coded_height = coded_height;
  const auto w4 = static_cast<size_t>(coded_width / 4);
  const size_t cells = w4 * static_cast<size_t>(coded_height / 4);
  for (int n = 0; n < pictures; ++n) {
    std::vector<int16_t> mv(4 * cells);
    std::vector<int32_t> refs(2 * cells, kRefPictureUnused);
    int16_t x = 0, y = 0;
    for (size_t i = 0; i < cells; ++i) {
      const size_t mb = i / w4 / 4 * 4 * w4 + i % w4 / 4 * 4;
      if (i == mb) {  // a third has no motion, a third its neighbour's
        const int kind = pick(random, 0, 2);
        if (kind < 2) {
          x = static_cast<int16_t>(kind == 0 ? 0 : pick(random, -40, 40));
          y = static_cast<int16_t>(kind == 0 ? 0 : pick(random, -40, 40));
        }
        mv[i] = x;
        mv[cells + i] = y;
      } else {
        mv[i] = mv[mb];
        mv[cells + i] = mv[cells + mb];
      }
      if (n > 0) refs[i] = n - 1;
    }
    clip.mv.push_back(std::move(mv));
    clip.refs.push_back(std::move(refs));
    clip.mb_type.emplace_back(cells / 16, 252);
    clip.residual_y.emplace_back();
    clip.residual_uv.emplace_back();
    clip.rgb.emplace_back();
  }
  finish(clip, std::vector<bool>(static_cast<size_t>(pictures)));
  return clip;
}

}  // namespace cvdecode
