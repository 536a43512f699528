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
  ipc::encode(writer, state->writing_is_broken());
}

StreamPtr decode_stream(ipc::Reader& reader) {
  ipc::Descriptor descriptor = reader.descriptor();
  const auto ahead = ipc::decode<std::vector<std::byte>>(reader);
  auto subject = ipc::decode<std::string>(reader);
  const bool broken = ipc::decode<bool>(reader);
  StreamPtr state = make_intrusive<StreamState>(std::move(descriptor), std::move(subject), StreamState::Kind::unknown);
  state->buffer().give_back(ahead);
  if (broken) state->break_writing();
  return state;
}

}  // namespace cofork::detail

namespace cofork {

void Codec<UnixListener>::encode(ipc::Writer& writer, const UnixListener& listener) {
  const detail::SocketPtr state = detail::UnixListenerAccess::state(listener);
  writer.descriptor(state->descriptor());
  ipc::encode(writer, detail::SocketFile::hand_over(state->file));
}

UnixListener Codec<UnixListener>::decode(ipc::Reader& reader) {
  ipc::Descriptor descriptor = reader.descriptor();
  const auto path = ipc::decode<std::string>(reader);
  UnixListener listener = UnixListener::adopt(descriptor.release());
  detail::UnixListenerAccess::state(listener)->file = detail::SocketFile::at(path);
  return listener;
}

}  // namespace cofork
