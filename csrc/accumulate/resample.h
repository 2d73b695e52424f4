// Planes as networks take them, for the bindings: the kernel does all of it.
#pragma once

#include "kernels/resample.h"
