#include <cofork/ipc/stream_codec.hpp>
#include <string>
#include <vector>

namespace cofork::detail {

void encode_stream(ipc::Writer& writer, const ByteStream& stream) {
  const StreamPtr state = ByteStreamAccess::state(stream);
  state->check_idle("send");
  writer.descriptor(state->descriptor());
  const std::span<const std::byte> ahead = state->buffer().bytes();
  ipc::encode(writer, std::vector<std::byte>(ahead.begin(), ahead.end()));
  ipc::encode(writer, state->subject());
}

StreamPtr decode_stream(ipc::Reader& reader) {
  ipc::Descriptor descriptor = reader.descriptor();
  const auto ahead = ipc::decode<std::vector<std::byte>>(reader);
  auto subject = ipc::decode<std::string>(reader);
  StreamPtr state = make_intrusive<StreamState>(std::move(descriptor), std::move(subject), StreamState::Kind::unknown);
  state->buffer().give_back(ahead);
  return state;
}

}  // namespace cofork::detail
