#include "backend/libav_traits.h"

#include <string>

#include "av/handles.h"

namespace cvdecode {

CodecTraits codec_traits(const StreamInfo& info) {
  CodecTraits traits;
  switch (static_cast<AVCodecID>(info.codec_id)) {
    case AV_CODEC_ID_H264: traits = {CodecFamily::kH264, true, true}; break;
    case AV_CODEC_ID_MPEG4: traits = {CodecFamily::kMpeg4, true, true}; break;
    case AV_CODEC_ID_MPEG1VIDEO:
    case AV_CODEC_ID_MPEG2VIDEO: traits = {CodecFamily::kMpeg12, true, true}; break;
    // Relatives whose vectors a panning texture proves. WMV2 is left out: its "mspel" shifts
    // blocks by a fraction that the exported vector does not carry.
    case AV_CODEC_ID_H263:
    case AV_CODEC_ID_H263P:
    case AV_CODEC_ID_FLV1:
    case AV_CODEC_ID_MSMPEG4V1:
    case AV_CODEC_ID_MSMPEG4V2:
    case AV_CODEC_ID_MSMPEG4V3:
    case AV_CODEC_ID_WMV1: traits = {CodecFamily::kH263, false, false}; break;
    default: {
      const AVCodecDescriptor* d = avcodec_descriptor_get(static_cast<AVCodecID>(info.codec_id));
      traits.reorders = d != nullptr && (d->props & AV_CODEC_PROP_REORDER) != 0;
      break;
    }
  }
  return traits;
}

Capabilities libav_capabilities(const StreamInfo& info) {
  Capabilities result;
  const CodecTraits traits = codec_traits(info);
  const std::string codec = info.codec.empty() ? "this codec" : info.codec;
  auto offer = [&](Plane p) { result.planes |= mask_of(p); };
  auto refuse = [&](Plane p, const std::string& why) {
    result.why_not[static_cast<size_t>(p)] = why;
  };

  for (Plane p : {Plane::kBits, Plane::kResidualY, Plane::kResidualUv}) {
    refuse(p, "libavcodec does not export it; only the native parser has it");
  }
  if (avcodec_find_decoder(static_cast<AVCodecID>(info.codec_id)) == nullptr) {
    const std::string why = "the system's libavcodec was built without a decoder for " + codec;
    for (Plane p :
         {Plane::kMv, Plane::kRef, Plane::kRefPicture, Plane::kMbType, Plane::kQp, Plane::kRgb}) {
      refuse(p, why);
    }
    return result;
  }

  offer(Plane::kRgb);
  if (!traits.has_vectors()) {
    const std::string why = "libavcodec exports no motion vectors for " + codec;
    for (Plane p : {Plane::kMv, Plane::kRef, Plane::kRefPicture, Plane::kMbType}) refuse(p, why);
    refuse(Plane::kQp, "libavcodec exports no QP for " + codec);
    return result;
  }

  offer(Plane::kMv);
  offer(Plane::kQp);
  if (traits.family == CodecFamily::kH263) {
    const std::string why = "for " + codec + " libavcodec's export proves vectors and QP alone";
    for (Plane p : {Plane::kRef, Plane::kRefPicture, Plane::kMbType}) refuse(p, why);
    return result;
  }
  offer(Plane::kRef);
  offer(Plane::kMbType);
  if (traits.family == CodecFamily::kH264) {
    refuse(Plane::kRefPicture,
           "libavcodec does not say to which picture an H.264 vector refers; only the native "
           "parser does");
  } else {
    offer(Plane::kRefPicture);
  }
  return result;
}

}  // namespace cvdecode
