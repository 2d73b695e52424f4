// Which indexer reads which codec.
#include <memory>
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

class H264Indexer final : public Indexer {
 public:
  H264Indexer(const StreamInfo& info, std::shared_ptr<const NativeIndex>* native_index)
      : indexer_(info), native_index_(native_index) {}
  void add_packet(const Packet& packet) override { indexer_.add_packet(packet); }
  FrameIndex finish() override {
    std::shared_ptr<const NativeIndex> unused;
    return indexer_.finish(native_index_ != nullptr ? native_index_ : &unused);
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
