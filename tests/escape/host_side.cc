// The host that the attacks are after: secrets in files, memory, IPC objects and sockets, and a process that records
// what is done to it. Runs as the ordinary user; prints facts as NAME=VALUE lines and an empty line, then answers each
// line on standard input with the state as seen from outside, in the same form. Ends when standard input ends.
//   host_side DIRECTORY RANDOM
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace {

using Lines = std::map<std::string, std::string>;

[[noreturn]] void Die(const std::string& what) {
  fprintf(stderr, "host_side: %s: %s\n", what.c_str(), strerror(errno));
  exit(125);
}

void Print(const Lines& lines) {
  for (const auto& [name, value] : lines) printf("%s=%s\n", name.c_str(), value.c_str());
  printf("\n");
  fflush(stdout);
}

// What the victim and the host side share.
struct Shared {
  char secret[128];
};
Shared* shared;

std::string directory, token;

// The signals that came to it, as a mask: it takes none, so all stay pending.
std::string PendingSignals(pid_t pid) {
  FILE* status = fopen(("/proc/" + std::to_string(pid) + "/status").c_str(), "r");
  unsigned long long all = 0, mask;
  char line[256];
  while (status && fgets(line, sizeof line, status)) {
    if (sscanf(line, "SigPnd: %llx", &mask) == 1 || sscanf(line, "ShdPnd: %llx", &mask) == 1) all |= mask;
  }
  if (status) fclose(status);
  std::string numbers;
  for (int signal = 1; signal <= 64; ++signal) {
    if (all >> (signal - 1) & 1) numbers += std::to_string(signal) + " ";
  }
  return numbers;
}

// Runs until it is killed, in a session of its own; its memory, its descriptor 9 and its directory hold the secret.
[[noreturn]] void RunVictim() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
#ifdef PR_SET_PTRACER
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);  // so that Yama does not stop the control runs
#endif
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  int fd = open((directory + "/secret").c_str(), O_RDONLY);
  dup2(fd, 9);
  if (chdir(directory.c_str()) < 0) Die("chdir");
  setsid();  // the last step: the parent waits for it
  for (;;) pause();
}

struct Listeners {
  int unix_path, unix_abstract, datagrams, tcp, udp;
  int connections = 0, messages = 0;
};

int UnixSocket(int type, const std::string& name, bool abstract) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path + abstract, name.data(), name.size());
  auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + 1);
  int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), size) < 0) Die("bind " + name);
  if (type == SOCK_STREAM && listen(fd, 64) < 0) Die("listen");
  return fd;
}

int InetSocket(int type, Lines* facts, const char* fact) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), size) < 0) Die("bind on loopback");
  if (type == SOCK_STREAM && listen(fd, 64) < 0) Die("listen");
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  (*facts)[fact] = std::to_string(ntohs(address.sin_port));
  return fd;
}

Listeners MakeListeners(Lines* facts) {
  Listeners all{};
  (*facts)["unix_path"] = directory + "/socket";
  (*facts)["unix_datagram"] = directory + "/datagrams";
  (*facts)["unix_abstract"] = "usl-escape-" + token.substr(0, 12);
  all.unix_path = UnixSocket(SOCK_STREAM, directory + "/socket", false);
  all.datagrams = UnixSocket(SOCK_DGRAM, directory + "/datagrams", false);
  all.unix_abstract = UnixSocket(SOCK_STREAM, (*facts)["unix_abstract"], true);
  all.tcp = InetSocket(SOCK_STREAM, facts, "tcp_port");
  all.udp = InetSocket(SOCK_DGRAM, facts, "udp_port");
  return all;
}

// Whoever comes gets the secret and, over AF_UNIX, a descriptor of its directory.
void Greet(int listener, Listeners& all) {
  int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) return;
  ++all.connections;
  std::string text = std::string(shared->secret);
  iovec part{text.data(), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  int dir = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (listener != all.tcp) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &dir, sizeof dir);
  }
  sendmsg(fd, &message, MSG_NOSIGNAL);
  close(dir);
  close(fd);
}

