#include "h264/parser.h"

#include <algorithm>
#include <utility>

#include "h264/parse_run.h"

namespace cvdecode::h264 {
namespace {

constexpr size_t kCacheBytes = size_t{256} << 20;
// What a run may hold at the most. Threads wait for each other at its end, so it is not small.
constexpr size_t kHeldBytes = size_t{256} << 20;
constexpr size_t kHeldPictures = 256;

size_t cache_pictures(const NativeIndex& native, int num_threads) {
  int frames = 1;
  const Sps* last = nullptr;
  for (const auto& p : native.pictures) {
    if (p.slices.empty() || p.slices.front().sets.sps.get() == last) continue;
    last = p.slices.front().sets.sps.get();
    frames = std::max(frames, last->max_num_ref_frames);
  }
  return static_cast<size_t>(std::min(frames, 16) + std::max(num_threads, 1) * 2 + 2);
}

}  // namespace

ParserState::ParserState(const FrameIndex& frame_index,
                         std::shared_ptr<const NativeIndex> native_index, PacketSource& source,
                         int num_threads)
    : index(frame_index),
      native(std::move(native_index)),
      packets(source),
      pool(num_threads),
      last_colocated_use(native->pictures.size(), -1),
      cache(cache_pictures(*native, num_threads), kCacheBytes) {
  for (size_t p = 0; p < native->pictures.size(); ++p) {
    for (const SliceEntry& s : native->pictures[p].slices) {
      if (s.header.slice_type != kSliceB || s.RefPicList[1].empty()) continue;
      const int32_t other = s.RefPicList[1].front().picture;
      if (other >= 0 && static_cast<size_t>(other) < p) {
        last_colocated_use[static_cast<size_t>(other)] = static_cast<int32_t>(p);
      }
    }
  }
}

ParserState::~ParserState() = default;

void Parser::read(std::span<const PictureRow> rows, PlaneMask planes, Clip& clip) {
  // As many pictures at a time as could be held if all had to be, those of the chain included.
  const size_t mbs = std::max<size_t>(
      1, static_cast<size_t>(clip.geometry.w16()) * static_cast<size_t>(clip.geometry.h16()));
  const size_t picture_bytes = mbs * (sizeof(Macroblock) + 16 * 2 * sizeof(Mv) + 64);
  const size_t most = std::clamp<size_t>(kHeldBytes / picture_bytes, 1, kHeldPictures);
  for (size_t at = 0; at < rows.size();) {
    ParseRun run(state_, planes, clip, false);
    do {
      run.add(rows[at++]);
    } while (at < rows.size() && run.pictures() < most);
    run.run();
  }
}

std::shared_ptr<const ParsedPicture> Parser::read_one(PictureRow row, PlaneMask planes,
                                                      Clip& clip) {
  ParseRun run(state_, planes, clip, true);
  run.add(row);
  run.run();
  return run.keep;
}

}  // namespace cvdecode::h264
