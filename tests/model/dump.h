// The tree below a directory as text: one line for each name with all that a guest can see of it, so that two trees are
// the same when their texts are.
#pragma once

#include <string>

namespace usl::model {

// Bytes as printable text: what is not printable, spaces and backslashes become \xNN.
std::string Escaped(const std::string& bytes);

// Sorted by name. Names of one inode share a number; times are shown where a program set them (before 2001), else as
// "now". With `everything` also what a tree of layers is known to show in another way: link counts of directories and
// access times. Must be called by root with all capabilities.
std::string DumpTree(const std::string& directory, bool everything);

}  // namespace usl::model
