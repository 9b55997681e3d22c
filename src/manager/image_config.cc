#include "manager/image_config.h"

namespace usl::manager {

void AddImageEnvironment(const ImageConfig& config, RunOptions* options) {
  std::vector<std::string> environment;
  for (const std::string& entry : config.environment) {
    const size_t equals = entry.find('=');
    if (equals != entry.npos && equals > 0) environment.push_back(entry);
  }
  environment.insert(environment.end(), options->environment.begin(), options->environment.end());
  options->environment = std::move(environment);
}

void ApplyImageConfig(const ImageConfig& config, const std::optional<std::string>& entrypoint, RunOptions* options) {
  std::vector<std::string> command = config.entrypoint;
  if (entrypoint) {
    command.clear();
    if (!entrypoint->empty()) command.push_back(*entrypoint);
  }
  const bool takes_default = options->command.empty() && !entrypoint;
  const std::vector<std::string>& words = takes_default ? config.command : options->command;
  command.insert(command.end(), words.begin(), words.end());
  options->command = std::move(command);

  AddImageEnvironment(config, options);
  if (options->user.empty()) options->user = config.user;
  if (options->working_directory.empty() && !options->here) {
    const std::string& directory = config.working_directory;
    options->working_directory = directory.starts_with('/') ? directory : "/" + directory;
    options->make_working_directory = true;
  }
}

}  // namespace usl::manager
