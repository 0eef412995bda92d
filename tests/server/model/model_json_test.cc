#include "server/model/model_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <string>

#include "proto/mlp_model.pb.h"

namespace mlpserve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

const char kInput[] = R"("input": {"name": "x", "features": 4})";
const char kOutput[] = R"("output": {"name": "y", "features": 2})";
const char kLayers[] = R"("layers": [{"name": "fc", "weight": "w"}])";

// A model.json of the three required fields and more.
std::string Model(const std::string& more) {
  return std::string("{") + kInput + ", " + kOutput + ", " + kLayers + (more.empty() ? "" : ", ") +
         more + "}";
}

std::string Batching(const std::string& fields) { return Model("\"batching\": {" + fields + "}"); }

std::string Layers(const std::string& layers) {
  return std::string("{") + kInput + ", " + kOutput + ", \"layers\": [" + layers + "]}";
}

// A model of one layer with this epilogue.
std::string Epilogue(const std::string& ops) {
  return Layers(R"({"name": "fc", "weight": "w", "epilogue": [)" + ops + "]}");
}

absl::StatusOr<BlockConfig> Parse(const std::string& json) { return ParseModelJson(json, "m"); }

struct BadModel {
  const char* name;
  std::string json;
  const char* error;
};

class BadModelTest : public testing::TestWithParam<BadModel> {};

TEST_P(BadModelTest, IsRefusedWithThePathExpectedAndFound) {
  const absl::StatusOr<BlockConfig> config = Parse(GetParam().json);
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(config.status().message()), HasSubstr(GetParam().error));
}

const BadModel kNotJson[] = {
    {"Empty", "", "unexpected end of input"},
    {"Comment", "// a block\n{}", "parse error at line 1"},
    {"NoObject", "[]", "message"},
    {"TrailingComma", "{\"name\": \"m\",}", "parse error at line 1, column 14"},
    {"SameFieldTwice", Model(R"("name": "m", "name": "m")"), "duplicate key \"name\""},
    {"NullLayer", Layers("null"), "layers[0]: expected a value in a list, found null"},
    {"UnknownField", Model(R"("optimiser": 1)"),
     "expected name, input, output, compute, layers, batching, version_policy, found "
     "\"optimiser\""},
    {"UnknownFieldOfALayer", Layers(R"({"name": "fc", "weight": "w", "activation": "relu"})"),
     "layers[0]: expected name, weight, bias, epilogue, found \"activation\""},
    {"UnknownOp", Epilogue(R"({"relu": {}}, {"swish": {}})"), "found \"swish\""},
    {"UnknownFieldOfAnOp", Epilogue(R"({"relu": {"slope": 1}})"),
     "layers[0].epilogue[0].relu: expected no field, found \"slope\""},
    {"TwoOps", Epilogue(R"({"sigmoid": {}}, {"relu": {}, "tanh": {}})"),
     "(layers[0].epilogue[1]): invalid value oneof field 'op' is already set"},
    {"ValueAndTensor", Epilogue(R"({"scale": {"value": 1, "tensor": "s"}})"),
     "(layers[0].epilogue[0].scale): invalid value oneof field 'of' is already set"},
    {"UnknownEnum", Model(R"("compute": "FP64")"),
     "(compute): invalid value \"FP64\" for type "
     "type.googleapis.com/mlpserve.schema.MlpModel.Compute, expected FP32, TF32, FP16, BF16"},
    {"Fraction", Batching(R"("max_rows": 1.5)"), "(batching.max_rows): invalid value 1.5"},
    {"Over64Bits", Batching(R"("max_rows": 9223372036854775808)"), "(batching.max_rows)"},
    {"WordForANumber", Epilogue(R"({"scale": {"value": "two"}})"),
     "(layers[0].epilogue[0].scale.value): invalid value \"two\""},
    {"NestedTooDeeply", Epilogue([] {
       std::string ops;
       for (int i = 0; i < 60; ++i) ops += R"({"gate": {"ops": [)";
       ops += R"({"relu": {}})";
       for (int i = 0; i < 60; ++i) ops += "]}}";
       return ops;
     }()),
     "expected at most 100 levels"},
};

