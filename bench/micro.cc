// Times single system calls, natively and inside, with one binary: micro [SECONDS-PER-ROW [ROW]] prints "name
// nanoseconds" lines. A figure is the median of batches. Static, so that it runs in any tree.
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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
  Row("fork-exec-wait", [] { ForkExecWait("/bin/true"); });
  close(fd);
  unlink(file.c_str());
  rmdir(directory.c_str());
}
