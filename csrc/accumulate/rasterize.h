// Planes on other grids, for the bindings: the kernels do all of it.
#pragma once

#include "kernels/rasterize.h"