const BadModel kBadFields[] = {
    {"OtherName", Model(R"("name": "other")"),
     "name: expected that of the folder, \"m\", found \"other\""},
    {"NoInput", std::string("{") + kOutput + ", " + kLayers + "}",
     "input.name: expected a name of 1 to 255 bytes of UTF-8, found \"\""},
    {"NoFeatures", R"({"input": {"name": "x"}, )" + std::string(kOutput) + ", " + kLayers + "}",
     "input.features: expected 1 to 16777216, found 0"},
    {"NegativeFeatures",
     R"({"output": {"name": "y", "features": -2}, )" + std::string(kInput) + ", " + kLayers + "}",
     "output.features: expected 1 to 16777216, found -2"},
    {"HugeFeatures",
     R"({"input": {"name": "x", "features": 9223372036854775807}, )" + std::string(kOutput) + ", " +
         kLayers + "}",
     "input.features: expected 1 to 16777216, found 9223372036854775807"},
    {"LongTensorName",
     R"({"output": {"name": ")" + std::string(256, 'y') + R"(", "features": 2}, )" + kInput + ", " +
         kLayers + "}",
     "output.name: expected a name of 1 to 255 bytes of UTF-8, found 256 bytes"},
    {"DataTypeByNumber",
     R"({"input": {"name": "x", "features": 4, "datatype": 7}, )" + std::string(kOutput) + ", " +
         kLayers + "}",
     "input.datatype: expected FP32, FP16 or BF16, found 7"},
    {"ComputeByNumber", Model(R"("compute": 9)"),
     "compute: expected FP32, TF32, FP16 or BF16, found 9"},
    {"NoLayers", Layers(""), "layers: expected at least one layer, found none"},
    {"NamelessLayer", Layers(R"({"weight": "w"})"), "layers[0].name: expected a name"},
    {"LayerWithoutWeight", Layers(R"({"name": "fc"})"),
     "layers[0].weight: expected the name of a tensor, found none"},
    {"LayerNameTwice", Layers(R"({"name": "fc", "weight": "w"}, {"name": "fc", "weight": "v"})"),
     "layers[1].name: expected distinct names, found \"fc\" again"},
};

