#include "kernels/cuda/jit/kernel_cache.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <vector>

#include "kernels/cuda/jit/kernel_compiler.h"
#include "kernels/cuda/jit/sha256.h"

namespace mlpserve::cuda {
namespace {

class KernelCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "kernel_cache_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  KernelCache Open() { return KernelCache::Open(directory_).value(); }
  size_t CountFiles() { return std::distance(std::filesystem::directory_iterator(directory_), {}); }

  std::string directory_;
};

// A cubin with every byte value.
CompiledKernel SomeKernel(int registers = 128) {
  CompiledKernel kernel{.log = "ptxas info\n", .resources = {registers, 8, 4, 2, 400}};
  for (int i = 0; i < 5000; ++i) kernel.cubin.push_back(static_cast<char>(i * 7));
  return kernel;
}

const std::string kKey = KernelCache::Key("source", {}, "13.0");

void Overwrite(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

TEST(Sha256Test, MatchesSha256sum) {
  // printf '3:abc' | sha256sum
  EXPECT_EQ(Sha256Hex({"abc"}), "aab5f9ae99b2e38fb462025c8f72f570c9c811705d2a4277dc855d7fa293fe97");
  EXPECT_NE(Sha256Hex({"ab", "c"}), Sha256Hex({"a", "bc"}));
}

TEST(KernelKeyTest, EverythingThatChangesTheCodeChangesTheKey) {
  const std::string key = KernelCache::Key("source", {.arch = "sm_89"}, "13.0");
  EXPECT_EQ(key, KernelCache::Key("source", {.arch = "sm_89"}, "13.0"));
  EXPECT_NE(key, KernelCache::Key("source ", {.arch = "sm_89"}, "13.0"));
  EXPECT_NE(key, KernelCache::Key("source", {.arch = "sm_90a"}, "13.0"));
  EXPECT_NE(key, KernelCache::Key("source", {.arch = "sm_89", .line_info = true}, "13.0"));
  EXPECT_NE(key, KernelCache::Key("source", {.arch = "sm_89"}, "13.1"));
}

TEST_F(KernelCacheTest, ReadsWhatWasWritten) {
  const KernelCache cache = Open();
  EXPECT_FALSE(cache.Read(kKey).has_value());
  ASSERT_TRUE(cache.Write(kKey, SomeKernel()).ok());
  const std::optional<CompiledKernel> read = Open().Read(kKey);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->cubin, SomeKernel().cubin);
  EXPECT_EQ(read->log, SomeKernel().log);
  EXPECT_EQ(read->resources, SomeKernel().resources);
  EXPECT_EQ(CountFiles(), 1u) << "a temporary file was left";
}

TEST_F(KernelCacheTest, ADamagedEntryReadsAsMissingAndIsReplaced) {
  const KernelCache cache = Open();
  const std::string whole = EncodeEntry(kKey, SomeKernel());
  for (size_t i = 0; i < whole.size(); i += i < 200 ? 1 : 97) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    Overwrite(cache.PathOf(kKey), damaged);
    ASSERT_FALSE(cache.Read(kKey).has_value()) << "byte " << i;
    Overwrite(cache.PathOf(kKey), whole.substr(0, i));
    ASSERT_FALSE(cache.Read(kKey).has_value()) << "cut at " << i;
  }
  Overwrite(cache.PathOf(kKey), whole + "x");
  EXPECT_FALSE(cache.Read(kKey).has_value());
  ASSERT_TRUE(cache.Write(kKey, SomeKernel()).ok());
  EXPECT_TRUE(cache.Read(kKey).has_value());
}

TEST_F(KernelCacheTest, AnEntryUnderAnotherKeyReadsAsMissing) {
  const KernelCache cache = Open();
  Overwrite(cache.PathOf(kKey), EncodeEntry("another key", SomeKernel()));
  EXPECT_FALSE(cache.Read(kKey).has_value());
}

TEST_F(KernelCacheTest, ADirectoryInPlaceOfAnEntryIsAnErrorThatLeavesNothingBehind) {
  const KernelCache cache = Open();
  std::filesystem::create_directories(cache.PathOf(kKey) + "/inside");
  EXPECT_FALSE(cache.Read(kKey).has_value());
  EXPECT_EQ(cache.Write(kKey, SomeKernel()).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CountFiles(), 1u);
}

