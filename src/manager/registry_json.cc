#include "manager/registry_json.h"

#include <nlohmann/json.hpp>
#include <set>

#include "base/format.h"
#include "manager/run_options.h"

namespace usl::manager {
namespace {

using Json = nlohmann::json;

// Takes the members of one object, and remembers the first thing that is wrong: a missing or mistyped member, or one
// that nobody asked for.
class ObjectReader {
 public:
  ObjectReader(const Json& object, std::string where, std::string* wrong)
      : object_(object), where_(std::move(where)), wrong_(wrong) {
    if (!object.is_object()) Complain("is no object");
  }
  ~ObjectReader() {
    if (!wrong_->empty() || !object_.is_object()) return;
    for (const auto& item : object_.items()) {
      if (!known_.contains(item.key())) Complain(format("has the unknown member \"{}\"", item.key()));
    }
  }
  ObjectReader(const ObjectReader&) = delete;
  ObjectReader& operator=(const ObjectReader&) = delete;

  std::string Text(const char* key, bool required = false) {
    const Json* value = Find(key, required);
    if (!value) return {};
    if (value->is_string() && value->get_ref<const std::string&>().find('\0') == std::string::npos) {
      return value->get<std::string>();
    }
    Complain(format("\"{}\" is no text", key));
    return {};
  }

  int64_t Number(const char* key) {
    const Json* value = Find(key, false);
    if (!value) return 0;
    if (value->is_number_integer()) return value->get<int64_t>();
    Complain(format("\"{}\" is no whole number", key));
    return 0;
  }

  std::vector<std::string> Texts(const char* key) {
    std::vector<std::string> texts;
    ForEach(key, [&](const Json& value, const std::string&) {
      if (value.is_string()) return texts.push_back(value.get<std::string>());
      Complain(format("\"{}\" has a member that is no text", key));
    });
    return texts;
  }

  std::vector<std::string> Layers(const char* key) {
    std::vector<std::string> layers = Texts(key);
    for (const std::string& id : layers) {
      if (!IsLayerId(id)) Complain(format("\"{}\" has a member that is no layer's name", key));
    }
    return layers;
  }

  std::map<std::string, std::string> TextMap(const char* key) {
    std::map<std::string, std::string> map;
    const Json* value = Find(key, false);
    if (!value) return map;
    if (!value->is_object()) {
      Complain(format("\"{}\" is no object", key));
      return map;
    }
    for (const auto& item : value->items()) {
      if (item.value().is_string()) {
        map.emplace(item.key(), item.value().get<std::string>());
      } else {
        Complain(format("\"{}\" has a member that is no text", key));
      }
    }
    return map;
  }

  void ForEach(const char* key, const std::function<void(const Json&, const std::string& where)>& take) {
    const Json* value = Find(key, false);
    if (!value) return;
    if (!value->is_array()) return Complain(format("\"{}\" is no list", key));
    for (size_t i = 0; i < value->size(); ++i) take((*value)[i], format("{}{}[{}]", where_, key, i));
  }

  ImageConfig Config(const char* key) {
    ImageConfig config;
    const Json* value = Find(key, false);
    if (!value) return config;
    ObjectReader reader(*value, format("{}{} ", where_, key), wrong_);
    config.entrypoint = reader.Texts("entrypoint");
    config.command = reader.Texts("command");
    config.environment = reader.Texts("environment");
    config.user = reader.Text("user");
    config.working_directory = reader.Text("working_directory");
    config.stop_signal = reader.Text("stop_signal");
    return config;
  }

  void Complain(const std::string& what) {
    if (wrong_->empty()) *wrong_ = where_.empty() ? "it " + what : where_ + what;
  }

 private:
  const Json* Find(const char* key, bool required) {
    known_.insert(key);
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(key);
    if (found != object_.end()) return &*found;
    if (required) Complain(format("has no \"{}\"", key));
    return nullptr;
  }