const BadModel kBadOps[] = {
    {"UnknownOp", Epilogue(R"({"relu": {}}, {"relux": {}})"),
     "layers[0].epilogue[1]: expected an op of scale, add, hardtanh, relu, leaky_relu, elu, "
     "sigmoid, tanh, silu, mish, softplus, hardsigmoid, hardswish, gelu, residual, gate, "
     "add_input, batch_norm, found \"relux\""},
    {"UnknownOpInside", Epilogue(R"({"residual": {"ops": [{"swish": {}}]}})"),
     "layers[0].epilogue[0].residual.ops[0]: expected an op of scale, "},
    {"UnknownFieldOfAnOp", Epilogue(R"({"elu": {"beta": 1}})"),
     "layers[0].epilogue[0].elu: expected alpha, found \"beta\""},
    {"NoOp", Epilogue(R"({"relu": {}}, {})"),
     "layers[0].epilogue[1]: expected exactly one op, found none"},
    {"NullOp", Epilogue(R"({"relu": null})"),
     "layers[0].epilogue[0]: expected exactly one op, found none"},
    {"ScaleOfNothing", Epilogue(R"({"scale": {}})"),
     "layers[0].epilogue[0].scale: expected value or tensor, found neither"},
    {"ScaleByATensorWithoutName", Epilogue(R"({"scale": {"tensor": ""}})"),
     "layers[0].epilogue[0].scale.tensor: expected the name of a tensor, found none"},
    {"AddNan", Epilogue(R"({"add": {"value": "NaN"}})"),
     "layers[0].epilogue[0].add.value: expected a finite number in the range of FP32, found nan"},
    {"ScaleInfinity", Epilogue(R"({"scale": {"value": "-Infinity"}})"),
     "expected a finite number in the range of FP32, found -inf"},
    {"ScaleOverFp32", Epilogue(R"({"scale": {"value": 1e39}})"), "found 1e+39"},
    {"HardtanhReversed", Epilogue(R"({"hardtanh": {"min": 2, "max": 1}})"),
     "layers[0].epilogue[0].hardtanh: expected min <= max, found min 2 and max 1"},
    {"HardtanhNan", Epilogue(R"({"hardtanh": {"max": "NaN"}})"), "hardtanh.max: expected a finite"},
    {"SlopeInfinite", Epilogue(R"({"leaky_relu": {"slope": "Infinity"}})"), "leaky_relu.slope"},
    {"AlphaNan", Epilogue(R"({"elu": {"alpha": "NaN"}})"), "elu.alpha"},
    {"GeluByNumber", Epilogue(R"({"gelu": {"approximate": 2}})"),
     "layers[0].epilogue[0].gelu.approximate: expected NONE or TANH, found 2"},
    {"EmptyResidual", Epilogue(R"({"residual": {}})"),
     "layers[0].epilogue[0].residual.ops: expected at least one op, found none"},
    {"EmptyGateInside",
     Epilogue(R"({"relu": {}}, {"residual": {"ops": [{"tanh": {}}, {"gate": {}}]}})"),
     "layers[0].epilogue[1].residual.ops[1].gate.ops: expected at least one op, found none"},
    {"RunningWithoutMean", Epilogue(R"({"batch_norm": {"running_var": "v"}})"),
     "layers[0].epilogue[0].batch_norm.running_mean: expected the name of a tensor, found none"},
    {"RunningWithoutVariance", Epilogue(R"({"batch_norm": {"running_mean": "m"}})"),
     "batch_norm.running_var: expected the name of a tensor, found none"},
    {"BatchWithMean", Epilogue(R"({"batch_norm": {"statistics": "BATCH", "running_mean": "m"}})"),
     "batch_norm: expected no running_mean and running_var with statistics BATCH, which takes its "
     "own, found \"m\""},
    {"BatchInsideGate", Epilogue(R"({"gate": {"ops": [{"batch_norm": {"statistics": "BATCH"}}]}})"),
     "layers[0].epilogue[0].gate.ops[0].batch_norm: expected batch statistics at the top level"},
    {"StatisticsByNumber", Epilogue(R"({"batch_norm": {"statistics": 5}})"),
     "batch_norm.statistics: expected RUNNING or BATCH, found 5"},
    {"NegativeEps",
     Epilogue(R"({"batch_norm": {"eps": -1, "running_mean": "m", "running_var": "v"}})"),
     "batch_norm.eps: expected a number of at least 0, found -1"},
};

