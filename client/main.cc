// mlpserve-client: status and blocks of a server, and rows from files through a block.
#include <unistd.h>

#include <iostream>

#include "client/cli/arguments.h"
#include "client/cli/commands.h"

int main(int argc, char** argv) {
  using mlpserve::client::Arguments;
  using mlpserve::client::Exit;
  const std::variant<Arguments, Exit> parsed = mlpserve::client::ParseArguments(argc, argv);
  if (const Exit* exit = std::get_if<Exit>(&parsed)) {
    (exit->code == 0 ? std::cout : std::cerr) << exit->text;
    return exit->code;
  }
  return mlpserve::client::RunCommand(std::get<Arguments>(parsed),
                                      {std::cout, std::cerr, ::isatty(STDERR_FILENO) == 1});
}
