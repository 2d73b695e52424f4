// Which indexer reads which codec.
#include <memory>
#include <tuple>
#include <utility>

#include "av/handles.h"
#include "backend/backend.h"
#include "backend/generic_indexer.h"
#include "h264/stream_indexer.h"
#include "mpeg/mpeg12_indexer.h"
#include "mpeg/mpeg4_indexer.h"

namespace cvdecode {
namespace {

template <typename T>
class IndexerOf final : public Indexer {
 public:
  explicit IndexerOf(const StreamInfo& info) : indexer_(info) {}
  void add_packet(const Packet& packet) override { indexer_.add_packet(packet); }
  FrameIndex finish() override { return indexer_.finish(); }

 private:
  T indexer_;
};

// Table E-1. The demuxer opens H.264 in MP4 and Matroska without looking into the bitstream, so a
// ratio that only the bitstream has is found here.
void set_sample_aspect_ratio(const NativeIndex& native, FrameIndex& index) {
  static constexpr std::pair<int, int> kRatios[] = {
      {0, 1},   {1, 1},   {12, 11}, {10, 11}, {16, 11},  {40, 33}, {24, 11}, {20, 11}, {32, 11},
      {80, 33}, {18, 11}, {15, 11}, {64, 33}, {160, 99}, {4, 3},   {3, 2},   {2, 1}};
  for (const h264::PictureEntry& picture : native.pictures) {
    if (picture.slices.empty() || picture.slices[0].sets.sps == nullptr) continue;
    const h264::Vui& vui = picture.slices[0].sets.sps->vui;
    if (vui.aspect_ratio_idc == 255 && vui.sar_width > 0 && vui.sar_height > 0) {
      index.sar_num = vui.sar_width;
      index.sar_den = vui.sar_height;
    } else if (vui.aspect_ratio_idc >= 0 && vui.aspect_ratio_idc < 17) {
      std::tie(index.sar_num, index.sar_den) = kRatios[vui.aspect_ratio_idc];
    }
    return;
  }
}

class H264Indexer final : public Indexer {
 public:
  H264Indexer(const StreamInfo& info, std::shared_ptr<const NativeIndex>* native_index)
      : indexer_(info), native_index_(native_index) {}
  void add_packet(const Packet& packet) override { indexer_.add_packet(packet); }
  FrameIndex finish() override {
    std::shared_ptr<const NativeIndex> native;
    FrameIndex index = indexer_.finish(&native);
    if (native != nullptr) set_sample_aspect_ratio(*native, index);
    if (native_index_ != nullptr) *native_index_ = std::move(native);
    return index;
  }

 private:
  h264::StreamIndexer indexer_;
  std::shared_ptr<const NativeIndex>* native_index_;
};

}  // namespace

std::unique_ptr<Indexer> make_indexer(const StreamInfo& info,
                                      std::shared_ptr<const NativeIndex>* native_index) {
  if (native_index != nullptr) native_index->reset();
  switch (info.codec_id) {
    case AV_CODEC_ID_H264: return std::make_unique<H264Indexer>(info, native_index);
    case AV_CODEC_ID_MPEG1VIDEO:
    case AV_CODEC_ID_MPEG2VIDEO: return std::make_unique<IndexerOf<mpeg::Mpeg12Indexer>>(info);
    case AV_CODEC_ID_MPEG4: return std::make_unique<IndexerOf<mpeg::Mpeg4Indexer>>(info);
    default: return make_generic_indexer(info);
  }
}

}  // namespace cvdecode