const BadModel kBadBatching[] = {
    {"NoRows", Batching(R"("max_rows": 0)"), "batching.max_rows: expected 1 to 1048576, found 0"},
    {"TooManyRows", Batching(R"("max_rows": 1048577)"), "expected 1 to 1048576, found 1048577"},
    {"OneRowForBatchStatistics",
     R"({"input": {"name": "x", "features": 4}, "output": {"name": "y", "features": 2}, "layers":
        [{"name": "fc", "weight": "w", "epilogue": [{"batch_norm": {"statistics": "BATCH"}}]}],
        "batching": {"max_rows": 1}})",
     "batching.max_rows: expected 2 to 1048576, found 1"},
    {"SlotOverTwoGiB",
     R"({"input": {"name": "x", "features": 16777216}, "output": {"name": "y", "features": 2}, )" +
         std::string(kLayers) + "}",
     "batching.max_rows: expected at most 32, which take 2147483648 bytes of input, found 4096"},
    {"NegativeDelay", Batching(R"("max_queue_delay_us": -1)"),
     "batching.max_queue_delay_us: expected 0 to 60000000, found -1"},
    {"QueueBelowABatch", Batching(R"("max_queued_rows": 4095)"),
     "batching.max_queued_rows: expected 4096 to 2147483647, found 4095"},
    {"QueueBelowARow", Batching(R"("max_queued_bytes": 15)"),
     "batching.max_queued_bytes: expected 16 to 1099511627776, found 15"},
    {"TimeoutOverAnHour", Batching(R"("queue_timeout_us": 3600000001)"),
     "batching.queue_timeout_us: expected 0 to 3600000000, found 3600000001"},
    {"NegativeBatchTime", Batching(R"("max_batch_us": -1)"),
     "batching.max_batch_us: expected 0 to 60000000, found -1"},
    {"NoTimeInTheQueue", Batching(R"("max_queued_us": 0)"),
     "batching.max_queued_us: expected 1 to 3600000000, found 0"},
    {"TooManyPriorities", Batching(R"("priority_levels": 4294967296)"),
     "batching.priority_levels: expected 0 to 32, found 2147483647"},
    {"DefaultPriorityWithoutLevels", Batching(R"("default_priority": 1)"),
     "batching.default_priority: expected 0 to 0, found 1"},
    {"DefaultPriorityOverTheLevels", Batching(R"("priority_levels": 3, "default_priority": 4)"),
     "batching.default_priority: expected 1 to 3, found 4"},
    {"NegativeDefaultPriority", Batching(R"("priority_levels": 3, "default_priority": -4)"),
     "batching.default_priority: expected 1 to 3, found -1"},
    {"BucketZero", Batching(R"("buckets": [0, 8])"),
     "batching.buckets[0]: expected 1 to 4096, found 0"},
    {"BucketOverTheRows", Batching(R"("buckets": [8, 4097])"),
     "batching.buckets[1]: expected 1 to 4096, found 4097"},
    {"BucketsNotAscending", Batching(R"("buckets": [8, 8])"),
     "batching.buckets[1]: expected ascending values, so over 8, found 8"},
    {"TooManyBuckets", Batching([] {
       std::string list;
       for (int i = 1; i <= 65; ++i) list += (i > 1 ? "," : "") + std::to_string(i);
       return "\"buckets\": [" + list + "]";
     }()),
     "batching.buckets: expected at most 64, found 66"},
    {"LatestZero", Model(R"("version_policy": {"latest": 0})"),
     "version_policy.latest: expected 1 to 2147483647, found 0"},
    {"ListedZero", Model(R"("version_policy": {"listed": [3, 0]})"),
     "version_policy.listed: expected distinct positive versions, found 0"},
    {"ListedTwice", Model(R"("version_policy": {"listed": [3, 1, 3]})"),
     "version_policy.listed: expected distinct positive versions, found 3 again"},
    {"TwoPolicies", Model(R"("version_policy": {"latest": 1, "all": true})"),
     "version_policy: expected one of latest, all and listed, found 2"},
};

const auto kTestName = [](const auto& test) { return std::string(test.param.name); };

INSTANTIATE_TEST_SUITE_P(NotJson, BadModelTest, testing::ValuesIn(kNotJson), kTestName);
INSTANTIATE_TEST_SUITE_P(Fields, BadModelTest, testing::ValuesIn(kBadFields), kTestName);
INSTANTIATE_TEST_SUITE_P(Ops, BadModelTest, testing::ValuesIn(kBadOps), kTestName);
INSTANTIATE_TEST_SUITE_P(Batching, BadModelTest, testing::ValuesIn(kBadBatching), kTestName);

