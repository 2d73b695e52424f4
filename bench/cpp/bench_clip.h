// The clips of the microbenchmarks: files in the folder that CVDECODE_BENCH_CLIPS names (what
// bench/python/run.py makes), opened and indexed.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "bitstream/nal.h"
#include "demux/demuxer.h"
#include "h264/native_index.h"

namespace cvdecode::bench {

inline constexpr const char* kCabacClip = "hand-held-340x256-crf23.mp4";
inline constexpr const char* kCavlcClip = "cavlc-340x256-crf23.mp4";

// "" and a skipped benchmark where the file is not there.
inline std::string clip_path(benchmark::State& state, const char* name) {
  const char* folder = std::getenv("CVDECODE_BENCH_CLIPS");
  const std::string path = std::string(folder == nullptr ? "." : folder) + "/" + name;
  if (std::filesystem::exists(path)) return path;
  state.SkipWithError((path + " is not there; set CVDECODE_BENCH_CLIPS (make bench does)").c_str());
  return "";
}

struct OpenClip {
  explicit OpenClip(const std::string& path) : demuxer(Demuxer::open(path)) {
    const std::unique_ptr<Indexer> indexer = make_indexer(demuxer->info(), &native);
    demuxer->scan([&](const Packet& packet) { indexer->add_packet(packet); });
    index = indexer->finish();
  }
  std::unique_ptr<Demuxer> demuxer;
  std::shared_ptr<const NativeIndex> native;
  FrameIndex index;
};

// One slice as the entropy decoder gets it.
struct RecordedSlice {
  const h264::SliceEntry* entry = nullptr;
  const h264::PictureEntry* picture = nullptr;
  std::vector<uint8_t> nal;   // as in the file
  std::vector<uint8_t> rbsp;  // unescaped, padded
  size_t rbsp_size = 0;
  std::span<const uint8_t> bytes() const { return {rbsp.data(), rbsp_size}; }
};

inline std::vector<RecordedSlice> record_slices(OpenClip& clip, size_t most = 40) {
  std::vector<RecordedSlice> slices;
  for (const h264::PictureEntry& picture : clip.native->pictures) {
    for (const h264::SliceEntry& entry : picture.slices) {
      if (slices.size() == most) return slices;
      const Packet packet = clip.demuxer->read_packet(entry.packet);
      RecordedSlice& slice = slices.emplace_back();
      slice.entry = &entry;
      slice.picture = &picture;
      const auto nal = packet.data.subspan(entry.offset, entry.size);
      slice.nal.assign(nal.begin(), nal.end());
      slice.rbsp_size = unescape(nal.subspan(1), slice.rbsp).size();
    }
  }
  return slices;
}

}  // namespace cvdecode::bench
