#include "kernel/exec/script.h"

#include <gtest/gtest.h>

#include <string_view>

namespace usl::kernel::exec {
namespace {

using namespace std::string_view_literals;

Result<ScriptLine> Parse(std::string_view text) {
  return ParseScript(std::as_bytes(std::span(text)));
}

void ExpectLine(std::string_view text, std::string_view interpreter, std::optional<std::string_view> argument = {}) {
  const auto line = Parse(text);
  ASSERT_TRUE(line) << text.substr(0, 40);
  EXPECT_EQ(line->interpreter, interpreter);
  EXPECT_EQ(line->argument.has_value(), argument.has_value());
  if (line->argument && argument) {
    EXPECT_EQ(*line->argument, *argument);
  }
}

void ExpectError(std::string_view text, int error) {
  const auto line = Parse(text);
  ASSERT_FALSE(line);
  EXPECT_EQ(line.error().code(), error);
}

TEST(ScriptTest, InterpreterAndOneArgument) {
  ExpectLine("#!/bin/sh\n", "/bin/sh");
  ExpectLine("#! \t/bin/sh \t\necho", "/bin/sh");
  ExpectLine("#!/usr/bin/env  python3 -u \n", "/usr/bin/env", "python3 -u");
  ExpectLine("#!/bin/sh\t-e\tx\n", "/bin/sh", "-e\tx");
  ExpectLine("#!sh\n", "sh");
  ExpectLine("#!/bin/sh\r\n", "/bin/sh\r");
}

TEST(ScriptTest, NoScript) {
  ExpectError("", ENOEXEC);
  ExpectError("#", ENOEXEC);
  ExpectError("# !/bin/sh\n", ENOEXEC);
  ExpectError(
      "\x7F"
      "ELF",
      ENOEXEC);
  ExpectError("#!\n", ENOEXEC);
  ExpectError("#! \t \n", ENOEXEC);
}

TEST(ScriptTest, WithoutNewlineTheFileEndsTheLine) {
  ExpectLine("#!/bin/sh", "/bin/sh");
  ExpectLine("#!/bin/sh -x", "/bin/sh", "-x");
  // Blanks before the padding are not trimmed: Linux trims from the end of its buffer.
  ExpectLine("#!/bin/sh -x  ", "/bin/sh", "-x  ");
  ExpectLine("#!/bin/sh ", "/bin/sh", "");
  ExpectError("#!", EACCES);
  ExpectError("#!  ", EACCES);
}

TEST(ScriptTest, NulEndsStrings) {
  ExpectLine("#!/bin/sh\0junk\n"sv, "/bin/sh");
  ExpectLine("#!/bin/sh a\0b\n"sv, "/bin/sh", "a");
  ExpectError("#!\0/bin/sh\n"sv, EACCES);
}

TEST(ScriptTest, ACutPathIsRefusedACutArgumentIsNot) {
  const std::string fits(kScriptLine - 3, 'p');
  ExpectLine("#!" + fits + "\n", fits);
  ExpectLine("#!" + fits + " ", fits);
  ExpectError("#!" + fits + "p\n", ENOEXEC);
  ExpectError("#!" + std::string(1000, 'p') + "\n", ENOEXEC);
  ExpectError("#!" + std::string(1000, ' ') + "/bin/sh\n", ENOEXEC);
  ExpectLine("#!/bin/sh " + std::string(1000, 'a') + "\n", "/bin/sh", std::string(kScriptLine - 11, 'a'));
  // The last byte is overwritten by Linux's NUL, whatever it was.
  ExpectLine("#!/bin/sh" + std::string(kScriptLine - 10, ' ') + "a\n", "/bin/sh");
  // A path cut by nothing but the buffer's end, then padding: the file ends there.
  ExpectError("#!" + fits + "p", ENOEXEC);
}

}  // namespace
}  // namespace usl::kernel::exec