TEST(ModelJson, FillsInEveryDefault) {
  const absl::StatusOr<BlockConfig> config = Parse(Model(""));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "m");
  EXPECT_EQ(config->input.datatype, DataType::kFp32);
  EXPECT_EQ(config->output.datatype, DataType::kFp32);
  EXPECT_EQ(config->compute, ComputeType::kFp32);
  EXPECT_EQ(config->layers[0].bias, "");
  EXPECT_THAT(config->layers[0].epilogue.ops, SizeIs(0));
  EXPECT_EQ(config->batching.max_rows, 4096);
  EXPECT_EQ(config->batching.max_queue_delay, std::chrono::microseconds(0));
  EXPECT_EQ(config->batching.max_queued_rows, 65536);
  EXPECT_EQ(config->batching.max_queued_bytes, 65536 * 4 * 4);
  EXPECT_EQ(config->batching.queue_timeout, std::chrono::microseconds(0));
  EXPECT_EQ(config->batching.max_batch_time, std::chrono::microseconds(0));
  EXPECT_EQ(config->batching.max_queued_time, std::chrono::seconds(10));
  EXPECT_EQ(config->batching.priority_levels, 0);
  EXPECT_EQ(config->batching.default_priority, 0);
  EXPECT_FALSE(config->batching.batch_invariant);
  EXPECT_FALSE(config->batching.one_request_per_batch);
  EXPECT_THAT(config->batching.buckets, SizeIs(0));
  EXPECT_EQ(config->version_policy.kind, VersionPolicy::Kind::kLatest);
  EXPECT_EQ(config->version_policy.latest, 1);
}

TEST(ModelJson, KeepsEveryFieldThatIsSet) {
  const absl::StatusOr<BlockConfig> config = Parse(R"({"name": "m",
    "input": {"name": "x", "features": 4, "datatype": "FP16"},
    "output": {"name": "y", "features": 2, "datatype": "BF16"}, "compute": "TF32",
    "layers": [{"name": "fc", "weight": "w", "bias": "b"}],
    "batching": {"max_rows": 64, "max_queue_delay_us": 5, "max_queued_rows": 128,
      "max_queued_bytes": "1000", "queue_timeout_us": 7, "max_batch_us": 8, "max_queued_us": 9, "priority_levels": 3,
      "default_priority": 2, "batch_invariant": true, "buckets": [8, 32]},
    "version_policy": {"listed": [5, 2]}})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->input.datatype, DataType::kFp16);
  EXPECT_EQ(config->input.row_bytes(), 8);
  EXPECT_EQ(config->output.datatype, DataType::kBf16);
  EXPECT_EQ(config->compute, ComputeType::kTf32);
  EXPECT_EQ(config->layers[0].bias, "b");
  EXPECT_EQ(config->batching.max_rows, 64);
  EXPECT_EQ(config->batching.max_queue_delay, std::chrono::microseconds(5));
  EXPECT_EQ(config->batching.max_queued_rows, 128);
  EXPECT_EQ(config->batching.max_queued_bytes, 1000);
  EXPECT_EQ(config->batching.queue_timeout, std::chrono::microseconds(7));
  EXPECT_EQ(config->batching.max_batch_time, std::chrono::microseconds(8));
  EXPECT_EQ(config->batching.max_queued_time, std::chrono::microseconds(9));
  EXPECT_EQ(config->batching.priority_levels, 3);
  EXPECT_EQ(config->batching.default_priority, 2);
  EXPECT_TRUE(config->batching.batch_invariant);
  EXPECT_THAT(config->batching.buckets, ElementsAre(8, 32, 64));
  EXPECT_EQ(config->version_policy.kind, VersionPolicy::Kind::kListed);
  EXPECT_THAT(config->version_policy.listed, ElementsAre(2, 5));
}

