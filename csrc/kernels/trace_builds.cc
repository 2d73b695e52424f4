// The builds of the trace that this CPU runs.
#include "kernels/trace_builds.h"

#include <hwy/targets.h>

#include <string>
#include <vector>

#include "kernels/each_target.h"
#include "kernels/trace.h"

namespace cvdecode::kernels {
namespace {

TraceKernels chosen(const std::string& name) {
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return {chosen_select(),
          chosen_pixels(),
          chosen_chroma(),
          chosen_blocks(),
          chosen_run_of_ends(),
          chosen_subtract(),
          name};
}

}  // namespace

const TraceKernels& trace_best() {
  static const TraceKernels kTable = chosen("simd");
  return kTable;
}

const std::vector<TraceKernels>& trace_targets() {
  static const std::vector<TraceKernels> kTables = [] {
    trace_best();  // before the targets are narrowed down
    std::vector<TraceKernels> tables;
    each_target([&](const char* name) { tables.push_back(chosen(name)); });
    return tables;
  }();
  return kTables;
}

}  // namespace cvdecode::kernels
