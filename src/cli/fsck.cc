#include <cstdio>
#include <memory>

#include "base/format.h"
#include "cli/commands.h"
#include "fs/tree_check.h"

namespace usl::cli {
namespace {

// As fsck(8): "operational error".
constexpr int kCannotCheck = 8;

// For a terminal: a guest chose the names.
std::string Printable(const std::string& text) {
  std::string out;
  for (const unsigned char c : text)
    out += c < 0x20 || c == 0x7F || c == '\\' ? format("\\x{:02x}", c) : std::string(1, static_cast<char>(c));
  return out;
}

// The length of the UTF-8 sequence at `at`, or 0 where none is.
size_t SequenceLength(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned first = byte(at);
  const size_t length = first < 0x80                    ? 1
                        : first >= 0xC2 && first < 0xE0 ? 2
                        : first >= 0xE0 && first < 0xF0 ? 3
                        : first >= 0xF0 && first < 0xF5 ? 4
                                                        : 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates and what lies beyond Unicode.
  const unsigned second = byte(at + 1);
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) || (first == 0xF0 && second < 0x90) ||
      (first == 0xF4 && second > 0x8F)) {
    return 0;
  }
  return length;
}

// A byte that is no UTF-8 becomes the lone surrogate U+DC00 + byte, as Python's surrogateescape has it.
std::string JsonText(const std::string& text) {
  std::string out = "\"";
  for (size_t at = 0; at < text.size();) {
    const auto c = static_cast<unsigned char>(text[at]);
    const size_t length = SequenceLength(text, at);
    if (length == 0) {
      out += format("\\udc{:02x}", c);
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += text[at];
    } else if (c < 0x20 || c == 0x7F) {
      out += format("\\u{:04x}", c);
    } else {
      out += text.substr(at, length);
    }
    at += length ? length : 1;
  }
  return out + "\"";
}

const char* NameOf(fs::TreeProblem::Severity severity) {
  return severity == fs::TreeProblem::Severity::kNote ? "note" : "error";
}

void PrintJson(const std::string& path, const fs::TreeReport& report) {
  printf("{\n  \"tree\": %s,\n  \"status\": %d,\n  \"directories\": %llu,\n  \"files\": %llu,\n  \"records\": %llu,\n",
         JsonText(path).c_str(), report.Status(), static_cast<unsigned long long>(report.directories),
         static_cast<unsigned long long>(report.files), static_cast<unsigned long long>(report.records));
  printf("  \"sidecar\": %s,\n  \"problems\": [", report.has_sidecar ? "true" : "false");
  const char* separator = "\n";
  for (const fs::TreeProblem& problem : report.problems) {
    printf("%s    {\"severity\": \"%s\", \"kind\": \"%s\", \"path\": %s, \"text\": %s, \"repaired\": %s}", separator,
           NameOf(problem.severity), problem.kind.c_str(), JsonText(problem.path).c_str(),
           JsonText(problem.text).c_str(), problem.repaired ? "true" : "false");
    separator = ",\n";
  }
  puts(report.problems.empty() ? "]\n}" : "\n  ]\n}");
}

void Print(const std::string& path, const fs::TreeReport& report) {
  uint64_t left = 0, repaired = 0;
  for (const fs::TreeProblem& problem : report.problems) {
    const bool is_error = problem.severity == fs::TreeProblem::Severity::kError;
    if (is_error) ++(problem.repaired ? repaired : left);
    const std::string where = problem.path.empty() ? "/" : Printable(problem.path);
    printf("%s: %s %s%s\n", is_error ? "error" : "note", where.c_str(), Printable(problem.text).c_str(),
           problem.repaired ? " (repaired)" : "");
  }
  printf("%s: %llu directories, %llu files, %llu records%s: ", Printable(path).c_str(),
         static_cast<unsigned long long>(report.directories), static_cast<unsigned long long>(report.files),
         static_cast<unsigned long long>(report.records), report.has_sidecar ? " in the sidecar" : "");
  if (!left && !repaired) puts("clean");
  if (repaired) printf("%llu errors repaired%s", static_cast<unsigned long long>(repaired), left ? ", " : "\n");
  if (left) printf("%llu errors left\n", static_cast<unsigned long long>(left));
}

}  // namespace

Command AddFsck(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("fsck", "Check a guest's file tree that no instance uses, and repair it");
  struct Options {
    std::string tree;
    bool repair = false;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  app->add_option("tree", options->tree, "The root of the tree (what --rootfs was given)")
      ->required()
      ->type_name("DIR");
  app->add_flag("--repair", options->repair, "Put right what is wrong; what is not understood goes to DIR/.usl/lost");
  app->add_flag("--json", options->json, "Print one JSON object");
  app->footer(
      "Without --repair nothing is changed. The exit status is that of fsck(8): 0 clean, 1 all errors were repaired, "
      "4 errors\n"
      "are left (5: and some were repaired), 8 the tree could not be checked, 16 wrong usage.");
  return {.app = app,
          .action =
              [options](const std::vector<std::string>&) {
                std::string why;
                const auto report = fs::CheckTree(options->tree, options->repair, &why);
                if (!report) {
                  fprintf(stderr, "usl: %s\n", why.c_str());
                  return kCannotCheck;
                }
                if (options->json) {
                  PrintJson(options->tree, *report);
                } else {
                  Print(options->tree, *report);
                }
                return report->Status();
              },
          .usage_status = 16};
}

}  // namespace usl::cli
