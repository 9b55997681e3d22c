#include "net/control_data.h"

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/udp.h>

#include <algorithm>
#include <cstring>

#include "abi/constants.h"

#ifndef SCM_CREDENTIALS
#define SCM_CREDENTIALS 0x02
#endif

namespace usl::net {
namespace {

constexpr int kLevelIp = 0, kLevelIpv6 = 41, kLevelUdp = 17;
constexpr int kIpProtocol = 52;  // IP_PROTOCOL, Linux 6.4
constexpr int kScmTsOptId = 81;  // SCM_TS_OPT_ID, Linux 6.13

bool MaySendInet(const ControlItem& item) {
  switch (item.level) {
    case SOL_SOCKET:
      return item.type == SO_TIMESTAMPING_OLD || item.type == SO_TIMESTAMPING_NEW || item.type == SO_TXTIME ||
             item.type == SO_PRIORITY || item.type == kScmTsOptId;
    case kLevelIp:
      return item.type == IP_PKTINFO || item.type == IP_TTL || item.type == IP_TOS || item.type == kIpProtocol;
    case kLevelIpv6:
      return item.type == IPV6_PKTINFO || item.type == IPV6_HOPLIMIT || item.type == IPV6_TCLASS ||
             item.type == IPV6_DONTFRAG || item.type == IPV6_2292PKTINFO || item.type == IPV6_2292HOPLIMIT ||
             item.type == IPV6_FLOWINFO;
    case kLevelUdp: return item.type == UDP_SEGMENT;
    default: return false;
  }
}

}  // namespace

Result<std::vector<ControlItem>> ParseControl(std::string_view control) {
  std::vector<ControlItem> items;
  while (control.size() >= sizeof(cmsghdr)) {
    cmsghdr header;
    memcpy(&header, control.data(), sizeof header);
    if (header.cmsg_len < sizeof header || header.cmsg_len > control.size()) return Fail(EINVAL);
    items.push_back({header.cmsg_level, header.cmsg_type,
                     std::string(control.substr(sizeof header, header.cmsg_len - sizeof header))});
    control.remove_prefix(std::min<size_t>(CMSG_ALIGN(header.cmsg_len), control.size()));
  }
  return items;
}

std::string BuildControl(const std::vector<ControlItem>& items) {
  std::string control;
  for (const ControlItem& item : items) {
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(item.data.size());
    header.cmsg_level = item.level;
    header.cmsg_type = item.type;
    const size_t start = control.size();
    control.resize(start + CMSG_SPACE(item.data.size()), '\0');
    memcpy(control.data() + start, &header, sizeof header);
    memcpy(control.data() + start + sizeof header, item.data.data(), item.data.size());
  }
  return control;
}

Result<UnixControl> ParseUnixControl(const std::vector<ControlItem>& items) {
  UnixControl control;
  for (const ControlItem& item : items) {
    if (item.level != SOL_SOCKET) continue;
    if (item.type == SCM_RIGHTS) {
      const size_t count = item.data.size() / sizeof(int);
      if (control.rights.size() + count > kMaxRights) return Fail(EINVAL);
      const size_t old = control.rights.size();
      control.rights.resize(old + count);
      if (count > 0) memcpy(control.rights.data() + old, item.data.data(), count * sizeof(int));
    } else if (item.type == SCM_CREDENTIALS) {
      if (item.data.size() != sizeof(ucred)) return Fail(EINVAL);
      ucred credentials;
      memcpy(&credentials, item.data.data(), sizeof credentials);
      control.credentials = credentials;
    } else {
      return Fail(EINVAL);
    }
  }
  return control;
}

Result<std::vector<ControlItem>> CheckInetControl(std::vector<ControlItem> items) {
  std::vector<ControlItem> allowed;
  for (ControlItem& item : items) {
    if (item.level == SOL_SOCKET && (item.type == SCM_RIGHTS || item.type == SCM_CREDENTIALS)) continue;
    if (item.level == SOL_SOCKET && item.type == SO_MARK) return Fail(EPERM);
    if (!MaySendInet(item)) return Fail(EINVAL);
    allowed.push_back(std::move(item));
  }
  return allowed;
}

void ControlWriter::Add(int level, int type, std::string_view data) {
  const size_t left = room_ - bytes_.size();
  if (left < sizeof(cmsghdr)) {
    truncated_ = true;
    return;
  }
  size_t length = CMSG_LEN(data.size());
  if (length > left) {
    truncated_ = true;
    length = left;
  }
  cmsghdr header{};
  header.cmsg_len = length;
  header.cmsg_level = level;
  header.cmsg_type = type;
  const size_t start = bytes_.size();
  bytes_.resize(start + length, '\0');
  memcpy(bytes_.data() + start, &header, sizeof header);
  memcpy(bytes_.data() + start + sizeof header, data.data(), length - sizeof header);
  bytes_.resize(std::min(room_, start + CMSG_ALIGN(length)), '\0');
}

size_t ControlWriter::RoomForRights() const {
  const size_t left = room_ - bytes_.size();
  if (left < CMSG_LEN(sizeof(int))) return 0;
  return (left - sizeof(cmsghdr)) / sizeof(int);
}

}  // namespace usl::net