  const Json& object_;
  std::string where_;
  std::string* wrong_;
  std::set<std::string> known_;
};

Snapshot ReadSnapshot(const Json& json, const std::string& where, std::string* wrong) {
  ObjectReader reader(json, where + " ", wrong);
  Snapshot snapshot{reader.Text("name", true), reader.Layers("layers"), reader.Number("created")};
  if (!IsValidName(snapshot.name)) reader.Complain("has no valid name");
  return snapshot;
}

Distribution ReadDistribution(const Json& json, const std::string& where, std::string* wrong) {
  ObjectReader reader(json, where + " ", wrong);
  Distribution distribution;
  distribution.name = reader.Text("name", true);
  distribution.id = reader.Text("id", true);
  distribution.layers = reader.Layers("layers");
  distribution.upper = reader.Text("upper");
  distribution.default_user = reader.Text("default_user");
  distribution.source = reader.Text("source");
  distribution.config = reader.Config("config");
  distribution.options = reader.TextMap("options");
  distribution.created = reader.Number("created");
  reader.ForEach("snapshots", [&](const Json& value, const std::string& place) {
    distribution.snapshots.push_back(ReadSnapshot(value, place, wrong));
  });
  // Both become parts of paths.
  if (!IsValidName(distribution.name)) reader.Complain("has no valid name");
  if (!IsUuid(distribution.id)) reader.Complain("has no valid id");
  if (!distribution.upper.empty() && distribution.upper[0] != '/') reader.Complain("\"upper\" is no absolute path");
  return distribution;
}

Image ReadImage(const Json& json, const std::string& where, std::string* wrong) {
  ObjectReader reader(json, where + " ", wrong);
  Image image;
  image.reference = reader.Text("reference", true);
  image.digest = reader.Text("digest");
  image.layers = reader.Layers("layers");
  image.config = reader.Config("config");
  image.created = reader.Number("created");
  return image;
}

std::string FindDuplicate(const RegistryData& data) {
  for (const Distribution& distribution : data.distributions) {
    if (data.Find(distribution.name) != &distribution) return format("\"{}\" is there twice", distribution.name);
    for (const Distribution& other : data.distributions) {
      if (&other != &distribution && other.id == distribution.id) return format("id {} is there twice", other.id);
    }
  }
  return {};
}

// What is empty is left out, so that the file stays small and readable.
template <typename T>
void Put(Json& json, const char* key, const T& value) {
  if (value != T{}) json[key] = value;
}

void PutConfig(Json& json, const ImageConfig& config) {
  Json object = Json::object();
  Put(object, "entrypoint", config.entrypoint);
  Put(object, "command", config.command);
  Put(object, "environment", config.environment);
  Put(object, "user", config.user);
  Put(object, "working_directory", config.working_directory);
  Put(object, "stop_signal", config.stop_signal);
  if (!object.empty()) json["config"] = std::move(object);
}

Json ToJson(const Distribution& distribution) {
  Json json{{"name", distribution.name}, {"id", distribution.id}, {"layers", distribution.layers}};
  Put(json, "upper", distribution.upper);
  Put(json, "default_user", distribution.default_user);
  Put(json, "source", distribution.source);
  PutConfig(json, distribution.config);
  Put(json, "options", distribution.options);
  Put(json, "created", distribution.created);
  for (const Snapshot& snapshot : distribution.snapshots) {
    json["snapshots"].push_back({{"name", snapshot.name}, {"layers", snapshot.layers}, {"created", snapshot.created}});
  }
  return json;
}

Json ToJson(const Image& image) {
  Json json{{"reference", image.reference}, {"layers", image.layers}};
  Put(json, "digest", image.digest);
  PutConfig(json, image.config);
  Put(json, "created", image.created);
  return json;
}

}  // namespace

Result<RegistryData> ParseRegistry(std::string_view text, std::string* why) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) {
    *why = "it is no JSON object";
    return Fail(EINVAL);
  }
  const auto version = json.find("version");
  if (version == json.end() || !version->is_number_integer()) {
    *why = "it has no \"version\"";
    return Fail(EINVAL);
  }
  if (*version != kRegistryVersion) {
    *why = format("it is of version {}, and this usl knows version {}", version->dump(), kRegistryVersion);
    return Fail(EPROTONOSUPPORT);
  }
  RegistryData data;
  std::string wrong;
  {
    ObjectReader reader(json, "", &wrong);
    reader.Number("version");
    data.id = reader.Text("id");
    if (!data.id.empty() && !IsUuid(data.id)) reader.Complain("has no valid id");
    data.default_distribution = reader.Text("default");
    reader.ForEach("distributions", [&](const Json& value, const std::string& where) {
      data.distributions.push_back(ReadDistribution(value, where, &wrong));
    });
    reader.ForEach("images", [&](const Json& value, const std::string& where) {
      data.images.push_back(ReadImage(value, where, &wrong));
    });
  }
  if (wrong.empty()) wrong = FindDuplicate(data);
  if (!wrong.empty()) {
    *why = std::move(wrong);
    return Fail(EINVAL);
  }
  return data;
}

Result<std::string> PrintRegistry(const RegistryData& data, std::string* why) {
  Json json{{"version", kRegistryVersion}};
  Put(json, "id", data.id);
  Put(json, "default", data.default_distribution);
  for (const Distribution& distribution : data.distributions) json["distributions"].push_back(ToJson(distribution));
  for (const Image& image : data.images) json["images"].push_back(ToJson(image));
  // The library tells by an exception that a text is no UTF-8.
  try {
    return json.dump(1) + "\n";
  } catch (const Json::exception&) {
    *why = "the registry can hold UTF-8 text only, and a path or option has other bytes";
    return Fail(EINVAL);
  }
}

}  // namespace usl::manager
