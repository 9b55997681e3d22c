// Ancillary data (cmsg(3)): what guests send is parsed from one copy and made anew for the host; what the host hands
// over is made into what the guest may see. Pure, so that hostile input is tested without sockets.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace usl::net {

inline constexpr size_t kMaxControl = 64 * 1024;
inline constexpr size_t kMaxRights = 253;  // SCM_MAX_FD

struct ControlItem {
  int level = 0;
  int type = 0;
  std::string data;
};

// Splits control data. EINVAL: an element shorter than its header or longer than what is left (CMSG_OK).
Result<std::vector<ControlItem>> ParseControl(std::string_view control);
// The control data of the items, for sendmsg(2).
std::string BuildControl(const std::vector<ControlItem>& items);

// What a guest's AF_UNIX control data asks for.
struct UnixControl {
  std::vector<int> rights;  // descriptor numbers of the guest
  std::optional<ucred> credentials;
};
// EINVAL: unknown SOL_SOCKET types, wrong sizes, more than 253 descriptors. Other levels are ignored, as in scm_send().
Result<UnixControl> ParseUnixControl(const std::vector<ControlItem>& items);

// Checks a guest's control data for an inet socket against the list of what may be sent: options that steer packets
// past the host's rules are not in it. EPERM, EINVAL; SCM_RIGHTS and SCM_CREDENTIALS are dropped, as the host ignores
// them.
Result<std::vector<ControlItem>> CheckInetControl(std::vector<ControlItem> items);

// Fills a guest's control buffer as put_cmsg() does.
class ControlWriter {
 public:
  explicit ControlWriter(size_t room) : room_(room) {}

  // Adds an item, cut short where the room ends.
  void Add(int level, int type, std::string_view data);
  // How many descriptors would fit into an SCM_RIGHTS item now.
  size_t RoomForRights() const;

  bool truncated() const { return truncated_; }
  void SetTruncated() { truncated_ = true; }
  const std::string& bytes() const { return bytes_; }

 private:
  size_t room_;
  std::string bytes_;
  bool truncated_ = false;
};

}  // namespace usl::net
