// One frame at a time in pytorch-coviar's representations, with the GOP that was asked for last at
// hand: its vectors, the map up to the last position, and its first picture.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "accumulate/coviar_map.h"
#include "bind/reader_motion.h"
#include "reader/video_reader.h"

namespace cvdecode::bind {

// Used by one thread at a time, under a VideoReader::Use. Frames are presentation indices.
class CoviarLoader {
 public:
  explicit CoviarLoader(VideoReader& reader) : reader_(reader) {}

  // Display size of a frame.
  const Geometry& geometry(int64_t frame) const { return geometry_of(number_of(frame)); }
  // uint8 (H, W, 3) BGR.
  void picture(int64_t frame, uint8_t* out);
  // int32 (H, W, 2) (x, y). Throws kCorrupt where the vectors are lost, kInvalidArgument on a
  // stream with B pictures.
  void vectors(int64_t frame, bool accumulate, int32_t* out);
  // int32 (H, W, 3) BGR. Throws as vectors() does, and kCorrupt where pixels are lost.
  void residual(int64_t frame, bool accumulate, int32_t* out);

 private:
  static constexpr size_t kMostKept = size_t{64} << 20;  // bytes of vectors

  int32_t number_of(int64_t frame) const;
  const Picture& picture_of(int32_t number) const;
  const Geometry& geometry_of(int32_t number) const;
  void enter(int32_t picture);
  const CoviarMap& map_of(int32_t picture, bool accumulate);
  template <typename Field>
  void follow(Field& field, int32_t from, int32_t to);
  int32_t step_limit(int32_t from, int32_t to) const;
  void decode(int32_t there, int32_t here, int32_t from, int32_t to);
  size_t vector_count() const;
  std::vector<int32_t> missing_vectors(int32_t from, int32_t to);
  void need_vectors(int32_t from, int32_t to);
  const std::vector<int16_t>& vectors_of(int32_t picture);
  template <typename Unwanted>
  void drop_pixels(const Unwanted& unwanted);
  void drop_vectors();
  void read_pixels(std::span<BgrRequest> requests);

  VideoReader& reader_;
  std::optional<ReaderMotion> motion_;  // made when vectors are asked for: there are no B pictures
  int32_t first_ = -1;                  // the intra picture of the GOP at hand
  int32_t at_ = -1;                     // map_ is that of this picture
  int32_t carried_at_ = -1;             // carried_ is that of this picture
  int32_t decoded_to_ = -1;             // the decoder stands behind this picture
  Geometry shape_;                      // of the maps
  CoviarMap map_{Geometry{}};
  CoviarMap single_{Geometry{}};
  CoviarPixels carried_{Geometry{}};         // from the first picture
  CoviarPixels single_carried_{Geometry{}};  // from the one before
  // Per picture list 0 of the mv plane, empty where it was lost.
  std::map<int32_t, std::vector<int16_t>> vectors_;
  size_t kept_ = 0;
  std::map<int32_t, std::vector<uint8_t>> pixels_;  // of the first picture and the last asked for
  // Memory for more of them, of the same size: fresh pages are dear.
  std::vector<std::vector<uint8_t>> spare_pixels_;
  std::vector<std::vector<int16_t>> spare_vectors_;
};

}  // namespace cvdecode::bind
