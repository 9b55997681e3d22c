// Times single system calls, natively and inside, with one binary: micro [SECONDS-PER-ROW [ROW]] prints "name
// nanoseconds" lines. A figure is the median of batches. Static, so that it runs in any tree.
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

namespace {

double Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double g_seconds = 0.25;
const char* g_only = nullptr;  // the one row to time

void Need(bool ok, const char* what) {
  if (ok) return;
  perror(what);
  exit(1);
}

// The median time of one call of `operation`, over batches that fill the time.
void Row(const char* name, const std::function<void()>& operation) {
  if (g_only && strcmp(g_only, name) != 0) return;
  double start = Now();
  operation();
  double once = std::max(Now() - start, 20.0);
  int batch = std::max(1, static_cast<int>(std::min(2e6 / once, 2000.0)));
  std::vector<double> times;
  double end = Now() + g_seconds * 1e9;
  while (Now() < end || times.size() < 5) {
    start = Now();
    for (int i = 0; i < batch; ++i) operation();
    times.push_back((Now() - start) / batch);
  }
  std::nth_element(times.begin(), times.begin() + static_cast<long>(times.size() / 2), times.end());
  printf("%s %.0f\n", name, times[times.size() / 2]);
  fflush(stdout);
}

// One byte to a child and back.
void PipePingPong() {
  int to[2], from[2];
  Need(pipe(to) == 0 && pipe(from) == 0, "pipe");
  pid_t child = fork();
  Need(child >= 0, "fork");
  if (child == 0) {
    close(to[1]);
    close(from[0]);
    char byte;
    while (read(to[0], &byte, 1) == 1) {
      if (write(from[1], &byte, 1) != 1) break;
    }
    _exit(0);
  }
  close(to[0]);
  close(from[1]);
  char byte = 'x';
  Row("pipe-ping-pong", [&] { Need(write(to[1], &byte, 1) == 1 && read(from[0], &byte, 1) == 1, "pipe"); });
  close(to[1]);
  close(from[0]);
  waitpid(child, nullptr, 0);
}

// One byte to a child and back over AF_UNIX.
void UnixPingPong() {
  int pair[2];
  Need(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
  pid_t child = fork();
  Need(child >= 0, "fork");
  char byte = 'x';
  if (child == 0) {
    close(pair[0]);
    while (read(pair[1], &byte, 1) == 1 && write(pair[1], &byte, 1) == 1) {
    }
    _exit(0);
  }
  close(pair[1]);
  Row("unix-ping-pong", [&] { Need(write(pair[0], &byte, 1) == 1 && read(pair[0], &byte, 1) == 1, "socketpair"); });
  close(pair[0]);
  waitpid(child, nullptr, 0);
}

// 64 KiB to a child that reads as fast as it can.
void Throughput(const char* row, int out, int in) {
  static char chunk[64 * 1024];
  pid_t child = fork();
  Need(child >= 0, "fork");
  if (child == 0) {
    close(out);
    while (read(in, chunk, sizeof chunk) > 0) {
    }
    _exit(0);
  }
  close(in);
  Row(row, [&] {
    for (size_t done = 0; done < sizeof chunk;) {
      const ssize_t written = write(out, chunk + done, sizeof chunk - done);
      Need(written > 0, row);
      done += static_cast<size_t>(written);
    }
  });
  close(out);
  waitpid(child, nullptr, 0);
}

// A descriptor with one byte, sent and received over a socket pair.
void SendDescriptor(int fd) {
  static int pair[2] = {-1, -1};
  if (pair[0] < 0) Need(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0, "socketpair");
  char byte = 'x';
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  Need(sendmsg(pair[0], &message, 0) == 1, "sendmsg");
  message.msg_controllen = sizeof control;
  Need(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) == 1, "recvmsg");
  int received;
  memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof received);
  close(received);
}

void ForkExecWait(const char* program) {
  pid_t child = fork();
  Need(child >= 0, "fork");
  if (child == 0) {
    execl(program, program, static_cast<char*>(nullptr));
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  Need(WIFEXITED(status) && WEXITSTATUS(status) == 0, "exec");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) g_seconds = atof(argv[1]);
  if (argc > 2) g_only = argv[2];
  std::string directory = "/tmp/usl-micro-XXXXXX";
  Need(mkdtemp(directory.data()) != nullptr, "mkdtemp");
  std::string file = directory + "/file";
  int fd = open(file.c_str(), O_RDWR | O_CREAT, 0644);
  Need(fd >= 0, "open");
  char block[4096] = {};
  Need(write(fd, block, sizeof block) == sizeof block, "write");
  struct stat status;
  Row("getppid", [] { syscall(SYS_getppid); });
  Row("read",
      [&] { Need(pread(fd, block, 1, 0) == 1 && lseek(fd, 0, SEEK_SET) == 0 && read(fd, block, 1) == 1, "read"); });
  Row("write", [&] { Need(pwrite(fd, block, 1, 0) == 1, "pwrite"); });
  Row("pread", [&] { Need(pread(fd, block, 1, 0) == 1, "pread"); });
  Row("lseek", [&] { Need(lseek(fd, 0, SEEK_SET) == 0, "lseek"); });
  int word = 0;
  Row("futex-wake", [&] { syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0); });
  Row("mmap-munmap", [] { munmap(mmap(nullptr, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 65536); });
  PipePingPong();
  Row("stat", [] {
    struct stat s;
    Need(stat("/usr/bin/env", &s) == 0, "stat");
  });
  Row("stat-missing", [] {
    struct stat s;
    Need(stat("/usr/bin/no-such-file", &s) < 0, "stat");
  });
  Row("fstat", [&] { Need(fstat(fd, &status) == 0, "fstat"); });
  Row("open-close", [] {
    int opened = open("/usr/bin/env", O_RDONLY);
    Need(opened >= 0, "open");
    close(opened);
  });
  Row("create-write-close-unlink", [&] {
    std::string name = directory + "/new";
    int opened = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
    Need(opened >= 0 && write(opened, "x", 1) == 1, "create");
    close(opened);
    Need(unlink(name.c_str()) == 0, "unlink");
  });
  // /tmp is in memory; this is on the tree's disk.
  std::string disk = "/var/tmp/usl-micro-XXXXXX";
  Need(mkdtemp(disk.data()) != nullptr, "mkdtemp");
  Row("create-write-close-unlink-disk", [&] {
    const std::string name = disk + "/new";
    const int opened = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
    Need(opened >= 0 && write(opened, "x", 1) == 1, "create");
    close(opened);
    Need(unlink(name.c_str()) == 0, "unlink");
  });
  rmdir(disk.c_str());
  Row("raise", [] {
    signal(SIGUSR1, SIG_IGN);
    kill(getpid(), SIGUSR1);
  });
  UnixPingPong();
  int ends[2];
  Need(pipe(ends) == 0, "pipe");
  Throughput("pipe-64k", ends[1], ends[0]);
  Need(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
  Throughput("unix-64k", ends[1], ends[0]);
  Row("send-receive-descriptor", [&] { SendDescriptor(fd); });
  Row("fork-exec-wait", [] { ForkExecWait("/bin/true"); });
  close(fd);
  unlink(file.c_str());
  rmdir(directory.c_str());
}
