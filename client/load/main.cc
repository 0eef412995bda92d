// mlpserve-load: puts load on a server of the Open Inference Protocol and says how it fares.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <iostream>

#include "client/load/arguments.h"
#include "client/load/load_test.h"

namespace {

std::atomic<bool> stop = false;

// The first signal ends the run with what was counted, the second ends the program.
void Stop(int number) {
  stop = true;
  std::signal(number, SIG_DFL);
}

}  // namespace

int main(int argc, char** argv) {
  using mlpserve::load::Arguments;
  using mlpserve::load::Exit;
  std::variant<Arguments, Exit> parsed = mlpserve::load::ParseArguments(argc, argv);
  if (const Exit* exit = std::get_if<Exit>(&parsed)) {
    (exit->code == 0 ? std::cout : std::cerr) << exit->text;
    return exit->code;
  }
  std::signal(SIGINT, Stop);
  std::signal(SIGTERM, Stop);
  Arguments& arguments = std::get<Arguments>(parsed);
  arguments.run.stop = &stop;
  return mlpserve::load::RunLoadTest(arguments,
                                     {std::cout, std::cerr, ::isatty(STDERR_FILENO) == 1});
}