void MakeIpc(Lines* facts) {
  auto key = static_cast<key_t>(strtoul(token.substr(0, 7).c_str(), nullptr, 16) | 0x10000000);
  int segment = shmget(key, 4096, IPC_CREAT | 0600), set = semget(key, 1, IPC_CREAT | 0600),
      queue = msgget(key, IPC_CREAT | 0600);
  if (segment < 0 || set < 0 || queue < 0) Die("System V IPC");
  strcpy(static_cast<char*>(shmat(segment, nullptr, 0)), shared->secret);
  semctl(set, 0, SETVAL, 7);
  struct {
    long type;
    char text[128];
  } message{1, {}};
  strcpy(message.text, shared->secret);
  msgsnd(queue, &message, sizeof message.text, IPC_NOWAIT);
  mq_attr attributes{};
  attributes.mq_maxmsg = 4;
  attributes.mq_msgsize = 128;
  const std::string name = "/usl-escape-" + token.substr(0, 12);
  mqd_t posix_queue = mq_open(name.c_str(), O_RDWR | O_CREAT | O_NONBLOCK, 0600, &attributes);
  if (posix_queue == static_cast<mqd_t>(-1)) Die("mq_open");
  mq_send(posix_queue, message.text, sizeof message.text, 0);
  int posix_segment = shm_open(name.c_str(), O_RDWR | O_CREAT, 0600);
  if (posix_segment < 0 || write(posix_segment, shared->secret, strlen(shared->secret)) < 0) Die("shm_open");
  long stored =
      syscall(SYS_add_key, "user", name.c_str() + 1, shared->secret, strlen(shared->secret), KEY_SPEC_USER_KEYRING);
  *facts = {{"ipc_key", std::to_string(key)},
            {"shm_id", std::to_string(segment)},
            {"sem_id", std::to_string(set)},
            {"msg_id", std::to_string(queue)},
            {"mq_name", name},
            {"posix_shm", "/dev/shm" + name},
            {"key_name", name.substr(1)},
            {"key_id", std::to_string(stored)}};
}

void RemoveIpc(const Lines& facts) {
  shmctl(atoi(facts.at("shm_id").c_str()), IPC_RMID, nullptr);
  semctl(atoi(facts.at("sem_id").c_str()), 0, IPC_RMID);
  msgctl(atoi(facts.at("msg_id").c_str()), IPC_RMID, nullptr);
  mq_unlink(facts.at("mq_name").c_str());
  shm_unlink(facts.at("mq_name").c_str());
  if (facts.at("key_id") != "-1")
    syscall(SYS_keyctl, KEYCTL_UNLINK, atol(facts.at("key_id").c_str()), KEY_SPEC_USER_KEYRING);
}

std::string FileState(const std::string& path) {
  struct stat status;
  if (lstat(path.c_str(), &status) < 0) return "missing";
  char names[256];
  ssize_t attributes = listxattr(path.c_str(), names, sizeof names);
  std::string state = std::to_string(status.st_mode) + " " + std::to_string(status.st_nlink) + " " +
                      std::to_string(status.st_size) + " " + std::to_string(status.st_mtim.tv_sec) + "." +
                      std::to_string(status.st_mtim.tv_nsec) + " " + std::to_string(attributes);
  return S_ISDIR(status.st_mode) ? std::to_string(status.st_mode) : state;
}

void AddIpcState(const Lines& facts, Lines* state) {
  shmid_ds segment{};
  msqid_ds queue{};
  (*state)["shm"] = shmctl(atoi(facts.at("shm_id").c_str()), IPC_STAT, &segment) < 0
                        ? "gone"
                        : std::to_string(segment.shm_nattch) + " " + std::to_string(segment.shm_perm.mode);
  (*state)["sem"] = std::to_string(semctl(atoi(facts.at("sem_id").c_str()), 0, GETVAL));
  (*state)["msg"] =
      msgctl(atoi(facts.at("msg_id").c_str()), IPC_STAT, &queue) < 0 ? "gone" : std::to_string(queue.msg_qnum);
  mqd_t posix_queue = mq_open(facts.at("mq_name").c_str(), O_RDONLY);
  mq_attr attributes{};
  mq_getattr(posix_queue, &attributes);
  (*state)["mq"] = posix_queue < 0 ? "gone" : std::to_string(attributes.mq_curmsgs);
  mq_close(posix_queue);
  (*state)["made_key"] =
      syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_USER_KEYRING, "user", "usl-escape-made", 0) < 0 ? "none" : "there";
  (*state)["posix_shm"] = FileState(facts.at("posix_shm"));
}

