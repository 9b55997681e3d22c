// Names without regard to case.
#pragma once

#include <string>
#include <string_view>

namespace usl::fs {

// The name with its case folded: two names that differ in case only give the same text. Unicode's simple and full case
// folding, nothing else (no normalisation: composed and decomposed letters stay different names, as on NTFS). What is
// not UTF-8 is folded as ASCII alone.
std::string FoldCase(std::string_view name);

}  // namespace usl::fs
