// What was built: written at build time by version.cmake.
#pragma once

namespace pocket::bench {

const char* version_text();          // "0.1.0 (git 1a2b3c4)"
const char* git_text();              // git describe, or "unknown"
const char* build_type_text();       // Release, RelWithDebInfo, ...
const char* compiler_text();         // "GNU 12.2.0"
const char* shader_compiler_text();  // first line of glslangValidator --version

}  // namespace pocket::bench
