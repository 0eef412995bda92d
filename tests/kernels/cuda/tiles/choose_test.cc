#include "kernels/cuda/tiles/choose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <set>

#include "kernels/cuda/tiles/tuning_space.h"

namespace mlpserve::cuda {
namespace {

constexpr ComputeType kComputeTypes[] = {ComputeType::kFp32, ComputeType::kTf32, ComputeType::kFp16,
                                         ComputeType::kBf16};

std::vector<GemmShape> Shapes() {
  std::vector<GemmShape> shapes;
  for (const int64_t m : {1, 2, 7, 8, 16, 17, 33, 64, 100, 128, 256, 500, 1024, 4096, 65536}) {
    for (const int64_t n : {1, 10, 64, 257, 1024, 8192, 50000}) {
      for (const int64_t k : {1, 33, 512, 4096, 8192}) shapes.push_back({m, n, k});
    }
  }
  return shapes;
}

// Calls check(shape, compute, limits, proposals) for every shape, type and device.
template <typename Check>
void ForEachChoice(ChooseOptions options, Check check) {
  options.has_halves = true;
  for (const DeviceLimits& limits : {Rtx4090(), H200()}) {
    for (const ComputeType compute : kComputeTypes) {
      for (const GemmShape& shape : Shapes()) {
        SCOPED_TRACE(testing::Message() << limits.arch << " " << Name(compute) << " m " << shape.m
                                        << " n " << shape.n << " k " << shape.k);
        check(shape, compute, limits,
              ChooseConfigs(shape, compute, StorageType(compute), options, limits));
      }
    }
  }
}

TEST(ChooseTest, EveryProposalFitsTheDevice) {
  ForEachChoice({.columns = 8}, [](const GemmShape&, ComputeType compute,
                                   const DeviceLimits& limits, const auto& proposals) {
    for (const Proposal& p : proposals) {
      const TileResources r = ResourcesOf(p.config.tile, compute, p.config.output, 8);
      EXPECT_LE(r.shared_bytes, limits.sm.shared_per_cta) << ToString(p);
      EXPECT_LE(r.threads, 1024);
      EXPECT_GE(CtasPerSm(limits.sm, {.threads = r.threads, .shared_bytes = r.shared_bytes}),
                r.ctas_per_sm)
          << ToString(p);
    }
  });
}

TEST(ChooseTest, EveryProposalCoversTheMatrix) {
  ForEachChoice({}, [](const GemmShape& shape, ComputeType compute, const DeviceLimits&,
                       const auto& proposals) {
    for (const Proposal& p : proposals) {
      const TileResources r = ResourcesOf(p.config.tile, compute, p.config.output, 2);
      const int64_t covered = p.ctas / p.config.split_k * r.tile_m * r.tile_n;
      EXPECT_GE(covered, shape.m * shape.n) << ToString(p);
      EXPECT_GE(p.config.split_k, 1);
    }
  });
}

TEST(ChooseTest, WavesAreAsFullAsTheySay) {
  ForEachChoice({}, [](const GemmShape&, ComputeType compute, const DeviceLimits& limits,
                       const auto& proposals) {
    for (const Proposal& p : proposals) {
      const TileResources r = ResourcesOf(p.config.tile, compute, p.config.output, 2);
      EXPECT_LE(p.slots, int64_t{limits.multiprocessors} * r.ctas_per_sm);
      EXPECT_EQ(p.slots % r.cluster, 0);
      EXPECT_GT(p.fill(), 0);
      EXPECT_LE(p.fill(), 1);
      EXPECT_GE(p.waves() * p.slots, p.ctas);
      EXPECT_LT((p.waves() - 1) * p.slots, p.ctas);
    }
  });
}

TEST(ChooseTest, ABaselineComesFirstAndNoneComesTwice) {
  ForEachChoice({}, [](const GemmShape&, ComputeType, const DeviceLimits&, const auto& proposals) {
    ASSERT_GE(proposals.size(), 1u);
    EXPECT_LE(proposals.size(), 6u);
    EXPECT_EQ(proposals[0].config.split_k, 1);
    EXPECT_FALSE(std::holds_alternative<WgmmaConfig>(proposals[0].config.tile));
    EXPECT_FALSE(std::holds_alternative<WgmmaRowsConfig>(proposals[0].config.tile));
    std::set<std::string> names;
    for (const Proposal& p : proposals) EXPECT_TRUE(names.insert(Name(p.config)).second);
  });
}

TEST(ChooseTest, AlmostFullWavesForLargeShapes) {
  for (const DeviceLimits& limits : {Rtx4090(), H200()}) {
    for (const int64_t m : {128, 256, 512, 1024, 2048, 4096}) {
      const auto proposals =
          ChooseConfigs({m, 8192, 8192}, ComputeType::kBf16, DataType::kBf16, {}, limits);
      double best = 0;
      for (const Proposal& p : proposals) best = std::max(best, p.fill());
      EXPECT_GE(best, 0.9) << limits.arch << " m " << m;
    }
  }
}

TEST(ChooseTest, FewRowsGetAKernelForFewRows) {
  for (const DeviceLimits& limits : {Rtx4090(), H200()}) {
    for (const int64_t m : {1, 4, 8, 16, 32}) {
      const Proposal baseline =
          ChooseConfigs({m, 8192, 8192}, ComputeType::kBf16, DataType::kBf16, {}, limits)[0];
      EXPECT_TRUE(std::holds_alternative<MmaRowsTile>(baseline.config.tile)) << ToString(baseline);
    }
  }
}

TEST(ChooseTest, HopperIsOfferedItsOwnMainLoop) {
  const auto proposals =
      ChooseConfigs({1024, 8192, 8192}, ComputeType::kBf16, DataType::kBf16, {}, H200());
  EXPECT_TRUE(std::holds_alternative<WgmmaConfig>(proposals[1].config.tile));
}

int CountReadersOfHalves(const GemmShape& shape, const ChooseOptions& options,
                         const DeviceLimits& limits) {
  int count = 0;
  for (const Proposal& p :
       ChooseConfigs(shape, ComputeType::kFp32, DataType::kFp32, options, limits)) {
    count += ReadsHalves(p.config.tile);
  }
  return count;
}

TEST(ChooseTest, Fp32OnHopperIsOfferedThreeProductsOfTf32) {
  const ChooseOptions options{.has_halves = true};
  for (const int64_t m : {1, 64, 128, 256, 4096}) {
    EXPECT_GT(CountReadersOfHalves({m, 8192, 8192}, options, H200()), 0) << m;
    EXPECT_GT(CountReadersOfHalves({m, 10, 257}, {.most = 1000, .has_halves = true}, H200()), 0);
  }
  EXPECT_EQ(CountReadersOfHalves({256, 8192, 8192}, options, Rtx4090()), 0);
}

TEST(ChooseTest, HalvesAreReadOnlyWhereTheyAreThereAndTheSumIsLong) {
  EXPECT_EQ(CountReadersOfHalves({256, 8192, 8192}, {}, H200()), 0);
  EXPECT_EQ(CountReadersOfHalves({256, 8192, 255}, {.has_halves = true}, H200()), 0);
}

TEST(ChooseTest, ThreeProductsOfTf32ArePutBeforeFp32sOwnForManyRows) {
  for (const int64_t m : {256, 1024, 4096}) {
    const auto proposals = ChooseConfigs({m, 8192, 8192}, ComputeType::kFp32, DataType::kFp32,
                                         {.has_halves = true}, H200());
    EXPECT_FALSE(ReadsHalves(proposals[0].config.tile));
    EXPECT_TRUE(ReadsHalves(proposals[1].config.tile)) << ToString(proposals[1]);
    EXPECT_GT(proposals[0].estimate_us, proposals[1].estimate_us);
  }
}

TEST(ChooseTest, BatchInvariantChoicesDoNotDependOnM) {
  for (const ComputeType compute : kComputeTypes) {
    std::set<std::string> answers;
    for (const int64_t m : {1, 16, 300, 4096}) {
      std::string answer;
      for (const Proposal& p :
           ChooseConfigs({m, 1024, 2048}, compute, StorageType(compute),
                         {.batch_invariant = true, .has_halves = true}, H200())) {
        answer += Name(p.config) + ";";
      }
      answers.insert(answer);
    }
    EXPECT_EQ(answers.size(), 1u);
  }
}

int CountNormalising(const GemmShape& shape, const ChooseOptions& options,
                     const DeviceLimits& limits) {
  int count = 0;
  for (const Proposal& p :
       ChooseConfigs(shape, ComputeType::kBf16, DataType::kFp32, options, limits)) {
    count += Normalises(p.config.tile);
    EXPECT_EQ(p.config.output, Normalises(p.config.tile) ? DataType::kBf16 : DataType::kFp32);
  }
  return count;
}

TEST(ChooseTest, AKernelNormalisesWhereItsTilesRunAtOneTime) {
  const ChooseOptions norm{.norm = NormOptions{}};
  for (const int64_t m : {65, 128, 1000, 16384}) {
    EXPECT_EQ(CountNormalising({m, 8192, 1024}, norm, H200()), 2) << m;
  }
  EXPECT_EQ(CountNormalising({64, 8192, 1024}, norm, H200()), 0) << "too few rows to gain";
  EXPECT_EQ(CountNormalising({20000, 8192, 1024}, norm, H200()), 0) << "too many to run at once";
  EXPECT_EQ(CountNormalising({1024, 8192, 1024}, norm, Rtx4090()), 0);
  EXPECT_EQ(CountNormalising({1024, 8192, 1024}, {}, H200()), 0) << "no norm";
  EXPECT_EQ(CountNormalising({1024, 8192, 1024}, {.batch_invariant = true, .norm = NormOptions{}},
                             H200()),
            0);
}

TEST(ChooseTest, ANormOfManyColumnVectorsIsLeftToAPass) {
  const ChooseOptions norm{.norm = NormOptions{.before_columns = 4, .columns = 10}};
  EXPECT_EQ(CountNormalising({1024, 8192, 1024}, norm, H200()), 1);
}

TEST(ChooseTest, UnalignedRowsOfYAreNotStoredByTma) {
  for (const Proposal& p : ChooseConfigs({1024, 1001, 1024}, ComputeType::kBf16, DataType::kBf16,
                                         {.y_aligned = false}, H200())) {
    const auto* wgmma = std::get_if<WgmmaConfig>(&p.config.tile);
    EXPECT_TRUE(wgmma == nullptr || wgmma->store_by_tma == 0) << ToString(p);
  }
}

TEST(ChooseTest, TheNumberOfProposalsIsBounded) {
  EXPECT_EQ(
      ChooseConfigs({64, 1024, 1024}, ComputeType::kBf16, DataType::kBf16, {.most = 1}, Rtx4090())
          .size(),
      1u);
}

}  // namespace
}  // namespace mlpserve::cuda
