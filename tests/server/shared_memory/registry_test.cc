#include "server/shared_memory/registry.h"

#include <atomic>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/shared_memory/shared_object.h"

namespace mlpserve {
namespace {

using testing::HasSubstr;

constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();
constexpr RegionKind kSystem = RegionKind::kSystem;
constexpr RegionKind kCuda = RegionKind::kCuda;

class RegistryTest : public testing::Test {
 protected:
  absl::Status Register(const std::string& name, uint64_t offset = 0, uint64_t bytes = 64) {
    return regions_.Register(
        {.name = name, .key = object_.key(), .offset = offset, .bytes = bytes});
  }

  const SharedObject object_{"registry", 64};
  SharedRegions regions_{SharedMemory::kSystem};
};

TEST_F(RegistryTest, ARegionIsFoundByItsName) {
  object_.Write(8, "rows");
  ASSERT_TRUE(Register("in", 8, 4).ok());
  const auto range = regions_.Find("in", 1, 3);
  ASSERT_TRUE(range.ok()) << range.status();
  std::string to(3, '?');
  EXPECT_TRUE(range->region->Read(range->offset, std::as_writable_bytes(std::span(to))).ok());
  EXPECT_EQ(to, "ows");
}

TEST_F(RegistryTest, ANameIsRegisteredOnce) {
  ASSERT_TRUE(Register("in").ok());
  const absl::Status again = Register("in", 0, 8);
  EXPECT_TRUE(absl::IsAlreadyExists(again)) << again;
  EXPECT_EQ(again.message(), "shared memory region \"in\": it is registered already");
  EXPECT_TRUE(Register("the same memory").ok());
  EXPECT_EQ(regions_.Infos(kSystem, "in")->front().bytes, 64u) << "the first stays";
}

TEST_F(RegistryTest, NamesAndSizesAreChecked) {
  EXPECT_THAT(Register("").message(), HasSubstr("expected a name of 1 to 255 bytes"));
  EXPECT_THAT(Register(std::string(256, 'n')).message(), HasSubstr("(256 bytes)"));
  EXPECT_TRUE(Register(std::string(255, 'n')).ok());
  EXPECT_EQ(Register("in", 0, 0).message(),
            "shared memory region \"in\": byte_size: expected 1 or more, found 0");
  const absl::Status missing = regions_.Register({.name = "in", .key = "/no", .bytes = 1});
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_THAT(missing.message(), HasSubstr("shared memory region \"in\": key \"/no\": "));
  EXPECT_TRUE(absl::IsNotFound(regions_.Infos(kSystem, "in").status())) << "nothing was registered";
}

TEST_F(RegistryTest, ARangeMustLieInTheRegion) {
  ASSERT_TRUE(Register("in", 32, 32).ok());
  EXPECT_TRUE(regions_.Find("in", 0, 32).ok());
  EXPECT_TRUE(regions_.Find("in", 31, 1).ok());
  for (const auto& [offset, bytes] : {std::pair<uint64_t, uint64_t>{0, 33},
                                      {1, 32},
                                      {32, 1},
                                      {kHuge, 1},
                                      {1, kHuge},
                                      {uint64_t{1} << 63, uint64_t{1} << 63}}) {
    const absl::Status status = regions_.Find("in", offset, bytes).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << offset << " " << bytes;
    EXPECT_EQ(status.message(),
              "shared memory region \"in\": expected a range of its 32 bytes, "
              "found " +
                  std::to_string(bytes) + " bytes from offset " + std::to_string(offset) + " on");
  }
}

TEST_F(RegistryTest, WhatIsNotRegisteredIsNotFound) {
  EXPECT_EQ(regions_.Find("in", 0, 1).status(),
            absl::NotFoundError("no shared memory region is registered as \"in\""));
  EXPECT_TRUE(absl::IsNotFound(regions_.Infos(kSystem, "in").status()));
  EXPECT_TRUE(regions_.Infos(kSystem, "")->empty());
}

TEST_F(RegistryTest, InfosAreWhatWasRegistered) {
  ASSERT_TRUE(Register("b", 8, 16).ok());
  ASSERT_TRUE(Register("a").ok());
  const auto all = regions_.Infos(kSystem, "");
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[0].name, "a");
  const auto one = regions_.Infos(kSystem, "b");
  ASSERT_EQ(one->size(), 1u);
  EXPECT_EQ((*one)[0].key, object_.key());
  EXPECT_EQ((*one)[0].offset, 8u);
  EXPECT_EQ((*one)[0].bytes, 16u);
}

TEST_F(RegistryTest, ARegionIsUnregisteredUnderWhoeverUsesIt) {
  object_.Write(0, "rows");
  ASSERT_TRUE(Register("in").ok());
  const auto used = regions_.Find("in", 0, 4);
  regions_.Unregister(kSystem, "in");
  EXPECT_TRUE(absl::IsNotFound(regions_.Find("in", 0, 4).status()));
  std::string to(4, '?');
  EXPECT_TRUE(used->region->Read(0, std::as_writable_bytes(std::span(to))).ok());
  EXPECT_EQ(to, "rows");
  EXPECT_TRUE(Register("in").ok()) << "its name is free at once";
}

TEST_F(RegistryTest, UnregisteringWhatIsNotThereIsNoError) {
  ASSERT_TRUE(Register("in").ok());
  regions_.Unregister(kSystem, "out");
  EXPECT_TRUE(regions_.Infos(kSystem, "in").ok());
  regions_.Unregister(kSystem, "");
  regions_.Unregister(kSystem, "");
  EXPECT_TRUE(regions_.Infos(kSystem, "")->empty());
}

// Stands in for memory of a GPU.
class EmptyRegion final : public SharedRegion {
 public:
  absl::Status Read(uint64_t /*offset*/, std::span<std::byte> /*to*/) const override { return {}; }
  absl::Status Write(uint64_t /*offset*/, std::span<const std::byte> /*from*/) const override {
    return {};
  }
};

absl::StatusOr<std::unique_ptr<SharedRegion>> OpenEmpty(const std::string& handle, int64_t device,
                                                        uint64_t /*bytes*/) {
  if (handle != "handle" || device != 1) return absl::InvalidArgumentError("another handle");
  return std::make_unique<EmptyRegion>();
}

const RegionInfo kOnDevice{.kind = kCuda, .name = "gpu", .device = 1, .bytes = 8};

TEST_F(RegistryTest, BothKindsShareTheNamesAndAreToldApart) {
  SharedRegions both(SharedMemory::kAll, OpenEmpty);
  ASSERT_TRUE(both.Register(kOnDevice, "handle").ok());
  ASSERT_TRUE(both.Register({.name = "in", .key = object_.key(), .bytes = 8}).ok());
  EXPECT_TRUE(
      absl::IsAlreadyExists(both.Register({.name = "gpu", .key = object_.key(), .bytes = 8})));
  EXPECT_EQ(both.Infos(kCuda, "")->front().name, "gpu");
  EXPECT_EQ(both.Infos(kCuda, "gpu")->front().device, 1);
  EXPECT_TRUE(absl::IsNotFound(both.Infos(kSystem, "gpu").status()));
  EXPECT_TRUE(both.Find("gpu", 0, 8).ok());
  both.Unregister(kSystem, "gpu");
  EXPECT_TRUE(both.Infos(kCuda, "gpu").ok()) << "it is of the other kind";
  both.Unregister(kSystem, "");
  EXPECT_TRUE(both.Infos(kCuda, "gpu").ok());
  both.Unregister(kCuda, "");
  EXPECT_TRUE(both.Infos(kCuda, "")->empty());
}

TEST_F(RegistryTest, AKindThatIsNotOfferedIsRefused) {
  SharedRegions cuda(SharedMemory::kCuda, OpenEmpty);
  const absl::Status system = cuda.Register({.name = "in", .key = object_.key(), .bytes = 8});
  EXPECT_TRUE(absl::IsFailedPrecondition(system));
  EXPECT_THAT(system.message(), HasSubstr("--shared-memory=system"));
  const absl::Status off = regions_.Register(kOnDevice, "handle");
  EXPECT_TRUE(absl::IsFailedPrecondition(off));
  EXPECT_THAT(off.message(), HasSubstr("--shared-memory=cuda"));
  SharedRegions on_cpu(SharedMemory::kAll);
  const absl::Status no_gpu = on_cpu.Register(kOnDevice, "handle");
  EXPECT_TRUE(absl::IsFailedPrecondition(no_gpu));
  EXPECT_THAT(no_gpu.message(), HasSubstr("--backend=cuda"));
  EXPECT_EQ(cuda.Register(kOnDevice, "x").message(),
            "shared memory region \"gpu\": another handle");
}

TEST_F(RegistryTest, RegionsAreBoundedAlsoThoseThatOnlyRequestsHold) {
  std::vector<SharedRange> used;
  for (int64_t i = 0; i < kMostSharedRegions; ++i) {
    ASSERT_TRUE(Register("in").ok()) << i;
    used.push_back(*regions_.Find("in", 0, 1));
    regions_.Unregister(kSystem, "in");
  }
  const absl::Status full = Register("in");
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  EXPECT_EQ(full.message(),
            "shared memory region \"in\": expected at most 256 regions that are "
            "registered or in use, found 256 before it");
  used.pop_back();
  EXPECT_TRUE(Register("in").ok());
}

TEST_F(RegistryTest, MayBeUsedByManyAtOnce) {
  std::atomic<int> found{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 200; ++i) {
        const std::string name = std::to_string((thread + i) % 3);
        if (i % 2 == thread % 2) {
          (void)Register(name);
        } else if (i % 5 == 0) {
          regions_.Unregister(kSystem, name);
        }
        const auto range = regions_.Find(name, 0, 4);
        std::string to(4, '?');
        if (range.ok() && range->region->Read(0, std::as_writable_bytes(std::span(to))).ok()) {
          ++found;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(found, 0);
}

}  // namespace
}  // namespace mlpserve
