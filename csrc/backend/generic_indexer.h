// Index for every codec without an indexer of its own: one picture per packet, types and order from
// libavcodec's parsers, from the container where there is none.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace cvdecode {

std::unique_ptr<Indexer> make_generic_indexer(const StreamInfo& info);

}  // namespace cvdecode