TEST(ModelJson, BoundsTheQueuesBytesByOneGiBButAlwaysHoldsARow) {
  const auto queued_bytes = [](const std::string& features, const std::string& batching) {
    return Parse(R"({"input": {"name": "x", "features": )" + features + "}, " + kOutput + ", " +
                 kLayers + R"(, "batching": {)" + batching + "}}")
        ->batching.max_queued_bytes;
  };
  EXPECT_EQ(queued_bytes("8192", ""), int64_t{1} << 30);
  EXPECT_EQ(queued_bytes("16777216", R"("max_rows": 1)"), int64_t{1} << 30);
  EXPECT_EQ(queued_bytes("3", R"("max_rows": 1, "max_queued_rows": 2)"), 2 * 3 * 4);
}

TEST(ModelJson, GivesPrioritiesTheLowestLevelByDefault) {
  EXPECT_EQ(Parse(Batching(R"("priority_levels": 3)"))->batching.default_priority, 3);
  EXPECT_EQ(
      Parse(Batching(R"("priority_levels": 3, "default_priority": 0)"))->batching.default_priority,
      3);
}

TEST(ModelJson, TakesEveryVersionPolicy) {
  EXPECT_EQ(Parse(Model(R"("version_policy": {})"))->version_policy.kind,
            VersionPolicy::Kind::kLatest);
  EXPECT_EQ(Parse(Model(R"("version_policy": {"latest": 3})"))->version_policy.latest, 3);
  EXPECT_EQ(Parse(Model(R"("version_policy": {"all": true})"))->version_policy.kind,
            VersionPolicy::Kind::kAll);
}

// The op that one entry of an epilogue becomes.
Op OpOf(const std::string& json) {
  const absl::StatusOr<BlockConfig> config = Parse(Epilogue(json));
  if (!config.ok()) ADD_FAILURE() << json << ": " << config.status();
  return config.ok() ? config->layers[0].epilogue.ops.at(0) : Op{};
}

TEST(ModelJson, GivesOpsTheirDefaultsAndTheirParameters) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(OpOf(R"({"scale": {"value": -2.5}})"), (Op{MultiplyAdd{.scale = {.value = -2.5}}}));
  EXPECT_EQ(OpOf(R"({"scale": {"value": 0}})"), (Op{MultiplyAdd{.scale = {.value = 0}}}));
  EXPECT_EQ(OpOf(R"({"add": {"value": 3}})"), (Op{MultiplyAdd{.shift = {.value = 3}}}));
  EXPECT_EQ(OpOf(R"({"add": {"tensor": "a"}})"), (Op{MultiplyAdd{.shift = {.column = 0}}}));
  EXPECT_EQ(OpOf(R"({"hardtanh": {}})"), (Op{Clamp{-kInf, kInf}}));
  EXPECT_EQ(OpOf(R"({"hardtanh": {"min": 0}})"), (Op{Clamp{0, kInf}}));
  EXPECT_EQ(OpOf(R"({"hardtanh": {"max": 0}})"), (Op{Clamp{-kInf, 0}}));
  EXPECT_EQ(OpOf(R"({"leaky_relu": {}})"), (Op{Pointwise{Function::kLeakyRelu, 0.01}}));
  EXPECT_EQ(OpOf(R"({"leaky_relu": {"slope": 0}})"), (Op{Pointwise{Function::kLeakyRelu, 0}}));
  EXPECT_EQ(OpOf(R"({"elu": {}})"), (Op{Pointwise{Function::kElu, 1}}));
  EXPECT_EQ(OpOf(R"({"elu": {"alpha": 0}})"), (Op{Pointwise{Function::kElu, 0}}));
  EXPECT_EQ(OpOf(R"({"gelu": {}})"), (Op{Pointwise{Function::kGeluErf}}));
  EXPECT_EQ(OpOf(R"({"gelu": {"approximate": "TANH"}})"), (Op{Pointwise{Function::kGeluTanh}}));
  EXPECT_EQ(OpOf(R"({"add_input": {}})"), (Op{AddInput{}}));
}

