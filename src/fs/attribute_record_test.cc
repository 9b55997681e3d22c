#include "fs/attribute_record.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <random>

namespace usl::fs {
namespace {

AttributeRecord FullRecord() {
  AttributeRecord record;
  record.uid = 1000;
  record.gid = 0;
  record.mode = 06755;
  record.type = S_IFBLK;
  record.rdev = 0x123456789;
  record.origin = 42;
  record.links = 3;
  record.flags = AttributeRecord::kOpaque | AttributeRecord::kAnnotated;
  record.redirect = "usr/share/x";
  std::byte value[3]{std::byte{1}, std::byte{0}, std::byte{255}};
  record.PutXattr("security.capability", value);
  record.PutXattr("trusted.empty", {});
  record.unknown.emplace_back(0x8123, std::vector<std::byte>{std::byte{9}});
  return record;
}

TEST(AttributeRecord, SurvivesARoundTrip) {
  AttributeRecord record = FullRecord();
  auto decoded = DecodeRecord(EncodeRecord(record));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, record);
}

TEST(AttributeRecord, LongValuesGoOnInFurtherEntries) {
  AttributeRecord record;
  record.PutXattr("user.long", std::vector<std::byte>(65536, std::byte{1}));
  record.PutXattr("trusted.almost", std::vector<std::byte>(65535 - 1 - 14, std::byte{2}));
  record.PutXattr("user.short", std::vector<std::byte>(3, std::byte{3}));
  record.overflow = 0x1122334455667788;
  auto data = EncodeRecord(record);
  EXPECT_FALSE(DecodeRecord(data)) << "too long for an extended attribute";
  auto decoded = DecodeRecord(data, kMaxLargeRecordSize);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, record);
}

TEST(AttributeRecord, WhatIsSoundOfADamagedOneIsSaved) {
  auto data = EncodeRecord(FullRecord());
  EXPECT_EQ(InspectRecord(data).state, RecordReport::State::kGood);
  EXPECT_EQ(InspectRecord(data).salvaged, FullRecord());
  data[2 + 8 + 8 + 4 + 2] = std::byte{0xFF};  // an impossible mode
  auto report = InspectRecord(data);
  EXPECT_EQ(report.state, RecordReport::State::kDamaged);
  AttributeRecord expected = FullRecord();
  expected.mode.reset();
  EXPECT_EQ(report.salvaged, expected);
  data.resize(data.size() - 1);  // cut off in the last entry
  expected.unknown.clear();
  EXPECT_EQ(InspectRecord(data).salvaged, expected);
  data[1] = std::byte{9};
  report = InspectRecord(data);
  EXPECT_EQ(report.state, RecordReport::State::kOtherVersion);
  EXPECT_EQ(report.version, 9u);
  EXPECT_TRUE(report.salvaged.IsDefault());
  EXPECT_EQ(InspectRecord({}).state, RecordReport::State::kDamaged);
}

TEST(AttributeRecord, OfADefaultFileIsEmpty) {
  EXPECT_TRUE(AttributeRecord{}.IsDefault());
  EXPECT_EQ(EncodeRecord({}).size(), 2u);
  EXPECT_TRUE(DecodeRecord(EncodeRecord({}))->IsDefault());
}

TEST(AttributeRecord, RefusesOtherVersionsAndEmptyInput) {
  auto data = EncodeRecord(FullRecord());
  EXPECT_FALSE(DecodeRecord({}));
  data[1] = std::byte{2};
  EXPECT_EQ(DecodeRecord(data).error().code(), EIO);
  data[1] = std::byte{1};
  data[0] = std::byte{'u'};
  EXPECT_FALSE(DecodeRecord(data));
}

std::vector<std::byte> Raw(std::initializer_list<int> bytes) {
  std::vector<std::byte> data{std::byte{'U'}, std::byte{1}};
  for (int byte : bytes) data.push_back(static_cast<std::byte>(byte));
  return data;
}

TEST(AttributeRecord, RefusesImpossibleValues) {
  EXPECT_FALSE(DecodeRecord(Raw({1, 0, 4, 0, 255, 255, 255, 255}))) << "uid -1";
  EXPECT_FALSE(DecodeRecord(Raw({1, 0, 2, 0, 1, 0}))) << "short uid";
  EXPECT_FALSE(DecodeRecord(Raw({1, 0, 4, 0, 1, 0, 0, 0, 1, 0, 4, 0, 1, 0, 0, 0}))) << "uid twice";
  EXPECT_FALSE(DecodeRecord(Raw({3, 0, 4, 0, 0, 0x10, 0, 0}))) << "mode beyond 07777";
  EXPECT_FALSE(DecodeRecord(Raw({4, 0, 4, 0, 1, 0, 0, 0}))) << "no file type";
  EXPECT_FALSE(DecodeRecord(Raw({7, 0, 4, 0, 4, 0, 0, 0}))) << "unknown flag";
  EXPECT_FALSE(DecodeRecord(Raw({99, 0, 0, 0}))) << "unknown mandatory tag";
  EXPECT_TRUE(DecodeRecord(Raw({99, 0x80, 0, 0}))) << "unknown optional tag";
  EXPECT_FALSE(DecodeRecord(Raw({8, 0, 2, 0, 5, 'a'}))) << "attribute name beyond the entry";
  EXPECT_FALSE(DecodeRecord(Raw({8, 0, 4, 0, 3, 'a', '.', 'b'}))) << "unknown name space";
  EXPECT_FALSE(DecodeRecord(Raw({10, 0, 2, 0, '.', '.'}))) << "redirect out of the layer";
  EXPECT_FALSE(DecodeRecord(Raw({10, 0, 2, 0, '/', 'a'}))) << "absolute redirect";
  EXPECT_FALSE(DecodeRecord(Raw({10, 0, 0, 0}))) << "empty redirect";
  EXPECT_FALSE(DecodeRecord(Raw({1, 0, 4}))) << "cut header";
}

// Whatever is accepted must encode to something that decodes to the same.
TEST(AttributeRecord, StaysSaneUnderMutation) {
  std::mt19937 random(20260822);
  auto seed = EncodeRecord(FullRecord());
  int accepted = 0;
  for (int round = 0; round < 200'000; ++round) {
    auto data = seed;
    for (unsigned i = random() % 4; i-- > 0;) data[random() % data.size()] = static_cast<std::byte>(random());
    if (random() % 3 == 0) data.resize(random() % (data.size() + 1));
    if (random() % 8 == 0) data.insert(data.end(), seed.begin() + 2, seed.begin() + 2 + random() % (seed.size() - 2));
    auto record = DecodeRecord(data);
    if (!record) {
      EXPECT_EQ(record.error().code(), EIO);
      continue;
    }
    ++accepted;
    auto again = DecodeRecord(EncodeRecord(*record));
    ASSERT_TRUE(again);
    ASSERT_EQ(*again, *record);
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace usl::fs
