// Motion of an opened video, for accumulation: only what is asked for is parsed.
#pragma once

#include <memory>
#include <vector>

#include "accumulate/motion.h"
#include "reader/buffer_pool.h"
#include "reader/video_reader.h"

namespace cvdecode::bind {

class ReaderMotion : public MotionProvider {
 public:
  // `pool` lends the planes and may outlive this, for another to use; by default nothing is kept.
  explicit ReaderMotion(VideoReader& reader, std::shared_ptr<BufferPool> pool = nullptr);

  int32_t picture_count() const override;
  MotionPicture picture(int32_t number) const override;
  int32_t find(int64_t presentation) const override;
  Geometry geometry(int32_t segment) const override;
  bool random_access() const override { return native_; }
  PlaneMask motion_planes() const override;
  void read(std::span<const int32_t> pictures, PlaneMask planes, const Sink& sink) override;

 private:
  VideoReader& reader_;
  std::shared_ptr<BufferPool> pool_;
  const FrameIndex& index_;
  bool native_ = false;
  bool shared_ = false;        // kMotion is there
  std::vector<int32_t> rank_;  // in output order, by decode number; empty = all are presented
};

}  // namespace cvdecode::bind
