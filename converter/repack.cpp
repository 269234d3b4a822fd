// IN.pocket -> OUT.pocket: the weights are copied byte for byte.
#include "converter/convert.h"
#include "converter/package/writer.h"
#include "converter/progress.h"

namespace pocket {

void copy_package(const ConvertOptions& options) {
  Progress progress(options.quiet);
  progress.stage("checking " + options.input);
  const Package package = Package::open(options.input);
  const Manifest& manifest = package.manifest();
  for (size_t i = 0; i < manifest.shards.size(); ++i) package.verify_shard(i);
  progress.stage("copying the weights");
  PackageWriter writer(options.output);
  for (size_t i = 0; i < manifest.weights.size(); ++i) {
    const Weight& weight = manifest.weights[i];
    writer.begin_weight(weight.name, weight.shape, weight.format);
    writer.set_input(weight.act_scale, weight.outlier);
    for (const Section& section : weight.sections) {
      const auto bytes = package.section(section);
      writer.append(section.role, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                    section.bits);
    }
    progress.count(static_cast<int64_t>(i) + 1, static_cast<int64_t>(manifest.weights.size()),
                   weight.name);
  }
  writer.finish(manifest);
}

}  // namespace pocket