void AddVictimState(pid_t victim, Lines* state) {
  int status = 0;
  (*state)["signals"] = PendingSignals(victim);
  (*state)["victim"] = waitpid(victim, &status, WNOHANG | WUNTRACED) == 0 ? "runs" : "status " + std::to_string(status);
  (*state)["nice"] = std::to_string(getpriority(PRIO_PROCESS, static_cast<id_t>(victim)));
  (*state)["ioprio"] = std::to_string(syscall(SYS_ioprio_get, 1, victim));
  (*state)["policy"] = std::to_string(sched_getscheduler(victim));
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  sched_getaffinity(victim, sizeof cpus, &cpus);
  (*state)["cpus"] = std::to_string(CPU_COUNT(&cpus));
  rlimit files{};
  prlimit(victim, RLIMIT_NOFILE, nullptr, &files);
  (*state)["files"] = std::to_string(files.rlim_cur);
  (*state)["memory"] = shared->secret + sizeof "USL-HOST-SECRET:" - 1 == token ? "unchanged" : "changed";
}

Lines State(const Lines& facts, pid_t victim, const Listeners& listeners) {
  Lines state;
  AddVictimState(victim, &state);
  AddIpcState(facts, &state);
  state["connections"] = std::to_string(listeners.connections);
  state["messages"] = std::to_string(listeners.messages);
  std::vector<std::string> names;
  DIR* stream = opendir(directory.c_str());
  while (dirent* entry = stream ? readdir(stream) : nullptr) names.push_back(entry->d_name);
  if (stream) closedir(stream);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) state["file " + name] = FileState(directory + "/" + name);
  return state;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  directory = argv[1];
  token = argv[2];
  shared =
      static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  snprintf(shared->secret, sizeof shared->secret, "USL-HOST-SECRET:%s", token.c_str());
  int secret = open((directory + "/secret").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (secret < 0 || write(secret, shared->secret, strlen(shared->secret)) < 0) Die("secret");
  close(secret);

  Lines facts;
  MakeIpc(&facts);
  Listeners listeners = MakeListeners(&facts);
  facts["host_directory"] = directory;
  facts["secret"] = directory + "/secret";
  pid_t victim = fork();
  if (victim == 0) RunVictim();
  facts["victim"] = std::to_string(victim);
  facts["host_side"] = std::to_string(getpid());
  char address[32];
  snprintf(address, sizeof address, "%p", static_cast<void*>(shared->secret));
  facts["victim_memory"] = address;
  while (getsid(victim) != victim) sched_yield();
  Print(facts);

  pollfd waits[] = {{0, POLLIN, 0},
                    {listeners.unix_path, POLLIN, 0},
                    {listeners.unix_abstract, POLLIN, 0},
                    {listeners.tcp, POLLIN, 0},
                    {listeners.datagrams, POLLIN, 0},
                    {listeners.udp, POLLIN, 0}};
  for (;;) {
    if (poll(waits, std::size(waits), -1) < 0 && errno != EINTR) break;
    for (int i : {1, 2, 3}) {
      if (waits[i].revents) Greet(waits[i].fd, listeners);
    }
    char buffer[4096];
    for (int i : {4, 5}) {
      while (waits[i].revents && recv(waits[i].fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0) ++listeners.messages;
    }
    if (!waits[0].revents) continue;
    if (read(0, buffer, sizeof buffer) <= 0) break;
    Print(State(facts, victim, listeners));
  }
  kill(victim, SIGKILL);
  RemoveIpc(facts);
  return 0;
}
