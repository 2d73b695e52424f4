// Planes through the two backends, and libavcodec's side data to planes by itself.
#include <numeric>
#include <random>

#include "backend/libav_planes.h"
#include "bench_clip.h"
#include "frame/clip.h"

extern "C" {
#include <libavutil/motion_vector.h>
}

namespace cvdecode::bench {
namespace {

constexpr int64_t kRows = 32;
constexpr PlaneMask kMotion = mask_of(Plane::kMv) | mask_of(Plane::kRef) | mask_of(Plane::kMbType);
constexpr PlaneMask kVectors = kMotion | mask_of(Plane::kQp);
constexpr PlaneMask kResidual = kVectors | mask_of(Plane::kResidualY) | mask_of(Plane::kResidualUv);

// The whole clip in batches of 32 pictures in decode order, into memory that is reused.
void read_all(benchmark::State& state, const char* name, bool native, PlaneMask planes) {
  const std::string path = clip_path(state, name);
  if (path.empty()) return;
  OpenClip open(path);
  const BackendContext context{open.demuxer->info(), open.index, *open.demuxer, 1};
  const auto backend =
      native ? make_native_backend(context, open.native) : make_libav_backend(context);
  Clip clip = Clip::allocate(open.index.segments.front().geometry, kRows, planes);
  const auto pictures = static_cast<int64_t>(open.index.pictures.size());
  std::vector<Request> requests;
  for (auto _ : state) {
    for (int64_t begin = 0; begin < pictures; begin += kRows) {
      requests.clear();
      for (int64_t p = begin; p < std::min(begin + kRows, pictures); ++p) {
        requests.push_back({static_cast<int32_t>(p), p - begin});
      }
      backend->read(requests, planes, clip);
    }
  }
  state.SetItemsProcessed(state.iterations() * pictures);
}
BENCHMARK_CAPTURE(read_all, libav_mv_qp, kCabacClip, false, kVectors)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(read_all, native_mv_qp, kCabacClip, true, kVectors)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(read_all, native_mv_qp_cavlc, kCavlcClip, true, kVectors)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(read_all, native_residual, kCabacClip, true, kResidual)
    ->Unit(benchmark::kMillisecond);

// One frame whose vectors are as libavcodec exports them: 16x16 blocks, some of them split.
av::FramePtr frame_with_vectors(int width, int height) {
  std::mt19937 random(1);
  std::vector<AVMotionVector> vectors;
  const auto add = [&](int x, int y, int w, int h) {
    AVMotionVector v{};
    v.source = random() % 4 == 0 ? 1 : -1;
    v.w = static_cast<uint8_t>(w);
    v.h = static_cast<uint8_t>(h);
    v.dst_x = static_cast<int16_t>(x + w / 2);
    v.dst_y = static_cast<int16_t>(y + h / 2);
    v.motion_x = static_cast<int>(random() % 64) - 32;
    v.motion_y = static_cast<int>(random() % 64) - 32;
    v.motion_scale = 4;
    vectors.push_back(v);
  };
  for (int y = 0; y < height; y += 16) {
    for (int x = 0; x < width; x += 16) {
      switch (random() % 4) {
        case 0:
          for (int b = 0; b < 4; ++b) add(x + b % 2 * 8, y + b / 2 * 8, 8, 8);
          break;
        case 1: add(x, y, 16, 8), add(x, y + 8, 16, 8); break;
        default: add(x, y, 16, 16);
      }
    }
  }
  av::FramePtr frame(av_frame_alloc());
  frame->width = width;
  frame->height = height;
  AVFrameSideData* data = av_frame_new_side_data(frame.get(), AV_FRAME_DATA_MOTION_VECTORS,
                                                 vectors.size() * sizeof(AVMotionVector));
  std::memcpy(data->data, vectors.data(), vectors.size() * sizeof(AVMotionVector));
  return frame;
}

void side_data_to_planes(benchmark::State& state) {
  Geometry geometry;
  geometry.coded_width = static_cast<int>(state.range(0));
  geometry.coded_height = static_cast<int>(state.range(1));
  const av::FramePtr frame = frame_with_vectors(geometry.coded_width, geometry.coded_height);
  Clip clip = Clip::allocate(geometry, 1, kMotion);
  for (auto _ : state) {
    fill_motion(*frame, CodecFamily::kH264, References{}, kMotion, 0, clip);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * geometry.w16() * geometry.h16());
}
BENCHMARK(side_data_to_planes)->Args({352, 256})->Args({1920, 1088});

}  // namespace
}  // namespace cvdecode::bench