TEST_F(KernelCacheTest, AFileInPlaceOfTheDirectoryIsRefused) {
  Overwrite(directory_ + "/file", "");
  EXPECT_EQ(KernelCache::Open(directory_ + "/file").status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(KernelCacheTest, MissingDirectoriesAreMade) {
  EXPECT_TRUE(KernelCache::Open(directory_ + "/a/b").ok());
}

// Writers and readers of one key in several processes: a reader sees nothing or a whole entry.
TEST_F(KernelCacheTest, SeveralProcessesShareADirectory) {
  constexpr int kProcesses = 6;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const KernelCache cache = Open();
      int failures = 0;
      for (int i = 0; i < 40; ++i) {
        failures += !cache.Write(kKey, SomeKernel(p)).ok();
        const std::optional<CompiledKernel> read = cache.Read(kKey);
        failures +=
            !read || read->cubin != SomeKernel().cubin || read->resources.registers >= kProcesses;
      }
      _exit(failures == 0 ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  EXPECT_EQ(CountFiles(), 1u);
}

class KernelCompilerTest : public KernelCacheTest {
 protected:
  void SetUp() override {
    KernelCacheTest::SetUp();
    const auto nvrtc = Nvrtc::Open();
    if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.status();
    nvrtc_ = *nvrtc;
  }

  std::shared_ptr<const Nvrtc> nvrtc_;
};

constexpr char kSource[] = "extern \"C\" __global__ void mlpserve_gemm(float* p) { *p = 2; }";

TEST_F(KernelCompilerTest, CompilesOnceAndRebuildsADamagedEntry) {
  const KernelCompiler compiler(nvrtc_, Open());
  const auto first = compiler.CompileSource(kSource, "set", {});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(first->from_cache);
  EXPECT_TRUE(first->stored.ok()) << first->stored;
  const auto second = compiler.CompileSource(kSource, "set", {});
  EXPECT_TRUE(second->from_cache);
  EXPECT_EQ(second->kernel.cubin, first->kernel.cubin);

  Overwrite(Open().PathOf(KernelCache::Key(kSource, {}, nvrtc_->version())), "damaged");
  const auto third = compiler.CompileSource(kSource, "set", {});
  EXPECT_FALSE(third->from_cache);
  EXPECT_TRUE(compiler.CompileSource(kSource, "set", {})->from_cache);
}

TEST_F(KernelCompilerTest, ALostDirectoryCostsTheCacheNotTheKernel) {
  const KernelCompiler compiler(nvrtc_, Open());
  std::filesystem::remove_all(directory_);
  const auto result = compiler.CompileSource(kSource, "set", {});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->stored.code(), absl::StatusCode::kUnavailable);
}

TEST_F(KernelCompilerTest, FailuresAreNotCached) {
  const KernelCompiler compiler(nvrtc_, Open());
  EXPECT_FALSE(compiler.CompileSource("#error no", "broken", {}).ok());
  EXPECT_EQ(CountFiles(), 0u);
}

std::string KeyOf(int i) { return KernelCache::Key(std::to_string(i), {}, "13.0"); }

class KernelCacheLimitTest : public KernelCacheTest {
 protected:
  // Entries 0 to count - 1, each a minute older than the next.
  void Fill(int count) {
    const KernelCache cache = Open();
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(cache.Write(KeyOf(i), SomeKernel()).ok());
      SetAge(i, std::chrono::minutes(count - i));
    }
    entry_bytes_ = static_cast<int64_t>(std::filesystem::file_size(cache.PathOf(KeyOf(0))));
  }
  void SetAge(int entry, std::chrono::minutes age) {
    std::filesystem::last_write_time(directory_ + "/" + KeyOf(entry) + ".kernel",
                                     std::filesystem::file_time_type::clock::now() - age);
  }
  KernelCache OpenFor(int64_t entries) {
    return KernelCache::Open(directory_,
                             {.max_bytes = entries * entry_bytes_,
                              .on_trim = [this](const CacheTrim& trim) { trims_.push_back(trim); }})
        .value();
  }

  int64_t entry_bytes_ = 0;
  std::vector<CacheTrim> trims_;
};

TEST_F(KernelCacheLimitTest, OpeningRemovesTheOldestBeyondTheLimit) {
  Fill(5);
  const KernelCache cache = OpenFor(3);
  EXPECT_FALSE(cache.Read(KeyOf(0)));
  EXPECT_FALSE(cache.Read(KeyOf(1)));
  for (int i = 2; i < 5; ++i) EXPECT_TRUE(cache.Read(KeyOf(i))) << i;
  ASSERT_EQ(trims_.size(), 1u);
  EXPECT_EQ(trims_[0].entries, 2);
  EXPECT_EQ(trims_[0].bytes, 2 * entry_bytes_);
  EXPECT_EQ(trims_[0].bytes_left, 3 * entry_bytes_);
  OpenFor(3);
  EXPECT_EQ(trims_.size(), 1u);  // nothing to remove, nothing to tell
}

TEST_F(KernelCacheLimitTest, WritingBeyondTheLimitMakesRoomForMore) {
  Fill(20);
  const KernelCache cache = OpenFor(20);
  EXPECT_TRUE(trims_.empty());
  ASSERT_TRUE(cache.Write(KeyOf(20), SomeKernel()).ok());
  ASSERT_EQ(trims_.size(), 1u);
  EXPECT_EQ(trims_[0].entries, 3);  // to 18, nine tenths
  EXPECT_FALSE(cache.Read(KeyOf(2)));
  EXPECT_TRUE(cache.Read(KeyOf(3)));
  EXPECT_TRUE(cache.Read(KeyOf(20)));
  ASSERT_TRUE(cache.Write(KeyOf(21), SomeKernel()).ok());
  EXPECT_EQ(trims_.size(), 1u);
}

TEST_F(KernelCacheLimitTest, WhatIsReadIsKept) {
  Fill(5);
  EXPECT_TRUE(Open().Read(KeyOf(0)));
  const KernelCache cache = OpenFor(2);
  EXPECT_TRUE(cache.Read(KeyOf(0)));
  EXPECT_TRUE(cache.Read(KeyOf(4)));
  EXPECT_FALSE(cache.Read(KeyOf(3)));
}

TEST_F(KernelCacheLimitTest, TheEntryJustWrittenStaysHoweverSmallTheLimit) {
  Fill(3);
  const KernelCache cache = OpenFor(0);
  EXPECT_EQ(CountFiles(), 0u);
  ASSERT_TRUE(cache.Write(KeyOf(7), SomeKernel()).ok());
  EXPECT_TRUE(cache.Read(KeyOf(7)));
}

TEST_F(KernelCacheLimitTest, OtherFilesAreNotTouched) {
  Fill(3);
  Overwrite(directory_ + "/notes.txt", std::string(100'000, 'x'));
  OpenFor(0);
  EXPECT_EQ(CountFiles(), 1u);
}

}  // namespace
}  // namespace mlpserve::cuda