TEST(ModelJson, KnowsEveryFunction) {
  for (const FunctionInfo& info : kFunctions) {
    const std::string op(info.op);
    const std::string variant =
        info.variant.empty() ? "" : R"("approximate": ")" + std::string(info.variant) + '"';
    EXPECT_EQ(OpOf("{\"" + op + "\": {" + variant + "}}"),
              (Op{Pointwise{info.function, info.default_parameter}}))
        << info.text;
    if (!info.takes_parameter()) continue;
    EXPECT_EQ(OpOf("{\"" + op + "\": {\"" + std::string(info.parameter) + "\": 0.75}}"),
              (Op{Pointwise{info.function, 0.75}}))
        << info.text;
  }
}

// An op that is added to the schema must be a function of the table or be listed here.
TEST(ModelJson, TheTableOfFunctionsHasEveryFunctionOfTheSchema) {
  std::set<std::string> expected = {"scale", "add",       "hardtanh",  "residual",
                                    "gate",  "add_input", "batch_norm"};
  size_t variants = 0;
  for (const FunctionInfo& info : kFunctions) expected.insert(std::string(info.op));
  std::set<std::string> found;
  const auto& schema = *schema::EpilogueOp::descriptor();
  for (int i = 0; i < schema.field_count(); ++i) found.insert(schema.field(i)->name());
  EXPECT_EQ(found, expected);
  for (const FunctionInfo& info : kFunctions) variants += info.variant.empty() ? 0 : 1;
  EXPECT_EQ(variants, static_cast<size_t>(schema::Gelu::Approximate_descriptor()->value_count()));
}

TEST(ModelJson, ReadsNestedOps) {
  EXPECT_EQ(
      OpOf(R"({"residual": {"ops": [{"gate": {"ops": [{"tanh": {}}]}}, {"add_input": {}}]}})"),
      (Op{Residual{{{Gate{{{Pointwise{Function::kTanh}}}}}, {AddInput{}}}}}));
}

TEST(ModelJson, ReadsBatchNormWithoutWeightAndBias) {
  EXPECT_EQ(OpOf(R"({"batch_norm": {"running_mean": "m", "running_var": "v", "eps": 0}})"),
            (Op{RunningBatchNorm{.weight = {.value = 1},
                                 .bias = {.value = 0},
                                 .mean = {.column = 0},
                                 .variance = {.column = 1},
                                 .eps = 0}}));
  EXPECT_EQ(OpOf(R"({"batch_norm": {"statistics": "BATCH"}})"),
            (Op{BatchNorm{.weight = {.value = 1}, .bias = {.value = 0}, .eps = 1e-5}}));
}

TEST(ModelJson, NamesATensorOnceHoweverOftenItIsUsed) {
  const BlockConfig config = Parse(Epilogue(R"({"scale": {"tensor": "s"}}, {"add": {"tensor": "a"}},
                        {"gate": {"ops": [{"scale": {"tensor": "s"}}]}})"))
                                 .value();
  ASSERT_THAT(config.layers[0].columns, SizeIs(2));
  EXPECT_EQ(config.layers[0].columns[0].tensor, "s");
  EXPECT_EQ(config.layers[0].columns[0].path, "layers[0].epilogue[0].scale.tensor");
  EXPECT_EQ(config.layers[0].columns[1].tensor, "a");
  const Op gated{Gate{{{MultiplyAdd{.scale = {.column = 0}}}}}};
  EXPECT_EQ(config.layers[0].epilogue.ops[2], gated);
}

TEST(ModelJson, KnowsBatchStatisticsInAnyLayer) {
  EXPECT_FALSE(UsesBatchStatistics(*Parse(Model(""))));
  EXPECT_TRUE(UsesBatchStatistics(*Parse(Layers(
      R"({"name": "a", "weight": "a"},
         {"name": "b", "weight": "b", "epilogue": [{"batch_norm": {"statistics": "BATCH"}}]})"))));
}

}  // namespace
}  // namespace mlpserve
