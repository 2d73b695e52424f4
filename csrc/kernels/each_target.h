// For tests and benchmarks: every target of Highway that this CPU runs, one by one.
#pragma once

#include <hwy/targets.h>

#include <cstdint>

namespace cvdecode::kernels {

// Calls use(name) while that target is the chosen one. Not while other threads use kernels.
template <typename Use>
void each_target(const Use& use) {
  for (int64_t left = hwy::SupportedTargets() & HWY_TARGETS; left != 0; left &= left - 1) {
    const int64_t target = left & -left;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    use(hwy::TargetName(target));
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace cvdecode::kernels
