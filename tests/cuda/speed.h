// Speed of the kernels on GPU 0: a table on the standard output.
#pragma once

namespace cvdecode {

void measure_speed();

}  // namespace cvdecode
