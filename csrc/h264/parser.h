// Phases A and B over pictures: which slices are decoded, in what order, by which thread, and what
// is kept of them. Headers (phase H) lie in NativeIndex.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/packet.h"
#include "base/worker_pool.h"
#include "frame/clip.h"
#include "frame/frame_index.h"
#include "h264/native_index.h"
#include "h264/parsed_picture.h"

namespace cvdecode::h264 {

struct ParseStats {
  int64_t packets_read = 0;
  int64_t slices_parsed = 0;
  int64_t pictures_parsed = 0;
  int64_t slices_lost = 0;
  std::map<int64_t, std::string> damage;  // decode number -> what was lost and why
};

struct PictureRow {
  int32_t picture = 0;  // decode number
  int64_t row = 0;      // of the clip
};

// What lives as long as the parser and is shared by its calls.
struct ParserState {
  ParserState(const FrameIndex& frame_index, std::shared_ptr<const NativeIndex> native_index,
              PacketSource& source, int num_threads);
  ~ParserState();

  struct Worker;  // what one thread needs
  const FrameIndex& index;
  std::shared_ptr<const NativeIndex> native;
  PacketSource& packets;
  WorkerPool pool;
  std::vector<std::unique_ptr<Worker>> workers;
  // By decode number: the last picture whose direct blocks may look at it, -1 = none.
  std::vector<int32_t> last_colocated_use;
  // How far the chain is looked for by decoding; what is behind comes from the headers.
  int max_steps = 5;
  ParsedCache cache;
  ParseStats stats;
};

// Reads pictures of one stream in any order. Entropy decoding of a picture needs no other picture;
// its vectors may need those of a chain of co-located pictures, which are parsed on demand and kept
// for a while. Used by one caller at a time; the references are valid for the life of the parser.
class Parser {
 public:
  Parser(const FrameIndex& index, std::shared_ptr<const NativeIndex> native, PacketSource& packets,
         int num_threads)
      : state_(index, std::move(native), packets, num_threads) {}

  // Fills `planes` of the rows. Sorted by decode number, unique, one geometry: the clip's.
  void read(std::span<const PictureRow> rows, PlaneMask planes, Clip& clip);

  // Debug access: the same for one picture, with intra modes, and what was left of it. Null where
  // nothing could be read.
  std::shared_ptr<const ParsedPicture> read_one(PictureRow row, PlaneMask planes, Clip& clip);

  // For tests: 0 takes the whole chain from the headers.
  void set_max_steps(int steps) { state_.max_steps = steps; }

  const ParseStats& stats() const { return state_.stats; }

 private:
  ParserState state_;
};

}  // namespace cvdecode::h264
