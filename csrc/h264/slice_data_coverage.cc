// The counting instantiations, for tests only.
#include "h264/slice_data_coverage.h"

#include "h264/slice_data_run-inl.h"

namespace cvdecode::h264 {

namespace coverage_internal {
Counters counters{};
}  // namespace coverage_internal

std::vector<BranchCount> branch_counts() {
  std::vector<BranchCount> counts;
  for (size_t coder = 0; coder < 2; ++coder) {
    for (size_t g = 0; g < kBranchGroups.size(); ++g) {
      const size_t first = (coder * kBranchGroups.size() + g) * coverage_internal::kMaxPerGroup;
      for (int i = 0; i < kBranchGroups[g].count; ++i) {
        counts.push_back({std::string(coder == 0 ? "cavlc: " : "cabac: ") + kBranchGroups[g].name +
                              " = " + std::to_string(i),
                          coverage_internal::counters[first + static_cast<size_t>(i)].load()});
      }
    }
  }
  return counts;
}

void reset_branch_counts() {
  for (auto& counter : coverage_internal::counters) counter = 0;
}

template void run_cabac<CountCoverage>(SliceJob&, CabacScratch&);
template void run_cavlc<CountCoverage>(SliceJob&, CavlcScratch&);

}  // namespace cvdecode::h264
