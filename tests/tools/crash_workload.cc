// crash_workload go[:N]|check DIR SEED LOWER-UID LOWER-GID [WORKER:ENDED:BEGUN...]: the guest's side of the crash test.
//
// Each worker makes changes in a directory of its own, DIR/N, one after the other, chosen by a generator that a seed
// starts; a model of the directory says what each change must lead to. It writes "B N I" to standard output before
// change I and "E N I" after it. The kernel process is killed meanwhile. The next run is told how far each worker came:
// it makes the model anew and checks that the directory is as before or as after the change that was under way ("C N
// I": as after change I), and goes on from there (`go`) or ends (`check`). Anything else is told as "BAD ..." and ends
// with status 1.
//
// With LOWER-UID not "-" the directories lie over lower ones, with the files of MakeLower (the test makes the same).
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace {

struct Random {
  uint64_t state;
  uint64_t Next() {
    uint64_t z = state += 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  unsigned Below(unsigned limit) { return static_cast<unsigned>(Next() % limit); }
};

std::string Content(uint64_t seed, size_t size) {
  std::string text(size, '\0');
  Random random{seed};
  for (char& c : text) c = static_cast<char>('a' + random.Below(26));
  return text;
}

// Without a kernel every call fails with ENOSYS: this process is about to be killed too.
void StopWithoutKernel() {
  while (access("/", F_OK) < 0 && errno == ENOSYS) pause();
}

struct Node {
  char kind = 'f';  // f p c l d
  uint32_t mode = 0644;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string content;  // or the symlink's target
  unsigned minor = 0;
  bool full = false;  // a directory with a file in it
  std::map<std::string, std::string> xattrs;
  bool operator==(const Node&) const = default;
};
using Model = std::map<std::string, std::shared_ptr<Node>>;

struct LowerFile {
  const char* name;
  size_t size;
};
constexpr LowerFile kLower[] = {{"low0", 10}, {"low1", 5000}, {"low2", 300000}, {"low3", 2500000}, {"low4", 0}};

// low5 is a second name of low1; lowd a directory with the file "inner".
Model MakeLower(uid_t uid, gid_t gid) {
  Model model;
  for (const LowerFile& file : kLower) {
    model[file.name] = std::make_shared<Node>(Node{.uid = uid, .gid = gid, .content = Content(file.size, file.size)});
  }
  model["low5"] = model["low1"];
  model["lowd"] = std::make_shared<Node>(Node{.kind = 'd', .mode = 0755, .uid = uid, .gid = gid, .full = true});
  return model;
}

struct Op {
  enum Kind { kMake, kChmod, kChown, kSetXattr, kRemoveXattr, kLink, kRemove, kRename, kExchange, kAppend, kTruncate };
  Kind kind;
  std::string name, other;
  std::shared_ptr<Node> made;
  uint32_t mode = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string value;
  size_t size = 0;
  bool sync = false;
};

std::string Pick(const Model& model, Random& random) {
  auto at = model.begin();
  std::advance(at, random.Below(static_cast<unsigned>(model.size())));
  return at->first;
}

uint32_t RandomMode(Random& random) {
  constexpr uint32_t kModes[] = {0644, 0600, 0755, 0400, 0000, 04755, 02711, 0777, 0170, 0640};
  return kModes[random.Below(10)];
}

// The next change that must succeed.
Op Choose(const Model& model, Random& random) {
  while (true) {
    Op op{.kind = static_cast<Op::Kind>(random.Below(Op::kTruncate + 1))};
    const std::string fresh = "n" + std::to_string(random.Below(16));
    if (op.kind == Op::kMake) {
      if (model.contains(fresh)) continue;
      op.name = fresh;
      op.made = std::make_shared<Node>();
      op.made->kind = "ffffpcld"[random.Below(8)];
      op.made->mode = op.made->kind == 'l' ? 0777 : RandomMode(random) & 0777;
      if (op.made->kind == 'c') op.made->minor = 1 + random.Below(200);
      if (op.made->kind == 'l') op.made->content = Content(random.Next(), 1 + random.Below(100));
      return op;
    }
    if (model.empty()) continue;
    op.name = Pick(model, random);
    const Node& node = *model.at(op.name);
    const bool has_data = node.kind == 'f';
    switch (op.kind) {
      case Op::kChmod:
        if (node.kind == 'l') continue;
        op.mode = node.kind == 'd' ? RandomMode(random) & 0777 : RandomMode(random);
        return op;
      case Op::kChown:
        op.uid = random.Below(4) * 500;
        op.gid = random.Below(3) * 50;
        return op;
      case Op::kSetXattr:
        if (node.kind == 'l') continue;
        op.other = random.Below(2) && (has_data || node.kind == 'd') ? "user.note" : "trusted.note";
        // Some are too large for an attribute of the host.
        op.value = Content(random.Next(), op.other[0] == 't' && random.Below(8) == 0 ? 9000 : random.Below(60));
        return op;
      case Op::kRemoveXattr:
        if (node.xattrs.empty()) continue;
        op.other = node.xattrs.begin()->first;
        return op;
      case Op::kLink:
        if (node.kind == 'd' || node.kind == 'l' || model.contains(fresh)) continue;
        op.other = fresh;
        return op;
      case Op::kRemove:
        if (node.full || random.Below(2)) continue;
        return op;
      case Op::kRename: {
        op.other = random.Below(2) ? fresh : Pick(model, random);
        auto found = model.find(op.other);
        if (found == model.end()) return op;
        const Node& target = *found->second;
        if (&target == &node || target.full || (target.kind == 'd') != (node.kind == 'd')) continue;
        return op;
      }
      case Op::kExchange:
        op.other = Pick(model, random);
        if (model.at(op.other).get() == &node) continue;
        return op;
      case Op::kAppend:
        if (!has_data || node.content.size() > 4000000) continue;
        op.value = Content(random.Next(), 1 + random.Below(random.Below(4) ? 500 : 100000));
        op.sync = random.Below(4) == 0;
        return op;
      case Op::kTruncate:
        if (!has_data) continue;
        op.size = random.Below(2) ? 0 : random.Below(8000);
        return op;
      default: continue;
    }
  }
}

void Apply(Model& model, const Op& op) {
  std::shared_ptr<Node> node = op.kind == Op::kMake ? op.made : model.at(op.name);
  switch (op.kind) {
    case Op::kMake: model[op.name] = std::make_shared<Node>(*op.made); break;
    case Op::kChmod: node->mode = op.mode; break;
    case Op::kChown:
      node->uid = op.uid;
      node->gid = op.gid;
      // As Linux does it, for root too.
      if (node->kind != 'd') node->mode &= (node->mode & 010) ? ~06000u : ~04000u;
      break;
    case Op::kSetXattr: node->xattrs[op.other] = op.value; break;
    case Op::kRemoveXattr: node->xattrs.erase(op.other); break;
    case Op::kLink: model[op.other] = node; break;
    case Op::kRemove: model.erase(op.name); break;
    case Op::kRename:
      model[op.other] = node;
      model.erase(op.name);
      break;
    case Op::kExchange: std::swap(model[op.name], model[op.other]); break;
    case Op::kAppend: node->content += op.value; break;
    case Op::kTruncate: node->content.resize(op.size); break;
  }
}

int Make(const Op& op) {
  const char* name = op.name.c_str();
  switch (op.made->kind) {
    case 'f': return mknod(name, S_IFREG | op.made->mode, 0);
    case 'p': return mkfifo(name, op.made->mode);
    case 'c': return mknod(name, S_IFCHR | op.made->mode, makedev(1, op.made->minor));
    case 'l': return symlink(op.made->content.c_str(), name);
    default: return mkdir(name, op.made->mode);
  }
}

int Append(const Op& op) {
  const int fd = open(op.name.c_str(), O_WRONLY | O_APPEND);
  if (fd < 0) return -1;
  const ssize_t written = write(fd, op.value.data(), op.value.size());
  if (op.sync && fsync(fd) < 0) return -1;
  close(fd);
  return written == static_cast<ssize_t>(op.value.size()) ? 0 : -1;
}

int Execute(const Op& op, const Model& model) {
  const char* name = op.name.c_str();
  const char* other = op.other.c_str();
  switch (op.kind) {
    case Op::kMake: return Make(op);
    case Op::kChmod: return chmod(name, op.mode);
    case Op::kChown: return lchown(name, op.uid, op.gid);
    case Op::kSetXattr: return lsetxattr(name, other, op.value.data(), op.value.size(), 0);
    case Op::kRemoveXattr: return lremovexattr(name, other);
    case Op::kLink: return link(name, other);
    case Op::kRemove: return model.at(op.name)->kind == 'd' ? rmdir(name) : unlink(name);
    case Op::kRename: return rename(name, other);
    case Op::kExchange: return renameat2(AT_FDCWD, name, AT_FDCWD, other, RENAME_EXCHANGE);
    case Op::kAppend: return Append(op);
    case Op::kTruncate: return truncate(name, static_cast<off_t>(op.size));
  }
  return -1;
}

bool ReadFile(const std::string& name, std::string& text) {
  const int fd = open(name.c_str(), O_RDONLY);
  if (fd < 0) return false;
  text.clear();
  char buffer[65536];
  ssize_t count;
  while ((count = read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(count));
  close(fd);
  return count == 0;
}

// What is wrong with one name; empty when nothing is.
std::string Compare(const std::string& name, const Node& node) {
  struct stat status;
  if (lstat(name.c_str(), &status) < 0) return name + ": lstat: " + strerror(errno);
  const std::map<char, uint32_t> types{{'f', S_IFREG}, {'p', S_IFIFO}, {'c', S_IFCHR}, {'l', S_IFLNK}, {'d', S_IFDIR}};
  if ((status.st_mode & S_IFMT) != types.at(node.kind)) return name + ": another type";
  char text[200];
  if ((status.st_mode & 07777) != node.mode || status.st_uid != node.uid || status.st_gid != node.gid) {
    snprintf(text, sizeof text, "%s: mode %o owner %u:%u instead of %o %u:%u", name.c_str(), status.st_mode & 07777,
             status.st_uid, status.st_gid, node.mode, node.uid, node.gid);
    return text;
  }
  if (node.kind == 'c' && status.st_rdev != makedev(1, node.minor)) return name + ": another device";
  std::string content;
  if (node.kind == 'f' && (!ReadFile(name, content) || content != node.content)) {
    return name + ": other content (" + std::to_string(content.size()) + " bytes, not " +
           std::to_string(node.content.size()) + ")";
  }
  if (node.kind == 'l') {
    content.resize(4096);
    content.resize(static_cast<size_t>(std::max<ssize_t>(0, readlink(name.c_str(), content.data(), content.size()))));
    if (content != node.content) return name + ": another target";
  }
  if (node.full && (!ReadFile(name + "/inner", content) || content != "inner")) return name + ": lost what was in it";
  for (const char* xattr : {"user.note", "trusted.note"}) {
    std::string value(65536, '\0');
    const ssize_t size = lgetxattr(name.c_str(), xattr, value.data(), value.size());
    const auto expected = node.xattrs.find(xattr);
    if ((size >= 0) != (expected != node.xattrs.end()))
      return name + ": " + xattr + (size < 0 ? " missing" : " present");
    if (size < 0) continue;
    value.resize(static_cast<size_t>(size));
    if (value != expected->second) return name + ": another value of " + xattr;
  }
  return {};
}

std::string CompareTree(const Model& model) {
  std::set<std::string> names;
  DIR* directory = opendir(".");
  if (!directory) return std::string("opendir: ") + strerror(errno);
  while (const dirent* entry = readdir(directory)) names.insert(entry->d_name);
  closedir(directory);
  names.erase(".");
  names.erase("..");
  for (const std::string& name : names) {
    if (!model.contains(name)) return name + ": should not be there";
  }
  std::map<const Node*, ino_t> numbers;
  std::map<const Node*, unsigned> links;
  for (const auto& [name, node] : model) ++links[node.get()];
  for (const auto& [name, node] : model) {
    if (!names.contains(name)) return name + ": is not listed";
    if (std::string wrong = Compare(name, *node); !wrong.empty()) return wrong;
    struct stat status;
    lstat(name.c_str(), &status);
    if (numbers.try_emplace(node.get(), status.st_ino).first->second != status.st_ino) return name + ": no hard link";
    // A count that is too high after a crash only keeps the file (docs/volfs.md).
    if (node->kind != 'd' && status.st_nlink < links[node.get()]) return name + ": too few links";
  }
  return {};
}

Model Copy(const Model& model) {
  std::map<const Node*, std::shared_ptr<Node>> copies;
  Model copy;
  for (const auto& [name, node] : model) {
    auto& made = copies[node.get()];
    if (!made) made = std::make_shared<Node>(*node);
    copy[name] = made;
  }
  return copy;
}

struct Worker {
  unsigned number = 0;
  unsigned long ended = 0, begun = 0;
};

class Player {
 public:
  Player(uint64_t seed, Model lower) : model_(std::move(lower)), random_{seed} {}

  void Replay(unsigned long count) {
    for (; done_ < count; ++done_) Apply(model_, Choose(model_, random_));
  }

  // True when the directory is as after `done_` changes or one more; then it goes on from there.
  bool Check(const Worker& worker) {
    const std::string before = CompareTree(model_);
    if (before.empty()) return Tell(worker, "C");
    if (worker.begun == worker.ended) return Bad(worker, before, "");
    Random again = random_;
    const Op op = Choose(model_, again);
    Model old = Copy(model_);
    Apply(model_, op);
    random_ = again;
    ++done_;
    const std::string after = CompareTree(model_);
    if (after.empty()) return Tell(worker, "C");
    if (op.kind == Op::kAppend && IsPartlyAppended(old, op)) {
      // The change goes on: what was written is part of it.
      truncate(op.name.c_str(), static_cast<off_t>(old.at(op.name)->content.size()));
      if (Append(op) == 0 && CompareTree(model_).empty()) return Tell(worker, "P");
    }
    return Bad(worker, before, after + " (change " + std::to_string(op.kind) + " of " + op.name + " " + op.other + ")");
  }

  void Run(unsigned worker, unsigned long limit) {
    while (done_ < limit) {
      const Op op = Choose(model_, random_);
      Line("B", worker, done_ + 1);
      if (Execute(op, model_) < 0) {
        const int error = errno;
        StopWithoutKernel();
        errno = error;
        printf("BAD %u change %lu (%d of %s %s): %s\n", worker, done_ + 1, op.kind, op.name.c_str(), op.other.c_str(),
               strerror(errno));
        fflush(stdout);
        _exit(1);
      }
      Apply(model_, op);
      ++done_;
      Line("E", worker, done_);
    }
  }

 private:
  static void Line(const char* what, unsigned worker, unsigned long number) {
    char line[64];
    const int size = snprintf(line, sizeof line, "%s %u %lu\n", what, worker, number);
    if (write(STDOUT_FILENO, line, static_cast<size_t>(size)) != size) _exit(1);
  }

  bool Tell(const Worker& worker, const char* what) {
    Line(what, worker.number, done_);
    return true;
  }

  bool Bad(const Worker& worker, const std::string& before, const std::string& after) {
    StopWithoutKernel();
    printf("BAD %u after change %lu: %s; %s\n", worker.number, worker.ended, before.c_str(), after.c_str());
    fflush(stdout);
    return false;
  }

  static bool IsPartlyAppended(const Model& old, const Op& op) {
    std::string content;
    const std::string& was = old.at(op.name)->content;
    return ReadFile(op.name, content) && content.size() >= was.size() && (was + op.value).starts_with(content);
  }

  Model model_;
  Random random_;
  unsigned long done_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  // "go" without end, "go:N" to change N.
  const bool goes_on = strncmp(argv[1], "go", 2) == 0;
  const unsigned long limit = argv[1][2] == ':' ? strtoul(argv[1] + 3, nullptr, 10) : ULONG_MAX;
  const std::string directory = argv[2];
  const uint64_t seed = strtoull(argv[3], nullptr, 10);
  const bool layered = strcmp(argv[4], "-") != 0;
  umask(0);
  std::vector<pid_t> children;
  for (int i = 6; i < argc; ++i) {
    Worker worker;
    if (sscanf(argv[i], "%u:%lu:%lu", &worker.number, &worker.ended, &worker.begun) != 3) return 2;
    const pid_t child = fork();
    if (child > 0) {
      children.push_back(child);
      continue;
    }
    const std::string own = directory + "/" + std::to_string(worker.number);
    if (mkdir(own.c_str(), 0755) < 0 && errno != EEXIST) perror(own.c_str());
    if (chdir(own.c_str()) < 0) {
      StopWithoutKernel();
      printf("BAD %u %s: %s\n", worker.number, own.c_str(), strerror(errno));
      fflush(stdout);
      _exit(1);
    }
    Player player(seed * 1000 + worker.number,
                  layered ? MakeLower(static_cast<uid_t>(atoi(argv[4])), static_cast<gid_t>(atoi(argv[5]))) : Model{});
    player.Replay(worker.ended);
    if (!player.Check(worker)) _exit(1);
    if (goes_on) player.Run(worker.number, limit);
    _exit(0);
  }
  int result = 0;
  for (pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) result = 1;
  }
  return result;
}
