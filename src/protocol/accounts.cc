#include "protocol/accounts.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace usl::protocol {
namespace {

// Ids above this mean "none" to the calls that set them.
constexpr uint32_t kMaxId = 0xFFFFFFFE;

std::optional<uint32_t> ParseId(std::string_view text) {
  uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || end != text.data() + text.size() || id > kMaxId) return std::nullopt;
  return id;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

struct Group {
  std::string_view name;
  gid_t gid;
  std::string_view members;
};

std::vector<Group> ParseGroups(std::string_view text) {
  std::vector<Group> groups;
  for (const std::string_view line : Split(text, '\n')) {
    const auto fields = Split(line, ':');
    if (fields.size() < 3) continue;
    if (const auto gid = ParseId(fields[2])) groups.push_back({fields[0], *gid, fields.size() > 3 ? fields[3] : ""});
  }
  return groups;
}

// Fills the account of a name or number; false when passwd does not have it.
bool FindUser(std::string_view user, std::string_view passwd, Account* account) {
  const auto id = ParseId(user);
  for (const std::string_view line : Split(passwd, '\n')) {
    const auto fields = Split(line, ':');
    if (fields.size() < 7) continue;
    const auto uid = ParseId(fields[2]), gid = ParseId(fields[3]);
    if (!uid || !gid || (fields[0] != user && uid != id)) continue;
    account->name = fields[0];
    account->uid = *uid;
    account->gid = *gid;
    if (!fields[5].empty()) account->home = fields[5];
    if (!fields[6].empty()) account->shell = fields[6];
    return true;
  }
  return false;
}

void AddSupplementary(const std::vector<Group>& groups, Account* account) {
  for (const Group& group : groups) {
    const auto members = Split(group.members, ',');
    if (group.gid != account->gid && std::ranges::find(members, account->name) != members.end()) {
      account->groups.push_back(group.gid);
    }
  }
}

}  // namespace

bool ResolveAccount(std::string_view user, std::string_view passwd, std::string_view group, Account* account,
                    std::string* why) {
  const size_t colon = user.find(':');
  const std::string_view name = user.empty() ? "0" : user.substr(0, colon);
  *account = Account{};
  if (!FindUser(name, passwd, account)) {
    const auto uid = ParseId(name);
    if (!uid) {
      *why = "the guest's /etc/passwd has no user \"" + std::string(name) +
             "\"; give a number, or add the user in the guest";
      return false;
    }
    account->uid = *uid;
    account->gid = 0;
    if (*uid == 0) account->name = "root", account->home = "/root";
  }
  const auto groups = ParseGroups(group);
  if (colon == user.npos) {
    account->groups = {account->gid};
    if (!account->name.empty()) AddSupplementary(groups, account);
    return true;
  }
  const std::string_view wanted = user.substr(colon + 1);
  const auto found = std::ranges::find(groups, wanted, &Group::name);
  const auto gid = found != groups.end() ? std::optional(found->gid) : ParseId(wanted);
  if (!gid) {
    *why = "the guest's /etc/group has no group \"" + std::string(wanted) +
           "\"; give a number, or add the group in the guest";
    return false;
  }
  account->gid = *gid;
  account->groups = {*gid};
  return true;
}

std::vector<std::string> AccountEnvironment(const Account& account) {
  const std::string name = account.name.empty() ? std::to_string(account.uid) : account.name;
  return {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + account.home, "USER=" + name,
          "LOGNAME=" + name, "SHELL=" + account.shell};
}

}  // namespace usl::protocol
