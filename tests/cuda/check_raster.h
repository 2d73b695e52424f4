// rasterize() on the device against the core's own.
#pragma once

namespace cvdecode {

// Prints a line; gives how many planes differ.
int check_raster(bool gpu);

}  // namespace cvdecode
