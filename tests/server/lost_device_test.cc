// mlpserve as a process whose device is lost under load: what its clients and its supervisor see.
// With --backend cuda the device is a GPU, and a kernel that faults is what loses it; without a GPU
// that case skips itself.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "gtest/gtest.h"
#include "proto/health.grpc.pb.h"
#include "tests/server/lifecycle/tiny_call.h"
#include "tests/server/lifecycle/tiny_repository.h"
#include "tests/server/metrics/http_client.h"

namespace mlpserve {
namespace {

using grpc::health::v1::HealthCheckResponse;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

// A program of this build, next to this one.
class Program {
 public:
  Program(const std::string& name, std::vector<std::string> arguments, const std::string& log)
      : log_(log) {
    const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    arguments.insert(arguments.begin(), (folder / name).string());
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    int ends[2] = {-1, -1};
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.c_str(), O_CREAT | O_WRONLY,
                                     0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    EXPECT_EQ(posix_spawn(&process_, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
    input_ = ends[1];
  }
  ~Program() {
    if (!Ended()) kill(process_, SIGKILL);
    (void)Wait(Clock::now() + seconds(20));
    close(input_);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void Say(std::string_view line) const {
    EXPECT_EQ(write(input_, line.data(), line.size()), static_cast<ssize_t>(line.size()));
  }
  bool Ended() {
    int status = 0;
    if (!code_ && waitpid(process_, &status, WNOHANG) == process_) {
      code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    return code_.has_value();
  }
  // Its exit code, or minus the signal that ended it; nothing: it goes on.
  std::optional<int> Wait(Clock::time_point limit) {
    while (!Ended() && Clock::now() < limit) std::this_thread::sleep_for(milliseconds(2));
    return code_;
  }
  std::string Log() const {
    std::ostringstream text;
    text << std::ifstream(log_).rdbuf();
    return text.str();
  }

 private:
  const std::string log_;
  pid_t process_ = -1;
  int input_ = -1;
  std::optional<int> code_;
};

// False: not within 20 s.
bool Await(const std::function<bool()>& happened) {
  const auto limit = Clock::now() + seconds(20);
  while (!happened()) {
    if (Clock::now() > limit) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

class LostDeviceTest : public testing::Test {
 protected:
  // False: it refused to start.
  bool Start(const std::string& backend) {
    program_ = std::make_unique<Program>(
        "mlpserve_that_loses",
        std::vector<std::string>{"--model-repository", repository_.folder().path(),
                                 "--grpc-address", "unix:" + folder_.path("grpc"), "--http-address",
                                 "127.0.0.1:0", "--backend", backend, "--kernel-cache",
                                 folder_.path("kernels")},
        folder_.path("log"));
    channel_ =
        grpc::CreateChannel("unix:" + folder_.path("grpc"), grpc::InsecureChannelCredentials());
    while (Health() != HealthCheckResponse::SERVING) {
      if (program_->Ended()) return false;
      std::this_thread::sleep_for(milliseconds(10));
    }
    constexpr std::string_view kHttp = "HTTP on 127.0.0.1:";
    const std::string log = program_->Log();
    const size_t at = log.find(kHttp);
    EXPECT_NE(at, std::string::npos) << log;
    if (at != std::string::npos) http_port_ = std::stoi(log.substr(at + kHttp.size()));
    return true;
  }

  HealthCheckResponse::ServingStatus Health() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + seconds(1));
    HealthCheckResponse response;
    (void)grpc::health::v1::Health::NewStub(channel_)->Check(&context, {}, &response);
    return response.status();
  }
  // One request after the other until one fails.
  grpc::Status InferUntilItFails() {
    grpc::Status status;
    while (status.ok()) status = InferTiny(channel_, seconds(60));
    return status;
  }
  // Whether a sample is there and not 0.
  bool MetricsShow(const std::string& sample) const {
    const std::string metrics = Get(http_port_, "/metrics").body;
    const size_t at = metrics.find(absl::StrCat("\n", sample, " "));
    return at != std::string::npos && std::stod(metrics.substr(at + sample.size() + 2)) > 0;
  }

  // Under load that shows as `busy` in the metrics.
  void LoseAndCheck(std::string_view how, const std::string& busy) {
    auto load = std::async(std::launch::async, [this] { return InferUntilItFails(); });
    ASSERT_TRUE(Await([&] { return MetricsShow(busy); })) << program_->Log();
    const auto lost = Clock::now();
    program_->Say(how);
    ASSERT_TRUE(Await([&] { return Health() != HealthCheckResponse::SERVING; }));
    EXPECT_EQ(Health(), HealthCheckResponse::NOT_SERVING) << program_->Log();
    EXPECT_EQ(Get(http_port_, "/readyz").code, 503);
    EXPECT_LT(Clock::now() - lost, seconds(1));
    const grpc::Status failed = load.get();
    EXPECT_EQ(failed.error_code(), grpc::StatusCode::UNAVAILABLE) << failed.error_message();
    EXPECT_EQ(program_->Wait(lost + seconds(20)), 3) << program_->Log();
    EXPECT_LT(Clock::now() - lost, seconds(2)) << program_->Log();
    EXPECT_THAT(program_->Log(), testing::HasSubstr("a device is lost: "));
  }

  static constexpr char kHeld[] = R"(mlpserve_slots_in_use{model="a",version="1"})";
  static constexpr char kComputed[] = R"(mlpserve_rows_total{model="a",version="1"})";

  const TinyRepository repository_{{"a"}};
  const TemporaryFolder folder_;
  std::unique_ptr<Program> program_;
  std::shared_ptr<grpc::Channel> channel_;
  int http_port_ = 0;
};

TEST_F(LostDeviceTest, EndsTheProcessWithCode3InTwoSeconds) {
  ASSERT_TRUE(Start("cpu")) << program_->Log();
  LoseAndCheck("lose\n", kHeld);
}

TEST_F(LostDeviceTest, EndsTheProcessAlsoWhereTheBackendDoesNotLetGo) {
  ASSERT_TRUE(Start("cpu")) << program_->Log();
  LoseAndCheck("stick\n", kHeld);
  EXPECT_THAT(program_->Log(), testing::HasSubstr("ending without it"));
}

TEST_F(LostDeviceTest, AGpuOnWhichAKernelFaultsIsLost) {
  if (!Start("cuda")) GTEST_SKIP() << program_->Log();
  LoseAndCheck("lose\n", kComputed);
  EXPECT_THAT(program_->Log(), testing::HasSubstr("cudaErrorIllegalAddress"));
}

TEST_F(LostDeviceTest, AServerThatCannotStartEndsWithCode2) {
  Program program("mlpserve_that_loses", {"--model-repository", folder_.path("nowhere")},
                  folder_.path("log"));
  EXPECT_EQ(program.Wait(Clock::now() + seconds(20)), 2) << program.Log();
}

}  // namespace
}  // namespace mlpserve
