// llmbench: options and exit codes; what the commands do stands in their own files.
#include <CLI/CLI.hpp>
#include <exception>
#include <functional>
#include <iostream>
#include <new>

#include "runtime/bench/commands.h"
#include "runtime/bench/version.h"

namespace {

using namespace pocket::bench;  // NOLINT: one file, one namespace

void add_device_options(CLI::App& app, CommonOptions& common) {
  app.add_option("--device", common.device, "index or part of the name (llmbench devices)");
  app.add_option("--limits", common.limits_file, "JSON file that lowers limits, hides features");
}

void add_common_options(CLI::App& app, CommonOptions& common) {
  add_device_options(app, common);
  app.add_option("--priority", common.priority, "queue priority")
      ->check(CLI::IsMember({"low", "medium", "high", "default"}));
  app.add_option("--max-submit-ms", common.max_submit_ms,
                 "split a step into submissions of at most so many milliseconds")
      ->check(CLI::PositiveNumber);
  app.add_option("--chunk", common.chunk, "rows of a prefill chunk")->check(CLI::PositiveNumber);
  app.add_option("--context", common.context, "rows of the KV states")->check(CLI::PositiveNumber);
  app.add_option("--accumulate", common.accumulate, "sums of matrix products")
      ->check(CLI::IsMember({"fp32", "fp16"}));
  app.add_option("--precision", common.precision,
                 "bits to read of weights of any precision, default the most that the file holds")
      ->check(CLI::Range(pocket::kLeastWidth, pocket::kMostWidth));
  app.add_flag("--copy-weights", common.copy_weights,
               "copy weights to the device even where it could read the mapped file");
  app.add_flag("--no-tuned", common.no_tuned, "ignore what llmbench tune has stored");
  app.add_flag("--quiet", common.quiet, "no progress on stderr");
}

void add_model(CLI::App& app, std::string& model) {
  app.add_option("MODEL.pocket", model, "model file")->required();
}

void add_json(CLI::App& app, std::string& json) {
  app.add_option("--json", json, "write one JSON document to a file, or - for stdout");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("llmbench: runs a .pocket model with Vulkan and measures it", "llmbench");
  app.set_version_flag("--version", version_text());
  app.require_subcommand(1);
  std::function<pocket::ExitCode()> command;

  RunOptions run_options;
  CLI::App* sub = app.add_subcommand("run", "self-test, then tokens per second");
  add_model(*sub, run_options.model);
  sub->add_option("-p", run_options.prompts, "prompt lengths, default 64,256,1024")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  sub->add_option("-n", run_options.generate, "tokens to generate")->check(CLI::Range(2, 1 << 20));
  sub->add_option("-r", run_options.repetitions, "repetitions")->check(CLI::Range(1, 1000));
  sub->add_option("--warmup", run_options.warmup, "repetitions before them that do not count")
      ->check(CLI::Range(0, 1000));
  add_json(*sub, run_options.json);
  sub->add_option("--csv", run_options.csv, "write one row per repetition to a file, or -");
  add_common_options(*sub, run_options.common);
  sub->callback([&] { command = [&] { return run(run_options); }; });

  GenerateOptions generate_options;
  sub = app.add_subcommand("generate", "continue a prompt");
  add_model(*sub, generate_options.model);
  sub->add_option("--prompt", generate_options.prompt, "text to continue");
  sub->add_option("--tokens", generate_options.tokens, "ids 1,2,3 or FILE.json, not a text");
  sub->add_flag("--chat", generate_options.chat, "wrap the prompt in the model's chat template");
  sub->add_option("--system", generate_options.system, "with --chat: the system turn");
  sub->add_option("-n", generate_options.count, "tokens to generate, default 128")
      ->check(CLI::NonNegativeNumber);
  sub->add_option("--temperature", generate_options.temperature, "0: greedy");
  sub->add_option("--top-k", generate_options.top_k, "best k tokens, 0 to 256; 0 means 256");
  sub->add_option("--top-p", generate_options.top_p, "most probable share, above 0 up to 1");
  sub->add_option("--seed", generate_options.seed, "of the random draws");
  add_json(*sub, generate_options.json);
  add_common_options(*sub, generate_options.common);
  sub->callback([&] { command = [&] { return generate(generate_options); }; });

  LogitsOptions logits_options;
  sub = app.add_subcommand("logits", "logits of every row");
  add_model(*sub, logits_options.model);
  sub->add_option("--tokens", logits_options.tokens, "ids 1,2,3 or FILE.json")->required();
  sub->add_option("--decode-from", logits_options.decode_from,
                  "rows from this one on by decode steps, those before by prefill")
      ->check(CLI::NonNegativeNumber);
  add_json(*sub, logits_options.json);
  add_common_options(*sub, logits_options.common);
  sub->callback([&] { command = [&] { return logits(logits_options); }; });

  PerplexityOptions perplexity_options;
  sub = app.add_subcommand("perplexity", "mean negative log likelihood of a text");
  add_model(*sub, perplexity_options.model);
  sub->add_option("--text", perplexity_options.text, "text file, or TOKENS.json")->required();
  sub->add_option("--against", perplexity_options.against, "reference model for kl and top1");
  sub->add_option("--window", perplexity_options.window, "tokens of a window, default 256")
      ->check(CLI::Range(2, 1 << 20));
  sub->add_flag("--per-token", perplexity_options.per_token,
                "--json also holds each token's nll and kl, window by window");
  add_json(*sub, perplexity_options.json);
  add_common_options(*sub, perplexity_options.common);
  sub->callback([&] { command = [&] { return perplexity(perplexity_options); }; });

  SelfTestCommandOptions selftest_options;
  sub = app.add_subcommand("selftest", "every kernel variant in use against the host reference");
  add_model(*sub, selftest_options.model);
  sub->add_option("-r", selftest_options.repeats, "repetitions, faults may be rare")
      ->check(CLI::Range(1, 10000));
  add_json(*sub, selftest_options.json);
  add_common_options(*sub, selftest_options.common);
  sub->callback([&] { command = [&] { return selftest(selftest_options); }; });

  TuneCommandOptions tune_options;
  sub = app.add_subcommand("tune", "pick kernel configurations for a model on this device");
  add_model(*sub, tune_options.model);
  sub->add_option("-r", tune_options.rounds, "timings of each row")->check(CLI::Range(1, 1000));
  sub->add_option("--cases", tune_options.cases, "cases that a row must pass")
      ->check(CLI::Range(1, 1000));
  sub->add_option("--only", tune_options.only, "tune only what has this in its key, e.g. gemv");
  add_json(*sub, tune_options.json);
  add_common_options(*sub, tune_options.common);
  sub->callback([&] { command = [&] { return tune(tune_options); }; });

  InspectOptions inspect_options;
  sub = app.add_subcommand("inspect", "program, memory plan, weights, every byte of the file");
  add_model(*sub, inspect_options.model);
  add_json(*sub, inspect_options.json);
  sub->add_option("--chunk", inspect_options.common.chunk, "rows of a prefill chunk")
      ->check(CLI::PositiveNumber);
  sub->add_option("--context", inspect_options.common.context, "rows of the KV states")
      ->check(CLI::PositiveNumber);
  sub->callback([&] { command = [&] { return inspect(inspect_options); }; });

  DevicesOptions devices_options;
  sub = app.add_subcommand("devices", "every Vulkan device: limits, features, quirks, priorities");
  add_json(*sub, devices_options.json);
  sub->add_flag("--measure", devices_options.measure,
                "also bandwidth and arithmetic peaks, each by a kernel that proves its work");
  sub->callback([&] { command = [&] { return devices(devices_options); }; });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(pocket::ExitCode::usage);
  }
  try {
    const pocket::ExitCode code = command();
    std::cout.flush();
    if (!std::cout) {
      std::cerr << "llmbench: stdout could not be written; free space or choose another file\n";
      return static_cast<int>(pocket::ExitCode::check_failed);
    }
    return static_cast<int>(code);
  } catch (const pocket::Error& error) {
    std::cerr << "llmbench: " << error.what() << "\n";
    return static_cast<int>(error.code);
  } catch (const std::bad_alloc&) {
    std::cerr << "llmbench: the host has no memory left; take a smaller model or --context\n";
    return static_cast<int>(pocket::ExitCode::out_of_memory);
  } catch (const std::exception& error) {
    std::cerr << "llmbench: an unexpected failure, please report it: " << error.what() << "\n";
    return static_cast<int>(pocket::ExitCode::check_failed);
  }
}
